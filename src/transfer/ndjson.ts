// NDJSON (ndjson.org): an object of JSON to a line. Kinds and buckets come first, marked by their
// `type`; a line without is an object.

import type { Readable } from 'node:stream';
import { SharderError } from '../errors.js';
import { parseJson } from '../json.js';
import type { Bucket } from '../store/buckets.js';
import type { StoredKind } from '../store/kinds.js';
import type { Assignment } from '../store/objects.js';
import { Page, type BucketLine, type KindLine, type ObjectLine, type Pages } from './page.js';

const MAX_LINE_CHARACTERS = 100_000;

/** Reads a file in pages. Throws `bad_request` for a line without an end. */
export async function* readNdjson(source: Readable): Pages {
  let page = new Page();
  let line = 0;
  for await (const texts of lines(source)) {
    for (const text of texts) {
      line++;
      if (text.trim() !== '') addLine(page, line, text);
      if (page.isFull) {
        yield page;
        page = new Page();
      }
    }
  }
  yield page;
}

async function* lines(source: Readable): AsyncGenerator<string[]> {
  let rest = '';
  let isFirst = true;
  for await (const chunk of source.setEncoding('utf8') as AsyncIterable<string>) {
    const parts = (rest + (isFirst ? chunk.replace(/^\uFEFF/, '') : chunk)).split('\n');
    isFirst = false;
    rest = parts.pop() ?? '';
    if (rest.length > MAX_LINE_CHARACTERS) {
      throw new SharderError('bad_request', 'it is no NDJSON: it has a line of 100,000 characters');
    }
    yield parts;
  }
  yield [rest];
}

function addLine(page: Page, line: number, text: string): void {
  const fields = parseLine(text);
  if (typeof fields === 'string') {
    page.refuse(line, fields);
  } else if (fields.type === 'kind') {
    page.kinds.push({ ...(fields as unknown as KindLine), line });
  } else if (fields.type === 'bucket') {
    page.buckets.push({ ...(fields as unknown as BucketLine), line });
  } else {
    const { kind, name, bucket, assigned_at, pinned } = fields as unknown as ObjectLine;
    page.objects.push({ line, kind, name, bucket, assigned_at, pinned });
  }
}

// What must be there, as text.
const NEEDED = new Map<unknown, readonly string[]>([
  ['kind', ['kind']],
  ['bucket', ['name']],
  ['object', ['name', 'bucket']],
]);
const OPTIONAL = ['kind', 'assigned_at'];

/** The fields of a line, or what is wrong with it. */
function parseLine(text: string): Record<string, unknown> | string {
  let value: unknown;
  try {
    value = parseJson(text, 'it');
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    return error.message;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'it is no object of JSON';
  }
  const { type = 'object', ...fields } = value as Record<string, unknown>;
  const needed = NEEDED.get(type);
  if (!needed)
    return 'its "type" is unknown: it must be "kind" or "bucket", and an object has none';
  const missing = needed.find((field) => typeof fields[field] !== 'string');
  if (missing !== undefined) return `it has no text as its "${missing}"`;
  for (const field of OPTIONAL) {
    fields[field] ??= undefined; // null says the same
    if (!['string', 'undefined'].includes(typeof fields[field]))
      return `its "${field}" is not text`;
  }
  return { ...fields, type };
}

/** Kinds, buckets, then the objects as text, page by page. */
export async function* writeNdjson(
  kinds: readonly StoredKind[],
  buckets: readonly Bucket[],
  pages: AsyncIterable<readonly Assignment[]>,
): AsyncGenerator<string> {
  for (const { name, policy, settings } of kinds) {
    yield toLine({ type: 'kind', kind: name, policy, settings });
  }
  for (const bucket of buckets) yield toLine({ type: 'bucket', ...bucket, members: undefined });
  for await (const page of pages) yield page.map(toLine).join('');
}

function toLine(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
