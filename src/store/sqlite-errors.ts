// What SQLite's errors mean here, by their result code (sqlite.org/rescode.html).

import { SharderError } from '../errors.js';

/** The error as a SharderError when it is one of the database's troubles; itself otherwise. */
export function explainSqliteError(error: unknown): unknown {
  const code = sqliteCode(error);
  if (code === undefined) return error;
  if (isBusy(error)) {
    return new SharderError(
      'database_busy',
      'the database is busy: another program has been writing to it for seconds; try again',
      { cause: error },
    );
  }
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE') {
    return new SharderError(
      'database_full',
      'the disk that holds the database is full: make room, nothing was stored or lost',
      { cause: error },
    );
  }
  if (UNAVAILABLE.test(code)) {
    const why = WHY.find(([pattern]) => pattern.test(code))?.[1] ?? '';
    return new SharderError('database_unavailable', `the database cannot be used (${code})${why}`, {
      cause: error,
    });
  }
  return error;
}

const WHY: readonly [code: RegExp, meaning: string][] = [
  [/NOTADB/, ': the file is not a SQLite database'],
  [/CANTOPEN|READONLY|PERM/, ': this user must be able to write the file, and its directory'],
  [/CORRUPT/, ': the file is damaged, restore a backup'],
];
const UNAVAILABLE = /^SQLITE_(IOERR|CANTOPEN|READONLY|CORRUPT|NOTADB|PERM|AUTH|PROTOCOL|NOMEM)/;

/** True for an error that says: another connection is writing, try again. */
export function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(sqliteCode(error) ?? '');
}

function sqliteCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : undefined;
}
