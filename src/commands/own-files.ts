// The database's own files, to which no command may write.

import { closeSync, openSync, readSync, realpathSync, statSync, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SharderError } from '../errors.js';

/**
 * Throws `settings` where `file` is the SQLite database of `databaseUrl` or one of the files beside it, under
 * whatever name: another path, a link. `drafts` are files that are written on the way to it.
 */
export function refuseOwnFiles(databaseUrl: string, file: string, drafts: readonly string[]): void {
  if (!databaseUrl.startsWith('sqlite:')) return;
  const given = resolve(databaseUrl.slice('sqlite:'.length));
  const own = [given, real(given)].flatMap((path) =>
    ['', '-wal', '-shm', '-journal'].map((suffix) => path + suffix),
  );
  for (const each of [file, ...drafts]) {
    if (!own.some((path) => isSame(path, each))) continue;
    throw new SharderError(
      'settings',
      `${each} is the database itself, or one of its files: nothing was written; name another file`,
    );
  }
}

/** Throws `settings` where a SQLite database or its log is there: text must not take its place. */
export function refuseDatabase(file: string): void {
  if (!statOf(file)?.isFile()) return;
  const head = Buffer.alloc(16);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, head);
  } finally {
    closeSync(handle);
  }
  const isLog = [0x377f_0682, 0x377f_0683].includes(head.readUInt32BE());
  if (!isLog && head.toString('latin1') !== 'SQLite format 3\0') return;
  throw new SharderError('settings', `${file} is a SQLite database: nothing was written`);
}

function isSame(path: string, other: string): boolean {
  const [one, two] = [statOf(path), statOf(other)];
  if (one && two) return one.dev === two.dev && one.ino === two.ino;
  return real(path) === real(other);
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

// Also of a file that is not there yet.
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const directory = dirname(resolve(path));
    return directory === resolve(path) ? directory : join(real(directory), basename(path));
  }
}
