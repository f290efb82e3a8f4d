// A file that is there whole or not at all: written beside its name, on disk before it is given it.

import { lstatSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SharderError } from '../errors.js';
import { PRIVATE_FILE } from '../store/private-files.js';

/**
 * Calls `write` with the name of a draft, which is there and empty; gives it the name `file` when that has
 * resolved. Only this user can read the draft and a new file. A file that is replaced keeps its mode. Throws
 * `exists` for a file that is there, unless it may be overwritten.
 */
export async function writeWhole<T>(
  file: string,
  mayOverwrite: boolean,
  write: (draft: string) => Promise<T>,
): Promise<T> {
  const there = lstatSync(file, { throwIfNoEntry: false });
  if (there && !there.isFile()) {
    throw new SharderError('exists', `${file} is there, and is no plain file: name another`);
  }
  if (there && !mayOverwrite) {
    throw new SharderError(
      'exists',
      `${file} is there already: name another, or overwrite it (--overwrite)`,
    );
  }
  const draft = draftOf(file);
  try {
    const handle = await openDraft(draft, PRIVATE_FILE);
    let result: T;
    try {
      result = await write(draft);
      if (there) await handle.chmod(there.mode & 0o777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
    await sync(dirname(file));
    return result;
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw explain(error, file);
  }
}

/** The name under which a file is written. */
export function draftOf(file: string): string {
  return `${file}.part`;
}

/** Makes a new file, in the place of one that was left behind. Follows no link. */
export async function openDraft(draft: string, mode?: number): Promise<FileHandle> {
  await rm(draft, { force: true });
  return open(draft, 'wx', mode);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such directory',
  ENOTDIR: 'there is no such directory',
  EACCES: 'this user may not write there',
  EEXIST: 'somebody else has just made its draft, which ends in .part',
  EROFS: 'nothing can be written there',
  ENOSPC: 'the disk is full',
};

function explain(error: unknown, file: string): unknown {
  const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ''];
  if (reason === undefined) return error;
  return new SharderError('bad_request', `${file} cannot be written: ${reason}`, { cause: error });
}
