// What the tests of plans begin with: a kind with users, and plans of it.

import assert from 'node:assert/strict';
import { makePlan, makeUndo, type Wanted } from '../../src/rebalance/make.js';
import { runPlan } from '../../src/rebalance/runner.js';
import * as steps from '../../src/rebalance/steps.js';
import { Sharder, SharderError, type Database } from '../../src/index.js';
import type { Plan } from '../../src/store/plans.js';
import { declareHub, hubs, open, type TestEngine } from '../engines.js';

export const BY = { actor: 'ann', reason: 'a test' };
export const FAST = { rate: 1_000_000, bucketRate: null };

export async function withUsers(engine: TestEngine, users: number, buckets = 4) {
  const url = await engine.createDatabase();
  const database = await open(url);
  await declareHub(database, hubs(buckets));
  const sharder = await Sharder.start(database);
  await assign(sharder, 0, users);
  return { url, database, sharder };
}

export function assign(sharder: Sharder, first: number, count: number) {
  return Promise.all(
    Array.from({ length: count }, async (_, i) => sharder.assign('hub', `user-${first + i}`)),
  );
}

export async function plan(database: Database, wanted: Wanted): Promise<Plan> {
  const made = await makePlan(database, 'hub', wanted, BY);
  assert.equal('id' in made, true);
  return made as Plan;
}

export async function apply(database: Database, { id }: Plan, rates = FAST): Promise<Plan> {
  const started = await database.write((trx) => steps.startPlan(trx, id, rates, BY));
  return runPlan(database, started);
}

export async function undo(database: Database, { id }: Plan): Promise<Plan> {
  return apply(database, (await makeUndo(database, id, BY)) as Plan);
}

export async function whereAll({ knex }: Database): Promise<Map<string, string>> {
  const rows = await knex('shard').select<{ name: string; bucket: string }[]>('name', 'bucket');
  return new Map(rows.map(({ name, bucket }) => [name, bucket]));
}

export async function members({ knex }: Database): Promise<Record<string, number>> {
  const rows = await knex('bucket').select<{ name: string; members: number }[]>('name', 'members');
  return Object.fromEntries(rows.map((row) => [row.name, row.members]));
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const [error] = await Promise.all([
    promise.then(
      () => undefined,
      (e: unknown) => e,
    ),
  ]);
  assert.equal(error instanceof SharderError, true, String(error));
  return (error as SharderError).code;
}
