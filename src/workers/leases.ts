// Workers take leases, renew them and give them back.

import type { Knex } from 'knex';
import { randomBytes } from 'node:crypto';
import { SharderError } from '../errors.js';
import {
  columns,
  getBucket,
  insertBucket,
  updateBucket,
  type BucketSettings,
} from '../store/buckets.js';
import { recordChange, type By } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { lockKind, type KindRow } from '../store/kinds.js';
import {
  insertLease,
  lockLeases,
  readClock,
  readLease,
  readStanding,
  findCalled,
  renewLease,
  toTime,
  type LeaseRow,
  type Said,
} from '../store/leases.js';
import { tellAllAnew } from '../store/spec-writes.js';
import { judge, lost, type Claim } from './claim.js';
import { readGranted, type Granted } from './granted.js';
import { CallTargets } from './call-target.js';
import { placeWaiting } from './objects.js';
import { freeMisplaced } from './hand-over.js';
import { renewAlone, type Renew, type Renewal } from './renewals.js';
import { endLease, NO_WORKER, tidy } from './tidy.js';

/** What a worker asks for, and what it says of itself and its bucket. */
export type LeaseClaim = Claim & Said & BucketSettings;

export interface ClaimOptions {
  /** Whom the history names. Default: the worker, by its bucket. */
  readonly by?: By | undefined;
  /** Where workers may be called. Default: nowhere. */
  readonly targets?: CallTargets | undefined;
  readonly renew?: Renew | undefined;
}

const NO_TARGETS = new CallTargets();

/**
 * Takes or renews the lease of a bucket for so many seconds; see `judge`. A new one makes the bucket, if
 * it is not there. Throws `unknown_kind`, `bad_name`, `bad_request` where the kind is not leased or the
 * worker cannot be called, `declared` where it would change what a person has set, `lease_held` or
 * `lease_lost`.
 */
export async function claimLease(
  database: Database,
  kind: string,
  bucket: string,
  said: LeaseClaim,
  {
    by = asWorker(bucket),
    targets = NO_TARGETS,
    renew = (...renewal) => renewAlone(database, ...renewal),
  }: ClaimOptions = {},
): Promise<Granted> {
  if (said.calls && said.epoch === undefined) targets.check(null);
  const claim = await withoutRepeats(database, kind, bucket, said);
  const renewed = isRenewal(claim) ? await renew(kind, { ...claim, bucket }) : undefined;
  if (renewed && !renewed.isDue) return renewed.granted;
  const rest = database.write(async (trx) => {
    const row = await lockKind(trx, kind);
    if (!row.settings.leased) throw notLeased(kind);
    const now = await readClock(trx);
    await lockLeases(trx, kind, [bucket]);
    const held = await readLease(trx, kind, bucket);
    const how = judge(claim, held, now);
    await setBucket(trx, kind, bucket, claim, by);
    const before = how === 'take' ? undefined : held;
    // What a running worker repeats is checked when it is called.
    const isNewTarget = !before?.calls || claim.url !== undefined;
    if ((claim.calls ?? before?.calls) && isNewTarget) {
      await refuseUncallable(trx, kind, bucket, targets, now);
    }
    if (claim.calls && before && !before.calls) throw lateCalls();
    const secret = claim.calls ? randomBytes(32).toString('hex') : null;
    if (how === 'take') await take(trx, row, bucket, claim, held, { secret, by, now });
    else await renewLease(trx, kind, bucket, { ...claim, epoch: held?.epoch ?? 0 }, claim, now);
    // A new lease says nothing of a group unless it does.
    const group = how === 'take' ? (claim.group ?? null) : claim.group;
    if (group !== undefined && held && held.group !== group) {
      await freeMisplaced(trx, row, bucket, group);
    }
    const tidied = await tidy(trx, row, now);
    await placeWaiting(trx, row, now);
    const granted = await readGranted(trx, tidied, [bucket], now, how === 'take');
    const mine = granted.get(bucket) ?? unwritten();
    return how === 'take' && secret !== null ? { ...mine, secret } : mine;
  }, kind);
  // It is renewed, whatever becomes of what is due beside.
  return renewed ? rest.catch(() => renewed.granted) : rest;
}

function unwritten(): never {
  throw new Error('a lease that was just written is gone');
}

// What else it says is for the kind's lock.
function isRenewal(claim: LeaseClaim): claim is LeaseClaim & Pick<Renewal, 'epoch'> {
  const { epoch, calls, ...said } = claim;
  return epoch !== undefined && calls !== true && REPEATED.every((key) => said[key] === undefined);
}

const REPEATED = ['url', 'weight', 'capacity', 'group'] as const;

// A renewal may say each time what it said before. What has not changed needs neither the kind's lock nor
// a line of the history.
async function withoutRepeats(
  database: Database,
  kind: string,
  bucket: string,
  claim: LeaseClaim,
): Promise<LeaseClaim> {
  if (claim.epoch === undefined || isRenewal(claim)) return claim;
  const said = { ...claim, ...columns(claim) };
  const standing = await database.read((knex) => readStanding(knex, kind, bucket));
  const isSo = [...REPEATED, 'calls' as const].every(
    (key) => said[key] === undefined || said[key] === standing?.[key],
  );
  if (!isSo) return claim;
  const none = { url: undefined, weight: undefined, capacity: undefined, group: undefined };
  return { ...claim, ...none, calls: undefined };
}

function lateCalls(): SharderError {
  return new SharderError(
    'bad_request',
    'calls: a worker that was not called until now must take a new lease: send the claim without an epoch',
  );
}

/** The error for what is done to workers, and asked of another kind. */
export function notLeased(kind: string): SharderError {
  return new SharderError(
    'bad_request',
    `the buckets of kind ${kind} are no workers: \`sharder kind set ${kind} --leased\` makes them so`,
  );
}

// Whoever had it before has stopped: its objects are this one's, which has yet to be told.
async function take(
  trx: Knex.Transaction,
  { name: kind, version }: KindRow,
  bucket: string,
  claim: LeaseClaim,
  held: LeaseRow | undefined,
  { secret, by, now }: { readonly secret: string | null; readonly by: By; readonly now: number },
): Promise<void> {
  const { holder } = claim;
  // A claim that comes late is no proof that its holder goes by no place.
  const isMoving = held !== undefined && now < held.expiresAt && held.isMoving;
  const lease = { holder, epoch: version, isMoving, secret };
  await insertLease(trx, kind, bucket, lease, claim, now);
  // Without the holder: who knows that can renew the lease.
  const detail = { epoch: version };
  await recordChange(trx, { ...by, action: 'lease take', kind, to_bucket: bucket, detail });
  await trx('bucket')
    .where({ kind, name: bucket, state_reason: NO_WORKER })
    .update({ state: 'active', state_reason: null });
  await tellAllAnew(trx, kind, bucket, version);
}

// Who is called there would be told what is another's: a worker that was killed, and has come again on the same
// port under another name, must wait for the end of its old lease.
async function refuseUncallable(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  targets: CallTargets,
  now: number,
): Promise<void> {
  const { url } = await getBucket(trx, kind, bucket);
  targets.check(url);
  if (url === null) return;
  const other = await findCalled(trx, kind, bucket, url, now);
  if (!other) return;
  throw new SharderError(
    'lease_held',
    `bucket ${other.bucket} is leased until ${toTime(other.expiresAt)} to a worker that is called at ${url} too: wait, or release it if it is gone (\`sharder lease release ${other.bucket} --kind ${kind}\`)`,
  );
}

// Told from people and tokens in the history, whatever it calls itself.
function asWorker(bucket: string): By {
  return { actor: `worker:${bucket}` };
}

async function setBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  { url, weight, capacity }: BucketSettings,
  by: By,
): Promise<void> {
  const settings = { url, weight, capacity };
  if (await trx('bucket').where({ kind, name }).first('name')) {
    const bucket = await getBucket(trx, kind, name);
    await updateBucket(trx, bucket, columns(settings), 'bucket set', by, 'lease');
  } else await insertBucket(trx, kind, name, settings, by, 'lease');
}

/**
 * Gives a lease back, for its holder has stopped, or so somebody says: its place is free at once, and others
 * get its objects.
 * Throws `unknown_kind`, or `lease_lost` where the holder has not that lease any more.
 */
export async function releaseLease(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  { holder, epoch }: { readonly holder: string; readonly epoch: number },
  by: By = asWorker(bucket),
): Promise<void> {
  const row = await lockKind(trx, kind);
  const now = await readClock(trx);
  const held = await readLease(trx, kind, bucket);
  if (held?.holder !== holder || held.epoch !== epoch) throw lost(epoch, held, now);
  await endLease(trx, row, bucket, 'lease release', held, by);
  await tidy(trx, row, now);
  await placeWaiting(trx, row, now);
}
