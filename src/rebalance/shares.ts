// What each bucket would hold if all were as even as they can be.

/** A bucket, and how many objects it can hold at most. */
export interface Bounded {
  readonly weight: number;
  readonly most: number;
}

// The level is found to the last bit; of 10^9 objects the shares are so far from the true ones at most.
const ROUNDING = 1e-6;

/**
 * The even share of each bucket, in their order and no whole number as a rule: in proportion to the
 * weights; but those that cannot hold so many are full, and the others share the rest. The shares sum
 * up to `total`, unless there is no room for so many.
 *
 * Those that are not full have the same share / weight, the level: the water's in connected vessels,
 * found by bisection (water-filling).
 */
export function evenShares(buckets: readonly Bounded[], total: number): number[] {
  const at = (level: number) => buckets.map(({ weight, most }) => Math.min(level * weight, most));
  let low = 0;
  let high = total; // a weight is 1 at least
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return at(high);
    if (sum(at(middle)) < total) low = middle;
    else high = middle;
  }
}

function sum(shares: readonly number[]): number {
  return shares.reduce((all, share) => all + share, 0);
}

/** The whole number that is not less than a share. */
export function roundUp(share: number): number {
  return Math.ceil(share - ROUNDING);
}

/** The whole number that is not more than a share. */
export function roundDown(share: number): number {
  return Math.floor(share + ROUNDING);
}
