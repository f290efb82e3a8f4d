// What every command does first and last.

import { readConfig, type Config, type Flags } from '../config.js';
import { openDatabase, type Database } from '../store/database.js';
import { READING, stoppable, type Stop, type StopWords } from './stop.js';

/**
 * Opens the database of the settings, whose schema must be this version's, for `work`; `isBulk` for
 * work that takes long. `words` are said if a signal ends it.
 */
export async function withDatabase<T>(
  flags: Flags,
  work: (database: Database, config: Config, stop: Stop) => Promise<T>,
  { isBulk = false, words = READING }: { isBulk?: boolean; words?: StopWords } = {},
): Promise<T> {
  const config = readConfig(flags, process.env);
  return stoppable(words, async (stop) => {
    const onOpen = (database: Database): void => {
      stop.watch(database);
    };
    const database = await openDatabase(config.database, { migrate: false, isBulk, onOpen });
    try {
      return await work(database, config, stop);
    } finally {
      await database.close();
    }
  });
}
