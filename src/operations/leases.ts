// The operations on leases: what workers ask for, and what people see of them.

import * as z from 'zod';
import { SharderError } from '../errors.js';
import { lockKind } from '../store/kinds.js';
import { getBucket, updateBucket } from '../store/buckets.js';
import * as store from '../store/leases.js';
import * as workers from '../workers/leases.js';
import { DONE, acting, reading, writing } from './operation.js';
import * as fields from './fields.js';

const PATH = '/kinds/{kind}/leases';
const one = { kind: fields.kind, bucket: fields.bucket };
const holder = fields.text().min(1).max(256).meta({
  description: 'Who holds it: another name for every process, such as a UUID.',
});
const epoch = z.int().min(0).meta({
  description: 'Grows with every new holder: whoever has an older one has lost the lease.',
});
const index = z.int().min(0).max(2_147_483_647).nullable().meta({
  description: "The worker's place, 0 … count − 1; null: it has none yet.",
});

export const listLeases = reading({
  name: 'lease list',
  method: 'GET',
  path: PATH,
  summary: 'The workers of a kind, each with its lease and its place',
  input: { kind: fields.kind },
  output: z.object({
    items: z.array(
      z.object({
        ...one,
        holder: holder.nullable().meta({
          description: 'Who holds it. Null unless the token may change everything.',
        }),
        epoch,
        index,
        taken_at: z.string(),
        expires_at: z.string(),
        has_ended: z.boolean().meta({ description: 'Its place is kept for the grace.' }),
        url: fields.url,
        state: z.enum(['active', 'cordoned', 'draining']),
        members: z.int().meta({ description: 'How many objects it has.' }),
        pending: z.int().meta({
          description: 'How many of them it is to begin or to stop, and has not said that it did.',
        }),
        group: z.string().nullable(),
        load: z.number().nullable(),
        data: fields.json('What it says of itself.'),
        calls: z.boolean(),
      }),
    ),
  }),
  example: { kind: 'queue' },
  // Who knows the holder and the epoch can renew a lease, and give it back.
  read: async ({ database, permission }, { kind }) => {
    const isShown = permission?.rights.has('write') ?? true;
    const leases = await database.read((knex) => store.listLeases(knex, kind));
    return { items: leases.map((each) => ({ ...each, holder: isShown ? each.holder : null })) };
  },
});

export const claimLease = acting({
  name: 'lease claim',
  method: 'PUT',
  path: `${PATH}/{bucket}`,
  summary: 'Take the lease of a bucket, or with its epoch renew it; a new one makes the bucket',
  input: {
    ...one,
    holder,
    ttl: z.number().min(1).max(86_400).default(30).meta({
      description: 'For so many seconds, if it is not renewed.',
    }),
    epoch: epoch.optional(),
    url: fields.url.optional(),
    weight: fields.weight.optional(),
    capacity: fields.capacity.optional(),
    group: fields.text().max(256).nullable().optional().meta({
      description: 'Objects may ask for workers of a group.',
    }),
    load: z.number().nullable().optional().meta({
      description: 'How much it has to do, in a unit of its own.',
    }),
    data: fields.json('Whatever others should know of it.').optional(),
    calls: z.boolean().optional().meta({
      description:
        'Whether it is told what it owns by signed calls: POST to /sm/admin/add-shard and /sm/admin/drop-shard at its URL, which must be in `callback_networks` of the settings.',
    }),
    index: index.optional().meta({
      description: 'The place by which it goes now; left out: by whichever it was told last.',
    }),
  },
  output: z.object({
    ...DONE,
    ...one,
    holder,
    epoch,
    ttl: z.number(),
    expires_at: z.string(),
    index,
    count: z.int().meta({ description: 'How many places there are.' }),
    version: z.int().meta({ description: "The kind's." }),
    renew_in: z.number().meta({ description: 'In so many seconds it should come again.' }),
    is_new: z.boolean().meta({ description: 'Whether it was taken, and not renewed.' }),
    is_pending: z.boolean().meta({ description: 'Whether there are objects to begin or to stop.' }),
    secret: z.string().optional().meta({
      description:
        'Signs the calls to the worker. Only where `calls` was said, in the answer that gives the lease, and never again.',
    }),
  }),
  right: 'lease',
  example: { kind: 'queue', bucket: 'worker-0', holder: '5f2c', ttl: 30 },
  act: async ({ database, renew, targets }, { kind, bucket, ...claim }, { by, isDry }) => {
    if (isDry)
      throw new SharderError('bad_request', 'dry_run: a lease cannot be claimed for a try');
    const granted = await workers.claimLease(database, kind, bucket, claim, {
      ...{ by, renew, targets },
    });
    return { ...granted, action: 'lease claim', changed: granted.is_new };
  },
});

export const releaseLease = writing({
  name: 'lease release',
  method: 'DELETE',
  path: `${PATH}/{bucket}`,
  summary: 'Give a lease back; its place is free at once',
  input: { ...one, holder, epoch },
  output: z.object({ ...DONE, ...one }),
  right: 'lease',
  example: { kind: 'queue', bucket: 'worker-0', holder: '5f2c', epoch: 2 },
  write: async (trx, { kind, bucket, holder, epoch }, by) => {
    await workers.releaseLease(trx, kind, bucket, { holder, epoch }, by);
    return { action: 'lease release', kind, bucket, changed: true };
  },
});

export const drainLease = writing({
  name: 'lease drain',
  method: 'POST',
  path: `${PATH}/{bucket}/drain`,
  summary: 'Have a worker hand over all that it has; `bucket uncordon` lets it have objects again',
  input: one,
  output: z.object({ ...DONE, ...one }),
  example: { kind: 'queue', bucket: 'worker-0', reason: 'is to be replaced' },
  write: async (trx, { kind, bucket }, by) => {
    const { settings } = await lockKind(trx, kind);
    if (!settings.leased) throw workers.notLeased(kind);
    const state = { state: 'draining', state_reason: by.reason ?? null } as const;
    const worker = await getBucket(trx, kind, bucket);
    const changes = await updateBucket(trx, worker, state, 'bucket drain', by);
    return { action: 'lease drain', kind, bucket, changed: Object.keys(changes).length > 0 };
  },
});
