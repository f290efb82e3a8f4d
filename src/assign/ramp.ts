// The policy `emptiest` with a ramp: a bucket that lags behind the others, a new one say, does not get
// every new object until it has caught up, but a limited share of them. A pure function.

import type { Candidate } from '../store/engine.js';
import { isEmptier, type Slot } from './emptiest.js';

/**
 * As `pickEmptiest`, but for buckets that lag: those which the emptiest pick would have filled before
 * the fullest one came to hold what it holds. These get at most `ramp` times their fair share of new
 * objects, weight / weights of all with room, while there is any other to put them in.
 *
 * Nothing needs to be remembered for that: how many objects the buckets with room hold, is the time. A
 * bucket whose limit is a share s may take the object of time t where s × t passes a whole number, so
 * that of any n in a row it gets n × s, rounded up or down. The buckets' turns are as far apart as
 * can be: each begins where those of the one before it, by name, end.
 *
 * Takes O(count × buckets).
 */
export function pickRamped(
  candidates: readonly Candidate[],
  count: number,
  ramp: number,
): string[] {
  let open: Slot[] = candidates
    .map(({ capacity, ...slot }) => ({ ...slot, capacity: capacity ?? Infinity }))
    .filter(hasRoom)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  let time = sum(open.map(({ members }) => members));
  let turns = turnsOf(open, ramp);

  const picks: string[] = [];
  while (picks.length < count && open.length > 0) {
    const fullest = open.reduce((a, b) => (isFuller(b, a) ? b : a));
    const may = open.filter((slot, i) => !isLagging(slot, fullest) || turns[i]?.(time));
    const slot = (may.length > 0 ? may : open).reduce((a, b) => (isEmptier(b, a) ? b : a));
    picks.push(slot.name);
    slot.members++;
    time++;
    if (hasRoom(slot)) continue;
    open = open.filter(hasRoom);
    time = sum(open.map(({ members }) => members));
    turns = turnsOf(open, ramp);
  }
  return picks;
}

function hasRoom({ members, capacity }: Slot): boolean {
  return members < capacity;
}

// The fullest has members / weight, and took its last object when no other would have had less by one
// more. Crosswise, as isEmptier compares.
function isLagging(slot: Slot, fullest: Slot): boolean {
  return (slot.members + 1) * fullest.weight < fullest.members * slot.weight;
}

function isFuller(a: Slot, b: Slot): boolean {
  return a.members * b.weight > b.members * a.weight;
}

// Whether a time is the turn of each.
function turnsOf(open: readonly Slot[], ramp: number): ((time: number) => boolean)[] {
  const weights = sum(open.map(({ weight }) => weight));
  let begin = 0;
  return open.map(({ weight }) => {
    const share = Math.min(1, (ramp * weight) / weights);
    const from = begin % 1;
    begin += share;
    return (time) => Math.floor((time + 1) * share + from) > Math.floor(time * share + from);
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}
