// The history tells where everyone was at any time, whatever was done since.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Knex } from 'knex';
import { Sharder, SharderError, type Database } from '../../src/index.js';
import { objectHistory, objectsAt, type History } from '../../src/store/history.js';
import { lockKind } from '../../src/store/kinds.js';
import * as store from '../../src/store/objects.js';
import { pruneHistory } from '../../src/store/prune.js';
import { declareHub, engines, hubs, open } from '../engines.js';

const BY = { actor: 'test' };
const NAMES = ['a', 'b', 'c', 'd', 'é', 'A'];
const BUCKETS = ['hub-0', 'hub-1', 'hub-2'];

interface Run {
  readonly database: Database;
  readonly sharder: Sharder;
  /** Where everyone was at these times. */
  readonly taken: [time: Date, where: Record<string, string>][];
  /** The lines that were pruned, and the time from which on none was. */
  readonly lost: object[];
  horizon?: Date;
}

type Step = (run: Run) => Promise<unknown>;

// What cannot be done (nobody of that name) is refused, and changes nothing.
function step(work: (trx: Knex.Transaction) => Promise<unknown>): Step {
  return ({ database }) =>
    database.write(work).catch((error: unknown) => {
      assert.ok(error instanceof SharderError, String(error));
    });
}

function lines({ knex }: Database): Promise<{ id: number; action: string }[]> {
  return knex('change').orderBy('id');
}

async function prune(run: Run, which: number, chunkSize: number): Promise<void> {
  const { database, taken, lost } = run;
  const before = taken[which % (taken.length + 1)]?.[0] ?? new Date();
  const there = await lines(database);
  const pruned = await pruneHistory(database, { before, chunkSize }, BY);
  const left = new Set((await lines(database)).map(({ id }) => id));
  const gone = there.filter(({ id }) => !left.has(id));
  assert.equal(
    pruned.reduce((sum, each) => sum + each.lines, 0),
    gone.length,
  );
  assert.ok(gone.every(({ action }) => action !== 'history prune'));
  lost.push(...gone);
  if (gone.length > 0 && !(run.horizon && run.horizon > before)) run.horizon = before;
}

const name = fc.constantFrom(...NAMES);
const bucket = fc.constantFrom(...BUCKETS);
const steps = fc.array(
  fc.oneof(
    name.map(
      (n): Step =>
        ({ sharder }) =>
          Promise.resolve(sharder.assign('hub', n)),
    ),
    fc.tuple(name, bucket).map(([n, to]) => step((trx) => store.moveObject(trx, 'hub', n, to, BY))),
    name.map((n) => step((trx) => store.removeObject(trx, 'hub', n, BY))),
    fc.tuple(name, name).map(([n, to]) => step((trx) => store.renameObject(trx, 'hub', n, to, BY))),
    fc
      .tuple(name, name, fc.constantFrom('into', 'from', 'older'))
      .map(([n, to, keep]) => step((trx) => store.mergeObjects(trx, 'hub', n, to, BY, { keep }))),
    fc
      .tuple(name, fc.boolean())
      .map(([n, pinned]) =>
        step(async (trx) => store.pinObject(trx, await lockKind(trx, 'hub'), n, pinned, BY)),
      ),
    fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 5 })).map(
      ([which, chunkSize]): Step =>
        (run) =>
          prune(run, which, chunkSize),
    ),
  ),
  { minLength: 5, maxLength: 25 },
);

async function now({ knex }: Database): Promise<Record<string, string>> {
  const rows = await knex('shard').select<{ name: string; bucket: string }[]>('name', 'bucket');
  return Object.fromEntries(rows.map((row) => [row.name, row.bucket]));
}

async function at(database: Database, time: Date, pageSize: number) {
  const found: Record<string, string> = {};
  for await (const page of objectsAt(database, 'hub', time, pageSize)) {
    for (const row of page) {
      assert.ok(!(row.name in found), `${row.name} twice`);
      found[row.name] = row.bucket;
    }
  }
  return found;
}

function isForgotten(horizon: Date) {
  return (error: unknown) =>
    error instanceof SharderError &&
    error.code === 'forgotten' &&
    error.message.includes(horizon.toISOString());
}

function histories(database: Database): Promise<History[]> {
  return Promise.all(NAMES.map((each) => objectHistory(database, 'hub', each)));
}

for (const engine of engines) {
  describe(`the history on ${engine.name}`, engine.options, () => {
    it('tells where every object was after each of any steps, but for what was pruned', async () => {
      let refused = 0;
      await fc.assert(
        fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (sequence, pageSize) => {
          const database = await open(await engine.createDatabase());
          await declareHub(database, hubs(3));
          const run: Run = {
            database,
            sharder: await Sharder.start(database),
            taken: [],
            lost: [],
          };
          for (const each of NAMES) await run.sharder.assign('hub', each);
          await sleep(2);
          for (const each of sequence) {
            await each(run);
            await sleep(2); // the columns count milliseconds
            run.taken.push([new Date(), await now(database)]);
            await sleep(2);
          }
          const { horizon, taken, lost } = run;
          for (const [time, where] of taken) {
            if (horizon && time < horizon) {
              refused++;
              await assert.rejects(at(database, time, pageSize), isForgotten(horizon));
            } else {
              assert.deepEqual(await at(database, time, pageSize), where);
            }
          }
          const pruned = await histories(database);
          await database.knex('change').where({ action: 'history prune' }).delete();
          if (lost.length > 0) await database.knex('change').insert(lost);
          const whole = await histories(database);
          pruned.forEach(({ assigned, changes, pruned_before }, i) => {
            assert.equal(pruned_before, horizon?.toISOString() ?? null);
            const all = whole[i];
            const after = all?.changes.filter((line) => !horizon || new Date(line.at) >= horizon);
            assert.deepEqual(changes, after);
            if (assigned && assigned.at === all?.assigned?.at && assigned.bucket !== null)
              assert.equal(assigned.bucket, all.assigned.bucket);
            if (!horizon) assert.deepEqual(assigned, all?.assigned);
          });
          const counts = await database.knex('bucket').orderBy('name').pluck('members');
          const where = Object.values(await now(database));
          assert.deepEqual(
            counts,
            BUCKETS.map((each) => where.filter((one) => one === each).length),
          );
          await database.close();
        }),
        { numRuns: engine.name === 'sqlite' ? 60 : 25 },
      );
      assert.ok(refused > 0);
    });

    it('of an object begins with its first assignment, and follows it through its names', async () => {
      const database = await open(await engine.createDatabase());
      await declareHub(database, hubs(3));
      const sharder = await Sharder.start(database);
      await sharder.assign('hub', 'a');
      const assigned = await objectHistory(database, 'hub', 'a');
      assert.equal(assigned.assigned?.bucket, 'hub-0');
      assert.deepEqual(assigned.changes, []);

      await database.write((trx) => store.moveObject(trx, 'hub', 'a', 'hub-2', BY));
      await database.write((trx) => store.renameObject(trx, 'hub', 'a', 'b', BY));
      await database.write((trx) => store.renameObject(trx, 'hub', 'b', 'c', BY));
      await sharder.assign('hub', 'b'); // somebody else of a name that has become free
      await database.write((trx) => store.removeObject(trx, 'hub', 'c', BY));

      const { assigned: first, changes } = await objectHistory(database, 'hub', 'c');
      assert.deepEqual(first, assigned.assigned);
      assert.deepEqual(
        changes.map(({ action, name, from_bucket, to_bucket }) => [
          action,
          name,
          from_bucket,
          to_bucket,
        ]),
        [
          ['object move', 'a', 'hub-0', 'hub-2'],
          ['object rename', 'a', 'hub-2', null],
          ['object rename', 'b', 'hub-2', null],
          ['object remove', 'c', 'hub-2', null],
        ],
      );
      const nobody = await objectHistory(database, 'hub', 'nobody');
      assert.deepEqual(nobody, { assigned: undefined, changes: [], pruned_before: null });
    });
  });
}
