// The history tells where everyone was at any time, whatever was done since.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Knex } from 'knex';
import { Sharder, SharderError, type Database } from '../../src/index.js';
import { objectHistory, objectsAt } from '../../src/store/history.js';
import * as store from '../../src/store/objects.js';
import { declareHub, engines, hubs, open } from '../engines.js';

const BY = { actor: 'test' };
const NAMES = ['a', 'b', 'c', 'd', 'é', 'A'];
const BUCKETS = ['hub-0', 'hub-1', 'hub-2'];

type Step = (database: Database, sharder: Sharder) => Promise<unknown>;

// What cannot be done (nobody of that name) is refused, and changes nothing.
function step(work: (trx: Knex.Transaction) => Promise<unknown>): Step {
  return (database) =>
    database.write(work).catch((error: unknown) => {
      assert.ok(error instanceof SharderError, String(error));
    });
}

const name = fc.constantFrom(...NAMES);
const bucket = fc.constantFrom(...BUCKETS);
const steps = fc.array(
  fc.oneof(
    name.map(
      (n): Step =>
        (_, sharder) =>
          Promise.resolve(sharder.assign('hub', n)),
    ),
    fc.tuple(name, bucket).map(([n, to]) => step((trx) => store.moveObject(trx, 'hub', n, to, BY))),
    name.map((n) => step((trx) => store.removeObject(trx, 'hub', n, BY))),
    fc.tuple(name, name).map(([n, to]) => step((trx) => store.renameObject(trx, 'hub', n, to, BY))),
    fc.tuple(name, name).map(([n, to]) => step((trx) => store.mergeObjects(trx, 'hub', n, to, BY))),
    fc
      .tuple(name, fc.boolean())
      .map(([n, pinned]) => step((trx) => store.pinObject(trx, 'hub', n, pinned, BY))),
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

for (const engine of engines) {
  describe(`the history on ${engine.name}`, engine.options, () => {
    it('tells where every object was after each of any steps', async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (sequence, pageSize) => {
          const database = await open(await engine.createDatabase());
          await declareHub(database, hubs(3));
          const sharder = await Sharder.start(database);
          const taken: [time: Date, where: Record<string, string>][] = [];
          for (const each of sequence) {
            await each(database, sharder);
            await sleep(2); // the columns count milliseconds
            taken.push([new Date(), await now(database)]);
            await sleep(2);
          }
          for (const [time, where] of taken) {
            assert.deepEqual(await at(database, time, pageSize), where);
          }
          await database.close();
        }),
        { numRuns: engine.name === 'sqlite' ? 30 : 15 },
      );
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
      assert.deepEqual(nobody, { assigned: undefined, changes: [] });
    });
  });
}
