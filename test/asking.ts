// What the tests of the sharder ask of it, and of the table behind its back. An "outsider" is a
// connection that is not ours: a person in psql or in sqlite3.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import SqliteConnection from 'better-sqlite3';
import pg from 'pg';
import { Sharder, type Answer, type ErrorCode, type SharderError } from '../src/index.js';
import { open } from './engines.js';

export interface Outsider {
  run(sql: string): Promise<unknown>;
  rows<T>(sql: string): Promise<T[]>;
}

/** Connects; gone when the test ends. */
export async function outsider(t: TestContext, { database }: Sharder): Promise<Outsider> {
  if (database.engineName === 'sqlite') {
    const connection = new SqliteConnection(database.location.slice('sqlite:'.length));
    t.after(() => connection.close());
    return {
      run: (sql) => Promise.resolve(connection.exec(sql)),
      rows: <T>(sql: string) => Promise.resolve(connection.prepare(sql).all() as T[]),
    };
  }
  const client = new pg.Client({ connectionString: database.location });
  await client.connect();
  t.after(() => client.end());
  return {
    run: (sql) => client.query(sql),
    rows: async <T>(sql: string) => (await client.query(sql)).rows as T[],
  };
}

/** Another replica: a sharder of its own on the same database. */
export async function replicaOf({ database }: Sharder): Promise<Sharder> {
  return Sharder.start(await open(database.location));
}

/** Takes the lock that every assignment of kind hub needs; resolves with what lets go of it. */
export async function holdKind(t: TestContext, sharder: Sharder): Promise<() => Promise<unknown>> {
  const holder = await outsider(t, sharder);
  await holder.run(
    sharder.database.engineName === 'sqlite'
      ? 'begin immediate'
      : `begin; select from kind where name = 'hub' for update`,
  );
  return () => holder.run('commit');
}

/** Polls, with a deadline, for what PostgreSQL or another process tells when it likes. */
export async function eventually(check: () => unknown): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await sleep(5);
  }
}

/** On PostgreSQL a change is heard soon; on SQLite the very next request must know of it. */
export async function isHeard({ database }: Sharder, check: () => unknown): Promise<void> {
  if (database.engineName === 'postgres') {
    await eventually(check);
  } else {
    await nextTurn(); // requests of one turn were all made before the change
    await check();
  }
}

// A name that is refused throws at once, anything else rejects: here both are a promise.
export async function assign(sharder: Sharder, name: string, kind = 'hub'): Promise<Answer> {
  return sharder.assign(kind, name);
}

export async function bucketOf(sharder: Sharder, name: string): Promise<string> {
  return (await assign(sharder, name)).bucket.name;
}

export async function found(sharder: Sharder, name: string): Promise<string | undefined> {
  return (await sharder.find('hub', name))?.bucket.name;
}

export function names(count: number, prefix = 'user'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}

export async function assignAll(sharder: Sharder, all: readonly string[]): Promise<Answer[]> {
  return Promise.all(all.map((name) => assign(sharder, name)));
}

export async function counts({ database }: Sharder): Promise<Record<string, number>> {
  const { knex } = database;
  const objects = knex('shard')
    .count('*')
    .where({
      kind: knex.ref('bucket.kind'),
      bucket: knex.ref('bucket.name'),
    });
  const rows = await knex('bucket')
    .orderBy('name')
    .select<{ bucket: string; objects: unknown }[]>('name as bucket', objects.as('objects'));
  return Object.fromEntries(rows.map(({ bucket, objects }) => [bucket, Number(objects)]));
}

export async function members({ database }: Sharder): Promise<Record<string, number>> {
  const rows = await database
    .knex('bucket')
    .orderBy('name')
    .select<{ name: string; members: number }[]>('name', 'members');
  return Object.fromEntries(rows.map((row) => [row.name, row.members]));
}

export async function rowCount(sharder: Sharder): Promise<number> {
  return Object.values(await counts(sharder)).reduce((sum, count) => sum + count, 0);
}

export async function version({ database }: Sharder): Promise<number> {
  const row = await database
    .knex('kind')
    .where({ name: 'hub' })
    .first<{ version: unknown }>('version');
  return Number(row.version);
}

export function isRefused(code: ErrorCode) {
  return (error: SharderError) => {
    assert.equal(error.code, code, error.stack);
    return true;
  };
}

export function spread(perBucket: Record<string, number>): number {
  return Math.max(...Object.values(perBucket)) - Math.min(...Object.values(perBucket));
}

/** Resolves when so many connections wait for a lock. */
export async function isWaiting(watcher: Outsider, count = 1): Promise<void> {
  const rows = await watcher.rows(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  assert.equal(rows.length, count);
}

/** Ends the connection that LISTENs, known by what it said last; resolves when it is gone. */
export async function cutListener(other: Outsider): Promise<void> {
  const cut = await other.rows<{ pid: number }>(`
    select pid, pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'sharder'
      and (query in ('listen sharder', 'select 1') or query like 'select name, policy, settings%')`);
  assert.equal(cut.length, 1);
  await eventually(async () => {
    const rows = await other.rows(`select from pg_stat_activity where pid = ${cut[0]?.pid ?? 0}`);
    assert.deepEqual(rows, []);
  });
}
