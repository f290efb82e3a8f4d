// sharder adopt: takes over a database of the Python sharder, in place.

import { readConfig } from '../config.js';
import { SharderError } from '../errors.js';
import { connect, type Database } from '../store/database.js';
import { adoptLegacy, surveyLegacy, type Adoption } from '../store/legacy.js';
import { refuseForeign, schemaState } from '../store/migrate.js';
import { actor, didOf, type ChangeOptions } from './change.js';
import { stoppable, type StopWords } from './stop.js';
import { table } from './table.js';

// How many of the rows that are left out people are shown.
const SHOWN = 20;

export async function adopt(url: string | undefined, options: ChangeOptions): Promise<void> {
  const { dryRun: isDry = false, json = false, reason } = options;
  const config = readConfig({ ...options, database: url ?? options.database }, process.env);
  await stoppable(WORDS, async (stop) => {
    const database = connect(config.database, false);
    stop.watch(database);
    try {
      const adoption = (await isLegacy(database))
        ? await adoptDatabase(database, isDry, reason)
        : undefined;
      process.stdout.write(
        json ? asJson(adoption, isDry) : asText(adoption, isDry, database.location),
      );
    } finally {
      await database.close();
    }
  });
}

const WORDS: StopWords = {
  before: 'nothing was changed; the same command does it',
  unsure: 'it may have been adopted, or not; the same command does it, or says that it was',
  done: 'but it was adopted',
};

// False where it was adopted before, or has been ours from the start.
async function isLegacy(database: Database): Promise<boolean> {
  const { engineName } = database;
  const state = await database.read((knex) => schemaState(knex, engineName));
  if (state.isLegacy) return true;
  refuseForeign(state);
  if (state.applied > 0) return false;
  throw new SharderError(
    'schema',
    `${database.location} has no table \`shard\`: there is nothing to adopt`,
  );
}

async function adoptDatabase(
  database: Database,
  isDry: boolean,
  reason: string | undefined,
): Promise<Adoption | undefined> {
  const { engineName } = database;
  if (isDry) return database.rehearse((trx) => surveyLegacy(trx, engineName));
  try {
    return await database.write((trx) => adoptLegacy(trx, engineName, { actor: actor(), reason }));
  } catch (error) {
    if (!(error instanceof SharderError) || error.code !== 'database_busy') throw error;
    throw new SharderError(
      'database_busy',
      'another program uses the database: stop the Python sharder, then type this again',
      { cause: error },
    );
  }
}

function asJson(adoption: Adoption | undefined, isDry: boolean): string {
  const { buckets = [], leftOut = [] } = adoption ?? {};
  const data = {
    action: 'adopt',
    changed: adoption !== undefined,
    dry_run: isDry,
    buckets: buckets.map(({ kind, name, objects, hasDummy }) => ({
      kind,
      name,
      objects,
      has_dummy: hasDummy,
    })),
    left_out: leftOut,
  };
  return `${JSON.stringify(data, null, 2)}\n`;
}

function asText(adoption: Adoption | undefined, isDry: boolean, location: string): string {
  if (!adoption) return `${location} is Sharder's already: nothing was changed\n`;
  const { buckets, leftOut } = adoption;
  const objects = buckets.reduce((sum, bucket) => sum + bucket.objects, 0);
  const did = didOf(isDry)('adopt');
  const lines = [
    `${did} ${location}: ${count(objects, 'object')} in ${count(buckets.length, 'bucket')}\n`,
    table(
      ['KIND', 'BUCKET', 'OBJECTS', 'DUMMY ROW'],
      buckets.map((bucket) => [
        bucket.kind,
        bucket.name,
        bucket.objects,
        bucket.hasDummy ? 'yes' : 'none',
      ]),
    ),
  ];
  if (leftOut.length > 0) {
    lines.push(
      `left out${isDry ? '' : ', and kept in the table `change`'}: ${count(leftOut.length, 'row')}\n`,
      table(
        ['ID', 'KIND', 'BUCKET', 'NAME', 'WHY'],
        leftOut
          .slice(0, SHOWN)
          .map(({ id, kind, bucket, name, why }) => [id, kind, bucket, name, why]),
      ),
    );
    if (leftOut.length > SHOWN) lines.push(`and ${leftOut.length - SHOWN} more: --json has all\n`);
  }
  return lines.join('');
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
