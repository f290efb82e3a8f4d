// Objects that follow their workers are placed, and kept even; under the kind's lock.

import type { Knex } from 'knex';
import { listBuckets } from '../store/buckets.js';
import type { KindRow } from '../store/kinds.js';
import { lockLeases, readLeases } from '../store/leases.js';
import { writeDropping, writePlaced } from '../store/spec-writes.js';
import {
  isAnyWaiting,
  readLoads,
  readMovable,
  readStrays,
  readWaitingSpecs,
  type Movable,
  type Takers,
} from '../store/specs.js';
import { goesByLoad, handOver, place, surplus, type Worker } from './placing.js';

/** How many objects are placed in one transaction. */
export const PLACED_AT_ONCE = 1_000;

/** The workers whose leases run; how many objects each is to stop; and whether all have reported their load since. */
export async function readWorkers(
  trx: Knex.Transaction,
  kind: string,
  now: number,
): Promise<{ workers: Worker[]; moving: ReadonlyMap<string, number>; isNews: boolean }> {
  const buckets = new Map((await listBuckets(trx, kind)).map((each) => [each.name, each]));
  const { extra, leaving, coming, moving } = await readLoads(trx, kind);
  const running = (await readLeases(trx, kind)).filter(({ expiresAt }) => now < expiresAt);
  const workers = running.flatMap(({ bucket: name, group, load }): Worker[] => {
    const bucket = buckets.get(name);
    if (!bucket) return [];
    const { weight, capacity, state, members } = bucket;
    const gone = leaving.get(name) ?? 0;
    const held = members + (extra.get(name) ?? 0) - gone + (coming.get(name) ?? 0);
    return [{ bucket: name, weight, capacity, group, state, held, leaving: gone, load }];
  });
  const isNews = running.every(
    (lease) => lease.isNews || buckets.get(lease.bucket)?.state !== 'active',
  );
  return { workers, moving, isNews };
}

const toWish = ({ name, weight, group, pin, pinRule }: Movable) => {
  return { name, weight, group, pin, pinRule };
};

// Those that have room for one object at least; but for one, where it is what is to be given.
function takersOf(workers: readonly Worker[], giver?: string): Takers {
  const open = workers.filter(
    ({ bucket, state, capacity, held, leaving }) =>
      state === 'active' && bucket !== giver && (capacity === null || held + leaving < capacity),
  );
  return {
    buckets: open.map(({ bucket }) => bucket),
    groups: [...new Set(open.flatMap(({ group }) => (group === null ? [] : [group])))],
  };
}

/** Gives objects that wait to the workers that will do. Resolves with how many found one. */
export async function placeWaiting(
  trx: Knex.Transaction,
  row: KindRow,
  now: number,
): Promise<number> {
  const { name: kind } = row;
  if (!(await isAnyWaiting(trx, kind))) return 0;
  const { workers } = await readWorkers(trx, kind, now);
  const takers = takersOf(workers);
  if (takers.buckets.length === 0) return 0;
  const waiting = await readWaitingSpecs(trx, kind, takers, PLACED_AT_ONCE);
  const placed = place(workers, waiting.map(toWish));
  await writePlaced(
    trx,
    row,
    [...placed].map(([name, to]) => ({ name, to })),
  );
  return placed.size;
}

/**
 * Tells workers to stop objects that others are to have: those that are pinned elsewhere, those of workers
 * that drain, and those of over-full ones; of each worker as many as may be on their way at a time, so that
 * one that stops nothing holds up no other. Resolves with how many.
 */
export async function balance(trx: Knex.Transaction, row: KindRow, now: number): Promise<number> {
  const { name: kind, settings } = row;
  if (row.halted) return 0;
  const { workers, moving, isNews } = await readWorkers(trx, kind, now);
  const room = new Map<string, number>();
  for (const { bucket } of workers) {
    const left = settings.max_moving - (moving.get(bucket) ?? 0);
    if (left > 0) room.set(bucket, left);
  }
  if (room.size === 0) return 0;
  const ends = { pins: takersOf(workers).buckets, owners: [...room.keys()] };
  const strays = within(room, await readStrays(trx, kind, ends, PLACED_AT_ONCE));
  const home = place(workers, strays.map(toWish));
  const returned = strays.flatMap(({ name, bucket: from, pin }) =>
    from !== null && home.get(name) === pin ? [{ name, from, to: pin }] : [],
  );
  await writeDropping(trx, row, returned, null);
  if (returned.length > 0) return returned.length;

  const isByLoad = goesByLoad(workers);
  const giving = surplus(workers, settings.threshold);
  const movable = new Map<string, Movable[]>();
  for (const { bucket, state } of workers) {
    const limit = Math.min(giving.get(bucket) ?? 0, room.get(bucket) ?? 0);
    if (limit === 0 || (isByLoad && !isNews && state !== 'draining')) continue;
    const movedBefore = state === 'draining' ? null : now - settings.cooldown * 1_000;
    const takers = takersOf(workers, bucket);
    if (takers.buckets.length === 0) continue;
    movable.set(bucket, await readMovable(trx, kind, bucket, takers, movedBefore, limit));
  }
  const handed = handOver(
    workers,
    new Map([...movable].map(([bucket, objects]) => [bucket, objects.map(toWish)])),
    settings.threshold,
  );
  const draining = new Set(
    workers.filter((each) => each.state === 'draining').map((w) => w.bucket),
  );
  const forced = handed.filter(({ from }) => draining.has(from));
  const even = handed.filter(({ from }) => !draining.has(from));
  await writeDropping(trx, row, forced, null);
  await writeDropping(trx, row, even, now);
  if (isByLoad && even.length > 0) {
    // What they say next has to tell of these moves first.
    await lockLeases(trx, kind);
    await trx('lease').where({ kind }).update({ is_news: false });
  }
  return handed.length;
}

// Of each worker no more than it may give.
function within(room: ReadonlyMap<string, number>, objects: readonly Movable[]): Movable[] {
  const left = new Map(room);
  return objects.filter(({ bucket }) => {
    const more = left.get(bucket ?? '') ?? 0;
    left.set(bucket ?? '', more - 1);
    return more > 0;
  });
}
