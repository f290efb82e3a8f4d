// sharder object list | find | assign | move | rename | merge | pin | unpin | remove.

import type { Flags } from '../config.js';
import { DEFAULT_KIND } from '../names.js';
import * as operations from '../operations/objects.js';
import type { OutputOf } from '../operations/operation.js';
import * as pins from '../operations/pins.js';
import { unknownObject, type Keep } from '../store/objects.js';
import { change, type ChangeOptions } from './change.js';
import { ofKinds, pages, printPages } from './lists.js';
import { withService } from './service.js';
import type { Cell } from './table.js';

// A page is in memory at a time, as rows and as text.
const PAGE_SIZE = 5_000;

type Listed = OutputOf<typeof operations.listObjects>['items'][number];

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly bucket?: string;
  readonly prefix?: string;
  readonly pinned?: boolean;
  readonly at?: Date;
  readonly json?: boolean;
}

export async function listObjects(options: ListOptions): Promise<void> {
  const { kind, bucket, prefix, pinned, at, json = false, ...flags } = options;
  // A bucket is one of some kind, and so is a moment of history.
  const of = bucket === undefined && at === undefined ? kind : (kind ?? DEFAULT_KIND);
  const filter = { bucket, prefix, pinned, at: at?.toISOString(), limit: PAGE_SIZE };
  await withService(flags, (perform) => {
    const all = ofKinds(perform, of, (kind) =>
      pages((after) => perform(operations.listObjects, { kind, ...filter, after })),
    );
    return at
      ? printPages(all, json, HEADINGS.slice(0, 3), (row) => cells(row).slice(0, 3))
      : printPages(all, json, HEADINGS, cells);
  });
}

const HEADINGS = ['KIND', 'OBJECT', 'BUCKET', 'ASSIGNED', 'PINNED'];

function cells({ kind, name, bucket, assigned_at, pinned = false }: Listed): Cell[] {
  return [kind, name, bucket, assigned_at ?? null, pinned ? 'yes' : null];
}

export interface FindOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

export async function findObject(
  name: string,
  { kind, json = false, ...flags }: FindOptions,
): Promise<void> {
  const found = await withService(flags, async (perform) =>
    kind === undefined
      ? (await perform(operations.findEverywhere, { name })).items
      : [await perform(operations.findObject, { kind, name })],
  );
  if (found.length === 0) throw unknownObject(name, kind);
  await printPages(onePage<Listed>(found), json, HEADINGS, cells);
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* onePage<T>(page: readonly T[]): AsyncGenerator<readonly T[]> {
  yield page;
}

export interface ObjectOptions extends ChangeOptions {
  readonly kind: string;
}

export async function assignObject(name: string, options: ObjectOptions): Promise<void> {
  const { kind } = options;
  await change(operations.assignObject, { kind, name }, options, (done, did) => {
    const { bucket, reason, changed } = done;
    if (reason === 'hashed') {
      return `key ${name} of kind ${kind} is in bucket ${bucket}, by the hash: nothing is stored`;
    }
    return changed
      ? `${did('assign')} object ${name} of kind ${kind} to bucket ${bucket}`
      : `object ${name} of kind ${kind} is in bucket ${bucket} already: nothing was changed`;
  });
}

export interface MoveOptions extends ObjectOptions {
  readonly force?: boolean;
}

export async function moveObject(name: string, to: string, options: MoveOptions): Promise<void> {
  const { kind, force } = options;
  await change(
    operations.moveObject,
    { kind, name, to, force },
    options,
    ({ changed, from_bucket }, did) =>
      changed
        ? `${did('move')} object ${name} of kind ${kind} from bucket ${from_bucket} to ${to}`
        : `object ${name} of kind ${kind} is in bucket ${to} already: nothing was changed`,
  );
}

export async function removeObject(name: string, options: ObjectOptions): Promise<void> {
  const { kind } = options;
  await change(
    operations.removeObject,
    { kind, name },
    options,
    ({ from_bucket }, did) =>
      `${did('remove')} object ${name} of kind ${kind} from bucket ${from_bucket}`,
  );
}

export async function renameObject(
  name: string,
  to: string,
  options: ObjectOptions,
): Promise<void> {
  const { kind } = options;
  await change(operations.renameObject, { kind, name, to }, options, ({ changed, bucket }, did) =>
    changed
      ? `${did('rename')} object ${name} of kind ${kind} to ${to}; it is in bucket ${bucket} as before`
      : `object ${name} of kind ${kind} is called so already: nothing was changed`,
  );
}

export interface MergeOptions extends ObjectOptions {
  readonly keep: Keep;
}

export async function mergeObjects(
  name: string,
  into: string,
  options: MergeOptions,
): Promise<void> {
  const { kind, keep } = options;
  await change(
    operations.mergeObjects,
    { kind, name, into, keep },
    options,
    ({ from_bucket, into_bucket, bucket }, did) => {
      const where =
        bucket === into_bucket
          ? `is in bucket ${bucket} as before`
          : `goes from bucket ${into_bucket} to ${bucket}`;
      return `${did('merge')} object ${name} of kind ${kind}, from bucket ${from_bucket}, into ${into}, which ${where}`;
    },
  );
}

export async function pinObject(
  name: string,
  bucket: string | undefined,
  options: ObjectOptions,
): Promise<void> {
  const { kind } = options;
  await change(pins.pinObject, { kind, name, bucket }, options, ({ changed, bucket }, did) => {
    const where = bucket === null ? '' : ` to bucket ${bucket}`;
    return changed
      ? `${did('pin')} object ${name} of kind ${kind}${where}`
      : `object ${name} of kind ${kind} is pinned${where} already: nothing was changed`;
  });
}

export async function unpinObject(name: string, options: ObjectOptions): Promise<void> {
  const { kind } = options;
  await change(pins.unpinObject, { kind, name }, options, ({ changed, bucket }, did) => {
    const where = bucket === null ? '' : `; by the hash it is in bucket ${bucket}`;
    return changed
      ? `${did('unpin')} object ${name} of kind ${kind}${where}`
      : `object ${name} of kind ${kind} is unpinned already: nothing was changed`;
  });
}
