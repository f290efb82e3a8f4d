// The policy `emptiest`: each new object goes to the bucket with the lowest
// (members + 1) / weight. A pure function; no clock, no database.

import type { Candidate } from '../store/engine.js';
import { heapify, removeRoot, siftDown } from './heap.js';

/** A bucket while it is filled. */
export interface Slot {
  readonly name: string;
  readonly weight: number;
  readonly capacity: number;
  members: number;
}

/**
 * The buckets for the next `count` objects, in order, as if each were placed alone after the one
 * before it: always the bucket with room whose (members + 1) / weight is lowest, and among equals
 * the one whose name is first by code unit. Fewer than `count` when the room runs out.
 *
 * Takes O(buckets + count × log buckets).
 */
export function pickEmptiest(candidates: readonly Candidate[], count: number): string[] {
  const heap: Slot[] = candidates
    .map(({ name, weight, capacity, members }) => ({
      name,
      weight,
      capacity: capacity ?? Infinity,
      members,
    }))
    .filter((slot) => slot.members < slot.capacity);
  heapify(heap, isEmptier);

  const picks: string[] = [];
  while (picks.length < count) {
    const [root] = heap;
    if (!root) break;
    picks.push(root.name);
    root.members++;
    if (root.members < root.capacity) siftDown(heap, isEmptier);
    else removeRoot(heap, isEmptier);
  }
  return picks;
}

/**
 * Whether the next object goes to `a` rather than to `b`. Compares (members + 1) / weight crosswise, in
 * whole numbers: both products stay below 2^53.
 */
export function isEmptier(a: Slot, b: Slot): boolean {
  const difference = (a.members + 1) * b.weight - (b.members + 1) * a.weight;
  return difference < 0 || (difference === 0 && a.name < b.name);
}
