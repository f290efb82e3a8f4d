// The mirror of the policy `emptiest`: from where objects are taken, one after the other.

import { heapify, removeRoot, siftDown } from '../assign/heap.js';

/** A bucket that gives objects away. */
export interface Giver {
  readonly name: string;
  readonly weight: number;
  readonly members: number;
  /** It keeps so many. */
  readonly least: number;
}

/**
 * The buckets from which the next `count` objects are taken, in order: always the one with the
 * highest members / weight that has more than it keeps, and among equals the one whose name is first
 * by code unit. Fewer than `count` when no more are to be had. Takes O(buckets + count × log buckets).
 */
export function pickFullest(givers: readonly Giver[], count: number): string[] {
  const heap = givers.filter(({ members, least }) => members > least).map((each) => ({ ...each }));
  heapify(heap, isFuller);

  const picks: string[] = [];
  while (picks.length < count) {
    const [root] = heap;
    if (!root) break;
    picks.push(root.name);
    root.members--;
    if (root.members > root.least) siftDown(heap, isFuller);
    else removeRoot(heap, isFuller);
  }
  return picks;
}

// Compares members / weight crosswise, as isEmptier does.
function isFuller(a: Giver, b: Giver): boolean {
  const difference = a.members * b.weight - b.members * a.weight;
  return difference > 0 || (difference === 0 && a.name < b.name);
}
