// Commands as a person runs them: how long each takes, and the most memory that it needs at once.

import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createLegacy, dummies, type LegacyRow } from '../test/legacy.js';
import type { Engine } from './engines.js';
import { startProcess } from './processes.js';

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

export interface CommandRun {
  readonly seconds: number;
  readonly rssBytes: number;
}

/** Runs the built command to its end; what it prints is read and thrown away. */
export async function runCommand(args: readonly string[], database?: string): Promise<CommandRun> {
  const started = performance.now();
  const child = startProcess(
    undefined,
    process.execPath,
    ['--import', path('./peak.mjs'), path('../dist/cli.js'), ...args],
    {
      env: { ...process.env, DATABASE_URL: database },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    },
  );
  child.stdout?.resume();
  const peak = child.stdio[3] as Readable;
  const log = child.stderr ? text(child.stderr) : '';
  const kibibytes = text(peak);
  const [code] = (await once(child, 'exit')) as [number | null];
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`sharder ${args.join(' ')} failed: ${await log}`);
  return { seconds, rssBytes: Number(await kibibytes) * 1024 };
}

/** Adopts a database of the Python sharder with so many users in five buckets. */
export async function runAdopt(engine: Engine, users: number): Promise<CommandRun> {
  const url = await engine.create();
  const buckets = Array.from({ length: 5 }, (_, i) => `hub-${i}`);
  const rows = Array.from({ length: users }, (_, i): LegacyRow => [
    'hub',
    buckets[i % 5] ?? '',
    `user-${i}@uni.example`,
  ]);
  const name = engine.name === 'SQLite' ? 'sqlite' : 'postgres';
  await createLegacy(name, url, [...dummies('hub', ...buckets), ...rows]);
  try {
    return await runCommand(['adopt'], url);
  } finally {
    await engine.remove(url);
  }
}
