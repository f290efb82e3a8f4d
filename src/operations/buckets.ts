// The operations on buckets.

import type { Knex } from 'knex';
import * as z from 'zod';
import { limits } from '../rebalance/planner.js';
import * as store from '../store/buckets.js';
import { getKind } from '../store/kinds.js';
import { noBucket } from '../sharder.js';
import { declaredKind, DONE, reading, writing, type Context } from './operation.js';
import * as fields from './fields.js';

const bucketFields = {
  url: fields.url.optional(),
  weight: fields.weight.optional(),
  capacity: fields.capacity.optional(),
};

const shown = z
  .object({
    kind: fields.kind,
    name: fields.bucket,
    url: fields.url,
    weight: fields.weight,
    capacity: fields.capacity,
    state: z.enum(['active', 'cordoned', 'draining']),
    state_reason: z.string().nullable(),
    members: z.int().meta({ description: 'How many objects it holds.' }),
    share: z.number().meta({ description: 'Its part of all objects of the kind, 0 to 1.' }),
    over_full: z.boolean().meta({
      description:
        'It holds more than its even share and the threshold of the kind: a rebalance would move some.',
    }),
  })
  .meta({ id: 'Bucket' });

const done = z.object({ ...DONE, kind: fields.kind, bucket: fields.bucket });
const changed = done.extend({ detail: fields.differences });

const one = { kind: fields.kind, bucket: fields.bucket };
const PATH = '/kinds/{kind}/buckets';
const example = { kind: 'hub', bucket: 'hub-1' };

export const listBuckets = reading({
  name: 'bucket list',
  method: 'GET',
  path: PATH,
  summary: 'All buckets of a kind, with how many objects each holds',
  input: { kind: fields.kind },
  output: z.object({ items: z.array(shown) }),
  example: { kind: 'hub' },
  read: async ({ database }, { kind }) => ({
    items: await database.read((knex) => withShares(knex, kind)),
  }),
});

export const showBucket = reading({
  name: 'bucket show',
  method: 'GET',
  path: `${PATH}/{bucket}`,
  summary: 'One bucket',
  input: one,
  output: shown,
  example,
  read: ({ database }, { kind, bucket: name }) =>
    database.read(async (knex) => {
      const bucket = (await withShares(knex, kind)).find((each) => each.name === name);
      return bucket ?? { ...(await store.getBucket(knex, kind, name)), share: 0, over_full: false };
    }),
});

export const addBucket = writing({
  name: 'bucket add',
  method: 'POST',
  path: PATH,
  summary: 'Add a bucket; new objects go to it at once',
  input: { kind: fields.kind, bucket: fields.bucket, ...bucketFields },
  output: done,
  example: { kind: 'hub', bucket: 'hub-9', url: 'http://127.0.0.1:9009', weight: 2 },
  write: async (trx, { kind, bucket, ...settings }, by) => {
    await store.addBucket(trx, kind, bucket, settings, by);
    const notes = await movingNote(trx, kind, 'its share of the keys, and no others, go to it');
    return { action: 'bucket add', kind, bucket, changed: true, ...noted(notes) };
  },
});

export const setBucket = writing({
  name: 'bucket set',
  method: 'PATCH',
  path: `${PATH}/{bucket}`,
  summary: 'Change what is said of a bucket; what it holds, it keeps',
  input: { ...one, ...bucketFields },
  output: changed,
  example: { ...example, weight: 2 },
  write: async (trx, { kind, bucket, ...settings }, by, context) => {
    const detail = await store.setBucket(trx, kind, bucket, settings, by);
    const settled = store.columns(declaration(context, kind, bucket) ?? {});
    const undone = Object.entries(settled)
      .filter(([key, value]) => key in detail && detail[key]?.to !== value)
      .map(([key]) => `the settings declare ${key} of ${bucket}: the next start sets it again`);
    return differing('bucket set', kind, bucket, detail, [
      ...undone,
      ...(await closedNote(trx, kind)),
    ]);
  },
});

export const cordonBucket = writing({
  name: 'bucket cordon',
  method: 'POST',
  path: `${PATH}/{bucket}/cordon`,
  summary: 'No new objects for this bucket; those that it has, it keeps',
  input: one,
  output: changed,
  example: { ...example, reason: 'the disk is full' },
  write: async (trx, { kind, bucket }, by) => {
    const detail = await store.setBucketState(trx, kind, bucket, 'cordoned', by);
    return differing('bucket cordon', kind, bucket, detail, await closedNote(trx, kind));
  },
});

export const uncordonBucket = writing({
  name: 'bucket uncordon',
  method: 'POST',
  path: `${PATH}/{bucket}/uncordon`,
  summary: 'New objects, or the keys of one that was draining, may go to this bucket again',
  input: one,
  output: changed,
  example,
  write: async (trx, { kind, bucket }, by) => {
    const detail = await store.setBucketState(trx, kind, bucket, 'active', by);
    return differing('bucket uncordon', kind, bucket, detail, []);
  },
});

export const drainBucket = writing({
  name: 'bucket drain',
  method: 'POST',
  path: `${PATH}/{bucket}/drain`,
  summary: 'Of a kind with the policy hash: its keys, and only they, go to the other buckets',
  input: one,
  output: changed,
  example: { kind: 'tenant', bucket: 'server-1', reason: 'to be replaced' },
  write: async (trx, { kind, bucket }, by) => {
    const detail = await store.setBucketState(trx, kind, bucket, 'draining', by);
    const { members } = await store.getBucket(trx, kind, bucket);
    const pinned =
      members === 0 ? [] : [`${members} stay, for they are pinned: move them, or unpin them`];
    const notes = [...pinned, ...(await closedNote(trx, kind))];
    return differing('bucket drain', kind, bucket, detail, notes);
  },
});

export const removeBucket = writing({
  name: 'bucket remove',
  method: 'DELETE',
  path: `${PATH}/{bucket}`,
  summary: 'Remove a bucket that holds no object, and that no worker has a lease of',
  input: one,
  output: done,
  example: { kind: 'hub', bucket: 'hub-9' },
  write: async (trx, { kind, bucket }, by, context) => {
    await store.removeBucket(trx, kind, bucket, by);
    const notes = declaration(context, kind, bucket)
      ? [
          `the settings declare ${bucket}: the next start adds it again, unless it is taken out there`,
        ]
      : [];
    notes.push(...(await movingNote(trx, kind, 'its keys, and no others, go to the others')));
    notes.push(...(await closedNote(trx, kind)));
    return { action: 'bucket remove', kind, bucket, changed: true, ...noted(notes) };
  },
});

async function withShares(knex: Knex, kind: string) {
  const { policy, settings } = await getKind(knex, kind);
  const buckets = await store.listBuckets(knex, kind);
  const objects = buckets.reduce((sum, { members }) => sum + members, 0);
  const most = limits(settings.threshold, buckets);
  return buckets.map((bucket, i) => ({
    ...bucket,
    share: objects === 0 ? 0 : bucket.members / objects,
    over_full: policy !== 'hash' && bucket.members > (most[i] ?? 0),
  }));
}

function declaration(context: Context, kind: string, name: string) {
  return declaredKind(context, kind)?.buckets.find((bucket) => bucket.name === name);
}

function differing(
  action: string,
  kind: string,
  bucket: string,
  detail: store.Differences,
  notes: readonly string[],
) {
  const changed = Object.keys(detail).length > 0;
  return { action, kind, bucket, detail: { ...detail }, changed, ...noted(notes) };
}

function noted(notes: readonly string[]) {
  return notes.length > 0 ? { notes: [...notes] } : {};
}

// Of a kind that is hashed: which keys have another bucket now.
async function movingNote(
  trx: Knex.Transaction,
  kind: string,
  byRendezvous: string,
): Promise<string[]> {
  const { policy, settings } = await getKind(trx, kind);
  if (policy !== 'hash') return [];
  return [settings.hash === 'modulo' ? 'by modulo, nearly all keys move' : byRendezvous];
}

// What the next new user would be told.
async function closedNote(trx: Knex.Transaction, kind: string): Promise<string[]> {
  const { policy } = await getKind(trx, kind);
  const buckets = await store.listBuckets(trx, kind);
  if (policy === 'hash') {
    return buckets.some(({ state }) => state !== 'draining') ? [] : [noBucket(kind).message];
  }
  return buckets.some(store.isOpen)
    ? []
    : [`then no active bucket of kind ${kind} has room, and new objects are refused`];
}
