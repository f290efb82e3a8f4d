// Where a key is by the hash of its kind, asked of the database: for commands, which keep nothing in memory.

import type { Knex } from 'knex';
import { Answers, type Answer } from './assign/answer.js';
import { HashKind } from './assign/hash-kind.js';
import { SharderError } from './errors.js';
import { normalizeName } from './normalize.js';
import { noBucket } from './sharder.js';
import { readHashTable } from './store/hash-table.js';
import { checkNewName } from './store/kind-settings.js';
import { getKind } from './store/kinds.js';
import { findRow } from './store/objects.js';

/**
 * The answer for a key as the service gives it, or, `isWithoutRow`, as it would if no row won over the
 * hash; undefined where the kind has another policy. Throws `bad_name`, or `no_room` where no bucket takes
 * keys.
 */
export async function findByHash(
  knex: Knex,
  kind: string,
  name: string,
  { isWithoutRow = false } = {},
): Promise<Answer | undefined> {
  const table = await readHashTable(knex, kind);
  if (!table) return undefined;
  const key = normalizeName(name, table.settings.normalize);
  const row = isWithoutRow ? undefined : await findRow(knex, await getKind(knex, kind), key);
  const answers = new Answers();
  const url = table.buckets.find((bucket) => bucket.name === row?.bucket)?.url ?? null;
  if (row) return answers.of(kind, { bucket: row.bucket, url }).pinned;
  if (!isWithoutRow) checkNewName(key, table.settings);
  const answer = new HashKind(kind, table, answers).byHash(key);
  if (!answer) throw noBucket(kind);
  return answer;
}

/** The error for a key of which no row is stored, where a row was asked for. */
export function notStored(name: string, { bucket }: Answer): SharderError {
  const { kind } = bucket;
  return new SharderError(
    'unknown_object',
    `nothing is stored of ${JSON.stringify(name)} of kind ${kind}: by the hash it is in bucket ${bucket.name}; to have it elsewhere, pin it (\`sharder object pin NAME BUCKET --kind ${kind}\`)`,
  );
}
