// What follows for all workers of a kind from the leases of each: who has lapsed, and which place everyone
// has. All of it under the kind's lock.

import type { Knex } from 'knex';
import { recordChange, type By } from '../store/changes.js';
import type { KindRow } from '../store/kinds.js';
import {
  lockLeases,
  readLeases,
  sumLeases,
  toTime,
  writePlaces,
  type LeaseRow,
} from '../store/leases.js';
import { SHARDER } from '../store/spec-writes.js';
import { nextPlacing } from './claim.js';
import { placeSettings } from './granted.js';
import { judgeLapses, type Lapses } from './lapses.js';
import { freeObjects } from './hand-over.js';
import { givePlaces } from './places.js';

/** Why a bucket takes nothing whose worker is gone, but that holds objects. */
export const NO_WORKER = 'its worker is gone';

/** Whether `tidy` would do anything. Takes no lock. */
export async function isDue(knex: Knex, row: KindRow, now: number): Promise<boolean> {
  // The usual case, of any number of workers: one row.
  const sums = await sumLeases(knex, row.name);
  const isQuiet = !row.halted && (sums.firstEnd === null || now < sums.firstEnd);
  if (isQuiet && sums.count === row.places && sums.unplaced === 0) return false;
  const { lapsing, kept, isHalted } = judgeAll(row, await readLeases(knex, row.name), now);
  return lapsing.length > 0 || isHalted !== row.halted || isPlacingDue(row, kept, now, isHalted);
}

function judgeAll(row: KindRow, leases: readonly LeaseRow[], now: number): Lapses<LeaseRow> {
  const { graceMs } = placeSettings(row);
  const { breaker } = row.settings;
  const { lapses, halted: wasHalted, resumedAt } = row;
  return judgeLapses(leases, { graceMs, breaker, lapses, wasHalted, resumedAt }, now);
}

// Not before everyone who was given another place has said that it goes by that: the old one could be
// somebody else's by now.
function isPlacingDue(
  row: KindRow,
  kept: readonly LeaseRow[],
  now: number,
  isHalted: boolean,
): boolean {
  const isSo = kept.length === row.places && kept.every(({ place }) => place !== null);
  if (isSo || isHalted || now < nextPlacing(row, placeSettings(row))) return false;
  return !kept.some(({ isMoving, expiresAt }) => isMoving && now < expiresAt);
}

/**
 * Ends the leases of those that are silent for longer than their grace, and gives the places anew.
 * Resolves with the kind as it is then: the same object where nothing is another.
 */
export async function tidy(trx: Knex.Transaction, before: KindRow, now: number): Promise<KindRow> {
  const kind = before.name;
  const silent = (await readLeases(trx, kind)).filter(({ expiresAt }) => expiresAt <= now);
  if (silent.length > 0) {
    await lockLeases(
      trx,
      kind,
      silent.map(({ bucket }) => bucket),
    );
  }
  const judged = judgeAll(before, await readLeases(trx, kind), now);
  const { lapsing, kept, isHalted, lapses, resumedAt } = judged;
  const row = { ...before, halted: isHalted, lapses, resumedAt };
  if (isHalted !== before.halted) await setHalted(trx, kind, isHalted, resumedAt);
  if (lapses.length !== before.lapses.length || lapsing.length > 0) {
    await trx('kind')
      .where({ name: kind })
      .update({ lapses: JSON.stringify(lapses) });
  }
  for (const lease of lapsing)
    await endLease(trx, row, lease.bucket, 'lease lapse', lease, SHARDER);
  if (!isPlacingDue(row, kept, now, isHalted)) {
    const isSame =
      lapsing.length === 0 && isHalted === before.halted && lapses.length === before.lapses.length;
    return isSame ? before : row;
  }
  const places = givePlaces(kept);
  const moved = kept.filter(({ bucket, place }) => places.get(bucket) !== place);
  const given = new Map(moved.map(({ bucket }) => [bucket, places.get(bucket) ?? 0]));
  await writePlaces(trx, kind, given);
  await trx('kind')
    .where({ name: kind })
    .update({ places: kept.length, placed_at: toTime(now) });
  const detail = { count: kept.length, moved: Object.fromEntries(given) };
  await recordChange(trx, { ...SHARDER, action: 'lease place', kind, detail });
  return { ...row, places: kept.length, placedAt: now };
}

async function setHalted(
  trx: Knex.Transaction,
  kind: string,
  halted: boolean,
  resumedAt: number | null,
): Promise<void> {
  const resumed_at = resumedAt === null ? null : toTime(resumedAt);
  await trx('kind').where({ name: kind }).update({ halted, resumed_at });
  const action = halted ? 'workers halt' : 'workers go on';
  const reason = halted ? 'too many workers are silent at once' : 'enough workers are back';
  await recordChange(trx, { ...SHARDER, action, kind, reason });
}

/** Ends a lease: its objects are free, and its bucket goes if it came with it. */
export async function endLease(
  trx: Knex.Transaction,
  row: KindRow,
  bucket: string,
  action: 'lease release' | 'lease lapse',
  { epoch }: Pick<LeaseRow, 'epoch'>,
  by: By,
): Promise<void> {
  const kind = row.name;
  await trx('lease').where({ kind, bucket }).delete();
  await recordChange(trx, { ...by, action, kind, to_bucket: bucket, detail: { epoch } });
  await freeObjects(trx, row, bucket);
  // A bucket that a worker brought goes with it; or waits for another, with the users that it has.
  const gone = { kind, name: bucket, leased: true, members: 0 };
  if ((await trx('bucket').where(gone).delete()) > 0) {
    await recordChange(trx, { ...by, action: 'bucket remove', kind, from_bucket: bucket });
  }
  await trx('bucket')
    .where({ kind, name: bucket, leased: true, state: 'active' })
    .update({ state: 'cordoned', state_reason: NO_WORKER });
}
