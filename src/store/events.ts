// What happens to a kind, in order, as whoever watches is told it: first assignments, which stand in
// the table `arrival`, and the lines of the history. The kind's lock numbers what is committed under
// it; so whoever has everything up to a version misses nothing, and sees nothing twice, by asking for
// what is above.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import type { Database } from './database.js';
import { toChange, type Stored } from './history.js';
import { unknownKind } from './kinds.js';
import { toIso } from './objects.js';
import { highestPruned } from './prune.js';
import { queryRows } from './rows.js';

/** One thing that has happened. What it has not is null. */
export interface KindEvent {
  /** Its place, such as `57.2`: the version of the kind, and where it stands in that. */
  readonly id: string;
  readonly kind: string;
  readonly version: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** As in the history; a first assignment is `object assign`. */
  readonly action: string;
  readonly name: string | null;
  readonly from_bucket: string | null;
  readonly to_bucket: string | null;
  readonly actor: string | null;
  readonly reason: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
  readonly plan: number | null;
}

/** A place between two events: behind those of a version up to an index. */
export interface EventPlace {
  readonly version: number;
  /** Of a first assignment its number in the transaction, from 1; of a line its id. */
  readonly index: number;
}

/** The index behind all events of a version. */
const END = Number.MAX_SAFE_INTEGER;

/** A few events, in order. */
export interface EventPage {
  readonly events: readonly KindEvent[];
  /** Where the next page begins. */
  readonly next: EventPlace;
  /** Whether these were all, by now. */
  readonly isLast: boolean;
  /** Whether the kind is no more. */
  readonly isGone: boolean;
}

/** A place as clients write it: an id of an event, or a version. Throws `bad_request`. */
export function parsePlace(text: string): EventPlace {
  const [, version, index] = /^(\d{1,15})(?:\.(\d{1,15}))?$/.exec(text) ?? [];
  if (version === undefined) {
    throw new SharderError(
      'bad_request',
      `since: ${JSON.stringify(text)} is no place; it must be the id of an event, such as 57.2, or a version of the kind, such as 57`,
    );
  }
  return { version: Number(version), index: index === undefined ? END : Number(index) };
}

/** A place as `parsePlace` takes it. */
export function formatPlace({ version, index }: EventPlace): string {
  return index === END ? String(version) : `${version}.${index}`;
}

/** The place behind everything that has happened. Throws `unknown_kind`. */
export async function placeNow(database: Database, kind: string): Promise<EventPlace> {
  const version = await readVersion(database, kind);
  if (version === undefined) throw unknownKind(kind);
  return { version, index: END };
}

// Where a connection is dead without a word, knex gives it up then.
const QUERY_TIMEOUT_MS = 4_000;

/** The version of a kind; undefined where there is no such kind. */
export async function readVersion(database: Database, kind: string): Promise<number | undefined> {
  const [version] = await database.read((knex) =>
    knex('kind')
      .where({ name: kind })
      .timeout(QUERY_TIMEOUT_MS)
      .pluck<(number | string)[]>('version'),
  );
  return version === undefined ? undefined : Number(version);
}

/**
 * The events behind a place, so many at most. Throws `forgotten` where not all of them are kept,
 * `bad_request` for a place that the kind has not come to, or `unknown_kind`; of a kind that was removed
 * while somebody watched, it still tells what was before.
 */
export function eventsPage(
  database: Database,
  kind: string,
  after: EventPlace,
  limit: number,
): Promise<EventPage> {
  return database.readPage(async (knex) => {
    // First: what is committed later has a higher version, and parts of it may be read below.
    const { version, isGone } = await lastVersion(knex, kind);
    if (after.version > version) {
      throw new SharderError(
        'bad_request',
        `since: kind ${kind} has come to version ${version}, and not to ${after.version} yet: is this the same database?`,
      );
    }
    const arrivals = await readArrivals(knex, kind, after, limit);
    const upTo = Math.min(version, arrivals.upTo);
    const changes = await readChanges(knex, kind, after, upTo, limit);
    // After them: a line that is not there any more was pruned by one that is.
    const pruned = await highestPruned(knex, kind);
    if (pruned > after.version || (pruned === after.version && after.index !== END)) {
      throw forgotten(kind, after);
    }
    const events = [...arrivals.events.filter((event) => event.version <= upTo), ...changes].sort(
      (a, b) => a.version - b.version, // and those of a version stay as they are
    );
    const isCut = events.length > limit || changes.length === limit;
    const page = events.slice(0, limit);
    const last = page.at(-1);
    const next = isCut && last ? parsePlace(last.id) : { version: upTo, index: END };
    return { events: page, next, isLast: !isCut && upTo === version, isGone };
  });
}

// What is left of a kind that was removed is a row of `arrival`.
async function lastVersion(
  knex: Knex,
  kind: string,
): Promise<{ version: number; isGone: boolean }> {
  const [there] = await knex('kind').where({ name: kind }).pluck<(number | string)[]>('version');
  if (there !== undefined) return { version: Number(there), isGone: false };
  const [left] = await knex('arrival')
    .where({ kind })
    .orderBy('version', 'desc')
    .limit(1)
    .pluck<(number | string)[]>('version');
  if (left === undefined) throw unknownKind(kind);
  return { version: Number(left), isGone: true };
}

interface ArrivalRow {
  readonly version: number | string;
  readonly previous: number | string;
  readonly at: string | Date;
  /** JSON on SQLite. */
  readonly names: string | readonly string[];
  readonly buckets: string | readonly string[];
  /** The highest version that a row of the kind has. */
  readonly newest: number | string;
}

// The first row, and those after it that have so many names together at most. A place inside a version
// needs that version's row once more.
const ARRIVALS = `
  select version, previous, at, names, buckets,
    (select max(version) from arrival where kind = ?) as newest
  from arrival
  where kind = ? and version >= ? and total <= ? + (
    select total from arrival where kind = ? and version >= ? order by version limit 1)
  order by version limit ?`;

// The version up to which these are all is infinite where there is no row above.
async function readArrivals(
  knex: Knex,
  kind: string,
  after: EventPlace,
  limit: number,
): Promise<{ events: readonly KindEvent[]; upTo: number }> {
  const from = [kind, after.index === END ? after.version + 1 : after.version] as const;
  const rows = await queryRows<ArrivalRow>(knex, ARRIVALS, [kind, ...from, limit, ...from, limit]);
  const own = rows.find((row) => Number(row.version) === after.version);
  const first = rows.find((row) => Number(row.version) > after.version);
  const before = Number(first?.previous ?? 0);
  const isHalf = before === after.version && !own && after.index !== END;
  if (before > after.version || isHalf) throw forgotten(kind, after);
  const events = rows.flatMap(({ version, at, ...row }) => {
    const skipped = Number(version) === after.version ? after.index : 0;
    const buckets = toList(row.buckets).slice(skipped);
    return toList(row.names)
      .slice(skipped)
      .map((name, i) => ({
        id: `${version}.${skipped + i + 1}`,
        kind,
        version: Number(version),
        at: toIso(at),
        action: 'object assign',
        name,
        from_bucket: null,
        to_bucket: buckets[i] ?? null,
        ...UNSAID,
      }));
  });
  const last = rows.at(-1);
  const isAll = !last || last.version === last.newest;
  return { events, upTo: isAll ? Infinity : Number(last.version) };
}

function toList(list: string | readonly string[]): readonly string[] {
  return typeof list === 'string' ? (JSON.parse(list) as string[]) : list;
}

// Who has caused it is a user.
const UNSAID = { actor: null, reason: null, detail: null, plan: null } as const;

async function readChanges(
  knex: Knex,
  kind: string,
  after: EventPlace,
  upTo: number,
  limit: number,
): Promise<KindEvent[]> {
  const rows = await knex<Stored & { readonly version: number | string }>('change')
    .where({ kind })
    .whereRaw('(version, id) > (?, ?)', [after.version, after.index])
    .where('version', '<=', upTo)
    .whereNot({ action: 'history prune' })
    .orderBy(['version', 'id'])
    .limit(limit);
  return rows.map((row) => {
    const { id, at, action, name, from_bucket, to_bucket, actor, reason, detail, plan } =
      toChange(row);
    return {
      id: `${row.version}.${id}`,
      kind,
      version: Number(row.version),
      at,
      action,
      name,
      from_bucket,
      to_bucket,
      actor,
      reason,
      detail,
      plan,
    };
  });
}

function forgotten(kind: string, after: EventPlace): SharderError {
  return new SharderError(
    'forgotten',
    `what has happened to kind ${kind} since ${formatPlace(after)} is no longer known whole: read the list of its objects anew, and watch from the version that the kind had before`,
  );
}
