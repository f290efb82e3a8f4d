// The operations on objects.

import * as z from 'zod';
import { REASONS, type Reason } from '../assign/answer.js';
import { pickBuckets } from '../assign/pick.js';
import { SharderError } from '../errors.js';
import * as explained from '../explain.js';
import { findByHash, notStored } from '../by-hash.js';
import { noRoom } from '../sharder.js';
import { isOpen, listBuckets } from '../store/buckets.js';
import { normalizeName } from '../normalize.js';
import type { Database } from '../store/database.js';
import * as history from '../store/history.js';
import { checkNewName } from '../store/kind-settings.js';
import { getKind } from '../store/kinds.js';
import * as store from '../store/objects.js';
import { acting, DONE, reading, writing, type Context } from './operation.js';
import * as fields from './fields.js';

const one = { kind: fields.kind, name: fields.name };
const PATH = '/kinds/{kind}/objects';
const iana = { kind: 'hub', name: 'iana' };
const done = z.object({ ...DONE, ...one });

export const listObjects = reading({
  name: 'object list',
  method: 'GET',
  path: PATH,
  summary: 'The objects of a kind in pages: by name, or those of a bucket as they came',
  input: {
    kind: fields.kind,
    bucket: fields.bucket.optional(),
    prefix: fields
      .text()
      .optional()
      .meta({ description: 'Only names that begin so, as they are stored.' }),
    pinned: z.boolean().optional().meta({ description: 'Only those that are, or are not.' }),
    at: fields.time.optional().meta({
      description: 'Where they were then, by name, and by the names that they had then.',
    }),
    ...fields.PAGING,
  },
  output: fields.page(fields.assignment.partial({ assigned_at: true, pinned: true })),
  example: { kind: 'hub', bucket: 'hub-0', limit: 2 },
  read: async ({ database }, { kind, bucket, prefix = '', pinned, at, limit, after }) => {
    if (at !== undefined && pinned !== undefined) {
      throw new SharderError('bad_request', 'pinned: nobody knows who was pinned then');
    }
    const isByName = bucket === undefined || at !== undefined;
    const place = isByName
      ? fields.fromCursor(after, 'string')
      : fields.fromCursor(after, 'number');
    const { items, next } =
      at === undefined
        ? await store.objectsPage(database, kind, bucket, limit, place)
        : await pageAt(database, kind, new Date(at), limit, place);
    const isMeant = (item: Listed): boolean =>
      item.name.startsWith(prefix) &&
      (bucket === undefined || item.bucket === bucket) &&
      (pinned === undefined || item.pinned === pinned);
    return { items: items.filter(isMeant), next: next === null ? null : fields.toCursor(next) };
  },
});

type Listed = history.Whereabouts & Partial<store.Assignment>;

async function pageAt(
  database: Database,
  kind: string,
  at: Date,
  limit: number,
  after: store.Place = '',
): Promise<{ items: Listed[]; next: store.Place | null }> {
  for await (const items of history.objectsAt(database, kind, at, limit, String(after))) {
    return { items, next: items.length < limit ? null : (items.at(-1)?.name ?? null) };
  }
  return { items: [], next: null };
}

export const findObject = reading({
  name: 'object find',
  method: 'GET',
  path: `${PATH}/{name}`,
  summary: 'Where an object is; nothing is created',
  input: one,
  output: fields.assignment,
  right: 'find',
  example: iana,
  read: async ({ database }, { kind, name }) => {
    const [found] = await store.findObjects(database, name, kind);
    if (found) return found;
    const hashed = await database.read((knex) => findByHash(knex, kind, name));
    throw hashed ? notStored(name, hashed) : store.unknownObject(name, kind);
  },
});

export const findEverywhere = reading({
  name: 'object find-everywhere',
  method: 'GET',
  path: '/objects/{name}',
  summary: 'Where the objects of this name are, one for each kind that has one',
  input: { name: fields.name },
  output: z.object({ items: z.array(fields.assignment) }),
  example: { name: 'iana' },
  keepsToKinds: true,
  read: async ({ database, permission }, { name }) => ({
    items: await store.findObjects(database, name, undefined, permission?.kinds),
  }),
});

export const assignObject = acting({
  name: 'object assign',
  method: 'PUT',
  path: `${PATH}/{name}`,
  summary:
    'Put an object into the emptiest bucket, as its first request would; one that has a bucket keeps it',
  input: one,
  output: done.extend({
    bucket: fields.bucket,
    reason: z.enum(REASONS).meta({
      description:
        'How it was found. By the policy hash (hashed, pinned) nothing is stored. Not the `reason` of the request, which goes into the history.',
    }),
  }),
  right: 'assign',
  example: { kind: 'hub', name: 'carol' },
  act: async (context, { kind, name }, { isDry }) => {
    const { bucket, reason } = isDry
      ? await foresee(context, kind, name)
      : await assign(context, kind, name);
    return { action: 'object assign', kind, name, bucket, reason, changed: reason === 'assigned' };
  },
});

async function assign({ assign }: Context, kind: string, name: string) {
  const { bucket, reason } = await assign(kind, name);
  return { bucket: bucket.name, reason };
}

// What `assign` would answer if nobody else came before.
async function foresee(
  { database }: Context,
  kind: string,
  name: string,
): Promise<{ bucket: string; reason: Reason }> {
  const hashed = await database.read((knex) => findByHash(knex, kind, name));
  if (hashed) return { bucket: hashed.bucket.name, reason: hashed.reason };
  const [known] = await store.findObjects(database, name, kind);
  if (known) return { bucket: known.bucket, reason: 'existing' };
  const buckets = await database.read((knex) => listBuckets(knex, kind));
  const { settings } = await database.read((knex) => getKind(knex, kind));
  checkNewName(normalizeName(name, settings.normalize), settings);
  const [bucket] = pickBuckets(buckets.filter(isOpen), 1, settings);
  if (bucket === undefined) throw noRoom(kind);
  return { bucket, reason: 'assigned' };
}

export const moveObject = writing({
  name: 'object move',
  method: 'POST',
  path: `${PATH}/{name}/move`,
  summary: 'Move an object to another bucket; running services answer it at once',
  input: {
    ...one,
    to: fields.bucket,
    force: z
      .boolean()
      .default(false)
      .meta({ description: 'Even if the bucket is cordoned or full.' }),
  },
  output: done.extend({ from_bucket: fields.bucket, to_bucket: fields.bucket }),
  example: { ...iana, to: 'hub-1', reason: 'asked for it' },
  write: async (trx, { kind, name, to, force }, by) => {
    const from = await store.moveObject(trx, kind, name, to, by, { force });
    const buckets = { from_bucket: from, to_bucket: to };
    return { action: 'object move', kind, name, ...buckets, changed: from !== to };
  },
});

export const renameObject = writing({
  name: 'object rename',
  method: 'POST',
  path: `${PATH}/{name}/rename`,
  summary: 'Give an object another name; it keeps its bucket',
  input: { ...one, to: fields.name },
  output: done.extend({ to: fields.name, bucket: fields.bucket }),
  example: { ...iana, to: 'iana.smith' },
  write: async (trx, { kind, name, to }, by) => {
    const bucket = await store.renameObject(trx, kind, name, to, by);
    return { action: 'object rename', kind, name, to, bucket, changed: name !== to };
  },
});

export const mergeObjects = writing({
  name: 'object merge',
  method: 'POST',
  path: `${PATH}/{name}/merge`,
  summary: 'Make one of two objects: the second lives on, the first is no more',
  input: {
    ...one,
    into: fields.name,
    keep: z.enum(['into', 'from', 'older']).default('into').meta({
      description:
        'Whose bucket the one that lives on has: its own; that of the one that goes; that of the one assigned earlier.',
    }),
  },
  output: done.extend({
    into: fields.name,
    keep: z.string(),
    from_bucket: fields.bucket,
    into_bucket: fields.bucket,
    bucket: fields.bucket,
  }),
  example: { kind: 'hub', name: 'brian', into: 'iana.smith' },
  write: async (trx, { kind, name, into, keep }, by) => {
    const { bucket, was, from } = await store.mergeObjects(trx, kind, name, into, by, { keep });
    const buckets = { from_bucket: from, into_bucket: was, bucket };
    return { action: 'object merge', kind, name, into, keep, ...buckets, changed: true };
  },
});

export const removeObject = writing({
  name: 'object remove',
  method: 'DELETE',
  path: `${PATH}/{name}`,
  summary: 'Forget where an object is; asked for again, it is new',
  input: one,
  output: done.extend({ from_bucket: fields.bucket }),
  example: { kind: 'hub', name: 'carol', reason: 'has left' },
  write: async (trx, { kind, name }, by) => {
    const from = await store.removeObject(trx, kind, name, by);
    return { action: 'object remove', kind, name, from_bucket: from, changed: true };
  },
});

export const showHistory = reading({
  name: 'object history',
  method: 'GET',
  path: `${PATH}/{name}/history`,
  summary: 'What has become of an object: who did what, when and why',
  input: one,
  output: z.object({
    ...one,
    assigned: z
      .object({ at: z.string(), bucket: fields.bucket.nullable() })
      .nullable()
      .meta({ description: 'The bucket is null where it is no longer known.' }),
    changes: z.array(fields.change),
    pruned_before: fields.prunedBefore,
  }),
  example: { kind: 'hub', name: 'iana.smith' },
  read: async ({ database }, { kind, name }) => {
    const { assigned, changes, pruned_before } = await history.objectHistory(database, kind, name);
    if (!assigned && changes.length === 0) throw store.unknownObject(name, kind);
    return {
      kind,
      name,
      assigned: assigned ?? null,
      changes: changes.map((each) => ({ ...each })),
      pruned_before,
    };
  },
});

export const explainObject = reading({
  name: 'object explain',
  method: 'GET',
  path: `${PATH}/{name}/explain`,
  summary: 'Why an object is where it is, or where a new one would go',
  input: one,
  output: z.object({
    ...one,
    object: fields.assignment.nullable(),
    change: fields.change.nullable().meta({
      description: 'What put it where it is; null where that was its first assignment.',
    }),
    cache: z.enum(['agrees', 'differs', 'empty', 'none']).meta({
      description: 'What the service that answers this has in memory; none: no service was asked.',
    }),
    pruned_before: fields.prunedBefore,
    policy: z.string(),
    next: fields.bucket.nullable().meta({
      description:
        'Where a new object would go; by the policy hash, where it is if no row of it says else.',
    }),
    scores: z.array(
      z.object({
        bucket: fields.bucket,
        members: z.int(),
        weight: z.int(),
        score: z.number().nullable().meta({
          description:
            '(members + 1) / weight: a new object goes to the lowest, ties by name. Null by the policy hash.',
        }),
        closed: z.string().nullable().meta({ description: 'Why it takes no new object.' }),
      }),
    ),
  }),
  example: { kind: 'hub', name: 'nobody' },
  read: async ({ database, cached }, { kind, name }) => {
    const { change, scores, ...rest } = await explained.explainObject(database, kind, name);
    const there = rest.object?.bucket ?? (rest.policy === 'hash' ? rest.next : null);
    const cache = agreement(cached?.(kind, rest.object?.name ?? name), there ?? undefined);
    return { ...rest, change: change && { ...change }, cache, scores: [...scores] };
  },
});

function agreement(
  known: string | null | undefined,
  bucket: string | undefined,
): 'agrees' | 'differs' | 'empty' | 'none' {
  if (known === undefined) return 'none';
  if (known === null) return 'empty';
  return known === bucket ? 'agrees' : 'differs';
}
