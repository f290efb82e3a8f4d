// A file or standard input as pages of lines, in whichever format.

import { createReadStream, statSync } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { SharderError } from '../errors.js';
import { readCsv } from './csv.js';
import { formatOf, isStandard, type Format } from './format.js';
import { readNdjson } from './ndjson.js';
import type { Pages } from './page.js';
import { readTable } from './sqlite-table.js';

export interface SourceOptions {
  readonly format?: Format | undefined;
  /** Of a SQLite database: the table to read. */
  readonly table?: string | undefined;
  /** Told of a file's size in bytes, and how many of them were read at any time. */
  readonly onFile?: (size: number, bytesRead: () => number) => void;
}

/**
 * Reads `file`, or standard input where it is `-`. Throws `settings` where the format cannot be told,
 * `bad_request` where the file cannot be read or is not what its format says.
 */
export async function* readPages(file: string, options: SourceOptions): Pages {
  const { format, isGzip } = formatOf(file, options.format);
  if ((format === 'sqlite') !== (options.table !== undefined)) {
    throw new SharderError(
      'settings',
      format === 'sqlite'
        ? `${file} is a SQLite database: --table TABLE says which of its tables is meant`
        : '--table: is for SQLite databases, whose names end in .db, .sqlite or .sqlite3',
    );
  }
  try {
    if (options.table !== undefined) yield* readTable(file, options.table);
    else yield* (format === 'csv' ? readCsv : readNdjson)(open(file, isGzip, options));
  } catch (error) {
    throw explainSource(error, isStandard(file) ? 'standard input' : file);
  }
}

/** What `file` has in it, as it is, and what that is. Throws as `readPages`. */
export function readRaw(
  file: string,
  given: Format | undefined,
): {
  content: Readable & { readonly bytesRead: number };
  /** Undefined where nobody knows. */
  size: number | undefined;
  format: 'csv' | 'ndjson';
  isGzip: boolean;
} {
  const { format, isGzip } = formatOf(file, given);
  if (format === 'sqlite') {
    throw new SharderError(
      'settings',
      'a service cannot read a SQLite database: export it first, or use --database',
    );
  }
  const content = isStandard(file) ? process.stdin : createReadStream(file);
  return { content, size: isStandard(file) ? undefined : sizeOf(file), format, isGzip };
}

// Undefined where it is not there, or no plain file: a pipe has none.
function sizeOf(file: string): number | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  return found?.isFile() ? found.size : undefined;
}

function open(file: string, isGzip: boolean, { onFile }: SourceOptions): Readable {
  // Else the process would wait for the end of what nobody reads any more.
  if (isStandard(file)) return process.stdin.pipe(new PassThrough());
  const stream = createReadStream(file);
  const size = sizeOf(file);
  if (size !== undefined) onFile?.(size, () => stream.bytesRead);
  if (!isGzip) return stream;
  const gunzip = createGunzip();
  stream.on('error', (error) => gunzip.destroy(error));
  return stream.pipe(gunzip);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a directory',
  Z_BUF_ERROR: 'it is cut off: the end of what was compressed is missing',
  Z_DATA_ERROR: 'it is not compressed by gzip, or damaged',
};

/** What a stream of `readRaw` throws, in our words. */
export function explainSource(error: unknown, file: string): unknown {
  if (error instanceof SharderError) {
    return new SharderError(error.code, `${file}: ${error.message}`, { cause: error });
  }
  const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ''];
  if (reason === undefined) return error;
  return new SharderError('bad_request', `${file}: ${reason}`, { cause: error });
}
