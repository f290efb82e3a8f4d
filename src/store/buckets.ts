// The table `bucket`.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkBucketName, DEFAULT_KIND } from '../names.js';
import { recordChange, type By } from './changes.js';
import { checkKind, lockKind } from './kinds.js';
import { readClock } from './leases.js';
import { fromJson } from './rows.js';
import { hasSpecs } from './specs.js';

/** What a person says of a bucket. What is left out stays as it is, or takes its default. */
export interface BucketSettings {
  /** Where the bucket is reached, http or https; stored without a slash at its end. Null: none. */
  readonly url?: string | null | undefined;
  /** 1 to 1,000,000; default 1. */
  readonly weight?: number | undefined;
  /** How many objects it may hold; null, the default: no limit. */
  readonly capacity?: number | null | undefined;
}

export type BucketState = 'active' | 'cordoned' | 'draining';

export interface Bucket {
  readonly kind: string;
  readonly name: string;
  readonly url: string | null;
  readonly weight: number;
  readonly capacity: number | null;
  readonly state: BucketState;
  readonly state_reason: string | null;
  readonly members: number;
}

/** What a change has set: each setting with what it was and what it is. */
export type Differences<V = Value> = Readonly<Record<string, { readonly from: V; readonly to: V }>>;

type Value = string | number | null;

const COLUMNS = [
  'kind',
  'name',
  'url',
  'weight',
  'capacity',
  'state',
  'state_reason',
  'members',
] as const;

/** All buckets, of one kind or of every kind, by kind and name. Throws `unknown_kind`. */
export async function listBuckets(knex: Knex, kind?: string): Promise<Bucket[]> {
  if (kind !== undefined) await checkKind(knex, kind);
  return knex('bucket')
    .where(kind === undefined ? {} : { kind })
    .orderBy(['kind', 'name'])
    .select(...COLUMNS);
}

/** Whether new objects may go to it. */
export function isOpen({ state, capacity, members }: Bucket): boolean {
  return state === 'active' && (capacity === null || members < capacity);
}

/** A bucket of a kind. Throws `unknown_bucket`, and names those that there are. */
export async function getBucket(knex: Knex, kind: string, name: string): Promise<Bucket> {
  const bucket = await knex('bucket')
    .where({ kind, name })
    .first<Bucket | undefined>(...COLUMNS);
  if (bucket) return bucket;
  const names = await knex('bucket')
    .where({ kind })
    .orderBy('name')
    .limit(SHOWN + 1)
    .pluck<string[]>('name');
  throw unknownBucket(kind, name, names);
}

const SHOWN = 10;

/** The error for a bucket that is none of `names`, which are those of the kind in order. */
export function unknownBucket(kind: string, name: string, names: readonly string[]): SharderError {
  const there = names.length > SHOWN ? [...names.slice(0, SHOWN), '…'] : names;
  return new SharderError(
    'unknown_bucket',
    `kind ${kind} has no bucket ${JSON.stringify(name)}: it has ${there.join(', ') || 'none'}`,
  );
}

/** Adds a bucket. Throws `unknown_kind`, `exists`, `bad_name` or `bad_request`. */
export async function addBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  settings: BucketSettings,
  by: By,
): Promise<void> {
  await lockKind(trx, kind);
  if (await trx('bucket').where({ kind, name }).first('name')) {
    throw new SharderError('exists', `kind ${kind} has a bucket ${name} already`);
  }
  await insertBucket(trx, kind, name, settings, by);
}

/** Who sets a bucket's settings. A lease cannot change what a person has set. */
export type Setter = 'person' | 'lease';

/** Inserts a bucket and its line of history, under the kind's lock. */
export async function insertBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  settings: BucketSettings,
  by: By,
  setter: Setter = 'person',
): Promise<void> {
  checkBucketName(name);
  const set = columns(settings);
  const isLease = setter === 'lease';
  const declared = JSON.stringify(isLease ? [] : declaredBy(set, ['weight']));
  await trx('bucket').insert({ kind, name, ...set, leased: isLease, declared });
  const detail = isLease && Object.keys(set).length > 0 ? { detail: set } : {};
  await recordChange(trx, { ...by, action: 'bucket add', kind, to_bucket: name, ...detail });
}

const OWNED = ['capacity', 'url', 'weight'] as const;
type Owned = (typeof OWNED)[number];

// A URL or capacity that is none is left to the worker. A weight is never none: whoever makes the bucket
// sets it.
function declaredBy(set: Partial<Bucket>, before: readonly Owned[] = []): Owned[] {
  return OWNED.filter((key) => (set[key] === undefined ? before.includes(key) : set[key] !== null));
}

/** The settings of each bucket of a kind, or of one bucket, that a person has set. */
export async function readDeclared(
  knex: Knex,
  kind: string,
  name?: string,
): Promise<Map<string, readonly Owned[]>> {
  const rows = await knex('bucket')
    .where({ kind, ...(name !== undefined && { name }) })
    .select<{ name: string; declared: unknown }[]>('name', 'declared');
  return new Map(rows.map((row) => [row.name, fromJson(knex, row.declared) as Owned[]]));
}

/** Whether other settings belong to a person once a person has set these. */
export function changesOwner(declared: readonly Owned[], set: Partial<Bucket>): boolean {
  return declaredBy(set, declared).join() !== declared.join();
}

/**
 * Sets what `settings` says, and resolves with what that changed: nothing where all was so already.
 * Throws `unknown_kind`, `unknown_bucket` or `bad_request`.
 */
export async function setBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  settings: BucketSettings,
  by: By,
): Promise<Differences> {
  await lockKind(trx, kind);
  return updateBucket(trx, await getBucket(trx, kind, name), columns(settings), 'bucket set', by);
}

/**
 * Lets new objects go to the bucket (`active`) or past it (`cordoned`); those that it has, it keeps. Of a
 * kind with the policy `hash` it may be `draining`: its keys go to the others, but for those with a row.
 * The reason stands beside the state. Resolves and throws as `setBucket`; `bad_request` for a kind of
 * another policy, whose objects a plan drains.
 */
export async function setBucketState(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  state: BucketState,
  by: By,
): Promise<Differences> {
  const { policy } = await lockKind(trx, kind);
  const bucket = await getBucket(trx, kind, name);
  if (state === 'draining' && policy !== 'hash') {
    throw new SharderError(
      'bad_request',
      `kind ${kind} has the policy ${policy}, which remembers where objects are: a plan moves them (\`sharder plan drain ${name}${ofKind(kind)}\`)`,
    );
  }
  const action = `bucket ${VERBS[state]}`;
  const kept = bucket.state === state ? bucket.state_reason : null; // whoever gives none changes none
  const state_reason = state === 'active' ? null : (by.reason ?? kept);
  return updateBucket(trx, bucket, { state, state_reason }, action, by);
}

const VERBS = { active: 'uncordon', cordoned: 'cordon', draining: 'drain' } as const;

/**
 * Removes an empty bucket. Throws `unknown_kind`, `unknown_bucket`, `not_empty` with the count, or
 * `lease_held` while a worker has it.
 */
export async function removeBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  by: By,
): Promise<void> {
  const { policy } = await lockKind(trx, kind);
  const { members } = await getBucket(trx, kind, name);
  if (members > 0 && policy === 'hash') {
    const what = members === 1 ? 'key is' : 'keys are';
    throw new SharderError(
      'not_empty',
      `${members} ${what} pinned to bucket ${name} of kind ${kind}: move or unpin them first (\`sharder object list --bucket ${name}${ofKind(kind)}\`)`,
    );
  }
  if (members > 0) {
    const drain = `${(await isWorkers(trx, kind, name)) ? 'lease' : 'plan'} drain`;
    throw new SharderError(
      'not_empty',
      `bucket ${name} of kind ${kind} holds ${members} ${members === 1 ? 'object' : 'objects'}: empty it first (\`sharder ${drain} ${name}${ofKind(kind)}\`)`,
    );
  }
  await endLapsed(trx, kind, name);
  await trx('bucket').where({ kind, name }).delete();
  await recordChange(trx, { ...by, action: 'bucket remove', kind, from_bucket: name });
}

// Whether a worker has it, and no plan empties it.
async function isWorkers(knex: Knex, kind: string, bucket: string): Promise<boolean> {
  const lease = await knex('lease').where({ kind, bucket }).first<object | undefined>('holder');
  return lease !== undefined && (await hasSpecs(knex, kind));
}

// Of a lease that has ended there is a row until its grace is over. Throws `lease_held` for one that runs.
async function endLapsed(trx: Knex.Transaction, kind: string, bucket: string): Promise<void> {
  const lease = await trx('lease')
    .where({ kind, bucket })
    .forUpdate() // a renewal that is being written comes first
    .first<LeaseRow | undefined>('epoch', 'expires_at');
  if (!lease) return;
  const { epoch, expires_at } = lease;
  const until = new Date(expires_at);
  if ((await readClock(trx)) < until.getTime()) {
    throw new SharderError(
      'lease_held',
      `bucket ${bucket} of kind ${kind} is leased until ${until.toISOString()}: stop its worker, or say that it is gone (\`sharder lease release ${bucket}${ofKind(kind)}\`)`,
    );
  }
  await trx('lease').where({ kind, bucket }).delete();
  const detail = { epoch: Number(epoch) };
  const lapse = { actor: 'sharder', action: 'lease lapse', kind, to_bucket: bucket, detail };
  await recordChange(trx, lapse);
}

interface LeaseRow {
  readonly epoch: number | string;
  readonly expires_at: string | Date;
}

// As a command line has it.
function ofKind(kind: string): string {
  return kind === DEFAULT_KIND ? '' : ` --kind ${kind}`;
}

/**
 * Writes what differs, with a line of history; under the kind's lock. What a person sets belongs to the
 * person from then on, and the bucket stays when its worker goes. Throws `declared` where a lease would
 * change what a person has set.
 */
export async function updateBucket(
  trx: Knex.Transaction,
  bucket: Bucket,
  settings: Partial<Bucket>,
  action: string,
  by: By,
  setter: Setter = 'person',
): Promise<Differences> {
  const { kind, name } = bucket;
  const detail: Record<string, Differences[string]> = { ...differences(bucket, settings) };
  const before = (await readDeclared(trx, kind, name)).get(name) ?? [];
  if (setter === 'lease') refuseDeclared(bucket, before, detail);
  const isTaken = setter === 'person' && changesOwner(before, settings);
  const isSame = Object.keys(detail).length === 0;
  if (isSame && !isTaken) return detail;
  const declared = declaredBy(settings, before);
  if (isSame) detail.declared = { from: before.join() || null, to: declared.join() || null };
  await trx('bucket')
    .where({ kind, name })
    .update({
      ...settings,
      ...(isTaken && { leased: false, declared: JSON.stringify(declared) }),
    });
  await recordChange(trx, { ...by, action, kind, to_bucket: name, detail });
  return detail;
}

function refuseDeclared(
  { kind, name }: Bucket,
  declared: readonly Owned[],
  detail: Differences,
): void {
  const key = declared.find((each) => each in detail);
  if (key === undefined) return;
  const { from, to = null } = detail[key] ?? {};
  const option = to === null ? `--no-${key}` : `--${key} ${to}`;
  throw new SharderError(
    'declared',
    `a person has set the ${key} of bucket ${name} to ${from}, and a lease cannot change it: leave ${key} out of the claim, or set it for the bucket (\`sharder bucket set ${name} ${option}${ofKind(kind)}\`)`,
  );
}

/** What `settings` would change. */
export function differences(bucket: Bucket, settings: Partial<Bucket>): Differences {
  return Object.fromEntries(
    Object.entries(settings)
      .map(([key, to]) => [key, { from: bucket[key as keyof Bucket], to: to }] as const)
      .filter(([, { from, to }]) => from !== to),
  );
}

/** The columns that `settings` sets, checked. Throws `bad_request`. */
export function columns({ url, weight, capacity }: BucketSettings): Partial<Bucket> {
  if (weight !== undefined) checkWhole('weight', weight, 1, 1_000_000);
  if (capacity != null) checkWhole('capacity', capacity, 0, 1_000_000_000);
  return {
    ...(url !== undefined && { url: url === null ? null : checkUrl(url) }),
    ...(weight !== undefined && { weight }),
    ...(capacity !== undefined && { capacity }),
  };
}

function checkWhole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new SharderError(
      'bad_request',
      `${what} is ${value}; it must be a whole number from ${min} to ${max}`,
    );
  }
}

// A name or an address, and nothing that a proxy's configuration would take for more.
const HOST = /^([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\])$/;

// nginx does not take much longer words.
const MAX_URL_LENGTH = 1_024;

/** A bucket's URL as it is stored. Throws `bad_request` for what no redirect should lead to. */
export function checkUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (
    !parsed ||
    !['http:', 'https:'].includes(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.password !== '' ||
    !HOST.test(parsed.hostname) ||
    parsed.hostname === 'unix' || // to nginx, a file
    parsed.port === '0' ||
    parsed.href.length > MAX_URL_LENGTH ||
    /[?#]/.test(parsed.href)
  ) {
    throw new SharderError(
      'bad_request',
      `${JSON.stringify(url)} is not a URL for a bucket: http:// or https://, a host, perhaps a port and a path, no password, query or fragment, at most ${MAX_URL_LENGTH} characters`,
    );
  }
  return parsed.href.replace(/\/+$/, '');
}
