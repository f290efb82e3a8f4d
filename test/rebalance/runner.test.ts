// Moves are made as fast as the rates allow, by one runner at a time, which goes on after every error.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeMoves } from '../../src/rebalance/batch.js';
import { PlanRunner, runPlan } from '../../src/rebalance/runner.js';
import * as steps from '../../src/rebalance/steps.js';
import type { Database } from '../../src/index.js';
import { lockKind } from '../../src/store/kinds.js';
import { pinObject } from '../../src/store/objects.js';
import { readWaiting, writeMade } from '../../src/store/plan-moves.js';
import { listMoves, type Plan } from '../../src/store/plans.js';
import { engines, type TestEngine } from '../engines.js';
import { BY, FAST, plan, withUsers } from './prepare.js';

const RUNNER = { id: 'test', seconds: 1_000 };
// Where all of a plan's moves were compared with those of a batch it would take longer.
const LIMIT = { timeout: 10_000 };

/** The drain of hub-0, with half of this many moves, that is running. */
async function draining(engine: TestEngine, users: number, rates: steps.Rates = FAST) {
  const { database } = await withUsers(engine, users, 2);
  const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
  const started = await database.write((trx) => steps.startPlan(trx, id, rates, BY));
  return { database, started };
}

/** A plan with 20 moves from hub-0 to hub-2, and then 20 from hub-1 to hub-3. */
async function oneAfterTheOther(engine: TestEngine) {
  const { database } = await withUsers(engine, 80);
  const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0', 'hub-1'] });
  const of = async (bucket: string) => {
    const names = await database
      .knex('shard')
      .where({ bucket })
      .orderBy('id')
      .pluck<string[]>('name');
    return names.map((name) => ({ name, from_bucket: bucket }));
  };
  const moves = [...(await of('hub-0')), ...(await of('hub-1'))].map((move, seq) => {
    return { ...move, plan: id, seq, to_bucket: seq < 20 ? 'hub-2' : 'hub-3' };
  });
  await database.knex('plan_move').where({ plan: id }).delete();
  await database.knex('plan_move').insert(moves);
  const started = await database.write((trx) => steps.startPlan(trx, id, FAST, BY));
  const batch = (looks: number, allowed: Readonly<Record<string, number>>) =>
    database.write((trx) =>
      makeMoves(trx, started, RUNNER, { moves: 5, looks, of: (bucket) => allowed[bucket] ?? 9 }),
    );
  return { database, started, batch };
}

for (const engine of engines) {
  describe(`a batch, on ${engine.name}`, engine.options, () => {
    it('reaches behind moves that wait for their buckets, but does not look at all that wait', async () => {
      const { batch, started, database } = await oneAfterTheOther(engine);
      const near = await batch(20, { 'hub-0': 0 });
      assert.deepEqual([near.made, near.isHeldBack, near.isOver], [0, true, false]);
      const far = await batch(40, { 'hub-0': 1 });
      assert.deepEqual([far.made, far.used.get('hub-0'), far.used.get('hub-1')], [5, 1, 4]);
      const all = { ...started, bucket_rate: 1_000 };
      const done = await runPlan(database, all, { runner: RUNNER.id });
      assert.deepEqual([done.state, done.made], ['done', 40]);
    });

    it('that makes the last move says that the plan is done, also where it was as large as allowed', async () => {
      const { database, started } = await draining(engine, 20);
      const of = () => Infinity;
      const five = () =>
        database.write((trx) => makeMoves(trx, started, RUNNER, { moves: 5, looks: 5, of }));
      assert.deepEqual([(await five()).plan.state, (await five()).plan.state], ['running', 'done']);
    });

    it('that makes the last move says so while other buckets wait for their turn', async () => {
      const { batch } = await oneAfterTheOther(engine);
      for (let i = 0; i < 4; i++) await batch(40, { 'hub-0': 0, 'hub-1': 5, 'hub-3': 5 });
      for (let i = 0; i < 3; i++) await batch(40, { 'hub-1': 0 });
      assert.equal((await batch(40, { 'hub-1': 0 })).plan.state, 'done');
    });

    it('counts what it skips by why, with the plan', async () => {
      const { database, started } = await draining(engine, 20);
      const [one, two, three] = await listMoves(database.knex, started.id, undefined, 10);
      await database.knex('shard').where({ name: one?.name }).delete();
      await database.knex('shard').where({ name: three?.name }).delete();
      await database.write(async (trx) =>
        pinObject(trx, await lockKind(trx, 'hub'), two?.name ?? '', true, BY),
      );
      const of = () => Infinity;
      const few = { moves: 2, looks: 2, of };
      const first = await database.write((trx) => makeMoves(trx, started, RUNNER, few));
      assert.deepEqual(first.plan.why_skipped, { gone: 1, pinned: 1 });
      const done = await runPlan(database, started, { runner: RUNNER.id });
      assert.deepEqual([done.skipped, done.why_skipped], [3, { gone: 2, pinned: 1 }]);
    });

    it('leaves an object where somebody puts it, or pins it, past the kind’s lock at that moment', async () => {
      const { database, started } = await draining(engine, 20);
      await database.knex('bucket').insert({ kind: 'hub', name: 'other' });
      const [moved = '', pinned = ''] = await database.write(async (trx) => {
        const { version } = await lockKind(trx, 'hub');
        const waiting = await readWaiting(trx, started, 10);
        const [one, two] = waiting.map(({ name }) => name);
        await trx('shard').where({ name: one }).update({ bucket: 'other' });
        await trx('shard').where({ name: two }).update({ pinned: true });
        const made = await writeMade(
          trx,
          started,
          version,
          { actor: 'ann', reason: null },
          waiting,
        );
        assert.deepEqual(made, waiting.slice(2));
        return [one, two];
      });
      const lines = await database.knex('change').where({ action: 'object move' }).pluck('name');
      assert.equal(lines.length, 8);
      assert.equal(lines.includes(moved) || lines.includes(pinned), false);
      const rows = database.knex('shard').whereIn('name', [moved, pinned]).orderBy('bucket');
      assert.deepEqual(await rows.pluck('bucket'), ['hub-0', 'other']);
      const states = await listMoves(database.knex, started.id, 'waiting', 10);
      assert.deepEqual(states.map(({ name }) => name), [moved, pinned]); // prettier-ignore
      // and the next batch says what has become of them
      await database.knex('plan').where({ id: started.id }).update({ made: 8 });
      const done = await runPlan(database, started);
      assert.deepEqual([done.made, done.why_skipped], [8, { moved: 1, pinned: 1 }]);
    });
  });

  describe(`a runner, on ${engine.name}`, engine.options, () => {
    it('makes moves in its first batch, also where buckets have a rate of their own', async () => {
      const { database, started } = await draining(engine, 20, { rate: 1_000_000, bucketRate: 1 });
      const made: number[] = [];
      const stop = new AbortController();
      await runPlan(database, started, {
        signal: stop.signal,
        onProgress: (plan) => {
          made.push(plan.made);
          stop.abort();
        },
      });
      assert.deepEqual(made, [1]);
    });

    it(
      'makes 20,000 moves that were planned just now, each looked up by itself',
      LIMIT,
      async () => {
        const { database } = await withUsers(engine, 0, 2);
        const numbers = {
          sqlite:
            'with recursive g (n) as (select 1 union all select n + 1 from g where n < 20000) select n from g',
          postgres: 'select n from generate_series(1, 20000) n',
        };
        await database.knex.raw(
          `insert into shard (kind, bucket, name) select 'hub', 'hub-0', 'user-' || n from (${numbers[engine.name]}) n`,
        );
        const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
        const started = await database.write((trx) => steps.startPlan(trx, id, FAST, BY));
        assert.equal((await runPlan(database, started)).made, 20_000);
      },
    );

    it('goes on at once after an error, and does not wait for itself', async () => {
      const { database, started } = await draining(engine, 20, { rate: 50, bucketRate: null });
      let batches = 0;
      database.onWrite = (phase) => {
        if (phase === 'writing' && ++batches === 2) throw new Error('cut off');
      };
      const began = performance.now();
      const { runner, errors, done } = run(database);
      assert.deepEqual([(await done).made, errors.length], [10, 1]);
      assert.equal(performance.now() - began < 8_000, true);
      await runner?.stop();
      assert.equal((await done).id, started.id);
    });

    it('looks for plans once at a time', async () => {
      const { database } = await withUsers(engine, 0);
      let looks = 0;
      const slow = Object.create(database) as Database;
      let answer: (plans: never[]) => void = () => undefined;
      slow.read = <T>() => {
        looks++;
        return new Promise<T>((resolve) => (answer = resolve as typeof answer));
      };
      const { runner } = run(slow);
      for (let i = 0; i < 3; i++) runner?.look();
      const stopped = runner?.stop();
      answer([]);
      await stopped;
      assert.equal(looks, 1);
    });
  });
}

function run(database: Database) {
  const errors: unknown[] = [];
  let runner: PlanRunner | undefined;
  const done = new Promise<Plan>((onEnd) => {
    runner = new PlanRunner(database, { onEnd, onError: (error) => errors.push(error) });
    runner.start();
  });
  return { runner, errors, done };
}
