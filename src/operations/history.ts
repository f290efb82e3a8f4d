// The operations on the history.

import * as z from 'zod';
import { listChanges } from '../store/change-pages.js';
import * as store from '../store/prune.js';
import { acting, DONE, reading } from './operation.js';
import * as fields from './fields.js';

export const listHistory = reading({
  name: 'history list',
  method: 'GET',
  path: '/changes',
  summary: 'Who did what, when and why: the newest lines first, in pages',
  input: {
    kind: fields.kind.optional(),
    name: fields
      .text()
      .optional()
      .meta({ description: 'Only of the object that was called so, of kinds that are there.' }),
    bucket: fields.bucket
      .optional()
      .meta({ description: 'Only of what went from it or to it, or of itself.' }),
    actor: fields.text().optional().meta({ description: 'Only theirs.' }),
    action: fields.text().optional().meta({ description: 'Only this, such as `object move`.' }),
    plan: z.int().optional().meta({ description: 'Only of this plan.' }),
    since: fields.time.optional().meta({ description: 'Only of that time or later.' }),
    until: fields.time.optional().meta({ description: 'Only from before that time.' }),
    ...fields.PAGING,
  },
  output: fields.page(fields.change),
  example: { kind: 'hub', action: 'object move', limit: 10 },
  keepsToKinds: true,
  read: async ({ database, permission }, { since, until, after, limit, ...filter }) => {
    const place = fields.fromCursor(after, 'number');
    const { changes, next } = await listChanges(
      database,
      { ...filter, kinds: permission?.kinds, since: toDate(since), until: toDate(until) },
      place ?? null,
      limit,
    );
    return {
      items: changes.map((change) => ({ ...change })),
      next: next === null ? null : fields.toCursor(next),
    };
  },
});

function toDate(time: string | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time);
}

export const pruneHistory = acting({
  name: 'history prune',
  method: 'POST',
  path: '/changes/prune',
  summary:
    'Delete lines of the history for good; where everyone was before that time is then unknown',
  input: {
    before: fields.time.meta({ description: 'Lines that are older go.' }),
    kind: fields.kind.optional().meta({ description: 'Only its lines.' }),
  },
  output: z.object({
    ...DONE,
    before: z.string(),
    lines: z.int(),
    kinds: z.array(z.object({ kind: fields.kind, lines: z.int() })),
  }),
  example: { before: '2025-01-01T00:00:00Z', reason: 'kept for two years' },
  act: async ({ database, onProgress }, { before, kind }, { by, isDry }) => {
    const time = new Date(before);
    const options = { before: time, kind, isDry, onProgress };
    const kinds = await store.pruneHistory(database, options, by);
    const lines = kinds.reduce((sum, each) => sum + each.lines, 0);
    return {
      action: 'history prune',
      before: time.toISOString(),
      lines,
      kinds,
      changed: lines > 0,
    };
  },
});
