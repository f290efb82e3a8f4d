// sharder object list | find | assign | move | rename | merge | pin | unpin | remove.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pickEmptiest } from '../assign/emptiest.js';
import type { Flags } from '../config.js';
import { DEFAULT_KIND } from '../names.js';
import { noRoom, Sharder } from '../sharder.js';
import { isOpen, listBuckets } from '../store/buckets.js';
import type { Database } from '../store/database.js';
import { objectsAt, type Whereabouts } from '../store/history.js';
import * as store from '../store/objects.js';
import { change, hasDone, print, wouldDo, type ChangeOptions } from './change.js';
import { withDatabase } from './open.js';
import { Table, type Cell } from './table.js';

// A page is in memory at a time, as rows and as text.
const PAGE_SIZE = 5_000;

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly bucket?: string;
  readonly at?: Date;
  readonly json?: boolean;
}

export async function listObjects(options: ListOptions): Promise<void> {
  const { kind, bucket, at, json, ...flags } = options;
  await withDatabase(flags, async (database) => {
    const of = bucket === undefined ? kind : (kind ?? DEFAULT_KIND);
    const text = at
      ? listAt(database, { ...options, kind: kind ?? DEFAULT_KIND, at })
      : asText(store.listObjects(database, { kind: of, bucket }, PAGE_SIZE), json);
    await pipeline(Readable.from(text), process.stdout, { end: false });
  });
}

async function* listAt(
  database: Database,
  { kind, bucket, at, json }: ListOptions & { readonly kind: string; readonly at: Date },
): AsyncGenerator<string> {
  const table = new Table(['KIND', 'OBJECT', 'BUCKET']);
  const pages = of(objectsAt(database, kind, at, PAGE_SIZE), bucket);
  yield* json ? asJson(pages) : asTable(table, pages, (row) => [row.kind, row.name, row.bucket]);
}

async function* of(
  pages: AsyncIterable<readonly Whereabouts[]>,
  bucket: string | undefined,
): AsyncGenerator<readonly Whereabouts[]> {
  for await (const page of pages) {
    yield bucket === undefined ? page : page.filter((row) => row.bucket === bucket);
  }
}

function asText(
  pages: AsyncIterable<readonly store.Assignment[]>,
  json = false,
): AsyncGenerator<string> {
  if (json) return asJson(pages);
  const table = new Table(['KIND', 'OBJECT', 'BUCKET', 'ASSIGNED', 'PINNED']);
  return asTable(table, pages, (row) => [
    row.kind,
    row.name,
    row.bucket,
    row.assigned_at,
    row.pinned ? 'yes' : null,
  ]);
}

/** The lines of a table, page after page. */
export async function* asTable<T>(
  table: Table,
  pages: AsyncIterable<readonly T[]>,
  cells: (row: T) => Cell[],
): AsyncGenerator<string> {
  let isEmpty = true;
  for await (const page of pages) {
    if (page.length === 0) continue;
    isEmpty = false;
    yield table.page(page.map(cells));
  }
  if (isEmpty) yield table.page([]);
}

/** An array, with an object to a line. */
export async function* asJson(pages: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  let separator = '[\n';
  for await (const page of pages) {
    if (page.length === 0) continue;
    yield separator + page.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
    separator = ',\n';
  }
  yield separator === '[\n' ? '[]\n' : '\n]\n';
}

export interface FindOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

export async function findObject(
  name: string,
  { kind, json, ...flags }: FindOptions,
): Promise<void> {
  const found = await withDatabase(flags, (database) => store.findObjects(database, name, kind));
  if (found.length === 0) throw store.unknownObject(name, kind);
  await pipeline(Readable.from(asText(onePage(found), json)), process.stdout, { end: false });
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* onePage<T>(page: readonly T[]): AsyncGenerator<readonly T[]> {
  yield page;
}

export interface ObjectOptions extends ChangeOptions {
  readonly kind: string;
}

export async function assignObject(name: string, options: ObjectOptions): Promise<void> {
  const { kind, dryRun: isDry = false, json = false } = options;
  const { bucket, isNew } = await withDatabase(options, (database) =>
    isDry ? foresee(database, kind, name) : assign(database, kind, name),
  );
  const did = isDry ? wouldDo : hasDone;
  const done = {
    changed: isNew,
    text: isNew
      ? `${did('assign')} object ${name} of kind ${kind} to bucket ${bucket}`
      : `object ${name} of kind ${kind} is in bucket ${bucket} already: nothing was changed`,
    data: { action: 'object assign', kind, name, bucket },
  };
  print(done, isDry, json);
}

interface Assigned {
  readonly bucket: string;
  readonly isNew: boolean;
}

async function assign(database: Database, kind: string, name: string): Promise<Assigned> {
  const sharder = await Sharder.start(database);
  const { bucket, reason } = await sharder.assign(kind, name);
  return { bucket: bucket.name, isNew: reason === 'assigned' };
}

// What `assign` would answer if nobody else came before.
async function foresee(database: Database, kind: string, name: string): Promise<Assigned> {
  const [known] = await store.findObjects(database, name, kind);
  if (known) return { bucket: known.bucket, isNew: false };
  const buckets = await database.read((knex) => listBuckets(knex, kind));
  const [bucket] = pickEmptiest(buckets.filter(isOpen), 1);
  if (bucket === undefined) throw noRoom(kind);
  return { bucket, isNew: true };
}

export interface MoveOptions extends ObjectOptions {
  readonly force?: boolean;
}

export async function moveObject(name: string, to: string, options: MoveOptions): Promise<void> {
  const { kind, force } = options;
  await change(options, async (trx, by, did) => {
    const from = await store.moveObject(trx, kind, name, to, by, { force });
    const changed = from !== to;
    return {
      changed,
      text: changed
        ? `${did('move')} object ${name} of kind ${kind} from bucket ${from} to ${to}`
        : `object ${name} of kind ${kind} is in bucket ${to} already: nothing was changed`,
      data: { action: 'object move', kind, name, from_bucket: from, to_bucket: to },
    };
  });
}

export async function removeObject(name: string, options: ObjectOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did) => {
    const from = await store.removeObject(trx, kind, name, by);
    return {
      changed: true,
      text: `${did('remove')} object ${name} of kind ${kind} from bucket ${from}`,
      data: { action: 'object remove', kind, name, from_bucket: from },
    };
  });
}

export async function renameObject(
  name: string,
  to: string,
  options: ObjectOptions,
): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did) => {
    const bucket = await store.renameObject(trx, kind, name, to, by);
    const changed = name !== to;
    return {
      changed,
      text: changed
        ? `${did('rename')} object ${name} of kind ${kind} to ${to}; it is in bucket ${bucket} as before`
        : `object ${name} of kind ${kind} is called so already: nothing was changed`,
      data: { action: 'object rename', kind, name, to, bucket },
    };
  });
}

export interface MergeOptions extends ObjectOptions {
  readonly keep: store.Keep;
}

export async function mergeObjects(
  name: string,
  into: string,
  options: MergeOptions,
): Promise<void> {
  const { kind, keep } = options;
  await change(options, async (trx, by, did) => {
    const { bucket, was, from } = await store.mergeObjects(trx, kind, name, into, by, { keep });
    const where =
      bucket === was ? `is in bucket ${bucket} as before` : `goes from bucket ${was} to ${bucket}`;
    const buckets = { from_bucket: from, into_bucket: was, bucket };
    return {
      changed: true,
      text: `${did('merge')} object ${name} of kind ${kind}, from bucket ${from}, into ${into}, which ${where}`,
      data: { action: 'object merge', kind, name, into, keep, ...buckets },
    };
  });
}

export async function pinObject(
  name: string,
  pinned: boolean,
  options: ObjectOptions,
): Promise<void> {
  const { kind } = options;
  const verb = pinned ? 'pin' : 'unpin';
  await change(options, async (trx, by, did) => {
    const changed = await store.pinObject(trx, kind, name, pinned, by);
    return {
      changed,
      text: changed
        ? `${did(verb)} object ${name} of kind ${kind}`
        : `object ${name} of kind ${kind} is ${hasDone(verb)} already: nothing was changed`,
      data: { action: `object ${verb}`, kind, name },
    };
  });
}
