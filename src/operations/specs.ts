// The operations on objects that follow their workers.

import * as z from 'zod';
import { getKind } from '../store/kinds.js';
import * as store from '../store/specs.js';
import * as handOver from '../workers/hand-over.js';
import * as register from '../workers/register.js';
import { DONE, reading, writing } from './operation.js';
import * as fields from './fields.js';

const PATH = '/kinds/{kind}/objects/{name}/spec';
const LEASE = '/kinds/{kind}/leases/{bucket}';
const one = { kind: fields.kind, name: fields.name };
const state = z.enum(['waiting', 'adding', 'owned', 'dropping']).meta({
  description:
    'waiting for a worker; adding: its worker is to begin it; owned: it has; dropping: it is to stop it, and has it until then.',
});
const epoch = z.int().min(0).meta({
  description: 'Grows with every owner; a fencing token: refuse whoever comes with an older one.',
});

const wanted = {
  spec: fields.json('Whatever its worker should know.'),
  group: fields.text().max(256).nullable().meta({
    description: 'Only workers of this group will do; null: any.',
  }),
  pin: fields.bucket.nullable().meta({
    description: 'The bucket of the worker that it wants before all others.',
  }),
  pin_rule: z.enum(['hold', 'any']).meta({
    description: 'While that one is not there it waits (hold), or takes any.',
  }),
  weight: z.int().min(1).max(1_000_000).meta({ description: 'How many it counts for.' }),
};
const wish = {
  spec: wanted.spec.optional(),
  group: wanted.group.optional(),
  pin: wanted.pin.optional(),
  pin_rule: wanted.pin_rule.optional(),
  weight: wanted.weight.optional(),
};

const shown = z
  .object({
    ...one,
    ...wanted,
    state,
    bucket: fields.bucket.nullable().meta({ description: 'Its worker; null: it has none.' }),
    epoch: epoch.nullable(),
    heir: fields.bucket.nullable().meta({ description: 'Who is to have it next, if known.' }),
    is_leaving: z.boolean().meta({ description: 'It is removed as soon as it is stopped.' }),
    registered_at: z.string(),
  })
  .meta({ id: 'Spec' });

export const setSpec = writing({
  name: 'spec set',
  method: 'PUT',
  path: PATH,
  summary: 'Register an object that follows its workers, or set what it asks for',
  input: { ...one, ...wish },
  output: z.object({ ...DONE, ...shown.shape }),
  example: { kind: 'queue', name: 'job-1', spec: { topic: 'mail' }, group: null },
  write: async (trx, { kind, ...wish }, by) => {
    const { specs, changed } = await register.registerObjects(trx, kind, [wish], by);
    const [spec] = specs;
    if (!spec) throw new Error('an object that was just written is gone');
    return { ...spec, action: 'spec set', changed: changed[0] ?? false };
  },
});

export const setSpecs = writing({
  name: 'spec set-all',
  method: 'PUT',
  path: '/kinds/{kind}/specs',
  summary: 'The same for up to 1,000 objects, in one transaction',
  input: {
    kind: fields.kind,
    objects: z
      .array(z.strictObject({ name: fields.name, ...wish }))
      .min(1)
      .max(1_000),
  },
  output: z.object({
    ...DONE,
    kind: fields.kind,
    set: z.int().meta({ description: 'How many were new, or otherwise before.' }),
    waiting: z.int().meta({ description: 'How many have no worker yet.' }),
  }),
  example: { kind: 'queue', objects: [{ name: 'job-1' }, { name: 'job-2', weight: 3 }] },
  write: async (trx, { kind, objects }, by) => {
    const { specs, changed } = await register.registerObjects(trx, kind, objects, by);
    const set = changed.filter(Boolean).length;
    const waiting = specs.filter((each) => each.state === 'waiting').length;
    return { kind, set, waiting, action: 'spec set-all', changed: set > 0 };
  },
});

export const showSpec = reading({
  name: 'spec show',
  method: 'GET',
  path: PATH,
  summary: 'What an object asks for, and which worker has it',
  input: one,
  output: shown,
  example: { kind: 'queue', name: 'job-1' },
  read: ({ database }, { kind, name }) =>
    database.read(async (knex) => register.getSpec(knex, await getKind(knex, kind), name)),
});

export const listSpecs = reading({
  name: 'spec list',
  method: 'GET',
  path: '/kinds/{kind}/specs',
  summary: 'All objects that follow workers, in pages',
  input: {
    kind: fields.kind,
    state: state.optional().meta({ description: 'Only those in this state.' }),
    ...fields.PAGING,
  },
  output: fields.page(shown),
  example: { kind: 'queue', state: 'waiting' },
  read: ({ database }, { kind, state, limit, after }) =>
    database.read(async (knex) => {
      await getKind(knex, kind);
      const place = fields.fromCursor(after, 'string');
      const items = await store.listSpecs(knex, kind, state, limit, place);
      return { items, next: nextOf(items, limit) };
    }),
});

function nextOf(items: readonly store.Spec[], limit: number): string | null {
  const last = items.length < limit ? undefined : items.at(-1);
  return last ? fields.toCursor(last.name) : null;
}

export const removeSpec = writing({
  name: 'spec remove',
  method: 'DELETE',
  path: PATH,
  summary: 'Take an object away: at once, or as soon as its worker has stopped it',
  input: one,
  output: z.object({
    ...DONE,
    ...one,
    is_gone: z.boolean().meta({ description: 'False: its worker is told to stop it.' }),
  }),
  example: { kind: 'queue', name: 'job-1' },
  write: async (trx, { kind, name }, by) => {
    const { isGone, changed } = await register.unregisterObject(trx, kind, name, by);
    return { action: 'spec remove', kind, name, is_gone: isGone, changed };
  },
});

export const listOwned = reading({
  name: 'lease objects',
  method: 'GET',
  path: `${LEASE}/objects`,
  summary: 'The objects of a worker, in pages, and the version of the kind from which on to watch',
  input: {
    kind: fields.kind,
    bucket: fields.bucket,
    pending: z
      .boolean()
      .default(false)
      .meta({ description: 'Only those that it is to begin or to stop.' }),
    ...fields.PAGING,
  },
  output: z.object({ ...fields.page(shown).shape, version: z.int() }),
  example: { kind: 'queue', bucket: 'worker-0', pending: true },
  read: ({ database }, { kind, bucket, pending, limit, after }) =>
    database.read(async (knex) => {
      const { version } = await getKind(knex, kind); // what is read afterwards is not older
      const place = fields.fromCursor(after, 'string');
      const page = { isPending: pending, limit, ...(place !== undefined && { after: place }) };
      const items = await store.ownedPage(knex, kind, bucket, page);
      return { items, next: nextOf(items, limit), version };
    }),
});

const done = z.strictObject({ name: fields.name, epoch });

export const acknowledge = writing({
  name: 'lease ack',
  method: 'PUT',
  path: `${LEASE}/acks`,
  summary: 'Say what a worker has begun and stopped; what it stopped goes to the next',
  input: {
    kind: fields.kind,
    bucket: fields.bucket,
    holder: fields.text().min(1).max(256),
    epoch: z.int().min(0).meta({ description: 'Of its lease.' }),
    added: z.array(done).max(1_000).default([]),
    dropped: z.array(done).max(1_000).default([]),
  },
  output: z.object({
    ...DONE,
    kind: fields.kind,
    bucket: fields.bucket,
    added: z.int().meta({ description: 'How many were as it says.' }),
    dropped: z.int(),
    version: z.int(),
  }),
  right: 'lease',
  example: {
    ...{ kind: 'queue', bucket: 'worker-0', holder: '5f2c', epoch: 2 },
    dropped: [{ name: 'job-1', epoch: 3 }],
  },
  write: async (trx, { kind, bucket, holder, epoch, added, dropped }) => {
    const lease = { holder, epoch };
    const done = await handOver.acknowledge(trx, kind, bucket, lease, { added, dropped });
    const changed = done.added + done.dropped > 0;
    return { ...done, action: 'lease ack', kind, bucket, changed };
  },
});
