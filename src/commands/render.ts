// sharder render nginx: the buckets' addresses as a file for nginx, once or whenever they change.

import { spawn } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig, type Flags } from '../config.js';
import { addressesIn, hostNames, renderNginx, type Rendered } from '../deploy/nginx.js';
import { SharderError } from '../errors.js';
import { listBuckets } from '../store/buckets.js';
import { openDatabase, type Database } from '../store/database.js';
import { withDatabase } from './open.js';

const LOOK_EVERY_MS = 1_000;
const RESOLVE_EVERY_MS = 10_000;
// What nginx refuses may be right later: when it runs, or the rest of its configuration is mended.
const TRY_AGAIN_AFTER_MS = 30_000;

export interface RenderOptions extends Flags {
  readonly output?: string;
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
  const hosts = new Hosts(output === undefined ? undefined : readIfThere(output));
  const rendered = await withDatabase(options, (database) => renderOnce(database, hosts));
  for (const why of rendered.leftOut) process.stderr.write(`note: left out ${why}\n`);
  if (output === undefined) process.stdout.write(rendered.text);
  else await replaceFile(output, rendered.text);
}

async function renderOnce(database: Database, hosts: Hosts): Promise<Rendered> {
  const buckets = await database.read((knex) => listBuckets(knex));
  return renderNginx(buckets, await hosts.resolve(hostNames(buckets)));
}

/** Names of hosts and their addresses, each asked for again when it is too old. */
class Hosts {
  readonly #known: Map<string, { readonly addresses: string[]; readonly until: number }>;

  /** `before`: what was written last, which holds while the name servers do not answer. */
  constructor(before = '') {
    const entries = [...addressesIn(before)];
    this.#known = new Map(entries.map(([name, addresses]) => [name, { addresses, until: 0 }]));
  }

  /** In order, so that the same addresses make the same file. */
  async resolve(names: ReadonlySet<string>): Promise<Map<string, string[]>> {
    const now = performance.now();
    await Promise.all(
      [...names].map(async (name) => {
        const known = this.#known.get(name);
        if (known !== undefined && known.until > now) return;
        const addresses = (await addressesOf(name)) ?? known?.addresses ?? [];
        this.#known.set(name, { addresses, until: now + RESOLVE_EVERY_MS });
      }),
    );
    return new Map([...names].map((name) => [name, this.#known.get(name)?.addresses ?? []]));
  }
}

/** None when there is no such name, undefined when that cannot be said now. */
async function addressesOf(name: string): Promise<string[] | undefined> {
  try {
    const found = await lookup(name, { all: true });
    return found.map(({ address }) => address).sort();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAI_AGAIN' ? undefined : [];
  }
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

// Nobody sees half of a file.
async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.new`;
  await writeFile(draft, text);
  await rename(draft, file);
}
