// The controller goes on where one thing fails, and one replica takes over from another.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createKind } from '../../src/store/kinds.js';
import { listLeases } from '../../src/store/leases.js';
import type { Database } from '../../src/index.js';
import { Controller } from '../../src/workers/controller.js';
import { claimLease } from '../../src/workers/leases.js';
import { registerObjects } from '../../src/workers/register.js';
import { engines, needsPostgres, open, postgresServer, type TestEngine } from '../engines.js';
import { eventually } from '../load.js';
import { BY, KIND, start } from './prepare.js';
import { pass } from './time.js';

/** The n-th transaction from now on that writes fails. */
function failing(database: Database, n: number): void {
  const write = database.write.bind(database);
  let count = 0;
  database.write = (work) =>
    ++count === n ? Promise.reject(new Error('this one fails')) : write(work);
}

/** Two kinds, each with an object that waits, and a worker that could have it. */
async function twoKinds(engine: TestEngine): Promise<Database> {
  const database = await open(await engine.createDatabase());
  for (const kind of ['one', 'two']) {
    const settings = { leased: true, reshard_interval: 0 };
    await database.write((trx) => createKind(trx, kind, { settings }, BY));
    await database.write((trx) => registerObjects(trx, kind, [{ name: 'x' }], BY));
    await claimLease(database, kind, 'a', { holder: 'a', ttl: 60, capacity: 0 });
  }
  await database.knex('bucket').update({ capacity: null });
  return database;
}

for (const engine of engines) {
  describe(`where something fails, on ${engine.name}`, engine.options, () => {
    it('a kind that fails does not stop the others, and is tried again', async (t) => {
      const database = await twoKinds(engine);
      const errors: unknown[] = [];
      const controller = new Controller(database, { onError: (why) => errors.push(why) });
      t.after(() => controller.stop());
      failing(database, 1);
      await controller.look();
      const placed = () => database.knex('shard').orderBy('kind').pluck<string[]>('kind');
      assert.deepEqual([await placed(), errors.map(String)], [['two'], ['Error: this one fails']]);
      await controller.look();
      assert.deepEqual(await placed(), ['one', 'two']);
    });

    it('a renewal is answered, though what is due beside it is not done', async () => {
      const { database, worker } = await start(engine, { grace: 0, breaker: null });
      await worker('gone');
      await pass(database, 8);
      const { epoch } = await worker('a');
      await pass(database, 5); // the first has lapsed
      failing(database, 2);
      const renewed = await claimLease(database, KIND, 'a', { holder: 'a', ttl: 60, epoch });
      assert.deepEqual([renewed.is_new, renewed.epoch], [false, epoch]);
      const leases = await listLeases(database.knex, KIND);
      assert.deepEqual(leases.map(({ bucket }) => bucket).sort(), ['a', 'gone']);
      assert.equal(leases.find(({ bucket }) => bucket === 'a')?.expires_at, renewed.expires_at);
      await claimLease(database, KIND, 'a', { holder: 'a', ttl: 60, epoch });
      assert.equal((await listLeases(database.knex, KIND)).length, 1);
    });
  });
}

describe('which replica leads, on postgres', needsPostgres, () => {
  async function replica(url: string, t: TestContext) {
    const database = await open(url);
    const said: boolean[] = [];
    const errors: unknown[] = [];
    const controller = new Controller(database, {
      onLead: (leads) => said.push(leads),
      onError: (why) => errors.push(why),
    });
    t.after(() => controller.stop());
    return { database, controller, said, errors };
  }

  it('one whose connection is cut gives it up, another takes over, and both say so', async (t) => {
    const url = await (await postgresServer()).createDatabase();
    const [a, b] = [await replica(url, t), await replica(url, t)];
    for (const { controller } of [a, b]) await controller.look();
    assert.deepEqual([a.controller.leads, b.controller.leads], [true, false]);

    await b.database.knex.raw(
      `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
        and database = (select oid from pg_database where datname = current_database())`,
    );
    await eventually('the other leads', async () => {
      await b.controller.look();
      return b.controller.leads;
    });
    await a.controller.look();
    assert.equal(a.controller.leads, false);
    await a.controller.look(); // whether its connection was found cut by then or by this
    assert.equal(a.controller.leads, false);
    assert.deepEqual([a.said, b.said], [[true, false], [true]]);

    await b.controller.stop();
    await eventually('the first leads again', async () => {
      await a.controller.look();
      return a.controller.leads;
    });
    assert.deepEqual(a.said, [true, false, true]);
  });
});
