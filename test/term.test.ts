// A term of an operator: term.sh, while users keep asking. Nobody is told two buckets, but where the
// history has a move.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { directoryWith } from './commands/run.js';
import { engines, needsPostgres, open, temporaryDirectory } from './engines.js';
import { freePort } from './postgres.js';
import { CLI, Service } from './service.js';

const SCRIPT = fileURLToPath(new URL('term.sh', import.meta.url));
const TOKEN = 't'.repeat(40);
const YAML = 'kinds: { hub: { buckets: [hub-0, hub-1, hub-2, hub-3] } }';

const bin = temporaryDirectory();
writeFileSync(join(bin, 'sharder'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`, {
  mode: 0o755,
});

/** A service that somebody starts again when it dies, at the same address. */
class Supervised {
  #service: Service | undefined;
  #isStopping = false;
  readonly url: string;
  readonly #cwd: string;
  readonly #database: string;
  readonly #port: number;

  constructor(database: string, port: number) {
    this.#database = database;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#cwd = directoryWith(YAML);
  }

  async start(): Promise<void> {
    const service = await Service.start(this.#database, {
      cwd: this.#cwd,
      args: ['--listen', `127.0.0.1:${this.#port}`],
      env: { SHARDER_ADMIN_TOKEN: `ops=${TOKEN}` },
    });
    this.#service = service;
    writeFileSync(join(this.#cwd, 'service.pid'), String(service.process.pid));
    service.process.once('exit', () => {
      if (!this.#isStopping) void this.start();
    });
  }

  get directory(): string {
    return this.#cwd;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#service?.stop();
  }
}

/** The buckets that a user was told, each as often as it was another. */
type Told = Map<string, string[]>;

function ask(url: string, name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(`${url}/shard`, { headers: { REMOTE_USER: name } }, (response) => {
      response.resume();
      response.once('close', () => {
        const bucket = response.headers['x-shard-bucket'];
        resolve(response.statusCode === 200 ? String(bucket) : undefined);
      });
    });
    request.once('error', () => {
      resolve(undefined); // the service has died, and will come again
    });
  });
}

/** Users who ask until they are told to go, one after the other; some of them are new. */
async function askOn(url: string, told: Told, mayGo: () => boolean, first: number): Promise<void> {
  for (let i = first; !mayGo(); i++) {
    const known = 10 + ((i * 7_919) % 19_990); // not those who are renamed and merged
    const name = i % 10 === 0 ? `new-${first}-${i}` : `user-${String(known).padStart(5, '0')}`;
    const bucket = await ask(url, name);
    if (bucket === undefined) await turn();
    else {
      const buckets = told.get(name) ?? [];
      if (buckets.at(-1) !== bucket) told.set(name, [...buckets, bucket]);
    }
  }
}

for (const [engine, other] of [engines, engines.toReversed()]) {
  if (!engine || !other) throw new Error('no engine');
  describe(`from ${engine.name} to ${other.name}, while users keep asking`, needsPostgres, () => {
    it('a hub comes with a ramp, one is drained through a crash, and that is undone', async () => {
      const url = await engine.createDatabase();
      const service = new Supervised(url, await freePort());
      await service.start();
      const told: Told = new Map();
      const script = spawn(SCRIPT, {
        cwd: service.directory,
        env: {
          PATH: `${bin}:${process.env.PATH ?? ''}`,
          SHARDER_URL: service.url,
          SHARDER_TOKEN: TOKEN,
          OTHER_DATABASE_URL: await other.createDatabase(),
        },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const exited = once(script, 'exit');
      let mayGo = false;
      let asking: Promise<void>[] = [];
      let last = '';
      for await (const line of createInterface({ input: script.stdout })) {
        if (line === 'users may come') {
          asking = Array.from({ length: 4 }, (_, i) =>
            askOn(service.url, told, () => mayGo, i * 1_000_000),
          );
        }
        if (line === 'users may go') {
          mayGo = true;
          await Promise.all(asking);
          script.stdin.end('they are gone\n');
        }
        last = line;
      }
      mayGo = true;
      assert.deepEqual([await exited, last], [[0, null], 'all is as it should be']);
      await service.stop();

      // Whoever was told several buckets was moved in between, to each of them.
      const database = await open(url);
      const moves = await database
        .knex('change')
        .where({ kind: 'hub', action: 'object move' })
        .orderBy('id')
        .select<{ name: string; from_bucket: string; to_bucket: string }[]>(
          'name',
          'from_bucket',
          'to_bucket',
        );
      const was = new Map<string, string[]>();
      for (const { name, from_bucket, to_bucket } of moves) {
        was.set(name, [...(was.get(name) ?? [from_bucket]), to_bucket]);
      }
      let several = 0;
      for (const [name, buckets] of told) {
        if (buckets.length > 1) several++;
        assert.equal(isInOrder(buckets, was.get(name) ?? buckets.slice(0, 1)), true, name);
      }
      assert.equal(told.size > 1_000, true, `${told.size} users have asked`);
      assert.equal(several > 0, true, 'nobody was moved who has asked before and after');
    });
  });
}

/** Whether all of `some` stand in `all`, in this order. */
function isInOrder(some: readonly string[], all: readonly string[]): boolean {
  let at = 0;
  for (const each of all) if (each === some[at]) at++;
  return at === some.length;
}
