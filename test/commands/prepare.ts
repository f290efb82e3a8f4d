// A database for the tests of commands, and what is in it before and after.

import { declareKinds, Sharder, type Database } from '../../src/index.js';
import { declareHub, open, type TestEngine } from '../engines.js';

/** Kind `hub` with hub-0 (weight 2: a, b) and hub-1 (capacity 100: c), kind `homedir` with home-0. */
export async function prepare(
  engine: TestEngine,
): Promise<{ env: { DATABASE_URL: string }; database: Database }> {
  const url = await engine.createDatabase();
  const database = await open(url);
  await declareHub(database, {
    'hub-0': { url: 'https://hub-0.example', weight: 2 },
    'hub-1': { capacity: 100 },
  });
  await declareKinds(database, { homedir: { buckets: [{ name: 'home-0' }] } }, 'test');
  const sharder = await Sharder.start(database);
  for (const name of ['a', 'b', 'c']) await sharder.assign('hub', name);
  return { env: { DATABASE_URL: url }, database };
}

/** All that the tables hold, but for the versions of kinds, which a lock raises too. */
export async function contents({ knex }: Database): Promise<Record<string, unknown>> {
  return {
    kinds: await knex('kind').orderBy('name').select('name', 'policy', 'settings'),
    buckets: await knex('bucket').orderBy(['kind', 'name']),
    objects: await knex('shard').orderBy('id'),
    specs: await knex('spec').orderBy(['kind', 'name']),
    changes: await knex('change').orderBy('id'),
  };
}

export interface ChangeRow {
  readonly actor: string;
  readonly action: string;
  readonly kind: string;
  readonly name: string | null;
  readonly from_bucket: string | null;
  readonly to_bucket: string | null;
  readonly reason: string | null;
  readonly detail: unknown;
}

/** The history's last line. */
export async function lastChange({ knex }: Database): Promise<ChangeRow> {
  const row = (await knex('change').orderBy('id', 'desc').first()) as ChangeRow;
  return {
    ...row,
    detail: typeof row.detail === 'string' ? (JSON.parse(row.detail) as unknown) : row.detail,
  };
}
