// Which buckets give how many objects, and which take them. Pure functions; no clock, no database.

import { pickEmptiest } from '../assign/emptiest.js';
import type { Bucket } from '../store/buckets.js';
import type { Candidate } from '../store/engine.js';
import { pickFullest, type Giver } from './fullest.js';
import { evenShares, roundDown, roundUp } from './shares.js';

/** What a plan is to reach. */
export type Goal =
  /** No bucket holds more than `threshold` percent above its even share. */
  | { readonly goal: 'rebalance'; readonly threshold: number }
  /** These hold nothing. */
  | { readonly goal: 'drain'; readonly buckets: readonly string[] }
  /** These hold their even share at least. */
  | { readonly goal: 'spread'; readonly buckets: readonly string[] };

/** A bucket, and how many of its objects no plan moves. */
export interface PlanBucket extends Pick<
  Bucket,
  'name' | 'weight' | 'capacity' | 'state' | 'members'
> {
  readonly pinned: number;
}

/** How a goal is reached, as far as it can be. */
export interface Draft {
  /** How many objects move, each of them once. */
  readonly count: number;
  readonly givers: readonly Giver[];
  /** `capacity` is what the goal lets them hold. */
  readonly takers: readonly Candidate[];
  /** How many moves are missing because objects are pinned, or because no bucket has room. */
  readonly pinned: number;
  readonly without_room: number;
}

/**
 * The fewest moves that reach the goal, or come as near to it as pins, capacities and states allow.
 * Only an active bucket takes objects, and only within its capacity. A cordoned one may give some; a
 * draining one is left alone, but where the goal is to drain it. No bucket both gives and takes, so
 * that no object moves twice.
 */
export function draft(goal: Goal, buckets: readonly PlanBucket[]): Draft {
  switch (goal.goal) {
    case 'rebalance':
      return rebalance(goal.threshold, buckets);
    case 'drain':
      return drain(goal.buckets, buckets);
    case 'spread':
      return spread(goal.buckets, buckets);
  }
}

/**
 * How many objects each bucket may hold before it is over-full, in their order: `threshold` percent
 * above its even share, and never more than its capacity.
 */
export function limits(
  threshold: number,
  buckets: readonly Omit<PlanBucket, 'pinned'>[],
): number[] {
  const mosts = buckets.map(mostOf);
  return shares(buckets).map((share, i) =>
    Math.min(mosts[i] ?? 0, roundUp(share * (1 + threshold / 100))),
  );
}

// The even share of each, in their order. A draining one has what it has, and the others share the rest.
function shares(buckets: readonly Omit<PlanBucket, 'pinned'>[]): number[] {
  const sharing = buckets.filter(({ state }) => state !== 'draining');
  const total = sharing.reduce((sum, { members }) => sum + members, 0);
  const even = evenShares(
    sharing.map((bucket) => ({ weight: bucket.weight, most: mostOf(bucket) })),
    total,
  );
  const shareOf = new Map(sharing.map(({ name }, i) => [name, even[i]]));
  return buckets.map(({ name, members }) => shareOf.get(name) ?? members);
}

// Whoever takes none cannot come to hold more.
function mostOf({ state, capacity, members }: Omit<PlanBucket, 'pinned'>): number {
  return state === 'active' ? (capacity ?? Infinity) : members;
}

function rebalance(threshold: number, buckets: readonly PlanBucket[]): Draft {
  const most = limits(threshold, buckets);
  const limited = buckets.map((bucket, i) => ({ ...bucket, limit: most[i] ?? 0 }));
  const givers = limited.map((bucket) => ({ ...bucket, least: bucket.limit }));
  const takers = limited.map((bucket) => ({ ...bucket, capacity: bucket.limit }));
  return match(givers, takers.filter(isActive));
}

function drain(names: readonly string[], buckets: readonly PlanBucket[]): Draft {
  const isDrained = ({ name }: PlanBucket) => names.includes(name);
  const givers = buckets.filter(isDrained).map((bucket) => ({ ...bucket, least: 0 }));
  return match(
    givers,
    buckets.filter((bucket) => isActive(bucket) && !isDrained(bucket)),
  );
}

function spread(names: readonly string[], buckets: readonly PlanBucket[]): Draft {
  const even = shares(buckets).map(roundDown);
  const shared = buckets.map((bucket, i) => ({ ...bucket, share: even[i] ?? 0 }));
  const takers = shared
    .filter((bucket) => isActive(bucket) && names.includes(bucket.name))
    .map((bucket) => ({ ...bucket, capacity: bucket.share }));
  const givers = shared.map((bucket) => ({ ...bucket, least: bucket.share }));
  const wanted = sum(takers.map(roomOf));
  const { count, ...rest } = match(givers, takers);
  return { count, ...rest, pinned: wanted - count, without_room: 0 };
}

function isActive({ state }: PlanBucket): boolean {
  return state === 'active';
}

// As many moves as are both wanted and possible.
function match(
  givers: readonly (Giver & { readonly pinned: number })[],
  takers: readonly Candidate[],
): Draft {
  const free = givers.map((giver) => ({ ...giver, least: Math.max(giver.least, giver.pinned) }));
  const wanted = sum(givers.map(excessOf));
  const given = sum(free.map(excessOf));
  const count = Math.min(given, sum(takers.map(roomOf)));
  return { count, givers: free, takers, pinned: wanted - given, without_room: given - count };
}

function excessOf({ members, least }: Giver): number {
  return Math.max(0, members - least);
}

function roomOf({ members, capacity }: Candidate): number {
  return Math.max(0, (capacity ?? Infinity) - members);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}

/** One object's way. */
export interface Way {
  readonly from: string;
  readonly to: string;
}

/**
 * The ways of a draft in their order, in chunks of so many: from the fullest bucket that gives to the
 * emptiest that takes, each as if the ones before had been gone. So, wherever it is stopped, what was
 * done is even, and the objects of a bucket are spread over the whole time.
 */
export function* waysOf({ count, givers, takers }: Draft, chunk: number): Generator<Way[]> {
  let giving = givers;
  let taking = takers;
  for (let left = count; left > 0; left -= chunk) {
    const from = pickFullest(giving, Math.min(chunk, left));
    const to = pickEmptiest(taking, from.length);
    yield from.map((name, i) => ({ from: name, to: to[i] ?? '' }));
    giving = counted(giving, from, -1);
    taking = counted(taking, to, 1);
  }
}

function counted<T extends { readonly name: string; readonly members: number }>(
  buckets: readonly T[],
  names: readonly string[],
  each: number,
): T[] {
  const times = new Map<string, number>();
  for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
  return buckets.map((bucket) => ({
    ...bucket,
    members: bucket.members + each * (times.get(bucket.name) ?? 0),
  }));
}
