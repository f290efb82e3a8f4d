// sharder migrate: brings the schema up to date, as `serve` does when it starts.

import { readConfig, type Flags } from '../config.js';
import { openDatabase } from '../store/database.js';
import { stoppable, type StopWords } from './stop.js';

const WORDS: StopWords = {
  before: 'the schema is as it was; the same command brings it up to date',
  unsure: 'the schema may be up to date, or as it was; the same command tells',
  done: 'but the schema is up to date',
};

export async function migrate(flags: Flags): Promise<void> {
  const { database: url } = readConfig(flags, process.env);
  const database = await stoppable(WORDS, (stop) =>
    openDatabase(url, {
      onOpen: (database) => {
        stop.watch(database);
      },
    }),
  );
  const { applied, location } = database;
  await database.close();
  const what = applied.length === 0 ? 'up to date already' : `applied ${applied.join(', ')}`;
  process.stdout.write(`${location}: ${what}\n`);
}
