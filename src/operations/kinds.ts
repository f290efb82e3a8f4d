// The operations on kinds.

import { isDeepStrictEqual } from 'node:util';
import type { Knex } from 'knex';
import * as z from 'zod';
import * as store from '../store/kinds.js';
import { NAME_RULES } from '../names.js';
import { NORMALIZERS } from '../normalize.js';
import { mayUse } from '../scopes.js';
import { HASHES, POLICIES } from '../policies.js';
import { declaredKind, DONE, reading, writing } from './operation.js';
import * as fields from './fields.js';

const settings = {
  normalize: z.enum(NORMALIZERS).meta({
    description:
      'Which names are the same object: each its own (none); whatever the case (lower); and without what begins at the first @ (lower-local).',
  }),
  names: z.enum(NAME_RULES).meta({
    description:
      'What a new object may be called: strict, without commas and characters that cannot be seen, and in NFC; or any.',
  }),
  cookie: z.boolean().meta({ description: 'Whether /shard, /auth and /go set its cookie.' }),
  threshold: z.number().min(1).max(1_000).meta({
    description: 'A bucket is over-full from so many percent above its fair share.',
  }),
  ramp: z.number().min(1).max(1_000).nullable().meta({
    description:
      'A bucket that lags, a new one, gets at most so many times its fair share of new objects; null: all, until it has caught up.',
  }),
  leased: z.boolean().meta({
    description: 'Whether its buckets are workers, which hold leases on them.',
  }),
  grace: z.number().min(0).max(86_400).meta({
    description: 'For so many seconds the place of a worker whose lease has ended is kept.',
  }),
  reshard_interval: z.number().min(0).max(86_400).meta({
    description: 'Places change no more often than once in so many seconds.',
  }),
  max_moving: z.int().min(1).max(10_000).meta({
    description: 'So many objects of each worker at most are on their way to another.',
  }),
  cooldown: z.number().min(0).max(86_400).meta({
    description: 'An object that was moved stays for so many seconds where it is.',
  }),
  breaker: z.number().min(1).max(99).nullable().meta({
    description:
      'Nothing moves while more than so many percent of the workers are gone at once; null: it always does.',
  }),
  hash: z.enum(HASHES).meta({
    description:
      'Of the policy hash: weighted rendezvous hashing, or hash(key) mod n over the names in natural order.',
  }),
  key: z
    .union(
      [
        z.literal('user'),
        z.strictObject({
          header: z.string().optional(),
          query: z.string().optional(),
          cookie: z.string().optional(),
          pattern: z.string().optional(),
        }),
      ],
      'must be user, or have one of header, query and cookie, and may have a pattern',
    )
    .meta({
      description:
        'Of the policy hash: what is hashed. The user, or what stands in a header, a parameter of the query or a cookie; with a pattern, its first group.',
    }),
};
const policy = z.enum(POLICIES).meta({
  description:
    'How buckets are picked: the emptiest, and remembered; or by a hash, computed and not stored.',
});
const changes = {
  normalize: settings.normalize.optional(),
  names: settings.names.optional(),
  cookie: settings.cookie.optional(),
  threshold: settings.threshold.optional(),
  ramp: settings.ramp.optional(),
  leased: settings.leased.optional(),
  grace: settings.grace.optional(),
  reshard_interval: settings.reshard_interval.optional(),
  max_moving: settings.max_moving.optional(),
  cooldown: settings.cooldown.optional(),
  breaker: settings.breaker.optional(),
  hash: settings.hash.optional(),
  key: settings.key.optional(),
};

const shown = z.object({
  name: fields.kind,
  policy: z.string(),
  ...settings,
  version: z.int().meta({ description: 'Grows with every change of anything of the kind.' }),
  halted: z.boolean().meta({
    description: 'Whether nothing moves, for too many workers are gone: see `breaker`.',
  }),
  buckets: z.array(fields.bucket),
  objects: z.int().meta({ description: 'How many objects they hold.' }),
});

export const listKinds = reading({
  name: 'kind list',
  method: 'GET',
  path: '/kinds',
  summary: 'All kinds, with how many buckets and objects each has',
  input: {},
  output: z.object({ items: z.array(shown) }),
  example: {},
  keepsToKinds: true,
  read: async ({ database, permission }) => ({
    items: (await database.read(readKinds)).filter(({ name }) => mayUse(name, permission?.kinds)),
  }),
});

async function readKinds(knex: Knex): Promise<z.output<typeof shown>[]> {
  const rows = await store.listKindRows(knex);
  const halted = new Set(rows.filter((row) => row.halted).map(({ name }) => name));
  return (await store.listKinds(knex)).map(({ buckets, objects, ...kind }) => ({
    ...kind,
    halted: halted.has(kind.name),
    buckets: [...buckets],
    objects,
  }));
}

export const showKind = reading({
  name: 'kind show',
  method: 'GET',
  path: '/kinds/{kind}',
  summary: 'One kind, with its settings',
  input: { kind: fields.kind },
  output: shown,
  example: { kind: 'hub' },
  read: ({ database }, { kind: name }) =>
    database.read(async (knex) => {
      const kind = (await readKinds(knex)).find((each) => each.name === name);
      if (!kind) throw store.unknownKind(name);
      return kind;
    }),
});

const done = z.object({ ...DONE, kind: fields.kind });

export const createKind = writing({
  name: 'kind create',
  method: 'POST',
  path: '/kinds',
  summary: 'Add a kind; it takes objects as soon as it has a bucket',
  input: {
    kind: fields.kind,
    policy: policy.optional(),
    ...changes,
  },
  output: done,
  example: { kind: 'homedir', normalize: 'lower', cookie: false },
  write: async (trx, { kind, policy, ...settings }, by) => {
    await store.createKind(trx, kind, { policy, settings }, by);
    return { action: 'kind create', kind, changed: true };
  },
});

export const setKind = writing({
  name: 'kind set',
  method: 'PATCH',
  path: '/kinds/{kind}',
  summary: 'Change the settings of a kind; refused where two names would fall together',
  input: { kind: fields.kind, policy: policy.optional(), ...changes },
  output: done.extend({ detail: fields.differences }),
  example: { kind: 'homedir', threshold: 20 },
  write: async (trx, { kind, ...settings }, by, context) => {
    const detail = await store.setKind(trx, kind, settings, by);
    const notes = Object.keys(detail)
      .filter((key) => {
        const said = declaredKind(context, kind)?.[key as keyof typeof settings];
        return said !== undefined && !isDeepStrictEqual(said, detail[key]?.to);
      })
      .map((key) => `the settings declare ${key} of kind ${kind}: the next start sets it again`);
    if (detail.policy?.to === 'emptiest') {
      notes.push(
        'keys without a row are new: each goes to the emptiest bucket when it is asked for',
      );
    }
    const changed = Object.keys(detail).length > 0;
    return {
      action: 'kind set',
      kind,
      detail: { ...detail },
      changed,
      ...(notes.length > 0 && { notes }),
    };
  },
});

export const removeKind = writing({
  name: 'kind remove',
  method: 'DELETE',
  path: '/kinds/{kind}',
  summary: 'Remove a kind that has no buckets',
  input: { kind: fields.kind },
  output: done,
  example: { kind: 'homedir' },
  write: async (trx, { kind }, by, context) => {
    await store.removeKind(trx, kind, by);
    const notes = [`the settings declare ${kind}: the next start adds it again`];
    const isDeclared = declaredKind(context, kind) !== undefined;
    return { action: 'kind remove', kind, changed: true, ...(isDeclared && { notes }) };
  },
});
