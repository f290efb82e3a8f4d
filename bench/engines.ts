// The engines under measurement: how a database is made on each, filled in bulk, and removed.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import SqliteConnection from 'better-sqlite3';
import type pg from 'pg';
import type { PostgresServer } from '../test/postgres.js';

/** How the objects of a table are called: as in `Names` of load.ts. */
export type Naming = 'ordered' | 'random';

export interface Connection {
  run(sql: string, ...values: readonly number[]): unknown;
  /** The first column of the first row. */
  read(sql: string): unknown;
  close(): unknown;
}

export interface Engine {
  readonly name: 'SQLite' | 'PostgreSQL';
  readonly version: string;
  /** Before a table is filled: what does not outlive the connection and makes it quick. */
  readonly beforeFill: string;
  /** Inserts the objects from number $1 to $2, each into the next of so many buckets. */
  readonly fill: (naming: Naming, buckets: number) => string;
  /** Afterwards: settles what the filling owes. Never ANALYZE, without which all must go well too. */
  readonly afterFill: readonly string[];
  /** A new, empty database; its URL. */
  create(): string | Promise<string>;
  connect(url: string): Connection | Promise<Connection>;
  remove(url: string): unknown;
}

/** The kind whose objects are counted, another to warm a service up with, and the buckets of each. */
export const KIND = 'hub';
export const WARM_KIND = 'warm';
export const BUCKETS = 5;

/** SQLite, with its files in `dir`. */
export function sqliteEngine(dir: string): Engine {
  let files = 0;
  const fileOf = (url: string): string => url.slice('sqlite:'.length);
  const memory = new SqliteConnection(':memory:');
  const version = String(memory.prepare('select sqlite_version()').pluck().get());
  memory.close();

  // The driver binds every number as a floating one.
  const names = { ordered: `printf('user-%08d', i)`, random: 'lower(hex(randomblob(8)))' };
  const fill = (naming: Naming, buckets: number): string => `
    with recursive numbers (i) as (
      select cast(? as integer) union all select i + 1 from numbers where i < ?)
    insert into shard (kind, bucket, name)
    select '${KIND}', '${KIND}-' || (i % ${buckets}), ${names[naming]} from numbers`;
  return {
    name: 'SQLite',
    version,
    beforeFill: 'pragma synchronous = off; pragma cache_size = -1000000; pragma foreign_keys = on',
    fill,
    afterFill: ['pragma wal_checkpoint(truncate)'],
    create: () => `sqlite:${join(dir, `${++files}.db`)}`,
    connect(url) {
      const connection = new SqliteConnection(fileOf(url));
      return {
        run: (sql, ...values) =>
          values.length > 0 ? connection.prepare(sql).run(...values) : connection.exec(sql),
        read: (sql) => connection.prepare(sql).pluck().get(),
        close: () => connection.close(),
      };
    },
    remove(url) {
      for (const suffix of ['', '-wal', '-shm']) rmSync(fileOf(url) + suffix, { force: true });
    },
  };
}

/** PostgreSQL, as initdb sets it up, with fsync. */
export async function postgresEngine(server: PostgresServer): Promise<Engine> {
  const connect = async (database: string): Promise<pg.Client> => {
    const client = await server.connect(database);
    // At Ctrl-C the server goes first. Who waits for an answer hears of it by that.
    client.on('error', () => undefined);
    return client;
  };
  const admin = await connect('postgres');
  const { rows } = await admin.query<{ server_version: string }>('show server_version');
  await admin.end();

  const names = {
    ordered: `'user-' || lpad(i::text, 8, '0')`,
    random: `left(replace(gen_random_uuid()::text, '-', ''), 16)`,
  };
  const fill = (naming: Naming, buckets: number): string => `
    insert into shard (kind, bucket, name)
    select '${KIND}', '${KIND}-' || (i % ${buckets}), ${names[naming]}
    from generate_series($1::bigint, $2::bigint) i`;
  const nameOf = (url: string): string => new URL(url).pathname.slice(1);
  return {
    name: 'PostgreSQL',
    version: rows[0]?.server_version.replace(/ .*/, '') ?? '',
    beforeFill: 'set synchronous_commit = off',
    fill,
    // Without them the first run would pay for the filling.
    afterFill: ['vacuum shard', 'vacuum bucket', 'checkpoint'],
    create: () => server.createDatabase(),
    async connect(url) {
      const client = await connect(nameOf(url));
      return {
        run: (sql, ...values) => client.query(sql, [...values]),
        read: async (sql) =>
          (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows[0]?.[0],
        close: () => client.end(),
      };
    },
    async remove(url) {
      const client = await connect('postgres');
      await client.query(`drop database ${nameOf(url)} with (force)`);
      await client.end();
    },
  };
}
