// The names of kinds and buckets, for whoever is typing one. Objects' names are never read: there may be
// millions, and they are nobody else's business.

import { resolve } from 'node:path';
import { readClientConfig, readConfig } from '../config.js';
import { DEFAULT_KIND } from '../names.js';
import type { WantedNames } from './wanted.js';

const WAIT_MS = 800;

/**
 * The names that are wanted, from the service or the database that the flags and the settings say; throws
 * whatever stands in the way. Nothing is written: no schema is brought up to date, no file is made.
 */
export async function readNames(wanted: WantedNames): Promise<string[]> {
  const client = readClientConfig(wanted.flags, process.env);
  const { what, kind = DEFAULT_KIND } = wanted;
  if (client) {
    const { Remote } = await import('../commands/remote.js');
    const remote = new Remote(client);
    const { listKinds } = await import('../operations/kinds.js');
    const { listBuckets } = await import('../operations/buckets.js');
    const { items } = await (what === 'kinds'
      ? remote.perform(listKinds, {})
      : remote.perform(listBuckets, { kind }));
    return items.map(({ name }) => name);
  }
  const url = readConfig(wanted.flags, process.env).database;
  const [sql, ...values] =
    what === 'kinds'
      ? (['select name from kind order by name'] as const)
      : (['select name from bucket where kind = $1 order by name', kind] as const);
  return url.startsWith('sqlite:')
    ? querySqlite(url.slice('sqlite:'.length), sql.replace('$1', '?'), values)
    : queryPostgres(url, sql, values);
}

async function querySqlite(file: string, sql: string, values: readonly string[]) {
  const { default: Sqlite } = await import('better-sqlite3');
  // Not read-only: then SQLite would leave its two files beside the database behind.
  const connection = new Sqlite(resolve(file), { fileMustExist: true, timeout: WAIT_MS });
  try {
    connection.pragma('query_only = on');
    return connection
      .prepare<string[], string>(sql)
      .pluck()
      .all(...values);
  } finally {
    connection.close();
  }
}

async function queryPostgres(url: string, sql: string, values: readonly string[]) {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: WAIT_MS });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(sql, [...values]);
    return rows.map(({ name }) => name);
  } finally {
    await client.end();
  }
}
