// Renewals that come at about the same time are one transaction, and none suffers from another.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LeaseClaim } from '../../src/workers/leases.js';
import { claimLease } from '../../src/workers/leases.js';
import { Renewals } from '../../src/workers/renewals.js';
import { engines, type TestEngine } from '../engines.js';
import { KIND, start as startKind } from './prepare.js';

const BUCKETS = ['c', 'a', 'b'];

/** Three leases, and how they are renewed together. */
async function start(engine: TestEngine) {
  const { database } = await startKind(engine);
  const { renew } = new Renewals(database);
  const epochs = new Map<string, number>();
  for (const bucket of BUCKETS) {
    const { epoch } = await claimLease(database, KIND, bucket, { holder: bucket, ttl: 10 });
    epochs.set(bucket, epoch);
  }
  const claim = (bucket: string, says: Partial<LeaseClaim> = {}) => {
    const mine = { holder: bucket, epoch: epochs.get(bucket), ttl: 10, ...says };
    return claimLease(database, KIND, bucket, mine, { renew });
  };
  // What is due after three have come is done.
  for (const bucket of BUCKETS) await claim(bucket);
  let written = 0;
  database.onWrite = (phase) => {
    if (phase === 'written') written++;
  };
  return { database, claim, written: () => written };
}

const REFUSE = {
  sqlite: [
    `create trigger refuse before update on lease when new.load = 666
      begin select raise(abort, 'refused'); end`,
  ],
  postgres: ['alter table lease add check (load is null or load <> 666)'],
} as const;

for (const engine of engines) {
  describe(`renewals, on ${engine.name}`, engine.options, () => {
    it('that come together are one transaction, and each is told of its own', async () => {
      const { claim, written } = await start(engine);
      const renewed = await Promise.all(BUCKETS.map((bucket, i) => claim(bucket, { ttl: 20 + i })));
      assert.deepEqual(
        renewed.map(({ bucket, ttl, index, count, is_new }) => [bucket, ttl, index, count, is_new]),
        [
          ['c', 20, 0, 3, false],
          ['a', 21, 1, 3, false],
          ['b', 22, 2, 3, false],
        ],
      );
      assert.equal(written(), 1);
    });

    it('of a lease that is lost are refused, and the others renewed', async () => {
      const { claim } = await start(engine);
      const [c, a, b] = await Promise.allSettled([
        claim('c'),
        claim('a', { epoch: 0 }),
        claim('b'),
      ]);
      assert.deepEqual([c.status, b.status], ['fulfilled', 'fulfilled']);
      assert.equal(a.status === 'rejected' && (a.reason as { code: string }).code, 'lease_lost');
    });

    it('that the database refuses for what one of them says are renewed one by one', async () => {
      const { database, claim } = await start(engine);
      for (const statement of REFUSE[engine.name]) await database.knex.raw(statement);
      const [c, a, b] = await Promise.allSettled([
        claim('c'),
        claim('a', { load: 666 }),
        claim('b'),
      ]);
      assert.deepEqual([c.status, a.status, b.status], ['fulfilled', 'rejected', 'fulfilled']);
    });

    it('of a worker that waits for its place bring it, though another came first', async () => {
      const { database, claim } = await start(engine);
      await database.knex('lease').where({ bucket: 'b' }).update({ place: null });
      const [, b] = await Promise.all([claim('c'), claim('b')]);
      assert.deepEqual([b.index, b.count], [2, 3]);
    });
  });
}
