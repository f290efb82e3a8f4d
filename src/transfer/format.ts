// The formats that objects travel in, and which of them a file is, by its name.

import { SharderError } from '../errors.js';

/** `sqlite`: a table of another database, which can only be read. */
export type Format = 'csv' | 'ndjson' | 'sqlite';

export interface FileFormat {
  readonly format: Format;
  readonly isGzip: boolean;
}

const ENDINGS: readonly [ending: RegExp, format: Format][] = [
  [/\.csv$/i, 'csv'],
  [/\.(ndjson|jsonl)$/i, 'ndjson'],
  [/\.(db|sqlite3?)$/i, 'sqlite'],
];

/** What stands for standard input or output. */
export function isStandard(file: string | undefined): file is '-' | undefined {
  return file === undefined || file === '-';
}

/**
 * How a file is to be read or written: as `given` says, else as its name does; compressed where the
 * name ends in `.gz`. Throws `settings` where neither tells.
 */
export function formatOf(file: string | undefined, given: Format | undefined): FileFormat {
  if (isStandard(file)) {
    if (given !== undefined) return { format: given, isGzip: false };
    throw new SharderError(
      'settings',
      'there is no file name that tells the format: --format csv or ndjson',
    );
  }
  const isGzip = /\.gz$/i.test(file);
  const name = isGzip ? file.slice(0, -'.gz'.length) : file;
  const format = given ?? ENDINGS.find(([ending]) => ending.test(name))?.[1];
  if (format !== undefined) return { format, isGzip };
  throw new SharderError(
    'settings',
    `${file}: its name tells no format: call it .csv, .ndjson, .jsonl or one of these with .gz, or say --format csv or ndjson`,
  );
}
