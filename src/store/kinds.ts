// The table `kind`, and the lock that its rows are.

import { isDeepStrictEqual } from 'node:util';
import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkKindName } from '../names.js';
import { renameToNormal } from './renormalize.js';
import {
  changesOwner,
  columns,
  differences,
  insertBucket,
  listBuckets,
  readDeclared,
  updateBucket,
  type BucketSettings,
  type Differences,
} from './buckets.js';
import { recordChange, type By } from './changes.js';
import type { Database } from './database.js';
import {
  checkKindChanges,
  readKindSettings,
  SETTINGS,
  toObject,
  type KindChanges,
  type KindSettings,
} from './kind-settings.js';
import { checkPolicy, refuseMisfits, refusePolicyChange } from './policy.js';

/** A kind as the settings declare it. */
export interface KindDeclaration extends KindChanges {
  readonly policy?: string | undefined;
  readonly buckets: readonly ({ readonly name: string } & BucketSettings)[];
}

export function unknownKind(kind: string): SharderError {
  return new SharderError(
    'unknown_kind',
    `there is no kind ${JSON.stringify(kind)}: make it (\`sharder kind create\`), or declare it under \`kinds\` in sharder.yml and start the service again`,
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

/** A row of the table. */
export interface KindRow {
  readonly name: string;
  readonly policy: string;
  readonly settings: KindSettings;
  /** The column `settings`, with what else somebody has put there. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Grows with every transaction that changes anything of the kind. */
  readonly version: number;
  /** How many workers have a place, and when places were given last, in milliseconds; null: never. */
  readonly places: number;
  readonly placedAt: number | null;
  /** When workers have lapsed of late, in milliseconds; and whether so many did that nothing moves. */
  readonly lapses: readonly number[];
  readonly halted: boolean;
  /** When something might move again, in milliseconds; null: it always might. */
  readonly resumedAt: number | null;
}

interface StoredRow {
  readonly name: string;
  readonly policy: string;
  readonly settings: unknown;
  readonly version: number | string;
  readonly places: number;
  readonly placed_at: string | Date | null;
  readonly lapses: string | readonly number[];
  readonly halted: number | boolean;
  readonly resumed_at: string | Date | null;
}

const COLUMNS = [
  'name',
  'policy',
  'settings',
  'version',
  'places',
  'placed_at',
  'lapses',
  'halted',
  'resumed_at',
] as const;

function toRow({ settings, version, placed_at, resumed_at, ...row }: StoredRow): KindRow {
  const { lapses, halted } = row;
  return {
    ...row,
    settings: readKindSettings(settings),
    json: toObject(settings),
    lapses: typeof lapses === 'string' ? (JSON.parse(lapses) as number[]) : lapses,
    halted: Boolean(halted),
    placedAt: placed_at === null ? null : new Date(placed_at).getTime(),
    resumedAt: resumed_at === null ? null : new Date(resumed_at).getTime(),
    version: Number(version), // PostgreSQL's driver gives a bigint as a string
  };
}

/**
 * Takes the kind's lock for the rest of the transaction, and resolves with its row. Throws
 * `unknown_kind`.
 */
export async function lockKind(trx: Knex.Transaction, kind: string): Promise<KindRow> {
  const [row] = await trx('kind')
    .where({ name: kind })
    .increment('version')
    .returning<StoredRow[]>([...COLUMNS]);
  if (!row) throw unknownKind(kind);
  return toRow(row);
}

/** The row of a kind. Throws `unknown_kind`. */
export async function getKind(knex: Knex, kind: string): Promise<KindRow> {
  const row = await knex('kind')
    .where({ name: kind })
    .first<StoredRow | undefined>(...COLUMNS);
  if (!row) throw unknownKind(kind);
  return toRow(row);
}

/** The rows of all kinds, by name. */
export async function listKindRows(knex: Knex): Promise<KindRow[]> {
  const rows: StoredRow[] = await knex('kind')
    .orderBy('name')
    .select(...COLUMNS);
  return rows.map(toRow);
}

/** How a kind is to be. */
export interface NewKind {
  readonly policy?: string | undefined;
  readonly settings?: KindChanges | undefined;
}

/** Adds a kind without buckets. Throws `exists`, `bad_name` or `bad_request`. */
export async function createKind(
  trx: Knex.Transaction,
  kind: string,
  { policy = 'emptiest', settings = {} }: NewKind,
  by: By,
): Promise<void> {
  checkKindName(kind);
  checkPolicy(policy);
  checkKindChanges(settings);
  refuseMisfits(kind, policy, readKindSettings(settings));
  // Its row is its lock from here on.
  const made = await trx('kind')
    .insert({ name: kind, policy, settings: JSON.stringify(settings) })
    .onConflict('name')
    .ignore()
    .returning('name');
  if (made.length === 0) throw new SharderError('exists', `there is a kind ${kind} already`);
  await recordChange(trx, { ...by, action: 'kind create', kind, detail: { policy, ...settings } });
}

/** What a person says of a kind that is there. */
export interface KindUpdate extends KindChanges {
  readonly policy?: string | undefined;
}

/**
 * Sets what `changes` says, and resolves with what that changed: nothing where all was so already. A
 * new `normalize` renames the objects that would be called otherwise. Throws `unknown_kind`,
 * `bad_request`, or what `renameToNormal` and `refusePolicyChange` throw.
 */
export async function setKind(
  trx: Knex.Transaction,
  kind: string,
  { policy, ...changes }: KindUpdate,
  by: By,
): Promise<KindDifferences> {
  if (policy !== undefined) checkPolicy(policy);
  checkKindChanges(changes);
  return updateKind(trx, await lockKind(trx, kind), { policy, ...changes }, by);
}

/** What a change has set of a kind. */
export type KindDifferences = Differences<string | number | boolean | object | null>;

// Under the kind's lock.
async function updateKind(
  trx: Knex.Transaction,
  row: KindRow,
  changes: KindUpdate,
  by: By,
): Promise<KindDifferences> {
  const { name: kind, json } = row;
  const detail = kindDifferences(row, changes);
  const keys = Object.keys(detail);
  if (keys.length === 0) return detail;
  const set = Object.fromEntries(
    SETTINGS.filter((key) => key in detail).map((key) => [key, detail[key]?.to]),
  );
  const settings = JSON.stringify({ ...json, ...set });
  const policy = changes.policy ?? row.policy;
  refuseMisfits(kind, policy, readKindSettings(settings));
  if (detail.policy) await refusePolicyChange(trx, kind, policy);
  if (detail.normalize || detail.leased?.to === false) await refuseRegistered(trx, kind);
  if (detail.leased?.to === false) await refuseLeased(trx, kind);
  await trx('kind').where({ name: kind }).update({ policy, settings });
  await recordChange(trx, { ...by, action: 'kind set', kind, detail });
  if (detail.normalize && changes.normalize) {
    await renameToNormal(trx, kind, changes.normalize, by);
  }
  return detail;
}

// A value that is none is shown as it stands there.
function kindDifferences(
  { policy, settings, json }: KindRow,
  changes: KindUpdate,
): KindDifferences {
  const isOther = changes.policy !== undefined && changes.policy !== policy;
  return Object.fromEntries([
    ...(isOther ? [['policy', { from: policy, to: changes.policy }] as const] : []),
    ...SETTINGS.flatMap((key) => {
      const to = changes[key];
      const isOdd = key in json && !isDeepStrictEqual(json[key], settings[key]);
      const from = isOdd ? JSON.stringify(json[key]) : settings[key];
      return to === undefined || isDeepStrictEqual(to, from) ? [] : [[key, { from, to }] as const];
    }),
  ]) as KindDifferences;
}

/** Removes a kind that has no buckets, and no registered objects. Throws `unknown_kind` or `not_empty`. */
export async function removeKind(trx: Knex.Transaction, kind: string, by: By): Promise<void> {
  await lockKind(trx, kind);
  const [first, ...others] = await listBuckets(trx, kind);
  if (first) {
    const buckets = `bucket ${first.name}${others.length > 0 ? ` and ${others.length} more` : ''}`;
    throw new SharderError(
      'not_empty',
      `kind ${kind} has ${buckets}: remove what it has first (\`sharder bucket remove ${first.name} --kind ${kind}\`)`,
    );
  }
  await refuseRegistered(trx, kind);
  await trx('plan').where({ kind }).delete(); // their moves go with the next plan that is made
  await recordChange(trx, { ...by, action: 'kind remove', kind }); // while it has a version
  await trx('kind').where({ name: kind }).delete();
}

async function refuseLeased(trx: Knex.Transaction, kind: string): Promise<void> {
  const [bucket] = await trx('lease').where({ kind }).limit(1).pluck<string[]>('bucket');
  if (bucket === undefined) return;
  throw new SharderError(
    'not_empty',
    `kind ${kind} has workers, such as ${bucket}: stop them first, or say that they are gone (\`sharder lease release ${bucket} --kind ${kind}\`)`,
  );
}

// Objects that wait for a worker are in no bucket.
async function refuseRegistered(trx: Knex.Transaction, kind: string): Promise<void> {
  const [row] = await trx('spec')
    .where({ kind })
    .count<{ count: number | string }[]>({ count: '*' });
  const count = Number(row?.count);
  if (count === 0) return;
  throw new SharderError(
    'not_empty',
    `kind ${kind} has ${count} registered ${count === 1 ? 'object' : 'objects'}: remove ${count === 1 ? 'it' : 'them'} first`,
  );
}

/** Throws `unknown_kind` unless there is such a kind. */
export async function checkKind(knex: Knex, kind: string): Promise<void> {
  if (!(await knex('kind').where({ name: kind }).first('name'))) throw unknownKind(kind);
}

export interface Kind extends KindSettings {
  readonly name: string;
  readonly policy: string;
  /** Grows with every transaction that changes anything of the kind. */
  readonly version: number;
  /** The names of its buckets, in order. */
  readonly buckets: readonly string[];
  /** How many objects they hold. */
  readonly objects: number;
}

/** What a kind was told, but its buckets. */
export type StoredKind = Pick<KindRow, 'name' | 'policy'> & { readonly settings: KindRow['json'] };

/** The settings of all kinds, or of one, by name. Throws `unknown_kind`. */
export async function listKindSettings(knex: Knex, kind?: string): Promise<StoredKind[]> {
  const rows = kind === undefined ? await listKindRows(knex) : [await getKind(knex, kind)];
  return rows.map(({ name, policy, json }) => ({ name, policy, settings: json }));
}

/** All kinds, by name. */
export async function listKinds(knex: Knex): Promise<Kind[]> {
  const kinds = await listKindRows(knex);
  const buckets = await listBuckets(knex);
  return kinds.map(({ name, policy, settings, version }) => {
    const own = buckets.filter(({ kind }) => kind === name);
    return {
      name,
      policy,
      ...settings,
      version,
      buckets: own.map((bucket) => bucket.name),
      objects: own.reduce((sum, { members }) => sum + members, 0),
    };
  });
}

/**
 * Adds the kinds and buckets that are not there yet, and sets what a declaration says of those that
 * are. What it leaves out stays as it is, and nothing is removed. Writes only where there is
 * something to write. Throws `bad_name`, `bad_request`, or what `setKind` throws, and then has changed
 * nothing of that kind.
 */
export async function declareKinds(
  database: Database,
  kinds: Readonly<Record<string, KindDeclaration>>,
  actor: string,
): Promise<void> {
  for (const [kind, declaration] of Object.entries(kinds)) {
    checkKindName(kind);
    checkDistinct(kind, declaration);
    const { policy, ...settings } = settingsOf(declaration);
    if (policy !== undefined) checkPolicy(policy);
    checkKindChanges(settings);
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

function settingsOf(declaration: KindDeclaration): KindUpdate {
  return Object.fromEntries(
    (['policy', ...SETTINGS] as const).map((key) => [key, declaration[key]]),
  );
}

type Step = (trx: Knex.Transaction, by: By) => Promise<void>;

// The steps from what is there to what is declared.
async function missing(
  knex: Knex,
  kind: string,
  declaration: KindDeclaration,
): Promise<readonly Step[]> {
  const row = (await listKindRows(knex)).find(({ name }) => name === kind);
  // The insert above is the step; what follows, it reads anew.
  if (!row) return [() => Promise.resolve()];
  const settings = settingsOf(declaration);
  const isSo = Object.keys(kindDifferences(row, settings)).length === 0;
  const set: Step = async (trx, by) => void (await updateKind(trx, row, settings, by));
  const there = new Map((await listBuckets(knex, kind)).map((row) => [row.name, row]));
  const owned = await readDeclared(knex, kind);
  const steps = declaration.buckets.flatMap(({ name, ...settings }): Step[] => {
    const bucket = there.get(name);
    if (!bucket) return [(trx, by) => insertBucket(trx, kind, name, settings, by)];
    const declared = columns(settings);
    const isSame = Object.keys(differences(bucket, declared)).length === 0;
    if (isSame && !changesOwner(owned.get(name) ?? [], declared)) return [];
    return [
      (trx, by) => updateBucket(trx, bucket, declared, 'bucket set', by).then(() => undefined),
    ];
  });
  return isSo ? steps : [set, ...steps];
}
