// The table `arrival`: the first assignments, as watchers are told them. A row is written with every
// batch of new users, and about the last hundred thousand names of each kind are kept.

import type { Database as Connection, Statement } from 'better-sqlite3';
import type { EngineName } from './migrate.js';

/** So many names of each kind are kept. */
export const KEPT = 100_000;

// Once in so many names, those that are too many are deleted: as many rows at most. SQLite does so in the
// transaction that assigns, and PostgreSQL in one of its own.
const TRIMMED_EVERY = { sqlite: 1_000, postgres: 10_000 } as const;

/** The total that rows of a kind must have to be kept, if it is time to delete others. */
export function trimmedBelow(engine: EngineName, total: number, added: number): number | undefined {
  const steps = (names: number) => Math.floor(names / TRIMMED_EVERY[engine]);
  return total > KEPT && steps(total) > steps(total - added) ? total - KEPT : undefined;
}

// The scan ends at the first row that is kept: totals grow with versions.
function trim(kind: string, total: string): string {
  return `
    delete from arrival where kind = ${kind} and version < (
      select version from arrival where kind = ${kind} and total >= ${total} order by version limit 1)`;
}

/** The statements that write the table on SQLite, inside the transaction that assigns. */
export class SqliteArrivals {
  readonly #last: Statement<[kind: string], { readonly version: number; readonly total: number }>;
  readonly #insert: Statement<(string | number)[]>;
  readonly #trim: Statement<[{ readonly kind: string; readonly total: number }]>;

  constructor(connection: Connection) {
    this.#last = connection.prepare(
      'select version, total from arrival where kind = ? order by version desc limit 1',
    );
    this.#insert = connection.prepare(`
      insert into arrival (kind, version, previous, total, at, names, buckets)
      values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`);
    this.#trim = connection.prepare(trim('@kind', '@total'));
  }

  /** Adds a row, under the kind's lock, which has given the version. `at`: ISO 8601, UTC. */
  add(
    kind: string,
    version: number,
    at: string,
    names: readonly string[],
    buckets: readonly string[],
  ): void {
    const last = this.#last.get(kind);
    const total = (last?.total ?? 0) + names.length;
    const lists = [names, buckets].map((list) => JSON.stringify(list));
    this.#insert.run(kind, version, last?.version ?? 0, total, at, ...lists);
    const below = trimmedBelow('sqlite', total, names.length);
    if (below !== undefined) this.#trim.run({ kind, total: below });
  }
}

/**
 * On PostgreSQL one statement that inserts the objects too, so that nothing more goes over the network.
 * `$1` is the kind, `$2` the buckets, `$3` the names, `$4` the version that the lock has given. It returns
 * the `total`.
 */
export const INSERT_PLACED = `
  with placed as (
    insert into shard (kind, bucket, name)
    select $1, bucket, name from unnest($2::text[], $3::text[]) as placed (bucket, name)
  )
  insert into arrival (kind, version, previous, total, names, buckets)
  select $1, $4::bigint, coalesce(last.version, 0), coalesce(last.total, 0) + cardinality($3::text[]),
    $3::text[], $2::text[]
  from (select) as one left join lateral (
    select version, total from arrival where kind = $1 order by version desc limit 1) last on true
  on conflict do nothing
  returning total`;

/** Deletes what is too much on PostgreSQL: `$1` is the kind, `$2` what `trimmedBelow` says. */
export const TRIM = trim('$1', '$2');
