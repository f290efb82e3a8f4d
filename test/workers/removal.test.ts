// A bucket that a worker holds stays; and nobody is told of foreign keys.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SharderError, type Database } from '../../src/index.js';
import { addBucket, listBuckets, removeBucket } from '../../src/store/buckets.js';
import { createKind, removeKind } from '../../src/store/kinds.js';
import { listLeases } from '../../src/store/leases.js';
import { claimLease, releaseLease } from '../../src/workers/leases.js';
import { registerObjects } from '../../src/workers/register.js';
import { lastChange } from '../commands/prepare.js';
import { engines, open, type TestEngine } from '../engines.js';

const BY = { actor: 'ops' };
const KIND = 'queue';

/** A leased kind with the bucket `a`, and a worker that has it. */
async function start(engine: TestEngine) {
  const database = await open(await engine.createDatabase());
  await database.write(async (trx) => {
    await createKind(trx, KIND, { settings: { leased: true, reshard_interval: 0 } }, BY);
    await addBucket(trx, KIND, 'a', {}, BY);
  });
  const lease = await claimLease(database, KIND, 'a', { holder: 'me', ttl: 10 });
  return {
    database,
    lease,
    remove: () => database.write((trx) => removeBucket(trx, KIND, 'a', BY)),
    removeAll: () => database.write((trx) => removeKind(trx, KIND, BY)),
  };
}

/** The lease has ended a second ago. */
async function end({ knex }: Database): Promise<void> {
  await knex('lease').update({ expires_at: new Date(Date.now() - 1_000).toISOString() });
}

async function refusal(work: Promise<unknown>): Promise<SharderError> {
  const error: unknown = await work.then(
    () => undefined,
    (why: unknown) => why,
  );
  assert.equal(error instanceof SharderError, true, String(error));
  return error as SharderError;
}

for (const engine of engines) {
  describe(`what workers hold, on ${engine.name}`, engine.options, () => {
    it('a bucket whose lease runs is not removed, and what to do is said', async () => {
      const { database, remove } = await start(engine);
      const { code, message } = await refusal(remove());
      assert.equal(code, 'lease_held');
      assert.match(
        message,
        /^bucket a of kind queue is leased until 20.*Z: stop its worker, or .*`sharder lease release a --kind queue`/,
      );
      assert.equal((await listLeases(database.knex, KIND)).length, 1);
    });

    it('a bucket that a worker has, with objects, is emptied as a worker is', async () => {
      const { database, remove } = await start(engine);
      await database.write((trx) => registerObjects(trx, KIND, [{ name: 'x' }], BY));
      const { code, message } = await refusal(remove());
      assert.deepEqual(
        [code, message],
        [
          'not_empty',
          'bucket a of kind queue holds 1 object: empty it first (`sharder lease drain a --kind queue`)',
        ],
      );
    });

    it('a bucket whose lease was given back is removed', async () => {
      const { database, lease, remove } = await start(engine);
      const { holder, epoch } = lease;
      await database.write((trx) => releaseLease(trx, KIND, 'a', { holder, epoch }));
      await remove();
      assert.deepEqual(await listBuckets(database.knex, KIND), []);
    });

    it('a bucket whose lease has ended is removed with it, and both are in the history', async () => {
      const { database, lease, remove } = await start(engine);
      await end(database);
      await remove();
      assert.deepEqual(await listBuckets(database.knex, KIND), []);
      assert.deepEqual(await listLeases(database.knex, KIND), []);
      assert.equal((await lastChange(database)).action, 'bucket remove');
      const [line] = await database
        .knex('change')
        .where({ action: 'lease lapse' })
        .select<{ to_bucket: string; detail: unknown }[]>('to_bucket', 'detail');
      const detail = line?.detail;
      assert.equal(line?.to_bucket, 'a');
      assert.deepEqual(typeof detail === 'string' ? JSON.parse(detail) : detail, {
        epoch: lease.epoch,
      });
    });

    it('the others go on, and divide its part among them', async () => {
      const { database, remove } = await start(engine);
      const b = await claimLease(database, KIND, 'b', { holder: 'b', ttl: 10 });
      assert.deepEqual([b.index, b.count], [1, 2]);
      await database
        .knex('lease')
        .where({ bucket: 'a' })
        .update({ expires_at: new Date(Date.now() - 1_000).toISOString() });
      await remove();
      const { holder, epoch } = b;
      const now = await claimLease(database, KIND, 'b', { holder, epoch, ttl: 10 });
      assert.deepEqual([now.index, now.count], [0, 1]);
    });

    it('a kind with registered objects is not removed, and how many there are is said', async () => {
      const { database, remove, removeAll } = await start(engine);
      await end(database);
      await remove();
      const row = { kind: KIND, spec: '{}', pin_rule: 'any', weight: 1 };
      await database.knex('spec').insert([
        { ...row, name: 'iana' },
        { ...row, name: 'brian' },
      ]);
      const { code, message } = await refusal(removeAll());
      assert.deepEqual(
        [code, message],
        ['not_empty', 'kind queue has 2 registered objects: remove them first'],
      );
      await database.knex('spec').delete();
      await removeAll();
      assert.deepEqual(await database.knex('kind'), []);
    });
  });
}
