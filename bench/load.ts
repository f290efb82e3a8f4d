// Load on a server: wrk with one thread where it is on the PATH, else autocannon.

import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startProcess, type Core } from './processes.js';

/** Whose names the requests bear. */
export type Names =
  /** user-00000001 and so on, from `first`: each once. */
  | { readonly how: 'ordered'; readonly first: number }
  /** Sixteen hexadecimal digits, each once. */
  | { readonly how: 'random' }
  /** Drawn at random from the first `count` of those in order. */
  | { readonly how: 'known'; readonly count: number }
  /** In the path, /users/NAME/, and in no header: drawn from the first `count` of those in order. */
  | { readonly how: 'path'; readonly count: number }
  /** Drawn at random from a file: for each user a line, `Authorization`, a tab and `Cookie`. */
  | { readonly how: 'file'; readonly file: string };

export interface Load {
  readonly url: string;
  readonly connections: number;
  readonly names: Names;
}

export interface LoadResult {
  /** Answered with 200. */
  readonly requests: number;
  readonly seconds: number;
  /** No more names than that were sent. */
  readonly issued: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

// Past this wrk ends by itself, and what was not answered counts as failed.
const LONGEST = '900s';

/**
 * Puts load on a server until what `until` returns resolves; it is called when the first answers are
 * there. Rejects if any response was not 200.
 */
export async function putLoad(
  core: Core,
  hasWrk: boolean,
  { url, connections, names }: Load,
  until: () => Promise<unknown>,
): Promise<LoadResult> {
  const which = [names.how, argumentOf(names)];
  const [command, args] = hasWrk
    ? [
        'wrk',
        ['-t1', `-c${connections}`, '-d', LONGEST, '-s', path('./names.lua'), url, '--', ...which],
      ]
    : [
        process.execPath,
        ['--import', 'tsx', path('./autocannon.ts'), url, String(connections), ...which],
      ];
  const child = startProcess(core, command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  if (!child.stdout || !child.stderr) throw new Error('no stdout');
  const output = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  // Before that, wrk would die of the signal.
  const started = once(child.stderr, 'data').then(until);
  try {
    await Promise.race([started, output]);
  } finally {
    child.kill('SIGINT');
  }
  const [stdout, stderr] = await output;

  const line = /^\{.*\}$/m.exec(stdout)?.[0];
  if (line === undefined) throw new Error(`the load failed: ${stdout}${stderr}`);
  const { failures, ...result } = JSON.parse(line) as LoadResult & { failures: number };
  if (failures > 0 || result.requests === 0) {
    throw new Error(`${failures} responses were not 200, ${result.requests} in all`);
  }
  return result;
}

function argumentOf(names: Names): string {
  if (names.how === 'ordered') return String(names.first);
  if (names.how === 'known' || names.how === 'path') return String(names.count);
  if (names.how === 'file') return names.file;
  return String(Math.floor(Math.random() * 2 ** 31));
}
