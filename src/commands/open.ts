// What every command does first and last.

import { userInfo } from 'node:os';
import { readConfig, type Flags } from '../config.js';
import { openDatabase, type Database } from '../store/database.js';

/** Opens the database of the settings, whose schema must be this version's, for `work`. */
export async function withDatabase<T>(
  flags: Flags,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const database = await openDatabase(readConfig(flags, process.env).database, { migrate: false });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** Who the history says did it: the person at the command line. */
export function actor(): string {
  return `cli:${process.env.SUDO_USER ?? userInfo().username}`;
}
