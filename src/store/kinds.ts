// The table `kind`, and the lock that its rows are.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkKindName } from '../names.js';
import { columns, insertBucket, type Bucket, type BucketSettings } from './buckets.js';
import { recordChange } from './changes.js';
import type { Database } from './database.js';

/** A kind as the settings declare it. */
export interface KindDeclaration {
  readonly buckets: readonly ({ readonly name: string } & BucketSettings)[];
}

export function unknownKind(kind: string): SharderError {
  return new SharderError(
    'unknown_kind',
    `there is no kind ${JSON.stringify(kind)}: declare it under \`kinds\` in sharder.yml and start the service again`,
  );
}

/** Takes the kind's lock for the rest of the transaction. Throws `unknown_kind`. */
export async function lockKind(trx: Knex.Transaction, kind: string): Promise<void> {
  const changed = await trx('kind').where({ name: kind }).increment('version');
  if (changed === 0) throw unknownKind(kind);
}

/** The names of all kinds, each with those of its buckets, in order. */
export async function listKinds(database: Database): Promise<Map<string, string[]>> {
  const rows = await database.read((knex) =>
    knex('kind')
      .leftJoin('bucket', 'bucket.kind', 'kind.name')
      .orderBy(['kind.name', 'bucket.name'])
      .select({ kind: 'kind.name', bucket: 'bucket.name' }),
  );
  const kinds = new Map<string, string[]>();
  for (const { kind, bucket } of rows as { kind: string; bucket: string | null }[]) {
    const buckets = kinds.get(kind) ?? [];
    if (bucket !== null) buckets.push(bucket);
    kinds.set(kind, buckets);
  }
  return kinds;
}

/**
 * Adds the kinds and buckets that are not there yet, and sets what a declaration says of those that
 * are. What it leaves out stays as it is, and nothing is removed. Writes only where there is
 * something to write. Throws `bad_name` or `bad_request`, and then has changed nothing of that kind.
 */
export async function declareKinds(
  database: Database,
  kinds: Readonly<Record<string, KindDeclaration>>,
  actor: string,
): Promise<void> {
  for (const [kind, declaration] of Object.entries(kinds)) {
    checkKindName(kind);
    checkDistinct(kind, declaration);
    if ((await database.read((knex) => missing(knex, kind, declaration))).length === 0) continue;
    await database.write(async (trx) => {
      await trx('kind').insert({ name: kind }).onConflict('name').ignore();
      await lockKind(trx, kind);
      for (const step of await missing(trx, kind, declaration)) await step(trx, actor);
    });
  }
}

function checkDistinct(kind: string, { buckets }: KindDeclaration): void {
  const names = buckets.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new SharderError('bad_request', `kind ${kind}: bucket ${twice} is declared twice`);
}

type Step = (trx: Knex.Transaction, actor: string) => Promise<void>;

// The steps from what is there to what is declared.
async function missing(
  knex: Knex,
  kind: string,
  { buckets }: KindDeclaration,
): Promise<readonly Step[]> {
  const steps: Step[] = [];
  if (!(await knex('kind').where({ name: kind }).first('name'))) {
    steps.push(() => Promise.resolve()); // the insert above is the step
  }
  const there = new Map(
    (await knex('bucket').where({ kind }).select<Bucket[]>('*')).map((row) => [row.name, row]),
  );
  for (const { name, ...settings } of buckets) {
    const bucket = there.get(name);
    if (!bucket) {
      steps.push((trx, actor) => insertBucket(trx, kind, name, settings, actor));
      continue;
    }
    const declared = columns(settings);
    const isSet = Object.entries(declared).every(
      ([column, value]) => bucket[column as keyof Bucket] === value,
    );
    if (isSet) continue;
    steps.push(async (trx, actor) => {
      await trx('bucket').where({ kind, name }).update(declared);
      await recordChange(trx, { actor, action: 'bucket set', kind, to_bucket: name });
    });
  }
  return steps;
}
