// A plan does what it has shown, at its pace, whatever happens meanwhile; what has changed since is
// skipped and told; and it can be undone.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { makeMoves } from '../../src/rebalance/batch.js';
import { makePlan, makeUndo, type Wanted } from '../../src/rebalance/make.js';
import { PlanRunner, runPlan } from '../../src/rebalance/runner.js';
import * as steps from '../../src/rebalance/steps.js';
import { Sharder, type Database } from '../../src/index.js';
import { setBucket, setBucketState } from '../../src/store/buckets.js';
import { removeKind, lockKind } from '../../src/store/kinds.js';
import * as store from '../../src/store/objects.js';
import { getPlan, listMoves, type Plan } from '../../src/store/plans.js';
import { declareHub, engines, hubs, open } from '../engines.js';
import {
  apply,
  assign,
  BY,
  codeOf,
  FAST,
  members,
  plan,
  undo,
  whereAll,
  withUsers,
} from './prepare.js';

const DRAIN = { goal: 'drain', buckets: ['hub-0'] } as const;

/** The database, where something happens when the first of the moves of plan `id` are to be written. */
function whenPlanned(database: Database, id: number, happens: () => Promise<unknown>): Database {
  const making = Object.create(database) as Database;
  let hasHappened = false;
  making.read = (work) => database.read(work);
  making.readPage = (work) => database.readPage(work);
  making.write = async (work) => {
    const planned = await database.knex('plan').where({ id, state: 'planning' }).pluck('id');
    if (planned.length > 0 && !hasHappened) {
      hasHappened = true;
      await happens();
    }
    return database.write(work);
  };
  return making;
}

for (const engine of engines) {
  describe(`a plan, on ${engine.name}`, engine.options, () => {
    it('shows what it will do, does nothing until it is applied, and then does just that', async () => {
      const { database } = await withUsers(engine, 400);
      const before = await whereAll(database);
      const made = await plan(database, { goal: 'drain', buckets: ['hub-1', 'hub-2'] });
      assert.deepEqual([made.state, made.moves], ['planned', 200]);
      assert.deepEqual(await whereAll(database), before);
      const moves = await listMoves(database.knex, made.id, undefined, 1_000);
      assert.equal(moves.length, 200);
      assert.equal(new Set(moves.map(({ name }) => name)).size, 200);

      const done = await apply(database, made);
      assert.deepEqual([done.state, done.made, done.skipped], ['done', 200, 0]);
      const shown = new Map(moves.map(({ name, to_bucket }) => [name, to_bucket]));
      for (const [name, bucket] of await whereAll(database)) {
        assert.equal(bucket, shown.get(name) ?? before.get(name), name);
      }
      const outcomes = made.detail.outcomes.map(({ bucket, after }) => [bucket, after]);
      assert.deepEqual(await members(database), Object.fromEntries(outcomes));
    });

    it('moves those first that came last', async () => {
      const { database } = await withUsers(engine, 40, 1);
      await database.knex('bucket').insert({ kind: 'hub', name: 'new' });
      const made = await plan(database, { goal: 'spread', buckets: ['new'] });
      const moves = await listMoves(database.knex, made.id, undefined, 100);
      const ids = await database.knex('shard').orderBy('id', 'desc').limit(20).pluck('name');
      assert.deepEqual(moves.map(({ name }) => name), ids); // prettier-ignore
    });

    it('writes a line of history for each move, with its number, who, why and from where', async () => {
      const { database } = await withUsers(engine, 40);
      const before = await whereAll(database);
      const { id } = await apply(
        database,
        await plan(database, { goal: 'drain', buckets: ['hub-3'] }),
      );
      const lines = await database.knex('change').where({ plan: id, action: 'object move' });
      assert.equal(lines.length, 10);
      const now = await whereAll(database);
      for (const line of lines as Record<string, string>[]) {
        assert.deepEqual(
          [line.actor, line.reason, line.from_bucket, line.to_bucket],
          ['ann', 'a test', before.get(line.name ?? ''), now.get(line.name ?? '')],
        );
        assert.notEqual(line.assigned_at, null);
      }
      const steps = await database.knex('change').where({ plan: id }).whereNull('name').orderBy('id').pluck('action'); // prettier-ignore
      assert.deepEqual(steps, ['plan drain', 'plan apply', 'plan done']);
    });

    it('skips what has changed since, and says what it was', async () => {
      const { database } = await withUsers(engine, 80);
      const made = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const moves = await listMoves(database.knex, made.id, undefined, 100);
      const [removed, renamed, moved, pinned] = moves.map(({ name }) => name);
      const closed = moves.filter(({ to_bucket }) => to_bucket === 'hub-2').length;
      await database.write((trx) => store.removeObject(trx, 'hub', removed ?? '', BY));
      await database.write((trx) => store.renameObject(trx, 'hub', renamed ?? '', 'other', BY));
      await database.write((trx) => store.moveObject(trx, 'hub', moved ?? '', 'hub-3', BY));
      await database.write(async (trx) =>
        store.pinObject(trx, await lockKind(trx, 'hub'), pinned ?? '', true, BY),
      );
      await database.write((trx) => setBucketState(trx, 'hub', 'hub-2', 'cordoned', BY));
      // with the one that was moved there by hand it holds 21
      await database.write((trx) => setBucket(trx, 'hub', 'hub-3', { capacity: 22 }, BY));

      const done = await apply(database, made);
      const why = done.why_skipped;
      assert.deepEqual([why.gone, why.moved, why.pinned], [2, 1, 1]);
      const byHand = moves.slice(0, 4).filter(({ to_bucket }) => to_bucket === 'hub-2').length;
      assert.equal(why['bucket closed'], closed - byHand);
      assert.equal((await members(database))['hub-3'], 22);
      assert.equal(done.made + done.skipped, 20);
      const total = Object.values(why).reduce((sum, each) => sum + each, 0);
      assert.equal(total, done.skipped);
      assert.equal((await whereAll(database)).get(pinned ?? ''), 'hub-0');
    });

    it('closes what it drains to new objects, and an undo opens it again as it was', async () => {
      const { database, sharder } = await withUsers(engine, 40);
      await database.write((trx) => setBucketState(trx, 'hub', 'hub-1', 'cordoned', BY));
      const before = await whereAll(database);
      const made = await plan(database, { goal: 'drain', buckets: ['hub-0', 'hub-1'] });
      const states = () => database.knex('bucket').orderBy('name').pluck<string[]>('state');
      assert.deepEqual(await states(), ['active', 'cordoned', 'active', 'active']);
      const done = await apply(database, made);
      assert.deepEqual(await states(), ['draining', 'draining', 'active', 'active']);
      await assign(sharder, 40, 20);
      const { 'hub-0': first, 'hub-1': second } = await members(database);
      assert.deepEqual([first, second], [0, 0]);

      const undone = await undo(database, done);
      assert.deepEqual([undone.state, undone.made, undone.skipped], ['done', 20, 0]);
      assert.deepEqual(await states(), ['active', 'cordoned', 'active', 'active']);
      const now = await whereAll(database);
      for (const [name, bucket] of before) assert.equal(now.get(name), bucket, name);
    });

    it('is undone where it still holds: what was moved by hand since stays', async () => {
      const { database } = await withUsers(engine, 40);
      const before = await whereAll(database);
      const done = await apply(
        database,
        await plan(database, { goal: 'drain', buckets: ['hub-0'] }),
      );
      const moves = await listMoves(database.knex, done.id, undefined, 100);
      const [one, two] = moves;
      const elsewhere = one?.to_bucket === 'hub-1' ? 'hub-2' : 'hub-1';
      await database.write((trx) => store.moveObject(trx, 'hub', one?.name ?? '', elsewhere, BY));
      await database.write((trx) => store.removeObject(trx, 'hub', two?.name ?? '', BY));
      const undone = await undo(database, done);
      assert.deepEqual([undone.moves, undone.made, undone.detail.undoes], [8, 8, done.id]);
      const now = await whereAll(database);
      assert.equal(now.get(one?.name ?? ''), elsewhere);
      for (const { name } of moves.slice(2)) assert.equal(now.get(name), before.get(name));
      // and the undo is a plan, which can be undone
      const redone = await undo(database, undone);
      assert.equal(redone.made, 8);
    });

    it('is undone to its last move, also where objects left while it was planned', async () => {
      const { database } = await withUsers(engine, 40);
      const before = await whereAll(database);
      const made = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      // as if the third had left before its move was written
      await database.knex('plan_move').where({ plan: made.id, seq: 2 }).delete();
      await database.knex('plan').where({ id: made.id }).update({ moves: 9 });
      const done = await apply(database, made);
      assert.deepEqual([done.state, done.made], ['done', 9]);
      assert.equal((await undo(database, done)).made, 9);
      assert.deepEqual(await whereAll(database), before);
    });

    it('can be undone in part, when it was cancelled in the middle', async () => {
      const { database } = await withUsers(engine, 400);
      const before = await whereAll(database);
      const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const started = await database.write((trx) => steps.startPlan(trx, id, FAST, BY));
      const runner = { id: randomUUID(), seconds: 10 };
      const some = { moves: 30, looks: 30, of: () => Infinity };
      await database.write((trx) => makeMoves(trx, started, runner, some));
      const cancelled = await database.write((trx) => steps.cancelPlan(trx, id, BY));
      assert.deepEqual([cancelled.state, cancelled.made], ['cancelled', 30]);
      const over = await database.write((trx) => makeMoves(trx, started, runner, some));
      assert.deepEqual([over.isOver, over.made], [true, 0]);
      assert.equal((await undo(database, cancelled)).made, 30);
      assert.deepEqual(await whereAll(database), before);
    });

    it('goes on after a crash where it was: no move is made twice, none is left out', async () => {
      const { database } = await withUsers(engine, 1_200, 3);
      const made = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const started = await database.write((trx) => steps.startPlan(trx, made.id, FAST, BY));
      // dead after its second batch; its place is free at once, for it said so many seconds
      const dead = { id: randomUUID(), seconds: 0 };
      const some = { moves: 70, looks: 70, of: () => Infinity };
      for (let i = 0; i < 2; i++) {
        await database.write((trx) => makeMoves(trx, started, dead, some));
      }
      let next: PlanRunner | undefined;
      const done = await new Promise<Plan>((resolve, reject) => {
        next = new PlanRunner(database, { onEnd: resolve, onError: reject });
        next.start();
      });
      await next?.stop();
      assert.deepEqual([done.state, done.made, done.skipped], ['done', 400, 0]);
      const lines = await database.knex('change').where({ plan: made.id, action: 'object move' });
      assert.equal(lines.length, 400);
      assert.deepEqual(await members(database), { 'hub-0': 0, 'hub-1': 600, 'hub-2': 600 });
    });

    it('is run by one at a time, and by another when that one is gone', async () => {
      const { database } = await withUsers(engine, 100, 2);
      const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const started = await database.write((trx) => steps.startPlan(trx, id, FAST, BY));
      const one = { id: 'one', seconds: 1_000 };
      const other = { id: 'other', seconds: 1_000 };
      const some = { moves: 5, looks: 5, of: () => Infinity };
      const step = (runner: typeof one) =>
        database.write((trx) => makeMoves(trx, started, runner, some));
      assert.equal((await step(one)).made, 5);
      assert.deepEqual([(await step(other)).made, (await step(other)).isOver], [0, true]);
      assert.equal((await step({ ...one, seconds: -1 })).made, 5);
      assert.equal((await step(other)).made, 5);
      assert.equal((await step(one)).made, 0);
    });

    it('is paused and resumed, and can be stopped while it waits for its pace', async () => {
      const { database } = await withUsers(engine, 60, 2);
      const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const slow = { rate: 1, bucketRate: null };
      const started = await database.write((trx) => steps.startPlan(trx, id, slow, BY));
      let pausing: Promise<Plan> | undefined;
      const ended = runPlan(database, started, {
        onProgress: ({ made }) => {
          if (made === 1) pausing ??= database.write((trx) => steps.pausePlan(trx, id, BY));
        },
      });
      const paused = await ended;
      assert.equal(paused.state, 'paused');
      assert.equal(paused.made < 30, true);
      const { plan: resumed } = await database.write((trx) => steps.resumePlan(trx, id, FAST, BY));
      assert.deepEqual([resumed.state, resumed.rate], ['running', FAST.rate]);
      assert.deepEqual((await runPlan(database, resumed)).made, 30);
    });

    it('changes its pace while it runs', async () => {
      const { database } = await withUsers(engine, 60, 2);
      const { id } = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const slow = { rate: 1, bucketRate: null };
      const started = await database.write((trx) => steps.startPlan(trx, id, slow, BY));
      const done = await runPlan(database, started, {
        onProgress: ({ made }) => {
          if (made === 1) void database.write((trx) => steps.resumePlan(trx, id, FAST, BY));
        },
      });
      assert.deepEqual([done.state, done.made], ['done', 30]);
    });

    it('moves no more of one bucket in a batch than its pace allows, and others meanwhile', async () => {
      const { database } = await withUsers(engine, 300, 3);
      await database.knex('bucket').insert({ kind: 'hub', name: 'new' });
      const { id } = await plan(database, { goal: 'spread', buckets: ['new'] });
      const started = await database.write((trx) => steps.startPlan(trx, id, FAST, BY));
      const runner = { id: randomUUID(), seconds: 10 };
      const allow = { 'hub-0': 0, 'hub-1': 4 } as Record<string, number>;
      const of = (bucket: string) => allow[bucket] ?? 10;
      const { used, made } = await database.write((trx) =>
        makeMoves(trx, started, runner, { moves: 200, looks: 200, of }),
      );
      assert.equal(made, 10); // `new` may take so many
      assert.equal(used.get('hub-0'), undefined);
      assert.equal((used.get('hub-1') ?? 0) <= 4, true);
      const { plan: paced } = await database.write((trx) =>
        steps.resumePlan(trx, id, { rate: 1_000_000, bucketRate: 1_000 }, BY),
      );
      const done = await runPlan(database, paced, { runner: runner.id });
      assert.deepEqual([done.state, done.made], ['done', done.moves]);
    });

    it('gives way: while it runs, everybody has one bucket, but for moves that the history has', async () => {
      const { url, database, sharder } = await withUsers(engine, 2_000);
      const other = await Sharder.start(await open(url));
      const made = await plan(database, { goal: 'drain', buckets: ['hub-0'] });
      const started = await database.write((trx) => steps.startPlan(trx, made.id, FAST, BY));
      const seen = new Map<string, Set<string>>();
      let isRunning = true;
      const stillRuns = () => isRunning;
      const running = runPlan(database, started).finally(() => (isRunning = false));
      for (let i = 0; stillRuns(); i++) {
        await turn(); // answers from memory wait for nothing, and the plan's timer would never come
        const names = Array.from({ length: 50 }, (_, n) => `user-${(i * 50 + n) % 2_400}`);
        const answers = await Promise.all(
          names.map(async (name) => [sharder, other][i % 2]?.assign('hub', name)),
        );
        answers.forEach((answer, n) => {
          const name = names[n] ?? '';
          const buckets = seen.get(name) ?? new Set();
          seen.set(name, buckets.add(answer?.bucket.name ?? ''));
        });
      }
      await running;
      const moved = new Map(
        (await listMoves(database.knex, made.id, 'made', 10_000)).map((move) => [move.name, move]),
      );
      for (const [name, buckets] of seen) {
        const move = moved.get(name);
        const may = new Set([move?.from_bucket, move?.to_bucket]);
        if (buckets.size > 1) assert.deepEqual(buckets, may, name);
      }
      const now = await whereAll(database);
      for (const [name] of seen) {
        const answer = await other.assign('hub', name);
        assert.equal(answer.bucket.name, now.get(name), name);
      }
    });

    it('refuses what its state does not allow, and says what can be done', async () => {
      const { database } = await withUsers(engine, 40);
      const { id } = await plan(database, { goal: 'rebalance' });
      const write = (work: typeof steps.pausePlan) => database.write((trx) => work(trx, id, BY));
      assert.equal(await codeOf(write(steps.pausePlan)), 'plan_state');
      assert.equal(await codeOf(makeUndo(database, id, BY)), 'plan_state');
      const done = await apply(database, await getPlan(database.knex, id));
      assert.deepEqual([done.state, done.moves], ['done', 0]);
      assert.equal(await codeOf(apply(database, done)), 'plan_state');
      assert.equal(await codeOf(write(steps.cancelPlan)), 'plan_state');
      assert.equal(await codeOf(getPlan(database.knex, 99)), 'unknown_plan');
      const odd = (wanted: Wanted) => codeOf(makePlan(database, 'hub', wanted, BY));
      assert.equal(await odd({ goal: 'drain', buckets: ['hub-9'] }), 'unknown_bucket');
      assert.equal(await odd({ goal: 'drain', buckets: [] }), 'bad_request');
      await database.write((trx) => setBucketState(trx, 'hub', 'hub-1', 'cordoned', BY));
      assert.equal(await odd({ goal: 'spread', buckets: ['hub-1'] }), 'closed');
      assert.equal(
        await codeOf(makePlan(database, 'home', { goal: 'rebalance' }, BY)),
        'unknown_kind',
      );
    });

    const written = [
      ['a plan', (database: Database) => makePlan(database, 'hub', DRAIN, BY)],
      ['an undo', (database: Database) => makeUndo(database, 1, BY)],
    ] as const;
    for (const [what, make] of written) {
      it(`stays cancelled that was cancelled while its moves were written: ${what}`, async () => {
        const { database } = await withUsers(engine, 40);
        await apply(database, await plan(database, { goal: 'drain', buckets: ['hub-1'] }));
        const making = whenPlanned(database, 2, () =>
          database.write((trx) => steps.cancelPlan(trx, 2, BY)),
        );
        assert.equal(await codeOf(make(making)), 'plan_state');
        const { state, ended_at } = await getPlan(database.knex, 2);
        assert.deepEqual([state, ended_at === null], ['cancelled', false]);
        assert.equal((await database.knex('plan_move').where({ plan: 2 })).length, 0);
      });
    }

    it('is not written on when its kind was removed meanwhile, and its number never comes again', async () => {
      const { database } = await withUsers(engine, 40);
      const made = await plan(database, DRAIN);
      const making = whenPlanned(database, 2, async () => {
        await database.knex('shard').delete();
        await database.knex('bucket').delete();
        await database.write((trx) => removeKind(trx, 'hub', BY));
      });
      assert.equal(await codeOf(makePlan(making, 'hub', DRAIN, BY)), 'unknown_plan');
      await declareHub(database, hubs(2));
      assert.equal(await codeOf(getPlan(database.knex, made.id)), 'unknown_plan');
      const moves = () => database.knex('plan_move').pluck<unknown[]>('plan');
      assert.equal((await moves()).length, 10);
      assert.equal((await plan(database, DRAIN)).id, 3);
      assert.deepEqual(await moves(), []); // those of the removed kind's plan are gone by now
    });

    it('of a dry run is not stored', async () => {
      const { database } = await withUsers(engine, 40);
      const wanted = { goal: 'drain', buckets: ['hub-0'] } as const;
      const made = await makePlan(database, 'hub', wanted, BY, { isDry: true });
      assert.deepEqual([made.moves, 'id' in made], [10, false]);
      assert.equal((await database.knex('plan')).length, 0);
    });
  });
}
