// What every command does first and last.

import { readConfig, type Config, type Flags } from '../config.js';
import { openDatabase, type Database } from '../store/database.js';

/**
 * Opens the database of the settings, whose schema must be this version's, for `work`; `isBulk` for
 * work that takes long.
 */
export async function withDatabase<T>(
  flags: Flags,
  work: (database: Database, config: Config) => Promise<T>,
  { isBulk = false } = {},
): Promise<T> {
  const config = readConfig(flags, process.env);
  const database = await openDatabase(config.database, { migrate: false, isBulk });
  try {
    return await work(database, config);
  } finally {
    await database.close();
  }
}
