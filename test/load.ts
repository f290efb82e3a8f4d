// Drives a service as many clients at once do, over keep-alive connections, and records every answer
// that any of them got, to be held against the database afterwards.

import assert from 'node:assert/strict';
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase, type Database } from '../src/index.js';

export interface Reply {
  readonly name: string;
  readonly status: number;
  /** Of an answer; empty otherwise. */
  readonly bucket: string;
  readonly isStale: boolean;
  readonly retryAfter: string | undefined;
  /** The body. */
  readonly text: string;
}

export class Load {
  /** The bucket of each name that was answered. */
  readonly answers = new Map<string, string>();
  /** Answers that differ from an earlier one for the same name. */
  readonly contradictions: string[] = [];
  /** All replies that were no answers. */
  readonly refusals: Reply[] = [];
  /** Replies so far; answers so far; answers so far that were marked stale. */
  readonly counts = { replies: 0, answers: 0, stale: 0, fresh: 0 };
  readonly #connections: number;
  readonly #agent: Agent;
  readonly #identify: (name: string) => Record<string, string>;
  #isStopped = false;

  /** `identify`: the headers that say who asks; for the Sharder itself REMOTE_USER. */
  constructor(
    connections = 64,
    identify: (name: string) => Record<string, string> = (name) => ({ REMOTE_USER: name }),
  ) {
    this.#connections = connections;
    this.#identify = identify;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** Asks once. Rejects when the connection breaks before the reply is complete. */
  ask(url: string, name: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const headers = this.#identify(name);
      const request = get(`${url}/shard`, { agent: this.#agent, headers }, (response) => {
        const { statusCode: status = 0, headers } = response;
        const bucket = status === 200 ? String(headers['x-shard-bucket']) : '';
        const isStale = headers['x-shard-stale'] === '1';
        // From here on the client knows the answer, whatever becomes of the connection.
        if (status === 200) this.#record(name, bucket, isStale);
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => {
          const retryAfter = headers['retry-after'];
          const reply = { name, status, bucket, isStale, retryAfter, text };
          this.counts.replies++;
          if (status !== 200) this.refusals.push(reply);
          resolve(reply);
        });
      });
      request.on('error', reject);
    });
  }

  /**
   * Asks for the names in turn, each connection for the next one as soon as it is answered, spread
   * over the services. Resolves when the names have run out, when `stop` was called, or when every
   * connection has broken; with how many broke.
   */
  async run(urls: string | readonly string[], names: Iterable<string>): Promise<number> {
    const services = [urls].flat();
    const next = names[Symbol.iterator]();
    const connection = async (i: number): Promise<number> => {
      const url = services[i % services.length] ?? '';
      while (!this.#isStopped) {
        const name = next.next();
        if (name.done) break;
        try {
          await this.ask(url, name.value);
        } catch {
          return 1;
        }
      }
      return 0;
    };
    this.#isStopped = false;
    const broken = await Promise.all(
      Array.from({ length: this.#connections }, (_, i) => connection(i)),
    );
    return broken.reduce((sum, n) => sum + n, 0);
  }

  /** Lets `run` end once what is asked already is answered. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Closes the connections, with what is asked on them. */
  close(): void {
    this.stop();
    this.#agent.destroy();
  }

  #record(name: string, bucket: string, isStale: boolean): void {
    const before = this.answers.get(name);
    if (before === undefined) this.answers.set(name, bucket);
    else if (before !== bucket) this.contradictions.push(`${name}: ${before}, then ${bucket}`);
    this.counts.answers++;
    this.counts[isStale ? 'stale' : 'fresh']++;
  }
}

/** `prefix-0`, `prefix-1`, …: so many, or for ever. */
export function* names(prefix: string, count = Infinity): Generator<string> {
  for (let i = 0; i < count; i++) yield `${prefix}-${i}`;
}

/** The same names over and over. */
export function* again(names: readonly string[]): Generator<string> {
  for (;;) yield* names;
}

/** Waits for what has no event. Fails, saying what, when it has not come within the deadline. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > deadline) assert.fail(`it did not come to be: ${what}`);
    await sleep(5);
  }
}

/**
 * Holds answers against the database that `url` names: each is there, no bucket's count is wrong,
 * and unless `isEven` is false no two buckets differ by more than one.
 */
export async function assertKept(
  url: string,
  answers: ReadonlyMap<string, string>,
  { isEven = true } = {},
): Promise<void> {
  const database = await openDatabase(url, { migrate: false });
  try {
    await assertKeptIn(database, answers, isEven);
  } finally {
    await database.close();
  }
}

async function assertKeptIn(
  { engineName, knex }: Database,
  answers: ReadonlyMap<string, string>,
  isEven: boolean,
): Promise<void> {
  const rows: { name: string; bucket: string }[] = await knex('shard').select('name', 'bucket');
  const kept = new Map(rows.map(({ name, bucket }) => [name, bucket]));
  assert.equal(kept.size, rows.length, 'every name is there once');
  const lost = [...answers].filter(([name, bucket]) => kept.get(name) !== bucket);
  assert.deepEqual(lost.slice(0, 5), [], `${lost.length} of ${answers.size} answers are lost`);

  const buckets: { name: string; members: number }[] = await knex('bucket').select(
    'name',
    'members',
  );
  const counted = new Map(buckets.map(({ name }) => [name, 0]));
  for (const { bucket } of rows) counted.set(bucket, (counted.get(bucket) ?? 0) + 1);
  assert.deepEqual(
    Object.fromEntries(buckets.map(({ name, members }) => [name, members])),
    Object.fromEntries(counted),
    'members are counted',
  );
  const sizes = [...counted.values()];
  if (isEven) assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `uneven: ${sizes.join(' ')}`);
  if (engineName === 'sqlite') {
    assert.deepEqual(await knex.raw('pragma integrity_check'), [{ integrity_check: 'ok' }]);
  }
}
