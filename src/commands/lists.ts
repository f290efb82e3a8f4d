// A list that comes in pages, as a table or as JSON: a page is in memory at a time.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { listKinds } from '../operations/kinds.js';
import type { Perform } from './service.js';
import { Table, type Cell } from './table.js';

/** A page of `perform`. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Where the next page begins; null where there is none. */
  readonly next: string | null;
}

/** All pages, one after the other, but for those with nothing on them. */
export async function* pages<T>(
  read: (after: string | undefined) => Promise<Page<T>>,
): AsyncGenerator<readonly T[]> {
  for (let after: string | undefined; ;) {
    const { items, next } = await read(after);
    if (items.length > 0) yield items;
    if (next === null) return;
    after = next;
  }
}

/** What `list` yields of this kind; where none is given, of all of them, one after the other. */
export async function* ofKinds<T>(
  perform: Perform,
  kind: string | undefined,
  list: (kind: string) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  const kinds =
    kind === undefined ? (await perform(listKinds, {})).items.map(({ name }) => name) : [kind];
  for (const each of kinds) yield* list(each);
}

/** Prints the pages: as a table under these headings, or as JSON, an array with an item to a line. */
export async function printPages<T>(
  pages: AsyncIterable<readonly T[]>,
  isJson: boolean,
  headings: readonly string[],
  cells: (item: T) => readonly Cell[],
): Promise<void> {
  const text = isJson ? asJson(pages) : asTable(new Table(headings), pages, cells);
  await pipeline(Readable.from(text), process.stdout, { end: false });
}

async function* asTable<T>(
  table: Table,
  pages: AsyncIterable<readonly T[]>,
  cells: (item: T) => readonly Cell[],
): AsyncGenerator<string> {
  let isEmpty = true;
  for await (const page of pages) {
    isEmpty = false;
    yield table.page(page.map(cells));
  }
  if (isEmpty) yield table.page([]);
}

async function* asJson(pages: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  let separator = '[\n';
  for await (const page of pages) {
    yield separator + page.map((item) => `  ${JSON.stringify(item)}`).join(',\n');
    separator = ',\n';
  }
  yield separator === '[\n' ? '[]\n' : '\n]\n';
}
