// Processes that come and go have each another index, out of as many as they are: over a service, and
// straight on the database.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, describe, it } from 'node:test';
import { SharderClient, ShardRegistrar, type ShardInfo } from '../../src/client/index.js';
import { engines, open } from '../engines.js';
import { start } from '../http/start.js';

const TOKEN = 'a-token-for-the-workers-of-this-test-0123456789';
const FAST = { cluster: 'queue', heartbeatInterval: 0.1, gracePeriod: 0, reshardInterval: 0 };

const started = new Set<ShardRegistrar>();
after(() => Promise.all([...started].map((each) => each.stop())));

/** A process's registrar, and what it is told. */
class Process {
  readonly registrar: ShardRegistrar;
  #info: ShardInfo | undefined;

  constructor(address: ConstructorParameters<typeof ShardRegistrar>[0]) {
    this.registrar = new ShardRegistrar(address);
    started.add(this.registrar);
    this.registrar.on('shardChanged', (info) => (this.#info = info));
    this.registrar.on('error', () => undefined);
  }

  /** Resolves when it is told just this. */
  async is(shard: number, numShards: number): Promise<void> {
    while (this.#info?.shard !== shard || this.#info.numShards !== numShards) {
      await once(this.registrar, 'shardChanged');
    }
    assert.deepEqual(this.registrar.shardInfo(), { shard, numShards });
  }

  async stop(): Promise<void> {
    started.delete(this.registrar);
    await this.registrar.stop();
    this.#info = undefined;
  }
}

describe('a registrar whose token may hold leases alone', () => {
  const LEASE_TOKEN = TOKEN.toUpperCase();
  const adminTokens = [
    { name: 'ops', scope: 'write', token: TOKEN },
    { name: 'workers', scope: 'lease', token: LEASE_TOKEN },
  ] as const;

  it('has its place in a cluster that is there, and is told where there is none', async () => {
    const { url } = await start({ adminTokens });
    const client = new SharderClient({ url, token: TOKEN });
    await client.createKind({ kind: 'queue', leased: true, cookie: false });
    const process = new Process({ ...FAST, url, token: LEASE_TOKEN, name: 'a' });
    await process.registrar.start();
    await process.is(0, 1);
    await process.stop();

    const other = new ShardRegistrar({ ...FAST, url, token: LEASE_TOKEN, cluster: 'other' });
    const failed = once(other, 'error') as Promise<[{ code: string }]>;
    await other.start();
    const [{ code }] = await failed;
    assert.equal(code, 'unknown_kind');
    await other.stop();
  });
});

for (const engine of engines) {
  const places = {
    'over a service': async () => {
      const { url } = await start({ engine, adminTokens: [{ name: 'w', scope: 'write', token: TOKEN }] }); // prettier-ignore
      return { url, token: TOKEN };
    },
    'straight on the database': async () => {
      const database = await engine.createDatabase();
      await open(database);
      return { database };
    },
  };
  for (const [where, prepare] of Object.entries(places)) {
    describe(`a registrar, ${where}, on ${engine.name}`, engine.options, () => {
      it('0 of 1, 0 and 1 of 2, one leaves, 0 of 1, it comes back, 1 of 2, then three', async () => {
        const address = await prepare();
        const [a, b, c] = ['a', 'b', 'c'].map((name) => new Process({ ...FAST, ...address, name }));
        if (!a || !b || !c) throw new Error();
        await a.registrar.start();
        await a.is(0, 1);
        await b.registrar.start();
        await Promise.all([a.is(0, 2), b.is(1, 2)]);
        await b.stop();
        assert.equal(b.registrar.shardInfo(), undefined);
        await a.is(0, 1);
        const again = new Process({ ...FAST, ...address, name: 'b' });
        await again.registrar.start();
        await Promise.all([a.is(0, 2), again.is(1, 2)]);
        await c.registrar.start();
        await Promise.all([a.is(0, 3), again.is(1, 3), c.is(2, 3)]);
        for (const each of [a, again, c]) await each.stop();
      });

      it('one that dies without a word is gone when its lease has ended, and the last takes its place', async () => {
        const address = await prepare();
        const [a, b, c] = ['a', 'b', 'c'].map((name) => new Process({ ...FAST, ...address, name }));
        if (!a || !b || !c) throw new Error();
        for (const each of [a, b, c]) await each.registrar.start();
        await c.is(2, 3);
        started.delete(b.registrar);
        await b.registrar.stop({ unregister: false });
        await Promise.all([a.is(0, 2), c.is(1, 2)]);
        for (const each of [a, c]) await each.stop();
      });
    });
  }
}
