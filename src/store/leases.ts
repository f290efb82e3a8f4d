// The table `lease`: workers' claims on the buckets of a kind, and the places that come with them. What
// they are given is decided in workers/; times are the database's, in milliseconds since 1970.

import type { Knex } from 'knex';
import { getKind } from './kinds.js';
import { engineOf, fromJson, queryRows } from './rows.js';

/** What a worker says of itself; what it leaves out stays as it was. */
export interface WorkerSays {
  /** Objects may ask for workers of a group. */
  readonly group?: string | null | undefined;
  /** How much it has to do, in a unit of its own. */
  readonly load?: number | null | undefined;
  /** Whatever others should know of it. */
  readonly data?: unknown;
  /** Whether it is told over HTTP what it owns, at its bucket's URL. */
  readonly calls?: boolean | undefined;
}

/** A worker that holds a lease. */
export interface Lease {
  readonly kind: string;
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
  /** 0 … count − 1; null: it has no place yet. */
  readonly index: number | null;
  /** ISO 8601, UTC. */
  readonly taken_at: string;
  readonly expires_at: string;
  /** Whether it has ended, and the place is kept for a while. */
  readonly has_ended: boolean;
  readonly url: string | null;
  readonly state: 'active' | 'cordoned' | 'draining';
  /** How many objects it has. */
  readonly members: number;
  /** How many it is to begin or to stop, and has not said that it did. */
  readonly pending: number;
  readonly group: string | null;
  readonly load: number | null;
  readonly data: unknown;
  readonly calls: boolean;
}

/** A lease, as far as it decides anything. */
export interface LeaseRow {
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
  readonly place: number | null;
  /** Whether it has had another place, and has not said yet that it goes by this one. */
  readonly isMoving: boolean;
  readonly group: string | null;
  readonly ttlMs: number;
  readonly expiresAt: number;
  readonly load: number | null;
  /** Whether it has told its load since objects were last moved by loads. */
  readonly isNews: boolean;
  /** Whether it is called. */
  readonly calls: boolean;
}

interface Stored {
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number | string;
  readonly place: number | null;
  readonly is_moving: number | boolean;
  readonly group_name: string | null;
  readonly ttl_ms: number;
  readonly expires_at: string | Date;
  readonly load: number | null;
  readonly is_news: number | boolean;
  readonly calls: number | boolean;
}

const COLUMNS = [
  'bucket',
  'holder',
  'epoch',
  'place',
  'is_moving',
  'group_name',
  'ttl_ms',
  'expires_at',
  'load',
  'is_news',
  'calls',
] as const;

function toRow({ bucket, holder, place, group_name: group, load, ...row }: Stored): LeaseRow {
  return {
    ...{ bucket, holder, place, group, load },
    epoch: Number(row.epoch), // PostgreSQL's driver gives a bigint as a string
    isMoving: Boolean(row.is_moving),
    ttlMs: row.ttl_ms,
    expiresAt: new Date(row.expires_at).getTime(),
    isNews: Boolean(row.is_news),
    calls: Boolean(row.calls),
  };
}

const CLOCK = {
  sqlite: `select cast(unixepoch('subsec') * 1000 as integer) as now`,
  postgres: `select floor(extract(epoch from clock_timestamp()) * 1000) as now`,
} as const;

/** The database's time. */
export async function readClock(knex: Knex): Promise<number> {
  const [row] = await queryRows<{ now: number | string }>(knex, CLOCK[engineOf(knex)]);
  return Number(row?.now);
}

export function toTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** All leases of a kind, in the order in which they were taken. */
export async function readLeases(knex: Knex, kind: string): Promise<LeaseRow[]> {
  const rows: Stored[] = await knex('lease')
    .where({ kind })
    .orderBy('epoch')
    .select(...COLUMNS);
  return rows.map(toRow);
}

/**
 * Waits for renewals of these leases that are being written, and keeps others off until the end of the
 * transaction: renewals do not take the kind's lock, and one that was in time holds. Always in the same
 * order, so that of two who want more than one neither has what the other waits for. None are named: all.
 */
export async function lockLeases(
  trx: Knex.Transaction,
  kind: string,
  buckets?: readonly string[],
): Promise<void> {
  const leases = trx('lease').where({ kind }).orderBy('bucket').forUpdate();
  if (buckets) void leases.whereIn('bucket', [...buckets]);
  await leases.select('bucket');
}

/** What all leases of a kind come to. */
export async function sumLeases(
  knex: Knex,
  kind: string,
): Promise<{
  readonly count: number;
  readonly unplaced: number;
  readonly firstEnd: number | null;
}> {
  const [row] = await queryRows<{
    count: number | string;
    placed: number | string;
    first_end: string | Date | null;
  }>(
    knex,
    'select count(*) as count, count(place) as placed, min(expires_at) as first_end from lease where kind = ?',
    [kind],
  );
  const count = Number(row?.count);
  const end = row?.first_end ?? null;
  return {
    count,
    unplaced: count - Number(row?.placed),
    firstEnd: end === null ? null : new Date(end).getTime(),
  };
}

/** The lease of a bucket, ended or not. */
export async function readLease(
  knex: Knex,
  kind: string,
  bucket: string,
): Promise<LeaseRow | undefined> {
  const row = await knex('lease')
    .where({ kind, bucket })
    .first<Stored | undefined>(...COLUMNS);
  return row && toRow(row);
}

/** A lease that its holder is told of. */
export interface HeldLease extends LeaseRow {
  /** Whether there are objects that it is to begin or to stop. */
  readonly isPending: boolean;
}

/** The leases of these buckets. */
export async function readHeld(
  knex: Knex,
  kind: string,
  buckets: readonly string[],
): Promise<HeldLease[]> {
  const rows = await knex('lease')
    .where({ kind })
    .whereIn('bucket', [...buckets])
    .select<(Stored & { is_pending: number | boolean })[]>(
      ...COLUMNS,
      knex.raw(
        `exists (select 1 from spec p where p.kind = lease.kind and p.bucket = lease.bucket
          and p.state in ('adding', 'dropping')) as is_pending`,
      ),
    );
  return rows.map((row) => ({ ...toRow(row), isPending: Boolean(row.is_pending) }));
}

/** Another worker than that of the bucket, whose lease runs, and that is called at this URL. */
export async function findCalled(
  knex: Knex,
  kind: string,
  bucket: string,
  url: string,
  now: number,
): Promise<LeaseRow | undefined> {
  const row = await knex('lease as l')
    .join('bucket as b', (on) => on.on('b.kind', 'l.kind').on('b.name', 'l.bucket'))
    .where({ 'l.kind': kind, 'l.calls': true, 'b.url': url })
    .whereNot('l.bucket', bucket)
    .where('l.expires_at', '>', toTime(now))
    .first<Stored | undefined>(...COLUMNS.map((column) => `l.${column}`));
  return row && toRow(row);
}

/** What a worker has said with a claim. */
export interface Said extends WorkerSays {
  /** In seconds. */
  readonly ttl: number;
  /** The place by which it goes; undefined: by whichever it was told last. */
  readonly index?: number | null | undefined;
}

function columns({ ttl, group, load, data, calls }: Said, now: number) {
  const ttl_ms = Math.round(ttl * 1_000);
  return {
    ttl_ms,
    expires_at: toTime(now + ttl_ms),
    ...(group !== undefined && { group_name: group }),
    ...(load !== undefined && { load, is_news: load !== null }),
    ...(data !== undefined && { data: JSON.stringify(data) }),
    ...(calls !== undefined && { calls }),
  };
}

const DISTINCT = {
  sqlite: 'is_moving and place is not ?',
  postgres: 'is_moving and place is distinct from ?',
} as const;

/** Renews the lease of this epoch, if it runs; resolves with whether it did. */
export async function renewLease(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  { holder, epoch }: { readonly holder: string; readonly epoch: number },
  said: Said,
  now: number,
): Promise<boolean> {
  const { index } = said;
  const isMoving =
    index === undefined ? false : trx.raw(DISTINCT[engineOf(trx)], [index as unknown as number]);
  const renewed = await trx('lease')
    .where({ kind, bucket, holder, epoch })
    .where('expires_at', '>', toTime(now))
    .update({ ...columns(said, now), is_moving: isMoving });
  return renewed > 0;
}

/** What a worker has said of its bucket and of itself, as far as a renewal may repeat it. */
export interface Standing {
  readonly url: string | null;
  readonly weight: number;
  readonly capacity: number | null;
  readonly group: string | null;
  readonly calls: boolean;
}

export async function readStanding(
  knex: Knex,
  kind: string,
  bucket: string,
): Promise<Standing | undefined> {
  const row = await knex('lease as l')
    .join('bucket as b', (on) => on.on('b.kind', 'l.kind').on('b.name', 'l.bucket'))
    .where({ 'l.kind': kind, 'l.bucket': bucket })
    .first<(Omit<Standing, 'calls'> & { calls: number | boolean }) | undefined>(
      'b.url',
      'b.weight',
      'b.capacity',
      { group: 'l.group_name' },
      'l.calls',
    );
  return row && { ...row, calls: Boolean(row.calls) };
}

/** Gives the lease to a new holder, with the place that the bucket has, if it has one. */
export async function insertLease(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  {
    holder,
    epoch,
    isMoving,
    secret,
  }: Pick<LeaseRow, 'holder' | 'epoch' | 'isMoving'> & {
    /** Signs the calls to it; null: it is not called. */
    readonly secret: string | null;
  },
  said: Said,
  now: number,
): Promise<void> {
  const lease = {
    ...{ holder, epoch, taken_at: toTime(now), is_moving: isMoving, secret },
    ...columns({ group: null, load: null, data: null, calls: false, ...said }, now),
  };
  await trx('lease')
    .insert({ kind, bucket, ...lease })
    .onConflict(['kind', 'bucket'])
    .merge(lease);
}

/** Gives new places, to each bucket another one than it had. */
export async function writePlaces(
  trx: Knex.Transaction,
  kind: string,
  places: ReadonlyMap<string, number>,
): Promise<void> {
  const isMoving = trx.raw('place is not null');
  const names = [...places.keys()];
  await lockLeases(trx, kind, names);
  await trx('lease').where({ kind }).whereIn('bucket', names).update({ is_moving: isMoving });
  // In two steps, for no two may have the same in between.
  await trx('lease').where({ kind }).whereIn('bucket', names).update({ place: null });
  for (const [bucket, place] of places) {
    await trx('lease').where({ kind, bucket }).update({ place });
  }
}

interface Listed extends Stored {
  readonly taken_at: string | Date;
  readonly url: string | null;
  readonly state: Lease['state'];
  readonly members: number;
  readonly data: unknown;
}

/** The leases of a kind, those with a place first. Throws `unknown_kind`. */
export async function listLeases(knex: Knex, kind: string): Promise<Lease[]> {
  await getKind(knex, kind);
  const now = await readClock(knex);
  const rows = await knex('lease as l')
    .join('bucket as b', (on) => on.on('b.kind', 'l.kind').on('b.name', 'l.bucket'))
    .where('l.kind', kind)
    .orderByRaw('case when l.place is null then 1 else 0 end, l.place, l.epoch')
    .select<Listed[]>(
      ...[...COLUMNS, 'taken_at', 'data'].map((column) => `l.${column}`),
      ...['b.url', 'b.state', 'b.members'],
    );
  const pending = await countPending(knex, kind);
  return rows.map((row) => {
    const { bucket, holder, epoch, place, group, expiresAt, load, calls } = toRow(row);
    const { url, state, members, data } = row;
    return {
      ...{ kind, bucket, holder, epoch, index: place },
      taken_at: new Date(row.taken_at).toISOString(),
      expires_at: toTime(expiresAt),
      has_ended: expiresAt <= now,
      ...{ url, state, members, pending: pending.get(bucket) ?? 0, group, load },
      data: fromJson(knex, data),
      calls,
    };
  });
}

async function countPending(knex: Knex, kind: string): Promise<Map<string, number>> {
  const rows = await queryRows<{ bucket: string; n: number | string }>(
    knex,
    `select bucket, count(*) as n from spec
      where kind = ? and state in ('adding', 'dropping') group by bucket`,
    [kind],
  );
  return new Map(rows.map(({ bucket, n }) => [bucket, Number(n)]));
}
