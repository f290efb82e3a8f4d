// The fields that operations share.

import * as z from 'zod';
import { SharderError } from '../errors.js';
import { parseJson } from '../json.js';
import { DEFAULT_KIND } from '../names.js';
import type { Place } from '../store/objects.js';
import { parseTime } from '../time.js';

/** Text that both engines can hold, and any UTF-8 can carry. */
export function text() {
  return z
    .string()
    .refine((value) => !/[\0\p{Cs}]/u.test(value), 'has a character that none may have');
}

export const kind = text().meta({
  description: `A namespace of objects that are spread over the same buckets, such as \`${DEFAULT_KIND}\`.`,
});
export const bucket = text().meta({ description: "A bucket's name." });
export const name = z.string().meta({ description: "An object's name." });
export const time = z.iso
  .datetime({ offset: true, error: 'must be a time such as 2026-11-21T14:00:00Z' })
  .refine(parseTime, 'must be a time such as 2026-11-21T14:00:00Z')
  .meta({ description: 'A time, ISO 8601, with its zone.' });

export const url = z.string().nullable().meta({ description: 'Where the bucket is reached.' });
export const weight = whole(1, 1_000_000).meta({
  description: 'Its share of new objects, relative to the others.',
});
export const capacity = whole(0, 1_000_000_000).nullable().meta({
  description: 'How many objects it may hold; null: as many as come.',
});

// PostgreSQL stores no text with these.
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return !/[\0\p{Cs}]/u.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, each]) => isStorable(key) && isStorable(each));
}

/** Anything that is JSON. */
export function json(description: string) {
  const type = ['object', 'array', 'string', 'number', 'boolean', 'null'];
  return z
    .unknown()
    .refine(
      isStorable,
      'has a text with a character that none may have (NUL, half a surrogate pair)',
    )
    .meta({ type, description });
}

/** A whole number of this range, and a message that says so. */
export function whole(min: number, max: number) {
  const error = ({ input }: { readonly input?: unknown }) =>
    `is ${JSON.stringify(input)}; it must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** An object's place. */
export const assignment = z
  .object({
    kind,
    name,
    bucket,
    assigned_at: z.string().meta({ description: 'When it was first assigned.' }),
    pinned: z.boolean().meta({ description: 'No plan moves it.' }),
  })
  .meta({ id: 'Assignment' });

/** A line of the history. */
export const change = z
  .object({
    id: z.int(),
    at: z.string(),
    actor: z.string(),
    action: z.string(),
    kind,
    name: name.nullable(),
    from_bucket: bucket.nullable(),
    to_bucket: bucket.nullable(),
    reason: z.string().nullable(),
    detail: z.record(z.string(), z.unknown()).nullable(),
    plan: z.int().nullable(),
  })
  .meta({ id: 'Change' });
export const prunedBefore = z
  .string()
  .nullable()
  .meta({ description: 'Lines of the kind from before that time were pruned; null: none.' });

/** What a change has set: each setting with what it was and what it is. */
export const differences = z
  .record(z.string(), z.object({ from: z.unknown(), to: z.unknown() }))
  .meta({ id: 'Differences' });

/** The answer of a list that comes in pages. */
export function page<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    next: z
      .string()
      .nullable()
      .meta({ description: 'What `after` must be for the next page; null: this is the last.' }),
  });
}

export const PAGING = {
  limit: whole(1, 5_000)
    .default(1_000)
    .meta({ description: 'How many rows are looked at; where there is a filter, fewer may come.' }),
  after: z.string().optional().meta({ description: '`next` of the page before.' }),
};

/** A list's place as clients see it. */
export function toCursor(place: Place): string {
  return Buffer.from(JSON.stringify([place])).toString('base64url');
}

/** The place of this type that `toCursor` was given. Throws `bad_request` for what it has not made. */
export function fromCursor(cursor: string | undefined, type: 'string'): string | undefined;
export function fromCursor(cursor: string | undefined, type: 'number'): number | undefined;
export function fromCursor(
  cursor: string | undefined,
  type: 'string' | 'number',
): Place | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [place] = parseJson(Buffer.from(cursor, 'base64url').toString(), 'it') as unknown[];
    if (type === 'string' && typeof place === 'string' && text().safeParse(place).success) {
      return place;
    }
    if (type === 'number' && Number.isSafeInteger(place)) return place as number;
  } catch {
    // said below
  }
  throw new SharderError(
    'bad_request',
    'after: must be `next` of the page before, of the same list',
  );
}
