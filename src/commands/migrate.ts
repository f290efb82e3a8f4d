// sharder migrate: brings the schema up to date, as `serve` does when it starts.

import { readConfig, type Flags } from '../config.js';
import { openDatabase } from '../store/database.js';

export async function migrate(flags: Flags): Promise<void> {
  const database = await openDatabase(readConfig(flags, process.env).database);
  const { applied, location } = database;
  await database.close();
  const what = applied.length === 0 ? 'up to date already' : `applied ${applied.join(', ')}`;
  process.stdout.write(`${location}: ${what}\n`);
}
