// The table `shard`, as people list and change it. Objects are assigned elsewhere: see sharder.ts. A
// name that a person gives is made normal by the settings of its kind.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkObjectName } from '../names.js';
import { normalizeName, tryNormalize } from '../normalize.js';
import { getBucket, isOpen } from './buckets.js';
import { recordChange, type By } from './changes.js';
import type { Database, Reader } from './database.js';
import { checkNewName } from './kind-settings.js';
import { checkKind, getKind, listKindRows, listKinds, lockKind, type KindRow } from './kinds.js';

/** Where an object is. */
export interface Assignment {
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
  /** When it was first assigned; ISO 8601, UTC. */
  readonly assigned_at: string;
  /** No plan moves it. */
  readonly pinned: boolean;
}

export interface ObjectFilter {
  readonly kind?: string | undefined;
  /** Only with `kind`. */
  readonly bucket?: string | undefined;
}

/** A row of the table, as the drivers give it. */
export interface ObjectRow {
  readonly id: number | string;
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
  readonly assigned_at: string | Date;
  readonly pinned: number | boolean;
}

const COLUMNS = ['id', 'kind', 'name', 'bucket', 'assigned_at', 'pinned'] as const;

export function toAssignment(row: Omit<ObjectRow, 'id'>): Assignment {
  const { kind, name, bucket, assigned_at, pinned } = row;
  return { kind, name, bucket, assigned_at: toIso(assigned_at), pinned: Boolean(pinned) };
}

/** A time as the drivers give it, in ISO 8601, UTC; what is no time, as SQLite has it, stays as it is. */
export function toIso(time: string | Date): string {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? String(time) : at.toISOString();
}

/** Where the object is: of that kind, or of every kind that has one of this name. Never creates. */
export async function findObjects(
  database: Database,
  name: string,
  kind?: string,
  of?: readonly string[],
): Promise<Assignment[]> {
  checkObjectName(name);
  return database.read(async (knex) => {
    const kinds =
      kind === undefined
        ? (await listKindRows(knex)).filter((row) => of?.includes(row.name) ?? true)
        : [await getKind(knex, kind)];
    const rows = await Promise.all(kinds.map((each) => findRow(knex, each, name)));
    return rows.filter((row) => row !== undefined).map(toAssignment);
  });
}

/** Where a list goes on: behind a name, or in a bucket behind an id. */
export type Place = string | number;

/**
 * All objects, in pages, so that a table of any size takes the memory of a page: by kind and name,
 * or those of one bucket in the order in which they came. An object that is there all the while,
 * and is not moved, is listed once, whatever happens to others. Throws `unknown_kind` or
 * `unknown_bucket`.
 */
export async function* listObjects(
  database: Reader,
  { kind, bucket }: ObjectFilter,
  pageSize: number,
): AsyncGenerator<Assignment[]> {
  const kinds =
    kind === undefined
      ? (await database.read((knex) => listKinds(knex))).map(({ name }) => name)
      : [kind];
  for (const each of kinds) {
    for (let last: Place | undefined; ;) {
      const page = await objectsPage(database, each, bucket, pageSize, last);
      if (page.items.length > 0) yield page.items;
      if (page.next === null) break;
      last = page.next;
    }
  }
}

/** A page of `listObjects`, behind a place, and the next one's place. Throws as that does. */
export async function objectsPage(
  database: Reader,
  kind: string,
  bucket: string | undefined,
  limit: number,
  after?: Place,
): Promise<{ items: Assignment[]; next: Place | null }> {
  if (after === undefined) {
    await database.read(async (knex) => {
      await checkKind(knex, kind);
      if (bucket !== undefined) await getBucket(knex, kind, bucket);
    });
  }
  const order = bucket === undefined ? 'name' : 'id';
  const rows = await database.readPage((knex) => {
    const page = knex('shard').where({ kind }).orderBy(order).limit(limit);
    if (bucket !== undefined) void page.where({ bucket });
    if (after !== undefined) void page.where(order, '>', after);
    return page.select<ObjectRow[]>(...COLUMNS);
  });
  const last = rows.length < limit ? undefined : rows.at(-1);
  // PostgreSQL's driver gives a bigint as a string.
  const next = last && (order === 'id' ? Number(last.id) : last.name);
  return { items: rows.map(toAssignment), next: next ?? null };
}

/**
 * Moves an object to another bucket, and resolves with the one that it was in: the same one where
 * there was nothing to do. A bucket that takes no new objects is refused, unless `force` says that
 * the person knows. Throws `unknown_kind`, `unknown_object`, `unknown_bucket` or `closed`.
 */
export async function moveObject(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  to: string,
  by: By,
  { force = false }: { readonly force?: boolean | undefined } = {},
): Promise<string> {
  const row = await lockKind(trx, kind);
  const object = await getObject(trx, row, name);
  const from = object.bucket;
  const bucket = await getBucket(trx, kind, to);
  if (from === to) return from;
  if (!isOpen(bucket) && !force) {
    const why =
      bucket.state === 'active'
        ? `full (${bucket.members} of ${bucket.capacity ?? 0})`
        : bucket.state;
    throw new SharderError(
      'closed',
      `bucket ${to} of kind ${kind} is ${why}: choose another, or force it (--force)`,
    );
  }
  await trx('shard').where({ id: object.id }).update({ bucket: to });
  await recordChange(trx, { ...by, action: 'object move', ...before(object), to_bucket: to });
  return from;
}

/**
 * Removes an object, and resolves with the bucket that it was in. It is new when it is asked for
 * again. Throws `unknown_kind` or `unknown_object`.
 */
export async function removeObject(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  by: By,
): Promise<string> {
  const row = await lockKind(trx, kind);
  const object = await getObject(trx, row, name);
  await trx('shard').where({ id: object.id }).delete();
  await recordChange(trx, { ...by, action: 'object remove', ...before(object) });
  return object.bucket;
}

/**
 * Gives an object another name; it keeps its bucket. Resolves with the bucket. Throws `unknown_kind`,
 * `unknown_object`, `bad_name`, or `exists` where there is an object of that name: see `mergeObjects`.
 */
export async function renameObject(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  to: string,
  by: By,
): Promise<string> {
  const row = await lockKind(trx, kind);
  const object = await getObject(trx, row, name);
  if (name === to) return object.bucket;
  to = normalizeName(to, row.settings.normalize);
  if (object.name === to) {
    throw new SharderError(
      'exists',
      `object ${JSON.stringify(to)} of kind ${kind} is called so already: normalize of the kind is ${row.settings.normalize}`,
    );
  }
  const there = await trx('shard').where({ kind, name: to }).first<ObjectRow | undefined>();
  if (there) {
    throw new SharderError(
      'exists',
      `there is an object ${JSON.stringify(to)} of kind ${kind} already, in bucket ${there.bucket}: to make one of the two, merge them (sharder object merge)`,
    );
  }
  checkNewName(to, row.settings);
  await trx('shard').where({ id: object.id }).update({ name: to });
  const action = 'object rename';
  await recordChange(trx, { ...by, action, ...before(object), detail: { to } });
  const named = { kind, name: to, to_bucket: object.bucket };
  await recordChange(trx, { ...by, action, ...named, detail: { from: object.name } });
  return object.bucket;
}

/** Whose bucket stays when two objects become one: `older` is the one that was assigned earlier. */
export type Keep = 'into' | 'from' | 'older';

/** What `mergeObjects` has made of two objects. */
export interface Merge {
  /** The bucket of the one that is left. */
  readonly bucket: string;
  /** The bucket in which it was. */
  readonly was: string;
  /** The bucket in which the other one was. */
  readonly from: string;
}

/**
 * Makes one of two objects: `name` is no more, and `into` lives on, pinned or not as it was, and
 * assigned when it was. `keep` says whose bucket it has: its own, that of the other one, or that of
 * the one which was assigned earlier, its own if both were at once. No bucket is too full or closed
 * for that: one of the two was in it already. Throws `unknown_kind`, `unknown_object` or
 * `bad_request`.
 */
export async function mergeObjects(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  into: string,
  by: By,
  { keep = 'into' }: { readonly keep?: Keep | undefined } = {},
): Promise<Merge> {
  const row = await lockKind(trx, kind);
  const object = await getObject(trx, row, name);
  const left = await getObject(trx, row, into);
  if (object.id === left.id) {
    throw new SharderError('bad_request', 'an object cannot merge into itself');
  }
  const isOlder = new Date(object.assigned_at) < new Date(left.assigned_at);
  const { bucket } = keep === 'from' || (keep === 'older' && isOlder) ? object : left;
  await trx('shard').where({ id: object.id }).delete();
  if (bucket !== left.bucket) await trx('shard').where({ id: left.id }).update({ bucket });
  const action = 'object merge';
  await recordChange(trx, { ...by, action, ...before(object), detail: { into: left.name, keep } });
  const kept = { ...before(left), to_bucket: bucket };
  await recordChange(trx, { ...by, action, ...kept, detail: { from: object.name, keep } });
  return { bucket, was: left.bucket, from: object.bucket };
}

/**
 * Pins an object, or unpins it, and resolves with whether it was the other way before. Under the kind's
 * lock. Throws `unknown_object`.
 */
export async function pinObject(
  trx: Knex.Transaction,
  row: KindRow,
  name: string,
  pinned: boolean,
  by: By,
): Promise<boolean> {
  const object = await getObject(trx, row, name);
  if (Boolean(object.pinned) === pinned) return false;
  await trx('shard').where({ id: object.id }).update({ pinned });
  const action = pinned ? 'object pin' : 'object unpin';
  await recordChange(trx, { ...by, action, ...before(object), to_bucket: object.bucket });
  return true;
}

async function getObject(trx: Knex.Transaction, kind: KindRow, name: string): Promise<ObjectRow> {
  checkObjectName(name);
  const row = await findRow(trx, kind, name);
  if (!row) throw unknownObject(name, kind.name);
  if (kind.settings.leased) await refuseRegistered(trx, row);
  return row;
}

// It would have two owners.
async function refuseRegistered(
  trx: Knex.Transaction,
  { kind, name }: Pick<ObjectRow, 'kind' | 'name'>,
): Promise<void> {
  if (!(await trx('spec').where({ kind, name }).first('name'))) return;
  throw new SharderError(
    'bad_request',
    `object ${JSON.stringify(name)} of kind ${kind} follows its workers: to have it elsewhere, set its pin (\`sharder spec set\`); to take it away, \`sharder spec remove\``,
  );
}

/**
 * The row that a person means by this name. One that is called exactly so goes first: stored names
 * are normal, and where somebody wrote another into the table, it can be told from the normal one.
 */
export async function findRow(
  knex: Knex,
  { name: kind, settings }: KindRow,
  name: string,
): Promise<ObjectRow | undefined> {
  const normal = tryNormalize(name, settings.normalize);
  const names = typeof normal === 'string' ? [name, normal] : [name];
  const rows: ObjectRow[] = await knex('shard')
    .where({ kind })
    .whereIn('name', names)
    .select(...COLUMNS);
  return rows.find((row) => row.name === name) ?? rows[0];
}

// What a line of history says of an object that was there.
function before({ kind, name, bucket, assigned_at }: ObjectRow) {
  return { kind, name, from_bucket: bucket, assigned_at };
}

export function unknownObject(name: string, kind?: string): SharderError {
  const where = kind === undefined ? 'of any kind' : `of kind ${kind}`;
  return new SharderError(
    'unknown_object',
    `there is no object ${JSON.stringify(name)} ${where}: it was never assigned, or was removed`,
  );
}
