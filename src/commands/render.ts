// sharder render nginx: the buckets' addresses as a file for nginx, once or whenever they change.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig, type Flags } from '../config.js';
import { renderNginx, type Rendered } from '../deploy/nginx.js';
import { SharderError } from '../errors.js';
import { listBuckets } from '../store/buckets.js';
import { openDatabase, type Database } from '../store/database.js';
import { withDatabase } from './open.js';

const LOOK_EVERY_MS = 1_000;
// What nginx refuses may be right later: a name that cannot be resolved yet.
const TRY_AGAIN_AFTER_MS = 30_000;

export interface RenderOptions extends Flags {
  readonly output?: string;
  readonly certificates?: string;
  readonly watch?: boolean;
  readonly reload: string;
}

export async function render(options: RenderOptions): Promise<void> {
  const { output, watch = false } = options;
  if (watch) {
    if (output === undefined) throw new SharderError('settings', '--watch: needs --output FILE');
    await watchBuckets(options, output);
    return;
  }
  const rendered = await withDatabase(options, (database) => renderOnce(database, options));
  for (const why of rendered.leftOut) process.stderr.write(`note: left out ${why}\n`);
  if (output === undefined) process.stdout.write(rendered.text);
  else await replaceFile(output, rendered.text);
}

async function renderOnce(database: Database, options: RenderOptions): Promise<Rendered> {
  return renderNginx(await database.read((knex) => listBuckets(knex)), options);
}

// Until it is told to stop. While the database is down, or what is there now cannot be used, nginx
// keeps what it has.
async function watchBuckets(options: RenderOptions, output: string): Promise<void> {
  const stop = stopSignal();
  const url = readConfig(options, process.env).database;
  let database: Database | undefined;
  let used = readIfThere(output);
  let refused: { readonly text: string; readonly again: number } | undefined;
  let trouble = '';
  while (!stop.aborted) {
    try {
      database ??= await openDatabase(url, { migrate: false });
      const { text, leftOut } = await renderOnce(database, options);
      const isRefused = refused?.text === text && performance.now() < refused.again;
      if (text !== used && !isRefused) {
        refused = { text, again: performance.now() + TRY_AGAIN_AFTER_MS };
        await replaceAndReload(output, text, options.reload);
        used = text;
        for (const why of leftOut) say(`left out ${why}`);
        say(`wrote ${output}, and ran: ${options.reload}`);
      }
      if (text === used) trouble = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== trouble) say(message);
      trouble = message;
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal: stop }).catch(() => undefined);
  }
  await database?.close();
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      stop.abort();
    });
  }
  return stop.signal;
}

function say(what: string): void {
  process.stderr.write(`sharder: ${what}\n`);
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

// What nginx refuses is taken back, so that nginx can be started again at any moment.
async function replaceAndReload(file: string, text: string, command: string): Promise<void> {
  const before = readIfThere(file);
  await replaceFile(file, text);
  const child = spawn(command, { shell: true, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (errors += part));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === 0) return;
  if (before === undefined) await rm(file);
  else await replaceFile(file, before);
  throw new Error(`\`${command}\` failed, and ${file} is as it was: ${errors.trim()}`);
}

// Nobody sees half of a file.
async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.new`;
  await writeFile(draft, text);
  await rename(draft, file);
}
