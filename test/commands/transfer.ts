// What the tests of export and import have in common.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from '../../src/index.js';
import { temporaryDirectory } from '../engines.js';
import { run, type Outcome } from './run.js';

export const TIME = '2026-01-02T03:04:05.678Z';

/** Runs a command in a directory with these files. */
export function runWith(
  files: Readonly<Record<string, string | Buffer>>,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const cwd = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  return run(args, { env, cwd });
}

export function importCsv(
  csv: string,
  env: NodeJS.ProcessEnv,
  ...args: string[]
): Promise<Outcome> {
  return runWith({ 'users.csv': csv }, ['import', 'users.csv', ...args], env);
}

export async function objects({ knex }: Database): Promise<Record<string, string>> {
  const rows: { kind: string; name: string; bucket: string }[] = await knex('shard');
  return Object.fromEntries(rows.map(({ kind, name, bucket }) => [`${kind}/${name}`, bucket]));
}

/** All that an export carries. */
export async function everything(env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await run(['export', '--format=ndjson'], { env });
  assert.equal(code, 0, stderr);
  return stdout;
}

export async function assertSound(env: NodeJS.ProcessEnv): Promise<void> {
  const { code, stdout } = await run(['check'], { env });
  assert.equal(code, 0, stdout);
}

export function rows(count: number): string {
  return `user,hub\n${Array.from({ length: count }, (_, i) => `user-${i},hub-${i % 2}\n`).join('')}`;
}
