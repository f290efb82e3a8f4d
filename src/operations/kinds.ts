// The operations on kinds.

import { z } from 'zod';
import * as store from '../store/kinds.js';
import { reading } from './operation.js';
import * as fields from './fields.js';

const shown = z.object({
  name: fields.kind,
  policy: z.string(),
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
      await store.checkKind(knex, name);
      const all = await store.listKinds(knex);
      const kind = all.find((each) => each.name === name);
      if (!kind) throw store.unknownKind(name);
      return { ...kind, buckets: [...kind.buckets] };
    }),
});
