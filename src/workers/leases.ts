// Workers take leases, renew them and give them back.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { columns, insertBucket, type BucketSettings } from '../store/buckets.js';
import { recordChange, type By } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { lockKind, type KindRow } from '../store/kinds.js';
import {
  insertLease,
  lockLeases,
  readClock,
  readLease,
  findCalled,
  renewLease,
  toTime,
  type LeaseRow,
  type Said,
} from '../store/leases.js';
import { tellAllAnew } from '../store/spec-writes.js';
import { judge, lost, type Claim } from './claim.js';
import { readGranted, type Granted } from './granted.js';
import { placeWaiting } from './objects.js';
import { freeMisplaced } from './hand-over.js';
import { renewAlone, type Renew, type Renewal } from './renewals.js';
import { endLease, NO_WORKER, tidy } from './tidy.js';

/** What a worker asks for, and what it says of itself and its bucket. */
export type LeaseClaim = Claim & Said & BucketSettings;

/**
 * Takes or renews the lease of a bucket for so many seconds; see `judge`. A new one makes the bucket, if
 * it is not there. Throws `unknown_kind`, `bad_name`, `bad_request` where the kind is not leased,
 * `lease_held` or `lease_lost`.
 */
export async function claimLease(
  database: Database,
  kind: string,
  bucket: string,
  claim: LeaseClaim,
  renew: Renew = (...renewal) => renewAlone(database, ...renewal),
): Promise<Granted> {
  const renewed = isRenewal(claim) ? await renew(kind, { ...claim, bucket }) : undefined;
  if (renewed && !renewed.isDue) return renewed.granted;
  const rest = database.write(async (trx) => {
    const row = await lockKind(trx, kind);
    if (!row.settings.leased) throw notLeased(kind);
    const now = await readClock(trx);
    await lockLeases(trx, kind, [bucket]);
    const held = await readLease(trx, kind, bucket);
    const how = judge(claim, held, now);
    await setBucket(trx, kind, bucket, claim, asWorker(claim));
    if (claim.calls) await refuseSharedUrl(trx, kind, bucket, claim.url, now);
    if (how === 'take') await take(trx, row, bucket, claim, held, now);
    else await renewLease(trx, kind, bucket, { ...claim, epoch: held?.epoch ?? 0 }, claim, now);
    // A new lease says nothing of a group unless it does.
    const group = how === 'take' ? (claim.group ?? null) : claim.group;
    if (group !== undefined && held && held.group !== group) {
      await freeMisplaced(trx, row, bucket, group);
    }
    const tidied = await tidy(trx, row, now);
    await placeWaiting(trx, row, now);
    const granted = await readGranted(trx, tidied, [bucket], now, how === 'take');
    return granted.get(bucket) ?? unwritten();
  }, kind);
  // It is renewed, whatever becomes of what is due beside.
  return renewed ? rest.catch(() => renewed.granted) : rest;
}

function unwritten(): never {
  throw new Error('a lease that was just written is gone');
}

// What else it says is for the kind's lock.
function isRenewal(claim: LeaseClaim): claim is LeaseClaim & Pick<Renewal, 'epoch'> {
  const { epoch, url, weight, capacity, group } = claim;
  return epoch !== undefined && [url, weight, capacity, group].every((each) => each === undefined);
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
  now: number,
): Promise<void> {
  const { holder } = claim;
  // A claim that comes late is no proof that its holder goes by no place.
  const isMoving = held !== undefined && now < held.expiresAt && held.isMoving;
  await insertLease(trx, kind, bucket, { holder, epoch: version, isMoving }, claim, now);
  const detail = { holder, epoch: version };
  await recordChange(trx, {
    ...asWorker(claim),
    ...{ action: 'lease take', kind, to_bucket: bucket, detail },
  });
  await trx('bucket')
    .where({ kind, name: bucket, state_reason: NO_WORKER })
    .update({ state: 'active', state_reason: null });
  await tellAllAnew(trx, kind, bucket, version);
}

// Who is called there would be told what is another's: a worker that was killed, and has come again on the same
// port under another name, must wait for the end of its old lease.
async function refuseSharedUrl(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  url: string | null | undefined,
  now: number,
): Promise<void> {
  if (url == null) return;
  const other = await findCalled(trx, kind, bucket, url, now);
  if (!other) return;
  throw new SharderError(
    'lease_held',
    `bucket ${other.bucket} is leased until ${toTime(other.expiresAt)} to a worker that is called at ${url} too: wait, or release it if it is gone (\`sharder lease release ${other.bucket} --kind ${kind}\`)`,
  );
}

// Told from people and tokens in the history, whatever it calls itself.
function asWorker({ holder }: Pick<LeaseClaim, 'holder'>): By {
  return { actor: `worker:${holder}` };
}

async function setBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  { url, weight, capacity }: BucketSettings,
  by: By,
): Promise<void> {
  const set = columns({ url, weight, capacity });
  if (await trx('bucket').where({ kind, name }).first('name')) {
    if (Object.keys(set).length > 0) await trx('bucket').where({ kind, name }).update(set);
    return;
  }
  await insertBucket(trx, kind, name, { url, weight, capacity }, by);
  await trx('bucket').where({ kind, name }).update({ leased: true });
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
  by: By = asWorker({ holder }),
): Promise<void> {
  const row = await lockKind(trx, kind);
  const now = await readClock(trx);
  const held = await readLease(trx, kind, bucket);
  if (held?.holder !== holder || held.epoch !== epoch) throw lost(epoch, held, now);
  await endLease(trx, row, bucket, 'lease release', held, by);
  await tidy(trx, row, now);
  await placeWaiting(trx, row, now);
}
