// A table of another SQLite database, such as `entries_v1` of data8xhub or `shard` of a Sharder. In
// place of a line's number stands the row's.

import { existsSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { SharderError } from '../errors.js';
import { Columns } from './columns.js';
import { Page } from './page.js';

/** Reads a table in pages, in one read. Throws `bad_request` where there is none, or lacks a column. */
export function* readTable(file: string, table: string): Generator<Page> {
  if (!existsSync(file)) throw new SharderError('bad_request', 'there is no such file');
  const connection = new Sqlite(file, { readonly: true });
  try {
    const tables = connection
      .prepare<[], string>(
        `select name from sqlite_schema where type in ('table', 'view') order by name`,
      )
      .pluck()
      .all();
    if (!tables.includes(table)) {
      throw new SharderError(
        'bad_request',
        `it has no table ${JSON.stringify(table)}: it has ${tables.join(', ') || 'none'}`,
      );
    }
    const rows = connection
      .prepare<[], unknown[]>(`select * from "${table.replaceAll('"', '""')}"`)
      .raw();
    const headings = rows.columns().map(({ name }) => name);
    const columns = new Columns(headings);
    const id = headings.indexOf('id');
    let page = new Page();
    let count = 0;
    for (const row of rows.iterate()) {
      count++;
      const line = typeof row[id] === 'number' ? row[id] : count;
      const odd = row.findIndex((value) => Buffer.isBuffer(value));
      if (odd < 0) columns.add(page, line, row.map(toText));
      else page.refuse(line, `its ${headings[odd] ?? ''} is not text`);
      if (page.isFull) {
        yield page;
        page = new Page();
      }
    }
    yield page;
  } catch (error) {
    if (error instanceof SharderError) throw error;
    const { message } = error as Error;
    throw new SharderError('bad_request', `it cannot be read: ${message}`, { cause: error });
  } finally {
    connection.close();
  }
}

function toText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
