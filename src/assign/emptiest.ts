// The policy `emptiest`: each new object goes to the bucket with the lowest
// (members + 1) / weight. A pure function; no clock, no database.

import type { Candidate } from '../store/engine.js';

interface Slot {
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
 * Takes O(buckets + count × log buckets): a binary heap (J. W. J. Williams, 1964) whose root is
 * filled and sifted down.
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
  for (let i = (heap.length >> 1) - 1; i >= 0; i--) siftDown(heap, i);

  const picks: string[] = [];
  let root = heap[0];
  while (picks.length < count && root) {
    picks.push(root.name);
    root.members++;
    if (root.members >= root.capacity) {
      const last = heap.pop();
      if (last && last !== root) heap[0] = last;
    }
    siftDown(heap, 0);
    root = heap[0];
  }
  return picks;
}

function siftDown(heap: Slot[], index: number): void {
  const slot = heap[index];
  if (!slot) return;
  for (;;) {
    const left = heap[2 * index + 1];
    if (!left) break;
    const right = heap[2 * index + 2];
    const child = right && isBefore(right, left) ? right : left;
    if (!isBefore(child, slot)) break;
    heap[index] = child;
    index = child === left ? 2 * index + 1 : 2 * index + 2;
  }
  heap[index] = slot;
}

// Compares (members + 1) / weight crosswise, in whole numbers: both products stay below 2^53.
function isBefore(a: Slot, b: Slot): boolean {
  const difference = (a.members + 1) * b.weight - (b.members + 1) * a.weight;
  return difference < 0 || (difference === 0 && a.name < b.name);
}
