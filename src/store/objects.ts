// The table `shard`, as people list and change it. Objects are assigned elsewhere: see sharder.ts.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkObjectName } from '../names.js';
import { getBucket, isOpen } from './buckets.js';
import { recordChange, type By } from './changes.js';
import type { Database, Reader } from './database.js';
import { checkKind, listKinds, lockKind } from './kinds.js';

/** Where an object is. */
export interface Assignment {
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
  /** When it was first assigned; ISO 8601, UTC. */
  readonly assigned_at: string;
}

export interface ObjectFilter {
  readonly kind?: string | undefined;
  /** Only with `kind`. */
  readonly bucket?: string | undefined;
}

type Row = Omit<Assignment, 'assigned_at'> & {
  readonly id: number;
  readonly assigned_at: string | Date;
};

function toAssignment({ kind, name, bucket, assigned_at }: Row): Assignment {
  const time = new Date(assigned_at);
  // SQLite takes any text. Whoever wrote it sees what it is.
  const isTime = !Number.isNaN(time.getTime());
  return { kind, name, bucket, assigned_at: isTime ? time.toISOString() : String(assigned_at) };
}

/** Where the object is: of that kind, or of every kind that has one of this name. Never creates. */
export async function findObjects(
  database: Database,
  name: string,
  kind?: string,
): Promise<Assignment[]> {
  checkObjectName(name);
  return database.read(async (knex) => {
    if (kind !== undefined) await checkKind(knex, kind);
    const kinds = kind === undefined ? (await listKinds(knex)).map((each) => each.name) : [kind];
    const rows = await knex('shard').whereIn('kind', kinds).where({ name }).orderBy('kind');
    return (rows as Row[]).map(toAssignment);
  });
}

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
  const kinds = await database.read(async (knex) => {
    if (kind === undefined) return (await listKinds(knex)).map(({ name }) => name);
    await checkKind(knex, kind);
    if (bucket !== undefined) await getBucket(knex, kind, bucket);
    return [kind];
  });
  const order = bucket === undefined ? 'name' : 'id';
  for (const each of kinds) {
    for (let last: Row | undefined; ;) {
      const rows = await database.readPage((knex) => {
        const page = knex('shard').where({ kind: each }).orderBy(order).limit(pageSize);
        if (bucket !== undefined) void page.where({ bucket });
        if (last) void page.where(order, '>', last[order]);
        return page.select<Row[]>('id', 'kind', 'name', 'bucket', 'assigned_at');
      });
      if (rows.length > 0) yield rows.map(toAssignment);
      last = rows.at(-1);
      if (rows.length < pageSize) break;
    }
  }
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
  await lockKind(trx, kind);
  const from = await bucketOf(trx, kind, name);
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
  await trx('shard').where({ kind, name }).update({ bucket: to });
  const change = { ...by, action: 'object move', kind, name, from_bucket: from, to_bucket: to };
  await recordChange(trx, change);
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
  await lockKind(trx, kind);
  const from = await bucketOf(trx, kind, name);
  await trx('shard').where({ kind, name }).delete();
  await recordChange(trx, { ...by, action: 'object remove', kind, name, from_bucket: from });
  return from;
}

async function bucketOf(trx: Knex.Transaction, kind: string, name: string): Promise<string> {
  checkObjectName(name);
  const row = await trx('shard').where({ kind, name }).first<{ bucket: string } | undefined>();
  if (!row) throw unknownObject(name, kind);
  return row.bucket;
}

export function unknownObject(name: string, kind?: string): SharderError {
  const where = kind === undefined ? 'of any kind' : `of kind ${kind}`;
  return new SharderError(
    'unknown_object',
    `there is no object ${JSON.stringify(name)} ${where}: it was never assigned, or was removed`,
  );
}
