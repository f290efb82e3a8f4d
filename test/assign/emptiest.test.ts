// The pick of many at once is the pick of one, so many times: compared with the rule as the design
// states it, for any buckets.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pickEmptiest } from '../../src/assign/emptiest.js';
import type { Candidate } from '../../src/store/engine.js';

const small = fc.record({
  name: fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 3 }),
  weight: fc.integer({ min: 1, max: 5 }),
  capacity: fc.option(fc.integer({ min: 0, max: 30 })),
  members: fc.integer({ min: 0, max: 30 }),
});
// Up to what the columns hold: the products of the comparison must stay exact.
const large = fc.record({
  name: fc.string({ unit: 'binary', minLength: 1 }),
  weight: fc.integer({ min: 1, max: 1_000_000 }),
  capacity: fc.option(fc.integer({ min: 0, max: 1_000_000_000 })),
  members: fc.integer({ min: 0, max: 2_147_483_000 }),
});

function bucketsOf(bucket: fc.Arbitrary<Candidate>): fc.Arbitrary<Candidate[]> {
  return fc.uniqueArray(bucket, { selector: ({ name }) => name, maxLength: 12 });
}
const buckets = fc.oneof(
  { weight: 3, arbitrary: bucketsOf(small) },
  { weight: 1, arbitrary: bucketsOf(large) },
);
const count = fc.integer({ min: 0, max: 150 });

/** One at a time: among the buckets with room the lowest (members + 1) / weight, ties by name. */
function pickOneByOne(candidates: readonly Candidate[], count: number): string[] {
  const state = candidates.map((bucket) => ({ ...bucket }));
  const picks: string[] = [];
  for (let i = 0; i < count; i++) {
    const withRoom = state.filter(
      ({ members, capacity }) => capacity === null || members < capacity,
    );
    const [best] = withRoom.sort((a, b) => {
      const left = BigInt(a.members + 1) * BigInt(b.weight);
      const right = BigInt(b.members + 1) * BigInt(a.weight);
      if (left !== right) return left < right ? -1 : 1;
      return a.name < b.name ? -1 : 1;
    });
    if (!best) break;
    best.members++;
    picks.push(best.name);
  }
  return picks;
}

function filled(candidates: readonly Candidate[], picks: readonly string[]): Candidate[] {
  return candidates.map((bucket) => ({
    ...bucket,
    members: bucket.members + picks.filter((name) => name === bucket.name).length,
  }));
}

describe('the pick of the emptiest', () => {
  it('equals picking one at a time, for any buckets and any number of objects', () => {
    fc.assert(
      fc.property(buckets, count, (candidates, count) => {
        assert.deepEqual(pickEmptiest(candidates, count), pickOneByOne(candidates, count));
      }),
      { numRuns: 500 },
    );
  });

  it('is the same in two batches as in one', () => {
    fc.assert(
      fc.property(buckets, count, count, (candidates, first, second) => {
        const picks = pickEmptiest(candidates, first);
        const more = pickEmptiest(filled(candidates, picks), second);
        assert.deepEqual([...picks, ...more], pickEmptiest(candidates, first + second));
      }),
    );
  });

  it('never passes a capacity, and stops short only when no room is left', () => {
    fc.assert(
      fc.property(buckets, count, (candidates, count) => {
        const picks = pickEmptiest(candidates, count);
        const after = filled(candidates, picks);
        for (const [i, { members, capacity }] of after.entries()) {
          const before = candidates[i]?.members ?? 0;
          assert.ok(capacity === null || members <= Math.max(capacity, before));
        }
        if (picks.length < count) {
          assert.ok(
            after.every(({ members, capacity }) => capacity !== null && members >= capacity),
          );
        }
      }),
    );
  });

  it('does not depend on the order in which the buckets were read', () => {
    const shuffled = buckets.chain((list) =>
      fc.tuple(
        fc.constant(list),
        fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, count, ([candidates, others], count) => {
        assert.deepEqual(pickEmptiest(others, count), pickEmptiest(candidates, count));
      }),
    );
  });

  it('leaves what it was given as it was', () => {
    fc.assert(
      fc.property(buckets, count, (candidates, count) => {
        const before = candidates.map((bucket) => ({ ...bucket }));
        pickEmptiest(candidates, count);
        assert.deepEqual(
          candidates.map((bucket) => ({ ...bucket })),
          before,
        );
      }),
    );
  });

  it('evens out unequal buckets first and then goes by name', () => {
    const plain = { weight: 1, capacity: null };
    const candidates = [
      { ...plain, name: 'c', members: 3 },
      { ...plain, name: 'a', members: 3 },
      { ...plain, name: 'b', members: 1 },
    ];
    assert.deepEqual(pickEmptiest(candidates, 5), ['b', 'b', 'a', 'b', 'c']);
  });
});
