// CSV (RFC 4180): a line of headings, then a line for each object. With or without a byte order mark,
// lines ending in LF or CRLF.

import type { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { SharderError } from '../errors.js';
import type { Assignment } from '../store/objects.js';
import { Columns } from './columns.js';
import { Page, type Pages } from './page.js';

const COLUMNS = ['kind', 'name', 'bucket', 'assigned_at', 'pinned'] as const;

// A quote that is never closed would take the rest of the file for one field.
const MAX_RECORD_BYTES = 100_000;

/** Reads a file in pages. Throws `bad_request` where it is no CSV, or lacks a column. */
export async function* readCsv(source: Readable): Pages {
  const parser = parse({
    bom: true,
    relax_column_count: true, // counted by ourselves, with the line
    max_record_size: MAX_RECORD_BYTES,
  });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  let columns: Columns | undefined;
  let page = new Page();
  let line = 1;
  try {
    for await (const row of parser as AsyncIterable<string[]>) {
      const isBlank = row.length === 1 && row[0] === '';
      if (columns === undefined) columns = new Columns(row);
      else if (!isBlank) columns.add(page, line, row);
      line += 1 + row.reduce((lines, field) => lines + countLines(field), 0);
      if (page.isFull) {
        yield page;
        page = new Page();
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const at = typeof error.lines === 'number' ? `line ${error.lines}: ` : '';
    throw new SharderError('bad_request', `${at}it is no CSV: ${error.message}`, { cause: error });
  }
  if (columns === undefined) {
    throw new SharderError('bad_request', 'it is empty: the first line must name the columns');
  }
  yield page;
}

function countLines(field: string): number {
  return field.includes('\n') ? field.split('\n').length - 1 : 0;
}

/** The objects as text, page by page, under a line of headings. */
export function writeCsv(pages: AsyncIterable<readonly Assignment[]>): AsyncGenerator<string> {
  return writeLines(pages, COLUMNS, (field) => field);
}

/**
 * The same for a spreadsheet, which runs a cell that begins with one of `= + - @`, a tab or a carriage return.
 * Such a cell begins with an apostrophe here, so it is not what it was: the headings are such that an import
 * refuses the file.
 */
export function writeSpreadsheet(
  pages: AsyncIterable<readonly Assignment[]>,
): AsyncGenerator<string> {
  const headings = COLUMNS.map((column) => `${column} (for a spreadsheet)`);
  return writeLines(pages, headings, toShown);
}

async function* writeLines(
  pages: AsyncIterable<readonly Assignment[]>,
  headings: readonly string[],
  show: (field: string) => string,
): AsyncGenerator<string> {
  yield `${headings.join(',')}\n`;
  for await (const page of pages) {
    yield page
      .map((row) => `${COLUMNS.map((column) => quote(show(String(row[column])))).join(',')}\n`)
      .join('');
  }
}

// Where a semicolon or a tab parts the cells, as it does in half of Europe, a cell begins behind it too. The
// wide forms are formulas where Japanese or Chinese is spoken.
function toShown(field: string): string {
  return field.replaceAll(/(?<=^|[,;|\t\r\n])(?=[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])/g, "'");
}

function quote(field: string): string {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}
