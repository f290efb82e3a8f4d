// What comes or goes as a stream: too long for one answer, or for one body.

import * as z from 'zod';
import { DEFAULT_KIND } from '../names.js';
import { HOW } from './operation.js';
import type { Route } from './route.js';
import * as fields from './fields.js';

export interface Streamed<S extends z.ZodRawShape> extends Route {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  /** In the path and in the query. */
  readonly input: S;
  /** An input that works where there is kind `hub`; by default that it is of this kind. */
  readonly example?: Readonly<Record<string, unknown>>;
  /** What is sent, by type, with an example. */
  readonly body?: Readonly<Record<string, string>>;
  /** What comes back, by type. */
  readonly answer: Readonly<Record<string, z.ZodType | undefined>>;
  /** The status with which the same comes back where nothing was done. */
  readonly refusal?: number;
}

function streamed<S extends z.ZodRawShape>(stream: Streamed<S>): Streamed<S> {
  return stream;
}

const imported = z.object({
  action: z.string(),
  file: z.string(),
  new: z.int(),
  moved: z.int(),
  unchanged: z.int(),
  wrong: z.int().meta({ description: 'How many lines are wrong.' }),
  problems: z
    .array(z.object({ line: z.int(), code: z.string(), message: z.string() }))
    .meta({ description: 'The first thousand of them.' }),
  kinds: z.array(fields.kind).meta({ description: 'Those that were made.' }),
  buckets: z
    .array(z.object({ kind: fields.kind, name: fields.bucket }))
    .meta({ description: 'Those that were made.' }),
  changed: z.boolean(),
  dry_run: z.boolean(),
  notes: z.array(z.string()).optional(),
});

const findings = z.object({
  ok: z.boolean().meta({ description: 'Whether there is no fault.' }),
  faults: z.array(
    z.object({
      rule: z.string(),
      kind: fields.kind.nullable(),
      bucket: fields.bucket.nullable(),
      name: fields.name.nullable(),
      message: z.string(),
      remedy: z.string().meta({ description: 'What a person can do.' }),
    }),
  ),
  notes: z.array(z.string()),
  kinds: z.int(),
  buckets: z.int(),
  objects: z.int(),
  fixed: z.int().meta({ description: 'How many buckets were counted again.' }),
});

export const STREAMS = {
  watch: streamed({
    name: 'watch',
    method: 'GET',
    path: '/kinds/{kind}/watch',
    summary:
      'What happens to a kind, as it happens: first assignments, and all that the history has',
    description: `Server-sent events, each with an \`id\`, its \`action\` as \`event\`, and as \`data\` JSON with \`id\`, \`kind\`, \`version\`, \`at\`, \`action\`, \`name\`, \`from_bucket\`, \`to_bucket\`, \`actor\`, \`reason\`, \`detail\` and \`plan\`. Whoever comes again with the last \`id\` is told each event once, by any replica. Who comes too late is answered \`forgotten\`, or sent an event of that name, and the stream ends.`,
    input: {
      kind: fields.kind,
      since: fields.text().optional().meta({
        description:
          'Tell what has happened since that event (its `id`), or since that version of the kind; without it, or Last-Event-ID, from now on.',
      }),
      bucket: fields.bucket.optional().meta({
        description: 'Only what comes to this bucket, leaves it, or is done to it.',
      }),
      once: z.boolean().default(false).meta({ description: 'End when everything is told.' }),
    },
    example: { kind: 'hub', once: true },
    answer: { 'text/event-stream': undefined },
  }),
  assign: streamed({
    name: 'object assign-many',
    method: 'POST',
    path: '/kinds/{kind}/objects',
    summary: 'Assign all objects of an NDJSON body, as their first requests would',
    description:
      'A line in, a line out, in order, as it comes. A line that is wrong is answered with its error, and does not stop the others.',
    input: { kind: fields.kind },
    body: { 'application/x-ndjson': '{"name": "dana"}\n{"name": "eli"}\n' },
    answer: { 'application/x-ndjson': undefined },
  }),
  export: streamed({
    name: 'export',
    method: 'GET',
    path: '/export',
    summary: 'All objects as CSV or NDJSON, as they are at one moment',
    description:
      'NDJSON has the kinds and buckets too. What objects ask for that follow workers is in none. An answer that breaks off is not all of it.',
    input: {
      format: z.enum(['csv', 'ndjson']).default('csv'),
      kind: fields.kind.optional().meta({ description: 'Only its objects.' }),
      for_spreadsheet: z.boolean().default(false).meta({
        description:
          'CSV for a spreadsheet: what would be a formula begins with an apostrophe. It cannot be imported.',
      }),
    },
    answer: { 'text/csv': undefined, 'application/x-ndjson': undefined },
  }),
  import: streamed({
    name: 'import',
    method: 'POST',
    path: '/import',
    summary: 'Read objects from CSV or NDJSON: all, or none if a line is wrong',
    description:
      'What is wrong is told by line, with status 422. The body may be compressed (Content-Encoding: gzip).',
    input: {
      kind: fields.kind.default(DEFAULT_KIND).meta({ description: 'Of lines that name none.' }),
      create_buckets: z
        .boolean()
        .default(false)
        .meta({ description: 'Make the kinds and buckets that are not there.' }),
      move: z
        .boolean()
        .default(false)
        .meta({ description: 'Move objects that are in another bucket already.' }),
      skip_errors: z
        .boolean()
        .default(false)
        .meta({ description: 'Leave out the lines that are wrong, and import the others.' }),
      ...HOW,
    },
    body: {
      'text/csv': 'user,hub\nfay,hub-0\n',
      'application/x-ndjson': '{"name": "fay", "bucket": "hub-0"}\n',
    },
    answer: { 'application/json': imported },
    refusal: 422,
  }),
  check: streamed({
    name: 'check',
    method: 'GET',
    path: '/check',
    summary: 'Look whether the database keeps what its schema promises',
    description: 'It reads everything, which takes seconds where there are millions of objects.',
    input: {},
    answer: { 'application/json': findings },
  }),
  fix: streamed({
    name: 'check fix',
    method: 'POST',
    path: '/check',
    summary: 'The same, and count again what buckets hold',
    description: 'All else that is wrong needs somebody who knows what was meant.',
    input: {},
    answer: { 'application/json': findings },
  }),
};
