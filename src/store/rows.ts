// Raw statements, whose results the two drivers give in different forms.

import type { Knex } from 'knex';
import type { EngineName } from './migrate.js';

/** Whose SQL is spoken here. */
export function engineOf(knex: Knex): EngineName {
  const { config } = knex.client as Knex.Client & { readonly config: Knex.Config };
  return config.client === 'pg' ? 'postgres' : 'sqlite';
}

/** The rows of a JSON array that is bound here, in the column `value`: `from ${EACH[engine]} m`. */
export const EACH: Readonly<Record<EngineName, string>> = {
  sqlite: 'json_each(?)',
  postgres: 'json_array_elements(cast(? as json))',
};

/** A column of JSON: SQLite has it as text. */
export function fromJson(knex: Knex, value: unknown): unknown {
  return engineOf(knex) === 'sqlite' && typeof value === 'string' ? JSON.parse(value) : value;
}

/** The rows of a query. PostgreSQL's driver gives a bigint as a string. */
export async function queryRows<T>(
  knex: Knex,
  sql: string,
  values: readonly Knex.Value[] = [],
): Promise<T[]> {
  const result: unknown = await knex.raw(sql, values);
  return (Array.isArray(result) ? result : (result as { rows: unknown }).rows) as T[];
}

/** Runs a statement; resolves with how many rows it has changed, triggers apart. */
export async function runStatement(
  knex: Knex,
  sql: string,
  values: readonly Knex.Value[] = [],
): Promise<number> {
  const result = await knex.raw<{ changes?: number; rowCount?: number }>(sql, values);
  return result.changes ?? result.rowCount ?? 0;
}
