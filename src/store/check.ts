// Holds the tables against what the schema promises. It reads, statement by statement, and each sees
// one moment: a service that runs meanwhile makes nothing look wrong, and is not held up.

import { recordChange, type By } from './changes.js';
import type { Database } from './database.js';
import { lockKind } from './kinds.js';
import {
  avoidIndexes,
  checkBuckets,
  checkFile,
  checkKinds,
  checkMembers,
  checkOnce,
  checkOrphans,
  checkRows,
  checkTriggers,
  findWrongMembers,
  noteCapacities,
  withoutIndexes,
  type Fault,
} from './rules.js';
import { checkLeased, checkSpecs } from './worker-rules.js';

export interface Findings {
  readonly faults: readonly Fault[];
  /** What is no fault, but worth knowing. */
  readonly notes: readonly string[];
  readonly kinds: number;
  readonly buckets: number;
  readonly objects: number;
}

/** Checks everything. Needs a database that was opened for bulk. `onRows` is told how many objects were read. */
export async function checkDatabase(
  database: Database,
  onRows: (count: number) => void = () => undefined,
): Promise<Findings> {
  const { engineName } = database;
  const faults = [
    ...(engineName === 'sqlite' ? await database.read(checkFile) : []),
    ...(await database.read((knex) => checkTriggers(knex, engineName))),
    ...(await database.read(checkKinds)),
    ...(await database.read(checkBuckets)),
    ...(await database.read(checkLeased)),
    ...(await database.read(checkSpecs)),
    ...(await withoutIndexes(database, checkOrphans)),
    ...(await withoutIndexes(database, checkOnce)),
    ...(await withoutIndexes(database, checkMembers)),
  ];
  const rows = await checkRows(database, onRows);
  const [kinds, buckets] = await Promise.all(
    ['kind', 'bucket'].map((table) =>
      database.read(async (knex) => Number((await knex(table).count({ n: '*' }))[0]?.n)),
    ),
  );
  return {
    faults: [...faults, ...rows.faults],
    notes: await database.read(noteCapacities),
    kinds: kinds ?? 0,
    buckets: buckets ?? 0,
    objects: rows.count,
  };
}

/** Sets the counts of all buckets right, with a line of history for each that was wrong. */
export async function fixMembers(database: Database, by: By): Promise<void> {
  for (const kind of await database.read((knex) => knex('kind').pluck<string[]>('name'))) {
    await database.write(async (trx) => {
      await lockKind(trx, kind);
      // Somebody in psql does not take the kind's lock.
      if (database.engineName === 'postgres') {
        await trx.raw('lock table shard in share row exclusive mode');
      }
      const hint = await avoidIndexes(trx, database.engineName);
      for (const { bucket, members, n, ...of } of await findWrongMembers(trx, hint)) {
        if (of.kind !== kind) continue;
        await trx('bucket').where({ kind, name: bucket }).update({ members: n });
        const detail = { members: { from: members, to: Number(n) } };
        await recordChange(trx, { ...by, action: 'check fix', kind, to_bucket: bucket, detail });
      }
    });
  }
}
