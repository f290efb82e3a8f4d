// sharder check knows what must be so of workers, and of the objects that follow them.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openDatabase } from '../../src/index.js';
import { checkDatabase } from '../../src/store/check.js';
import { createKind } from '../../src/store/kinds.js';
import { claimLease } from '../../src/workers/leases.js';
import { registerObjects } from '../../src/workers/register.js';
import { engines, open, type TestEngine } from '../engines.js';

const KIND = 'queue';
const BY = { actor: 'test' };

/** Two objects of worker `a`, and one that waits; and what `damage` makes of them. */
async function faultsAfter(engine: TestEngine, damage?: string) {
  const url = await engine.createDatabase();
  const database = await open(url);
  const settings = { leased: true, reshard_interval: 0 };
  await database.write((trx) => createKind(trx, KIND, { settings }, BY));
  await claimLease(database, KIND, 'a', { holder: 'a', ttl: 60 });
  const wishes = [{ name: 'x' }, { name: 'y' }, { name: 'z', group: 'gpu' }];
  await database.write((trx) => registerObjects(trx, KIND, wishes, BY));
  await claimLease(database, KIND, 'b', { holder: 'b', ttl: 60 });
  if (damage !== undefined) await database.knex.raw(damage);
  const bulk = await openDatabase(url, { isBulk: true });
  try {
    const { faults } = await checkDatabase(bulk);
    return faults.map(({ rule, bucket, name, message }) => [rule, bucket, name, message]);
  } finally {
    await bulk.close();
  }
}

for (const engine of engines) {
  describe(`sharder check of workers, on ${engine.name}`, engine.options, () => {
    it('finds nothing wrong where nothing is', async () => {
      assert.deepEqual(await faultsAfter(engine), []);
    });

    for (const [what, damage, expected] of [
      [
        'an object that is to be owned, and is in no bucket',
        `delete from shard where name = 'x'`,
        ['spec', null, 'x', 'it is adding, and no worker has it'],
      ],
      [
        'an object that waits, and has an epoch',
        `update spec set state = 'waiting', bucket = null where name = 'x'`,
        ['spec', 'a', 'x', /^it waits for a worker, and has epoch \d+$/],
      ],
      [
        'an object that stands in the bucket of another worker',
        `update shard set bucket = 'b' where name = 'x'`,
        ['spec', 'b', 'x', 'it is adding with a, and stands in b'],
      ],
      [
        'an object that has a worker, and no epoch',
        `update spec set epoch = null where name = 'x'`,
        ['spec', 'a', 'x', 'it is adding, and has no epoch'],
      ],
    ] as const) {
      it(`finds ${what}`, async () => {
        const [fault, ...others] = await faultsAfter(engine, damage);
        const [rule, bucket, name, message] = expected;
        assert.deepEqual([fault?.slice(0, 3), others], [[rule, bucket, name], []]);
        assert.match(String(fault?.[3]), typeof message === 'string' ? new RegExp(message) : message); // prettier-ignore
      });
    }

    it('finds objects whose worker has no lease, which nobody would ever free', async () => {
      assert.deepEqual(await faultsAfter(engine, 'delete from lease'), [
        ['spec', 'a', 'x', 'it is adding, and nobody has the lease of its bucket'],
        ['spec', 'a', 'y', 'it is adding, and nobody has the lease of its bucket'],
      ]);
    });

    it('finds workers, and objects that follow them, of a kind that is not leased', async () => {
      assert.deepEqual(await faultsAfter(engine, `update kind set settings = '{}'`), [
        [
          'leased',
          null,
          null,
          'it has 3 registered objects, and is not leased: nobody looks after them',
        ],
        ['leased', null, null, 'it has 2 workers, and is not leased: nobody looks after them'],
      ]);
    });
  });
}
