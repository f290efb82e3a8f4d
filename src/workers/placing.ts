// Which worker gets which object, and which have to give some away. Pure functions; no clock, no database.

import { evenShares, roundDown, roundUp } from '../rebalance/shares.js';

/** A worker whose lease runs. */
export interface Worker {
  readonly bucket: string;
  readonly weight: number;
  /** Of weights of objects; null: no limit. */
  readonly capacity: number | null;
  readonly group: string | null;
  /** As of its bucket: an active one takes objects, a draining one is to hold none. */
  readonly state: 'active' | 'cordoned' | 'draining';
  /** The weights of its objects together, when all are handed over that are on their way. */
  readonly held: number;
  /** The weights of those that it has yet, and will not have then. */
  readonly leaving: number;
  /** How much it has to do, as it says. */
  readonly load: number | null;
}

/** What an object asks for. */
export interface Wish {
  readonly name: string;
  readonly weight: number;
  /** Only workers of this group will do; null: any. */
  readonly group: string | null;
  /** The worker that it wants before all others. */
  readonly pin: string | null;
  /** While that one is not there it waits, or takes any. */
  readonly pinRule: 'hold' | 'any';
}

/** An object that goes from one worker to another. */
export interface HandOver {
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/** A worker, and how full it gets. */
interface Bin extends Worker {
  held: number;
  /** What evenness goes by: the load where all workers say theirs, and else what it holds. */
  measure: number;
}

function toBins(workers: readonly Worker[]): Bin[] {
  const isByLoad = goesByLoad(workers);
  return workers.map((each) => ({
    ...each,
    measure: isByLoad ? (each.load ?? 0) : each.held,
  }));
}

/** Whether evenness goes by what workers say of their load: it does if all do that take objects. */
export function goesByLoad(workers: readonly Worker[]): boolean {
  const open = workers.filter(({ state }) => state === 'active');
  return open.length > 0 && open.every(({ load }) => load !== null);
}

function hasRoom({ state, capacity, held, leaving }: Bin, weight: number): boolean {
  return state === 'active' && (capacity === null || held + leaving + weight <= capacity);
}

// The emptiest, with the object in it; ties go by name.
function emptiest(bins: readonly Bin[], full: (bin: Bin) => number): Bin | undefined {
  let best: Bin | undefined;
  let least = Infinity;
  for (const bin of bins) {
    const level = full(bin);
    if (level > least || (level === least && best && best.bucket < bin.bucket)) continue;
    [best, least] = [bin, level];
  }
  return best;
}

function allowed(bins: readonly Bin[], { weight, group, pin, pinRule }: Wish): readonly Bin[] {
  const home = pin === null ? undefined : bins.find(({ bucket }) => bucket === pin);
  if (home && hasRoom(home, weight)) return [home];
  if (pin !== null && pinRule === 'hold') return [];
  return bins.filter((bin) => (group === null || bin.group === group) && hasRoom(bin, weight));
}

/**
 * The worker of each object that has none, by its name: the emptiest that will do, one after the other.
 * Those that are missing have to wait.
 */
export function place(workers: readonly Worker[], wishes: readonly Wish[]): Map<string, string> {
  const bins = toBins(workers);
  const placed = new Map<string, string>();
  for (const wish of wishes) {
    const bin = emptiest(allowed(bins, wish), (each) => (each.held + wish.weight) / each.weight);
    if (!bin) continue;
    bin.held += wish.weight;
    placed.set(wish.name, bin.bucket);
  }
  return placed;
}

/** Between what a worker is to hold; `share` is what it held if all were even. */
interface Limits {
  readonly low: number;
  readonly share: number;
  readonly high: number;
}

// `threshold` percent below and above the even share, of all or of its group's if that is more, for a group's
// objects can go nowhere else.
function limitsOf(bins: readonly Bin[], threshold: number): Map<Bin, Limits> {
  const isByLoad = goesByLoad(bins);
  const open = bins.filter(({ state }) => state === 'active');
  const limits = new Map<Bin, Limits>();
  for (const group of [undefined, ...new Set(open.map((bin) => bin.group))]) {
    const those = group === undefined ? open : open.filter((bin) => bin.group === group);
    const total = those.reduce((sum, { measure }) => sum + measure, 0);
    const most = ({ capacity }: Bin): number => (isByLoad ? Infinity : (capacity ?? Infinity));
    const shares = evenShares(
      those.map((bin) => ({ weight: bin.weight, most: most(bin) })),
      total,
    );
    those.forEach((bin, i) => {
      const share = shares[i] ?? 0;
      const [below, above] = [-threshold, threshold].map((t) => share * (1 + t / 100));
      const before = limits.get(bin);
      const high = isByLoad ? above : Math.max(roundUp(share), roundDown(above ?? 0));
      limits.set(bin, {
        low: before?.low ?? (isByLoad ? below : roundDown(below ?? 0)) ?? 0,
        share: Math.max(share, before?.share ?? 0),
        high: Math.max(Math.min(high ?? 0, most(bin)), before?.high ?? 0),
      });
    });
  }
  return limits;
}

/**
 * How much each worker may have to give away, in weights of objects: all that a draining one holds, and of
 * the others what is above their limit; or above their even share, where another has too little. Where
 * evenness goes by load, an object has as much of its worker's as its weight says.
 */
export function surplus(workers: readonly Worker[], threshold: number): Map<string, number> {
  const bins = toBins(workers);
  const limits = limitsOf(bins, threshold);
  const missing = bins.reduce((sum, bin) => sum + lack(bin, limits), 0);
  const excess = new Map<string, number>();
  for (const bin of bins) {
    const { bucket, state, held, measure } = bin;
    const { share, high } = limits.get(bin) ?? { share: Infinity, high: Infinity };
    const above = Math.max(measure - high, Math.min(measure - share, missing));
    if (held > 0 && state === 'draining') excess.set(bucket, held);
    else if (held > 0 && above > 0) excess.set(bucket, Math.ceil((above / measure) * held));
  }
  return excess;
}

/** How much a worker has too little. */
function lack(bin: Bin, limits: ReadonlyMap<Bin, Limits>): number {
  return Math.max(0, (limits.get(bin)?.low ?? 0) - bin.measure);
}

/**
 * The hand-overs that make the workers even: those that draining workers must give, then of the most
 * over-full first, and then what those lack that have too little, from the fullest. `movable` are the
 * objects of each worker that may move now, in their order. An object moves only where that makes its
 * worker and the new one more even, and no worker over-full; so whoever has given something takes nothing.
 */
export function handOver(
  workers: readonly Worker[],
  movable: ReadonlyMap<string, readonly Wish[]>,
  threshold: number,
): HandOver[] {
  const bins = toBins(workers);
  const limits = limitsOf(bins, threshold);
  const left = new Map([...movable].map(([bucket, wishes]) => [bucket, [...wishes].reverse()]));
  const handed: HandOver[] = [];
  for (;;) {
    const giver = nextGiver(bins, limits, left);
    const wish = giver && left.get(giver.bucket)?.pop();
    if (!giver || !wish) break;
    const part = giver.held > 0 ? (giver.measure / giver.held) * wish.weight : 0;
    const { high } = limits.get(giver) ?? { high: Infinity };
    const isForced = giver.state === 'draining';
    const isOver = giver.measure > high;
    const mayTake = (bin: Bin): boolean =>
      bin.measure + part <= (limits.get(bin)?.high ?? 0) &&
      (bin.measure + part) / bin.weight < giver.measure / giver.weight &&
      (isOver || lack(bin, limits) > 0);
    const takers = allowed(bins, wish).filter((bin) => bin !== giver && (isForced || mayTake(bin)));
    const taker = emptiest(takers, (bin) => (bin.measure + part) / bin.weight);
    if (!taker) continue;
    giver.measure -= part;
    giver.held -= wish.weight;
    taker.measure += part;
    taker.held += wish.weight;
    handed.push({ name: wish.name, from: giver.bucket, to: taker.bucket });
  }
  return handed;
}

// One that drains; or the most over-full; or, while anybody lacks something, the fullest that has more than
// its share.
function nextGiver(
  bins: readonly Bin[],
  limits: ReadonlyMap<Bin, Limits>,
  left: ReadonlyMap<string, readonly Wish[]>,
): Bin | undefined {
  const giving = bins.filter(({ bucket }) => (left.get(bucket)?.length ?? 0) > 0);
  const draining = giving.find(({ state }) => state === 'draining');
  if (draining) return draining;
  const above = (limit: 'share' | 'high'): Bin | undefined =>
    fullest(giving, (bin) => (bin.measure - (limits.get(bin)?.[limit] ?? Infinity)) / bin.weight);
  const over = above('high');
  if (over) return over;
  return bins.some((bin) => lack(bin, limits) > 0) ? above('share') : undefined;
}

// The first of those that have most above zero.
function fullest(bins: readonly Bin[], level: (bin: Bin) => number): Bin | undefined {
  let first: Bin | undefined;
  let most = 0;
  for (const bin of bins) {
    const height = level(bin);
    if (height > most) [first, most] = [bin, height];
  }
  return first;
}
