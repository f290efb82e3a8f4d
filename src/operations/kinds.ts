// The operations on kinds.

import * as z from 'zod';
import * as store from '../store/kinds.js';
import { NORMALIZERS } from '../normalize.js';
import { declaredKind, DONE, reading, writing } from './operation.js';
import * as fields from './fields.js';

const settings = {
  normalize: z.enum(NORMALIZERS).meta({
    description:
      'Which names are the same object: each its own (none); whatever the case (lower); and without what begins at the first @ (lower-local).',
  }),
  cookie: z.boolean().meta({ description: 'Whether /shard, /auth and /go set its cookie.' }),
  threshold: z.number().min(1).max(1_000).meta({
    description: 'A bucket is over-full from so many percent above its fair share.',
  }),
  ramp: z.number().min(1).max(1_000).nullable().meta({
    description:
      'A bucket that lags, a new one, gets at most so many times its fair share of new objects; null: all, until it has caught up.',
  }),
};
const changes = {
  normalize: settings.normalize.optional(),
  cookie: settings.cookie.optional(),
  threshold: settings.threshold.optional(),
  ramp: settings.ramp.optional(),
};

const shown = z.object({
  name: fields.kind,
  policy: z.string(),
  ...settings,
  version: z.int().meta({ description: 'Grows with every change of anything of the kind.' }),
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
  read: async ({ database }) => ({
    items: (await database.read(store.listKinds)).map((kind) => ({
      ...kind,
      buckets: [...kind.buckets],
    })),
  }),
});

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
      const all = await store.listKinds(knex);
      const kind = all.find((each) => each.name === name);
      if (!kind) throw store.unknownKind(name);
      return { ...kind, buckets: [...kind.buckets] };
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
    policy: z.string().optional().meta({ description: 'How buckets are picked: emptiest.' }),
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
  input: { kind: fields.kind, ...changes },
  output: done.extend({ detail: fields.differences }),
  example: { kind: 'homedir', threshold: 20 },
  write: async (trx, { kind, ...settings }, by, context) => {
    const detail = await store.setKind(trx, kind, settings, by);
    const notes = Object.keys(detail)
      .filter((key) => {
        const said = declaredKind(context, kind)?.[key as keyof typeof settings];
        return said !== undefined && said !== detail[key]?.to;
      })
      .map((key) => `the settings declare ${key} of kind ${kind}: the next start sets it again`);
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
