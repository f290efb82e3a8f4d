// What follows workers is moved by nothing else, whatever asks for it: it would have two owners.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openDatabase, type Database } from '../../src/index.js';
import { makePlan } from '../../src/rebalance/make.js';
import { resumePlan, startPlan } from '../../src/rebalance/steps.js';
import { setKind } from '../../src/store/kinds.js';
import type { Plan } from '../../src/store/plans.js';
import { importPages } from '../../src/transfer/import.js';
import { Page } from '../../src/transfer/page.js';
import { engines, type TestEngine } from '../engines.js';
import { contents } from '../commands/prepare.js';
import { BY, KIND, start } from './prepare.js';

const FAST = { rate: 1_000, bucketRate: null };

async function prepare(engine: TestEngine) {
  const { url, database, worker, register } = await start(engine);
  await worker('a');
  await worker('b', { capacity: 0 });
  const plan = () => makePlan(database, KIND, { goal: 'drain', buckets: ['a'] }, BY);
  /** Rejects so, and has changed nothing. */
  const refuses = async (work: () => Promise<unknown>, error: object) => {
    const before = await contents(database);
    await assert.rejects(work, error);
    assert.deepEqual(await contents(database), before);
  };
  return { url, database, register: () => register({ name: 'x' }), plan, refuses };
}

const FOLLOW = {
  code: 'bad_request',
  message: /objects of kind queue follow their workers.*drain/,
};

/** Imports a line that says that x is in b. */
async function importLine(url: string, move: boolean) {
  const database = await openDatabase(url, { isBulk: true });
  const page = new Page();
  const object = { line: 1, kind: KIND, name: 'x', bucket: 'b' };
  page.objects.push({ ...object, assigned_at: undefined, pinned: undefined });
  const pages = (async function* () {
    await Promise.resolve();
    yield page;
  })();
  const how = { kind: KIND, file: 'test', createBuckets: false, skipErrors: false, dryRun: false };
  const ignore = () => undefined;
  const told = { onRead: ignore, onRows: ignore, onWrite: ignore };
  try {
    return await importPages(database, pages, { ...how, ...told, move, by: BY });
  } finally {
    await database.close();
  }
}

for (const engine of engines) {
  describe(`where objects follow workers, on ${engine.name}`, engine.options, () => {
    it('no plan is made; one from before is neither begun nor resumed', async () => {
      const { database, register, plan, refuses } = await prepare(engine);
      const before = (await plan()) as Plan;
      const paused = (await plan()) as Plan;
      await database.knex('plan').where({ id: paused.id }).update({ state: 'paused', rate: 1_000 });
      await register();
      await refuses(plan, FOLLOW);
      const write = (work: Parameters<Database['write']>[0]) => () => database.write(work);
      await refuses(write((trx) => startPlan(trx, before.id, FAST, BY)), FOLLOW); // prettier-ignore
      await refuses(write((trx) => resumePlan(trx, paused.id, {}, BY)), FOLLOW); // prettier-ignore
    });

    it('nothing is registered while a plan moves', async () => {
      const { database, register, plan, refuses } = await prepare(engine);
      const { id } = (await plan()) as Plan;
      await database.knex('plan').where({ id }).update({ state: 'running' });
      await refuses(register, { code: 'plan_state', message: /sharder plan cancel/ });
    });

    it('no import moves them, with --move or without', async () => {
      const { url, register, refuses } = await prepare(engine);
      await register();
      await refuses(() => importLine(url, true), FOLLOW);
      const { wrong, problems } = await importLine(url, false);
      assert.deepEqual([wrong, problems[0]?.code], [1, 'elsewhere']);
    });

    it('their names are not made normal, and the kind stays leased', async () => {
      const { database, register, refuses } = await prepare(engine);
      await register();
      const full = { code: 'not_empty', message: /kind queue has 1 registered object: remove it/ };
      for (const change of [{ normalize: 'lower' }, { leased: false }] as const) {
        await refuses(() => database.write((trx) => setKind(trx, KIND, change, BY)), full);
      }
      await database.knex('spec').delete();
      const held = { code: 'not_empty', message: /has workers, such as a: stop them first/ };
      await refuses(() => database.write((trx) => setKind(trx, KIND, { leased: false }, BY)), held);
    });
  });
}
