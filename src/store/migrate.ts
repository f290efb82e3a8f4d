// Brings a database's schema to this version's: the numbered files of schema/, applied by knex's
// migrator inside one transaction of ours, so that a crash leaves the schema as it was.

import { readdir, readFile } from 'node:fs/promises';
import type { Database as SqliteConnection } from 'better-sqlite3';
import type { Knex } from 'knex';
import { SharderError } from '../errors.js';

export type EngineName = 'sqlite' | 'postgres';

const SCHEMA = new URL('../../schema/', import.meta.url);
const TABLE = 'schema_migration';
/** The tables of the migrator itself. */
export const BOOKS: readonly string[] = [TABLE, `${TABLE}_lock`];
// Any number that no other program locks by: the bytes of "sharder" as one.
const ADVISORY_LOCK = 0x73686172646572n;

/** What separates a database's schema from this version's. */
export interface SchemaState {
  /** How many migrations the database has. */
  readonly applied: number;
  /** Migrations of this version that the database does not have, oldest first. */
  readonly pending: readonly string[];
  /** Migrations of the database that this version does not have. */
  readonly unknown: readonly string[];
  /** Whether the database is the Python sharder's: it has its table, and none of our migrations. */
  readonly isLegacy: boolean;
}

/** Reads which migrations a database has. Writes nothing. */
export async function schemaState(knex: Knex, engine: EngineName): Promise<SchemaState> {
  const ours = await migrationNames(engine);
  // In this order: who makes our tables at this moment commits both at once.
  const hasShard = await knex.schema.hasTable('shard');
  // Another program may have a table of that name.
  const books = Object.keys(await knex(TABLE).columnInfo());
  const theirs = ['id', 'name', 'batch'].every((column) => books.includes(column))
    ? await knex(TABLE).orderBy('id').pluck<string[]>('name')
    : [];
  return {
    applied: theirs.length,
    pending: ours.filter((name) => !theirs.includes(name)),
    unknown: theirs.filter((name) => !ours.includes(name)),
    isLegacy: hasShard && theirs.length === 0,
  };
}

/**
 * Applies what is pending and resolves with its names. Any number of processes may do so at once:
 * one applies, the others wait and find nothing to do. Throws `schema` when the database's schema
 * is newer than this version, or not ours; nothing is changed then.
 */
export async function migrate(trx: Knex.Transaction, engine: EngineName): Promise<string[]> {
  await lockSchema(trx, engine);
  const state = await schemaState(trx, engine);
  refuseForeign(state);
  return state.pending.length === 0 ? [] : applyMigrations(trx, engine);
}

/** Keeps every other process from changing the schema, for the rest of the transaction. */
export async function lockSchema(trx: Knex.Transaction, engine: EngineName): Promise<void> {
  if (engine === 'postgres') {
    await trx.raw('set local statement_timeout = 0');
    await trx.raw('select pg_advisory_xact_lock(?)', [ADVISORY_LOCK.toString()]);
    // What triggers keep as their search path must not depend on who writes later, as "$user" does.
    await trx.raw(`select set_config('search_path', quote_ident(current_schema()), true)`);
  } else {
    // A write of nothing takes the lock, before anything was read.
    await trx.raw('pragma user_version = 0');
  }
}

/** Applies what is pending, under the schema's lock; resolves with its names. */
export async function applyMigrations(
  trx: Knex.Transaction,
  engine: EngineName,
): Promise<string[]> {
  const [, applied] = (await trx.migrate.latest({
    tableName: TABLE,
    migrationSource: source(engine),
  })) as [batch: number, names: string[]];
  return applied;
}

/** Throws `schema` when the database was written by a newer version, or by the Python sharder. */
export function refuseForeign({ unknown, isLegacy }: SchemaState): void {
  if (unknown.length > 0) {
    throw new SharderError(
      'schema',
      `the database was made by a newer version of sharder (it has ${unknown.join(', ')}): start that version, or restore the backup from before it`,
    );
  }
  if (isLegacy) {
    throw new SharderError(
      'schema',
      'the database has a table `shard` that is not ours, as the Python sharder makes it: stop that sharder, type `sharder adopt --dry-run` to see what becomes of it, then `sharder adopt`',
    );
  }
}

async function migrationNames(engine: EngineName): Promise<string[]> {
  const files = await readdir(new URL(`${engine}/`, SCHEMA));
  return files
    .filter((file) => /^\d{4}_.*\.sql$/.test(file))
    .map((file) => file.slice(0, -'.sql'.length))
    .sort();
}

// Knex would record file names with their extension and run JavaScript; ours are plain SQL, and
// their names are the same on both engines.
function source(engine: EngineName): Knex.MigrationSource<string> {
  return {
    getMigrations: () => migrationNames(engine),
    getMigrationName: (name) => name,
    getMigration: async (name) => {
      const sql = await readFile(new URL(`${engine}/${name}.sql`, SCHEMA), 'utf8');
      return { up: (knex) => runScript(knex, sql), down: () => Promise.resolve() };
    },
  };
}

// Neither driver takes a script of several statements through knex's bindings.
async function runScript(knex: Knex, sql: string): Promise<void> {
  const client = knex.client as Knex.Client;
  const connection = (await client.acquireConnection()) as
    SqliteConnection | { query(sql: string): Promise<unknown> };
  if ('exec' in connection) connection.exec(sql);
  else await connection.query(sql);
}
