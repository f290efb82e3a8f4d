// sharder render nginx: the buckets' addresses as a file for nginx, once or whenever they change.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import { readConfig, type Flags } from '../config.js';
import { Hosts } from '../deploy/hosts.js';
import { hostNames, renderNginx, type Rendered } from '../deploy/nginx.js';
import { MAX_PINS, type HashedKind } from '../deploy/nginx-hash.js';
import { SharderError } from '../errors.js';
import { listBuckets } from '../store/buckets.js';
import { openDatabase, type Database } from '../store/database.js';
import { listKindRows } from '../store/kinds.js';
import { openDraft } from './draft.js';
import { refuseDatabase, refuseOwnFiles } from './own-files.js';
import { withDatabase } from './open.js';

const LOOK_EVERY_MS = 1_000;
// What nginx refuses may be right later: when it runs, or the rest of its configuration is mended.
const TRY_AGAIN_AFTER_MS = 30_000;

export interface RenderOptions extends Flags {
  readonly output?: string;
  readonly watch?: boolean;
  readonly reload: string;
}

export async function render(options: RenderOptions): Promise<void> {
  const { output, watch = false } = options;
  if (output !== undefined) {
    refuseOwnFiles(readConfig(options, process.env).database, output, [draftOf(output)]);
    refuseDatabase(output);
  }
  if (watch) {
    if (output === undefined) throw new SharderError('settings', '--watch: needs --output FILE');
    await watchBuckets(options, output);
    return;
  }
  const hosts = new Hosts(output === undefined ? undefined : readIfThere(output));
  const rendered = await withDatabase(options, (database) => renderOnce(database, hosts));
  for (const why of rendered.leftOut) process.stderr.write(`note: left out ${why}\n`);
  if (output === undefined) process.stdout.write(rendered.text);
  else await replaceFile(output, rendered.text);
}

async function renderOnce(database: Database, hosts: Hosts): Promise<Rendered> {
  const { buckets, kinds, hashed } = await database.read(async (knex) => ({
    buckets: await listBuckets(knex),
    kinds: await listKindRows(knex),
    hashed: await readHashed(knex),
  }));
  const cookies = {
    kinds: kinds.filter((each) => each.settings.cookie && each.settings.key === 'user').map(nameOf),
    keys: kinds.flatMap(({ settings: { key } }) => (key === 'user' ? [] : (key.cookie ?? []))),
  };
  // Without one bucket's address the whole kind would be gone.
  const isHashed = ({ kind }: { kind: string }) => hashed.some((each) => each.kind === kind);
  const kept = hostNames(buckets.filter(isHashed));
  return renderNginx(buckets, await hosts.resolve(hostNames(buckets), kept), hashed, cookies);
}

const nameOf = ({ name }: { readonly name: string }): string => name;

// With its pins, of which one more is read than the file may have.
async function readHashed(knex: Knex): Promise<HashedKind[]> {
  const kinds = (await listKindRows(knex)).filter(({ policy }) => policy === 'hash');
  const hashed: HashedKind[] = [];
  for (const { name: kind, settings } of kinds) {
    const rows = await knex('shard')
      .where({ kind })
      .orderBy('name')
      .limit(MAX_PINS + 1)
      .select<{ name: string; bucket: string }[]>('name', 'bucket');
    hashed.push({ kind, settings, pins: new Map(rows.map(({ name, bucket }) => [name, bucket])) });
  }
  return hashed;
}

// Until it is told to stop. While the database is down, or what is there now cannot be used, nginx
// keeps what it has.
async function watchBuckets(options: RenderOptions, output: string): Promise<void> {
  const stop = stopSignal();
  const url = readConfig(options, process.env).database;
  let database: Database | undefined;
  let used = readIfThere(output);
  let refused: { readonly text: string; readonly again: number } | undefined;
  const hosts = new Hosts(used);
  let trouble = '';
  let leftOutBefore = '';
  while (!stop.aborted) {
    try {
      database ??= await openDatabase(url, { migrate: false });
      const { text, leftOut } = await renderOnce(database, hosts);
      if (leftOut.join() !== leftOutBefore) for (const why of leftOut) say(`left out ${why}`);
      leftOutBefore = leftOut.join();
      const isRefused = refused?.text === text && performance.now() < refused.again;
      if (text !== used && !isRefused) {
        refused = { text, again: performance.now() + TRY_AGAIN_AFTER_MS };
        await replaceAndReload(output, text, options.reload);
        used = text;
        say(`wrote ${output}, and ran: ${options.reload}`);
      }
      if (text === used) trouble = '';
    } catch (error) {
      // No database comes to be there: another one is meant.
      if (!database && error instanceof SharderError && error.code === 'settings') throw error;
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

// What nginx refuses is taken back. Where it refuses what was there before as well, the fault is not in
// this file (nginx does not run, say), and the new one stays.
async function replaceAndReload(file: string, text: string, command: string): Promise<void> {
  const before = readIfThere(file);
  await replaceFile(file, text);
  const errors = await failure(command);
  if (errors === undefined) return;
  if (before !== undefined && before !== text) {
    await replaceFile(file, before);
    if ((await failure(command)) === undefined) {
      throw new Error(`\`${command}\` failed, and ${file} is as it was: ${errors}`);
    }
    await replaceFile(file, text);
  }
  throw new Error(`wrote ${file}, but \`${command}\` fails: ${errors}`);
}

/** What a shell's command says on stderr when it fails. */
async function failure(command: string): Promise<string | undefined> {
  const child = spawn(command, { shell: true, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (errors += part));
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0 ? undefined : errors.trim();
}

function draftOf(file: string): string {
  return `${file}.new`;
}

// nginx reads it, and it names no user.
const PUBLIC_FILE = 0o644;

// Nobody sees half of a file.
async function replaceFile(file: string, text: string): Promise<void> {
  const draft = draftOf(file);
  const handle = await openDraft(draft, PUBLIC_FILE);
  try {
    await handle.writeFile(text);
    const there = statSync(file, { throwIfNoEntry: false });
    if (there) await handle.chmod(there.mode & 0o777);
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
