// An undo takes back what a plan has done and nobody has changed since: moves, and the states of
// buckets; and it shows before what it will do.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeUndo } from '../../src/rebalance/make.js';
import * as steps from '../../src/rebalance/steps.js';
import type { Database } from '../../src/index.js';
import { removeBucket, setBucketState } from '../../src/store/buckets.js';
import * as store from '../../src/store/objects.js';
import { listMoves, type Outcome, type Plan } from '../../src/store/plans.js';
import { engines } from '../engines.js';
import { apply, BY, members, plan, undo, withUsers } from './prepare.js';

const drain = { goal: 'drain', buckets: ['hub-0'] } as const;

async function stateOf({ knex }: Database, name: string): Promise<unknown> {
  const states = await knex('bucket').where({ name }).select<unknown[]>('state', 'state_reason');
  return states[0];
}

const afterwards = (outcomes: readonly Outcome[]) =>
  Object.fromEntries(outcomes.map(({ bucket, after }) => [bucket, after]));
const before = (outcomes: readonly Outcome[]) =>
  Object.fromEntries(outcomes.map((each) => [each.bucket, each.before]));

for (const engine of engines) {
  describe(`an undo, on ${engine.name}`, engine.options, () => {
    it('shows what the buckets hold now and will hold, whatever has become of the plan since', async () => {
      const { database } = await withUsers(engine, 40);
      const made = await plan(database, drain);
      const moves = await listMoves(database.knex, made.id, undefined, 100);
      const remove = (i: number) =>
        database.write((trx) => store.removeObject(trx, 'hub', moves[i]?.name ?? '', BY));
      await remove(0); // is skipped
      const done = await apply(database, made);
      await remove(1); // cannot be taken back
      await database.write((trx) => store.removeObject(trx, 'hub', 'user-39', BY));
      const held = await members(database);

      const dry = await makeUndo(database, done.id, BY, { isDry: true });
      const undoing = (await makeUndo(database, done.id, BY)) as Plan;
      assert.deepEqual([dry.moves, dry.detail], [8, undoing.detail]);
      assert.deepEqual(before(dry.detail.outcomes), held);
      await apply(database, undoing);
      assert.deepEqual(await members(database), afterwards(dry.detail.outcomes));
    });

    it('gives a bucket its state back with the reason, and closes it again when it is undone itself', async () => {
      const { database } = await withUsers(engine, 40);
      const by = { ...BY, reason: 'disk is broken' };
      await database.write((trx) => setBucketState(trx, 'hub', 'hub-0', 'cordoned', by));
      const cordoned = await stateOf(database, 'hub-0');
      const done = await apply(database, await plan(database, drain));
      const draining = await stateOf(database, 'hub-0');
      assert.deepEqual(draining, { state: 'draining', state_reason: `plan ${done.id}` });
      const undone = await undo(database, done);
      assert.deepEqual(await stateOf(database, 'hub-0'), cordoned);
      const redone = await undo(database, undone);
      assert.deepEqual([redone.made, await stateOf(database, 'hub-0')], [10, draining]);
      await undo(database, redone);
      assert.deepEqual(await stateOf(database, 'hub-0'), cordoned);
    });

    it('leaves a bucket as somebody has set it since', async () => {
      const { database } = await withUsers(engine, 40);
      const done = await apply(database, await plan(database, drain));
      const by = { ...BY, reason: 'for good' };
      await database.write((trx) => setBucketState(trx, 'hub', 'hub-0', 'cordoned', by));
      await undo(database, done);
      assert.deepEqual(await stateOf(database, 'hub-0'), {
        state: 'cordoned',
        state_reason: 'for good',
      });
    });
  });

  describe(`the drain of several buckets, on ${engine.name}`, engine.options, () => {
    it('leaves out one that was removed before it is applied', async () => {
      const { database } = await withUsers(engine, 30, 3);
      await database.knex('bucket').insert({ kind: 'hub', name: 'empty' });
      const { id } = await plan(database, { goal: 'drain', buckets: ['empty', 'hub-0'] });
      await database.write((trx) => removeBucket(trx, 'hub', 'empty', BY));
      const fast = { rate: 1_000_000, bucketRate: null };
      const started = await database.write((trx) => steps.startPlan(trx, id, fast, BY));
      assert.equal(started.state, 'running');
      assert.deepEqual(await stateOf(database, 'hub-0'), {
        state: 'draining',
        state_reason: `plan ${id}`,
      });
    });
  });
}
