// The columns of a table: which of them is the name, which the bucket. Ours, and what others call them.

import { SharderError } from '../errors.js';
import { parseJson } from '../json.js';
import type { ObjectLine, Page } from './page.js';

const NAMES = {
  kind: ['kind'],
  name: ['name', 'user', 'username', 'object'],
  bucket: ['bucket', 'hub', 'shard', 'bin'],
  assigned_at: ['assigned_at'],
  pinned: ['pinned'],
} as const;

// The table of the Python sharder and of its ancestors: `shard`, `entries_v1`, `entries`.
const LEGACY = ['bucket', 'id', 'kind', 'name'];

type Column = keyof typeof NAMES;

/** Takes the rows of a table whose columns have these headings. */
export class Columns {
  readonly #at: Readonly<Record<Column, number>>;
  readonly #width: number;
  readonly #isLegacy: boolean;

  /** Throws `bad_request` where there is no column for the name or the bucket, or more than one. */
  constructor(headings: readonly string[]) {
    const plain = headings.map((heading) => heading.trim().toLowerCase());
    const find = (column: Column, isNeeded: boolean): number => {
      const at = plain.flatMap((heading, i) =>
        (NAMES[column] as readonly string[]).includes(heading) ? [i] : [],
      );
      if (at.length > 1 || (isNeeded && at.length === 0)) {
        throw new SharderError(
          'bad_request',
          `the columns are ${headings.map((heading) => JSON.stringify(heading)).join(', ')}; ${at.length > 1 ? 'only one' : 'one'} of them must be ${NAMES[column].join(', ').replace(/, (\w+)$/, ' or $1')}`,
        );
      }
      return at[0] ?? -1;
    };
    this.#at = {
      kind: find('kind', false),
      name: find('name', true),
      bucket: find('bucket', true),
      assigned_at: find('assigned_at', false),
      pinned: find('pinned', false),
    };
    this.#width = headings.length;
    this.#isLegacy = plain.toSorted().join() === LEGACY.join();
  }

  /** Adds a row to the page, or why it is none. */
  add(page: Page, line: number, row: readonly string[]): void {
    if (row.length !== this.#width) {
      page.refuse(line, `it has ${row.length} fields, and the first line ${this.#width}`);
      return;
    }
    const { kind, name, bucket, assigned_at, pinned } = this.#at;
    const object = {
      line,
      kind: row[kind] === '' ? undefined : row[kind],
      name: row[name] ?? '',
      bucket: row[bucket] ?? '',
      assigned_at: row[assigned_at] === '' ? undefined : row[assigned_at],
      pinned: row[pinned],
    };
    if (this.#isLegacy) addLegacy(page, object);
    else page.objects.push(object);
  }
}

// In the Python sharder's table a row `dummy-BUCKET` stands for the bucket itself. In data8xhub the
// bucket of a hub was a line of JSON: { "cluster", "hub", "ip" }.
function addLegacy(page: Page, object: ObjectLine): void {
  const { line, kind, name } = object;
  const { bucket, url } = takeApart(object.bucket);
  if (name === `dummy-${object.bucket}`) page.buckets.push({ line, kind, name: bucket, url });
  else page.objects.push({ ...object, bucket, url });
}

function takeApart(text: string): { bucket: string; url?: string } {
  if (!text.trimStart().startsWith('{')) return { bucket: text };
  try {
    const { hub, ip } = parseJson(text, 'it') as Record<string, unknown>;
    if (typeof hub !== 'string') return { bucket: text };
    return typeof ip === 'string' ? { bucket: hub, url: `http://${ip}` } : { bucket: hub };
  } catch {
    return { bucket: text };
  }
}
