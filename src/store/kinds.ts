// The table `kind`, and the lock that its rows are.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkKindName } from '../names.js';
import {
  columns,
  differences,
  insertBucket,
  listBuckets,
  updateBucket,
  type BucketSettings,
} from './buckets.js';
import type { By } from './changes.js';
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

/** Adds a kind, where it is not there yet. */
export async function addKind(
  trx: Knex.Transaction,
  kind: string,
  policy = 'emptiest',
  settings: object = {},
): Promise<void> {
  const row = { name: kind, policy, settings: JSON.stringify(settings) };
  await trx('kind').insert(row).onConflict('name').ignore();
}

/** Takes the kind's lock for the rest of the transaction. Throws `unknown_kind`. */
export async function lockKind(trx: Knex.Transaction, kind: string): Promise<void> {
  const changed = await trx('kind').where({ name: kind }).increment('version');
  if (changed === 0) throw unknownKind(kind);
}

/** Throws `unknown_kind` unless there is such a kind. */
export async function checkKind(knex: Knex, kind: string): Promise<void> {
  if (!(await knex('kind').where({ name: kind }).first('name'))) throw unknownKind(kind);
}

export interface Kind {
  readonly name: string;
  readonly policy: string;
  /** Grows with every transaction that changes anything of the kind. */
  readonly version: number;
  /** The names of its buckets, in order. */
  readonly buckets: readonly string[];
  /** How many objects they hold. */
  readonly objects: number;
}

/** What a kind is told by a person, but its buckets. */
export interface KindSettings {
  readonly name: string;
  readonly policy: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The settings of all kinds, or of one, by name. Throws `unknown_kind`. */
export async function listKindSettings(knex: Knex, kind?: string): Promise<KindSettings[]> {
  if (kind !== undefined) await checkKind(knex, kind);
  const rows = await knex('kind')
    .where(kind === undefined ? {} : { name: kind })
    .orderBy('name')
    .select<{ name: string; policy: string; settings: unknown }[]>('name', 'policy', 'settings');
  return rows.map(({ settings, ...row }) => ({
    ...row,
    // SQLite has JSON as text.
    settings: (typeof settings === 'string' ? JSON.parse(settings) : settings) as object,
  })) as KindSettings[];
}

/** All kinds, by name. */
export async function listKinds(knex: Knex): Promise<Kind[]> {
  const kinds = await knex('kind')
    .orderBy('name')
    .select<{ name: string; policy: string; version: number | string }[]>(
      'name',
      'policy',
      'version',
    );
  const buckets = await listBuckets(knex);
  return kinds.map(({ name, policy, version }) => {
    const own = buckets.filter(({ kind }) => kind === name);
    return {
      name,
      policy,
      version: Number(version), // PostgreSQL's driver gives a bigint as a string
      buckets: own.map((bucket) => bucket.name),
      objects: own.reduce((sum, { members }) => sum + members, 0),
    };
  });
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
      await addKind(trx, kind);
      await lockKind(trx, kind);
      for (const step of await missing(trx, kind, declaration)) await step(trx, { actor });
    });
  }
}

function checkDistinct(kind: string, { buckets }: KindDeclaration): void {
  const names = buckets.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new SharderError('bad_request', `kind ${kind}: bucket ${twice} is declared twice`);
}

type Step = (trx: Knex.Transaction, by: By) => Promise<void>;

// The steps from what is there to what is declared.
async function missing(
  knex: Knex,
  kind: string,
  { buckets }: KindDeclaration,
): Promise<readonly Step[]> {
  if (!(await knex('kind').where({ name: kind }).first('name'))) {
    return [() => Promise.resolve()]; // the insert above is the step; what follows, it reads anew
  }
  const there = new Map((await listBuckets(knex, kind)).map((row) => [row.name, row]));
  return buckets.flatMap(({ name, ...settings }): Step[] => {
    const bucket = there.get(name);
    if (!bucket) return [(trx, by) => insertBucket(trx, kind, name, settings, by)];
    const declared = columns(settings);
    if (Object.keys(differences(bucket, declared)).length === 0) return [];
    return [
      (trx, by) => updateBucket(trx, bucket, declared, 'bucket set', by).then(() => undefined),
    ];
  });
}
