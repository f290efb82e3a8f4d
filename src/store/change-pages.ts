// The history as it is read: newest first, in pages.

import type { Knex } from 'knex';
import type { Database } from './database.js';
import { toChange, type ChangeRow, type Stored } from './history.js';
import { checkKind } from './kinds.js';

/** Which lines are wanted: those that fit all that is given. */
export interface ChangeFilter {
  readonly kind?: string | undefined;
  /** Only of these kinds. */
  readonly kinds?: readonly string[] | undefined;
  /** The object, by the name that the line has. */
  readonly name?: string | undefined;
  /** From which or to which an object went, or that was changed itself. */
  readonly bucket?: string | undefined;
  readonly actor?: string | undefined;
  /** As the line has it: `object move`. */
  readonly action?: string | undefined;
  readonly plan?: number | undefined;
  /** Of this time or later. */
  readonly since?: Date | undefined;
  /** Before this time. */
  readonly until?: Date | undefined;
}

export interface ChangePage {
  /** Newest first; at most as many as were asked for, and fewer where few of those read fit. */
  readonly changes: readonly ChangeRow[];
  /** `after` of the next page, which may be empty; null at the end. */
  readonly next: number | null;
}

// So many lines are looked at for one page.
const WINDOW = 5_000;

/**
 * A page of the lines with an id below `after`; null: the newest. However few fit, it reads a bounded
 * number of lines in the order of their ids, or by the index those of `name`. When every line of a
 * window is older than `since`, the page is the last. Throws `unknown_kind`.
 */
export async function listChanges(
  database: Database,
  filter: ChangeFilter,
  after: number | null,
  limit: number,
  window = WINDOW,
): Promise<ChangePage> {
  const { kind, name, since } = filter;
  if (kind !== undefined) await database.read((knex) => checkKind(knex, kind));
  if (name !== undefined) return listOfName(database, { ...filter, name }, after, limit);

  return database.readPage(async (knex) => {
    const newest = below(knex, after).orderBy('id', 'desc').limit(Math.max(window, limit));
    const [seen] = await knex
      .from(newest.select('id', 'at').as('newest'))
      .select<Seen[]>(knex.raw('min(id) as first, max(id) as last, max(at) as at, count(*) as n'));
    if (seen?.first == null) return { changes: [], next: null };
    const first = Number(seen.first);
    const changes = await fitting(knex, database, filter)
      .whereBetween('id', [first, Number(seen.last)])
      .orderBy('id', 'desc')
      .limit(limit);
    const isEnd =
      Number(seen.n) < Math.max(window, limit) ||
      (since !== undefined && new Date(seen.at ?? 0) < since);
    return toPage(changes, limit, isEnd ? null : first, first);
  });
}

interface Seen {
  readonly first: number | string | null;
  readonly last: number | string | null;
  readonly at: string | Date | null;
  readonly n: number | string;
}

// PostgreSQL's planner is left to sort these, for they are few.
function listOfName(
  database: Database,
  filter: ChangeFilter,
  after: number | null,
  limit: number,
): Promise<ChangePage> {
  return database.read(async (knex) => {
    const changes = await fitting(knex, database, filter)
      .whereIn('kind', knex('kind').select('name')) // the index begins with it
      .where('id', '<', after ?? Number.MAX_SAFE_INTEGER)
      .orderBy('id', 'desc')
      .limit(limit);
    return toPage(changes, limit, null, 0);
  });
}

// What follows a full page is below its last line, and what follows another below all that was read.
function toPage(
  changes: readonly Stored[],
  limit: number,
  rest: number | null,
  first: number,
): ChangePage {
  const last = Number(changes.at(-1)?.id);
  const next = changes.length === limit && last > first ? last : rest;
  return { changes: changes.map(toChange), next };
}

function below(knex: Knex, after: number | null): Knex.QueryBuilder {
  return knex('change').where('id', '<', after ?? Number.MAX_SAFE_INTEGER);
}

function fitting(
  knex: Knex,
  { engineName }: Database,
  { kind, kinds, name, bucket, actor, action, plan, since, until }: ChangeFilter,
): Knex.QueryBuilder<Stored, Stored[]> {
  // As the column has it: text on SQLite.
  const time = (at: Date) => (engineName === 'sqlite' ? at.toISOString() : at);
  const equal = Object.entries({ kind, name, actor, action, plan }).filter(
    ([, value]) => value !== undefined,
  );
  const lines = knex<Stored>('change').where(Object.fromEntries(equal));
  if (kinds) void lines.whereIn('kind', [...kinds]);
  if (bucket !== undefined) {
    void lines.where((either) => {
      void either.where({ from_bucket: bucket }).orWhere({ to_bucket: bucket });
    });
  }
  if (since) void lines.where('at', '>=', time(since));
  if (until) void lines.where('at', '<', time(until));
  return lines;
}
