// sharder plan …, as it is typed: what it prints, and what becomes of a plan when whoever applies it is
// stopped, or dies.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sharder, type Database } from '../../src/index.js';
import { makeMoves } from '../../src/rebalance/batch.js';
import { getKind } from '../../src/store/kinds.js';
import { getPlan } from '../../src/store/plans.js';
import {
  declareHub,
  engines,
  hubs,
  open,
  temporaryDirectory,
  type TestEngine,
} from '../engines.js';
import { eventually } from '../load.js';
import { Service } from '../service.js';
import { contents } from './prepare.js';
import { run, Run, type Outcome } from './run.js';
import { assertSound } from './transfer.js';

interface Prepared {
  readonly database: Database;
  readonly env: { readonly DATABASE_URL: string; readonly SHARDER_ACTOR: string };
  /** `sharder plan …` on it. */
  readonly plan: (...args: string[]) => Promise<Outcome>;
}

/** Three buckets with so many objects, spread evenly: user-0 in hub-0, user-1 in hub-1, … */
async function prepare(engine: TestEngine, users: number): Promise<Prepared> {
  const url = await engine.createDatabase();
  const database = await open(url);
  await declareHub(database, hubs(3));
  const sharder = await Sharder.start(database);
  for (let i = 0; i < users; i++) await sharder.assign('hub', `user-${i}`);
  const env = { DATABASE_URL: url, SHARDER_ACTOR: 'ann' };
  return { database, env, plan: (...args) => run(['plan', ...args], { env }) };
}

/** What it has printed, all of it having gone well. */
async function printed(outcome: Promise<Outcome>): Promise<string> {
  const { code, stdout, stderr } = await outcome;
  assert.deepEqual([code, stderr], [0, '']);
  return stdout.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');
}

async function json(outcome: Promise<Outcome>): Promise<Record<string, unknown>> {
  return JSON.parse(await printed(outcome)) as Record<string, unknown>;
}

async function members({ knex }: Database): Promise<number[]> {
  return knex('bucket').orderBy('name').pluck<number[]>('members');
}

function hasMade(database: Database, moves: number): Promise<void> {
  return eventually(
    `${moves} moves are made`,
    async () => (await getPlan(database.knex, 1)).made >= moves,
    60_000,
  );
}

function isDone(database: Database): Promise<void> {
  return eventually(
    'the plan is done',
    async () => (await getPlan(database.knex, 1)).state === 'done',
    60_000,
  );
}

/** That plan 1 has moved every object of hub-0, each once. */
async function assertMovedOnce({ database, env }: Prepared, moves: number): Promise<void> {
  const { state, made, skipped } = await getPlan(database.knex, 1);
  assert.deepEqual([state, made, skipped], ['done', moves, 0]);
  const names = await database.knex('change').where({ plan: 1, action: 'object move' }).pluck('name'); // prettier-ignore
  assert.deepEqual([names.length, new Set(names).size], [moves, moves]);
  assert.equal((await members(database))[0], 0);
  await assertSound(env);
}

const DRAIN = `BUCKET  BEFORE  AFTER  CHANGE
hub-0        4      0      -4
hub-1        4      6      +2
hub-2        4      6      +2
`;

for (const engine of engines) {
  describe(`sharder plan on ${engine.name}`, engine.options, () => {
    it('shows what a plan will do and has done, and the bucket that it drains can be removed', async () => {
      const { env, plan, database } = await prepare(engine, 12);
      assert.equal(
        await printed(plan('drain', 'hub-0', '--reason=old')),
        `planned 1, drain hub-0 of kind hub: 4 objects move\n${DRAIN}nothing has moved yet: \`sharder plan apply 1\`\n`,
      );
      assert.equal(
        await printed(plan('show', '1')),
        `plan 1, drain hub-0 of kind hub\nplanned TIME by ann: old\nplanned: 0 of 4 moves made\n${DRAIN}`,
      );
      const moves = await printed(plan('moves', '1'));
      assert.match(moves, /^SEQ +OBJECT +FROM +TO +STATE\n +0 +user-9 +hub-0 +hub-1 +waiting\n/);
      assert.equal(moves.split('\n').length, 1 + 4 + 1);
      assert.match(
        await printed(plan('list')),
        /\n +1 +hub +drain hub-0 +planned +4 +0 +0 +TIME +ann\n$/,
      );

      assert.equal(
        await printed(plan('apply', '1', '--rate=1000')),
        `plan 1, drain hub-0 of kind hub\nplanned TIME by ann: old\napplied TIME by ann, 1000 moves a second\ndone: 4 of 4 moves made\n${DRAIN}`,
      );
      assert.deepEqual(await members(database), [0, 6, 6]);
      assert.equal(await printed(run(['bucket', 'remove', 'hub-0'], { env })), 'removed bucket hub-0 of kind hub\n'); // prettier-ignore
      assert.match(
        await printed(run(['object', 'history', 'user-9'], { env })),
        /\nTIME +ann +move: plan 1 +hub-0 +hub-1 +old\n$/,
      );
      const explained = await printed(run(['object', 'explain', 'user-9'], { env }));
      assert.match(
        explained,
        /^object user-9 .* in bucket hub-1, by a move of plan 1 of ann at TIME/,
      );
    });

    it('rebalances to the threshold, spreads onto new buckets, and says when there is nothing to do', async () => {
      const { env, plan, database } = await prepare(engine, 90);
      const even = await plan('rebalance');
      assert.match(
        even.stdout,
        /^planned 1, rebalance kind hub to 10 % above the even share: 0 ob/,
      );
      assert.equal(even.stderr, 'note: there is nothing to move\n');
      await run(['bucket', 'add', 'hub-3'], { env });
      // of 90 in four buckets 22.5 are even, and 25 are not more than 10 % above
      assert.match(await printed(plan('rebalance', '--dry-run')), /: 15 objects move\n/);
      assert.match(
        await printed(plan('rebalance', '--threshold=20', '--dry-run')),
        /20 %.*: 9 obj/,
      );
      assert.match(
        await printed(plan('spread', 'hub-3')),
        /^planned 2, spread onto hub-3 .*: 22 ob/,
      );
      await printed(plan('apply', '2', '--rate=1000', '--bucket-rate=1000'));
      assert.deepEqual((await members(database)).toSorted(), [22, 22, 23, 23]);
    });

    it('says what stays against the goal: who is pinned, and who has no room', async () => {
      const { env, plan } = await prepare(engine, 12);
      await run(['object', 'pin', 'user-0'], { env });
      for (const bucket of ['hub-1', 'hub-2']) {
        await run(['bucket', 'set', bucket, '--capacity=5'], { env });
      }
      const { stdout, stderr } = await plan('drain', 'hub-0');
      assert.match(stdout, /: 2 objects move\n/);
      assert.equal(
        stderr,
        'note: 1 stay, for they are pinned: unpin them, or move them\nnote: 1 stay, for no bucket has room: add one, or raise a capacity\n',
      );
      assert.match(
        await printed(plan('show', '1')),
        /\n1 stay against the goal, for they are pinned\n1 st/,
      );
      assert.match(
        await printed(plan('apply', '1', '--rate=1000')),
        /\nhub-0 still hold 2, with what was skipped or has come since: another plan drains/,
      );
    });

    it('skips what has changed since, and says why', async () => {
      const { env, plan } = await prepare(engine, 12);
      await plan('drain', 'hub-0');
      await run(['object', 'move', 'user-0', 'hub-2'], { env });
      await run(['object', 'remove', 'user-3'], { env });
      const done = await plan('apply', '1');
      assert.equal(done.code, 0, done.stderr);
      assert.match(done.stdout, /\ndone: 2 of 4 moves made, 2 skipped \(1 gone, 1 moved\)\n/);
      const skipped = await printed(plan('moves', '1', '--state=skipped'));
      assert.match(skipped, / user-3 +hub-0 +hub-\d +skipped: gone\n/);
      assert.match(skipped, / user-0 +hub-0 +hub-\d +skipped: moved\n/);
    });

    it('--dry-run says what would be done, stores no plan and moves nobody', async () => {
      const { plan, database } = await prepare(engine, 12);
      assert.equal(
        await printed(plan('drain', 'hub-0', '--dry-run')),
        `would plan drain hub-0 of kind hub: 4 objects move\n${DRAIN}nothing was stored\n`,
      );
      assert.equal((await database.knex('plan')).length, 0);
      await plan('drain', 'hub-0');
      const before = await contents(database);
      assert.equal(await printed(plan('apply', '1', '--dry-run')), 'would apply plan 1: 4 objects move\n'); // prettier-ignore
      assert.equal(await printed(plan('cancel', '1', '--dry-run')), 'would cancel plan 1: 0 of 4 moves were made\n'); // prettier-ignore
      assert.deepEqual(await contents(database), before);
      await plan('apply', '1', '--rate=1000');
      const after = await contents(database);
      assert.match(
        await printed(plan('undo', '1', '--dry-run')),
        /^would undo plan 1: 4 objects move\n/,
      );
      assert.deepEqual(await contents(database), after);
    });

    it('--json tells a program the same', async () => {
      const { plan } = await prepare(engine, 12);
      const outcomes = [
        { bucket: 'hub-0', before: 4, after: 0 },
        { bucket: 'hub-1', before: 4, after: 6 },
        { bucket: 'hub-2', before: 4, after: 6 },
      ];
      const what = { kind: 'hub', goal: 'drain', buckets: ['hub-0'], moves: 4, outcomes };
      const none = { threshold: null, undoes: null, pinned: 0, without_room: 0 };
      assert.deepEqual(await json(plan('drain', 'hub-0', '--json', '--dry-run')), {
        ...{ action: 'plan drain', changed: true, dry_run: true, plan: null },
        ...what,
        ...none,
      });
      assert.equal((await json(plan('drain', 'hub-0', '--json'))).plan, 1);
      const applied = await json(plan('apply', '1', '--json', '--rate=1000'));
      assert.deepEqual(
        [applied.action, applied.plan, applied.state, applied.made, applied.why_skipped],
        ['plan apply', 1, 'done', 4, {}],
      );
      const moves = JSON.parse(await printed(plan('moves', '1', '--json'))) as object[];
      assert.equal(moves.length, 4);
      assert.deepEqual(moves[0], {
        ...{ seq: 0, name: 'user-9', from_bucket: 'hub-0', to_bucket: 'hub-1' },
        ...{ state: 'made', why: null },
      });
      const wrong = await plan('pause', '1', '--json');
      assert.equal(
        (JSON.parse(wrong.stderr) as { error: { code: string } }).error.code,
        'plan_state',
      );
    });

    it('is paused, resumed at another pace, cancelled, and what it has moved is undone', async () => {
      const { plan, database } = await prepare(engine, 12);
      const before = await contents(database);
      await plan('drain', 'hub-0');
      // without a service nobody makes the moves
      assert.equal(await printed(plan('apply', '1', '--no-wait', '--rate=50')), 'applied plan 1: 4 objects move\n'); // prettier-ignore
      assert.equal(await printed(plan('pause', '1')), 'paused plan 1: 0 of 4 moves were made\n');
      assert.equal(await printed(plan('resume', '1', '--no-wait', '--rate=7')), 'resumed plan 1: 4 objects move\n'); // prettier-ignore
      assert.match(
        await printed(plan('show', '1')),
        / 7 moves a second\nrunning: 0 of 4 moves made\n/,
      );
      assert.equal(
        await printed(plan('cancel', '1')),
        'cancelled plan 1: 0 of 4 moves were made\n',
      );
      assert.match((await plan('undo', '1')).stdout, /\ndone: 0 of 0 moves made\n/); // hub-0 is open again
      await plan('drain', 'hub-0');
      assert.equal((await plan('apply', '3', '--rate=1000')).code, 0);
      const undone = await printed(plan('undo', '3', '--reason=sorry'));
      assert.match(undone, /^plan 4, undo plan 3 of kind hub\nplanned TIME by ann: sorry\n/);
      assert.match(undone, /, 1000 moves a second\ndone: 4 of 4 moves made\n/);
      const after = await contents(database);
      assert.deepEqual(after.objects, before.objects);
    });

    it('--no-wait leaves the moves to a running service, which answers with the new bucket at once', async () => {
      const prepared = await prepare(engine, 30);
      const { env, plan, database } = prepared;
      const service = await Service.start(env.DATABASE_URL, { cwd: temporaryDirectory() });
      assert.equal(await (await service.shard('user-0')).text(), 'hub-0\n');
      await plan('drain', 'hub-0');
      await plan('apply', '1', '--no-wait', '--rate=1000');
      await isDone(database);
      await assertMovedOnce(prepared, 10);
      const [bucket] = await database.knex('shard').where({ name: 'user-0' }).pluck<string[]>('bucket'); // prettier-ignore
      await eventually('it is told', async () => {
        return (await (await service.shard('user-0')).text()) === `${bucket ?? ''}\n`;
      });
      await eventually('it is in the log', () => service.log.includes('have ended'));
      assert.match(
        service.log,
        /"plan":1,"kind":"hub","state":"running".*making the moves of a plan/,
      );
      assert.equal(await service.stop(), 0);
    });

    const refused: readonly [args: string[], says: RegExp][] = [
      [['show', '99'], /^sharder: there is no plan 99: `sharder plan list`\n$/],
      [['moves', '99'], /^sharder: there is no plan 99/],
      [['apply', '99'], /^sharder: there is no plan 99/],
      [['undo', '99'], /^sharder: there is no plan 99/],
      [['cancel', '0'], /^sharder: plan: /],
      [
        ['pause', '1'],
        /^sharder: plan 1 is planned, and cannot be paused: apply it \(`sharder plan a/,
      ],
      [['resume', '1'], /^sharder: plan 1 is planned, and cannot be resumed: apply it/],
      [['undo', '1'], /^sharder: plan 1 is planned, and cannot be undone: apply it/],
      [['apply', '2'], /^sharder: plan 2 is cancelled, and cannot be applied: plan again; what it/],
      [['apply', '3'], /^sharder: plan 3 is planning, .* cancel it \(`sharder plan cancel 3`\)/],
      [['cancel', '2'], /^sharder: plan 2 is cancelled, and cannot be cancelled: plan again/],
      [
        ['apply', '1', '--rate=0'],
        /^sharder: rate: is 0; it must be a whole number from 1 to 1000/,
      ],
      [['apply', '1', '--bucket-rate=0'], /^sharder: bucket_rate: is 0; it must be a whole number/],
      [
        ['drain', 'hub-9'],
        /^sharder: kind hub has no bucket "hub-9": it has hub-0, hub-1, hub-2\n$/,
      ],
      [['spread', 'hub-0', 'hub-9'], /^sharder: kind hub has no bucket "hub-9"/],
      [
        ['spread', 'hub-2'],
        /^sharder: bucket hub-2 of kind hub is cordoned, and takes none: uncor/,
      ],
      [['rebalance', '--kind=nosuch'], /^sharder: there is no kind "nosuch"/],
      [['rebalance', '--threshold=0'], /^sharder: threshold: /],
    ];

    it('refuses with 1 what cannot be, says what can, and has changed nothing', async () => {
      const { env, plan, database } = await prepare(engine, 12);
      await run(['bucket', 'cordon', 'hub-2'], { env });
      await plan('drain', 'hub-0');
      await plan('drain', 'hub-1');
      await plan('cancel', '2');
      await plan('rebalance');
      await database.knex('plan').where({ id: 3 }).update({ state: 'planning' });
      const before = { ...(await contents(database)), plans: await database.knex('plan') };
      const outcomes = await Promise.all(refused.map(([args]) => plan(...args)));
      outcomes.forEach(({ code, stdout, stderr }, i) => {
        const [args = [], says = /$/] = refused[i] ?? [];
        assert.deepEqual([code, stdout], [1, ''], args.join(' '));
        assert.match(stderr, says);
      });
      const after = { ...(await contents(database)), plans: await database.knex('plan') };
      assert.deepEqual(after, before);
    });
  });

  describe(`a plan that is applied on ${engine.name}`, engine.options, () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      it(`is paused by ${signal}, which says how to go on`, async () => {
        const prepared = await prepare(engine, 300);
        const { env, plan, database } = prepared;
        await plan('drain', 'hub-0');
        const applying = new Run(['plan', 'apply', '1', '--rate=1'], { env });
        await hasMade(database, 1);
        applying.process.kill(signal);
        const { code, stdout, stderr } = await applying.ended;
        assert.deepEqual(
          [code, stderr],
          [1, 'plan 1 is paused: `sharder plan resume 1` goes on\n'],
        );
        assert.match(stdout, /\npaused: \d+ of 100 moves made\n/);
        assert.equal((await getPlan(database.knex, 1)).state, 'paused');
        await printed(plan('resume', '1', '--rate=10000'));
        await assertMovedOnce(prepared, 100);
      });
    }

    it('and then cancelled by somebody else says how it is undone', async () => {
      const { env, plan, database } = await prepare(engine, 300);
      await plan('drain', 'hub-0');
      const applying = new Run(['plan', 'apply', '1', '--rate=1'], { env });
      await hasMade(database, 1);
      await printed(plan('cancel', '1'));
      const { code, stdout, stderr } = await applying.ended;
      assert.deepEqual(
        [code, stderr],
        [1, 'plan 1 is cancelled: `sharder plan undo 1` moves back what it has moved\n'],
      );
      assert.match(stdout, /\ncancelled: \d+ of 100 moves made\n/);
    });

    it('by somebody else is waited for, and nothing is written meanwhile', async () => {
      const { env, plan, database } = await prepare(engine, 30);
      await plan('drain', 'hub-0');
      await plan('apply', '1', '--no-wait');
      const runner = { id: 'somebody else', seconds: 1_000 };
      const batch = (moves: number) =>
        database.write((trx) =>
          makeMoves(trx, { id: 1, kind: 'hub' }, runner, { moves, looks: moves, of: () => moves }),
        );
      await batch(1);
      const version = async () => (await getKind(database.knex, 'hub')).version;
      const before = await version();
      const waiting = new Run(['plan', 'resume', '1'], { env });
      await eventually('it was resumed', async () => (await version()) > before);
      await batch(100);
      assert.equal((await waiting.ended).code, 0);
      assert.equal((await version()) - before, 2); // that it was resumed, and the batch
    });

    it('goes on with resume after kill -9, and every object is moved once', async () => {
      const prepared = await prepare(engine, 300);
      const { env, plan, database } = prepared;
      await plan('drain', 'hub-0');
      const applying = new Run(['plan', 'apply', '1', '--rate=20'], { env });
      await hasMade(database, 5);
      applying.process.kill('SIGKILL');
      await applying.ended;
      assert.equal((await getPlan(database.knex, 1)).state, 'running');
      await printed(plan('resume', '1', '--rate=10000'));
      await assertMovedOnce(prepared, 100);
    });

    it('by a service that is killed goes on by itself when the service is started again', async () => {
      const prepared = await prepare(engine, 300);
      const { env, plan, database } = prepared;
      const cwd = temporaryDirectory();
      const service = await Service.start(env.DATABASE_URL, { cwd });
      await plan('drain', 'hub-0');
      await plan('apply', '1', '--rate=20', '--no-wait');
      await hasMade(database, 5);
      await service.stop('SIGKILL');
      const again = await Service.start(env.DATABASE_URL, { cwd });
      await isDone(database);
      assert.equal(await again.stop(), 0);
      await assertMovedOnce(prepared, 100);
    });

    it('by a service that is stopped is gone on with at once by whoever is there next', async () => {
      const prepared = await prepare(engine, 300);
      const { env, plan, database } = prepared;
      const service = await Service.start(env.DATABASE_URL, { cwd: temporaryDirectory() });
      await plan('drain', 'hub-0');
      await plan('apply', '1', '--rate=20', '--no-wait');
      await hasMade(database, 5);
      assert.equal(await service.stop(), 0);
      assert.equal((await getPlan(database.knex, 1)).state, 'running');
      assert.deepEqual(await database.knex('plan').pluck('runner'), [null]);
      await printed(plan('resume', '1', '--rate=10000'));
      await assertMovedOnce(prepared, 100);
    });

    // A file has one service.
    if (engine.name === 'sqlite') return;

    it('by one of two services is taken over by the other when that one is killed', async () => {
      const prepared = await prepare(engine, 300);
      const { env, plan, database } = prepared;
      const cwd = temporaryDirectory();
      const start = () => Service.start(env.DATABASE_URL, { cwd });
      const services = [await start(), await start()];
      await plan('drain', 'hub-0');
      await plan('apply', '1', '--rate=20', '--no-wait');
      await hasMade(database, 5);
      const runs = ({ log }: Service) => log.includes('making the moves of a plan');
      assert.deepEqual(services.map(runs).toSorted(), [false, true]);
      await services.find(runs)?.stop('SIGKILL');
      await isDone(database);
      await assertMovedOnce(prepared, 100);
      const [other] = services.filter(({ process }) => process.signalCode === null);
      assert.equal(other && runs(other), true);
      assert.equal(await other?.stop(), 0);
    });
  });
}
