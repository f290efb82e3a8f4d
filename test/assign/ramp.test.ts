// With a ramp a bucket that lags gets its limited share of new objects, neither more nor, as long as it
// lags, fewer; the others stay even, as without one.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pickEmptiest } from '../../src/assign/emptiest.js';
import { pickRamped } from '../../src/assign/ramp.js';
import type { Candidate } from '../../src/store/engine.js';

function bucket(name: string, members: number, more: Partial<Candidate> = {}): Candidate {
  return { name, members, weight: 1, capacity: null, ...more };
}

function count(picks: readonly string[]): Map<string, number> {
  const times = new Map<string, number>();
  for (const pick of picks) times.set(pick, (times.get(pick) ?? 0) + 1);
  return times;
}

function filled(buckets: readonly Candidate[], picks: readonly string[]): Candidate[] {
  const times = count(picks);
  return buckets.map((each) => ({ ...each, members: each.members + (times.get(each.name) ?? 0) }));
}

const anyBuckets = fc.uniqueArray(
  fc.record({
    name: fc.string({ minLength: 1, maxLength: 2 }),
    weight: fc.integer({ min: 1, max: 4 }),
    capacity: fc.option(fc.integer({ min: 0, max: 60 })),
    members: fc.integer({ min: 0, max: 40 }),
  }),
  { selector: ({ name }) => name, maxLength: 8 },
);
const anyRamp = fc.oneof(
  fc.integer({ min: 1, max: 10 }),
  fc.double({ min: 1, max: 4, noNaN: true }),
);

describe('a ramp', () => {
  const ten = Array.from({ length: 10 }, (_, i) => bucket(`hub-${i}`, 5_000));
  const empty = bucket('hub-new', 0);

  it('of 2 gives the one empty bucket of eleven two elevenths of the next 1,000 users', () => {
    const times = count(pickRamped([...ten, empty], 1_000, 2));
    assert.equal(times.get('hub-new'), 182);
    // and the others share the rest
    const others = ten.map(({ name }) => times.get(name) ?? 0);
    assert.deepEqual([Math.min(...others), Math.max(...others)], [81, 82]);
  });

  it('that is off gives it all of them', () => {
    assert.equal(count(pickEmptiest([...ten, empty], 1_000)).get('hub-new'), 1_000);
  });

  it('gives several that lag their share each, and does not have them wait for one another', () => {
    const five = Array.from({ length: 5 }, (_, i) => bucket(`new-${i}`, 0));
    const times = count(pickRamped([...ten, ...five], 1_500, 1.5));
    for (const { name } of five) assert.equal(times.get(name), 150);
  });

  it('is over when the bucket has caught up', () => {
    let buckets: Candidate[] = [bucket('a', 100), bucket('b', 100), bucket('c', 90)];
    for (let i = 0; i < 300; i++) buckets = filled(buckets, pickRamped(buckets, 1, 1.2));
    assert.deepEqual(buckets.map(({ members }) => members).sort(), [196, 197, 197]);
  });

  it('of any n new objects in a row gives a bucket that lags its share, rounded up or down', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 1, max: 300 }),
        fc.double({ min: 1, max: 3, noNaN: true }),
        fc.integer({ min: 1, max: 5 }),
        (others, members, n, ramp, weight) => {
          const full = Array.from({ length: others }, (_, i) => bucket(`b${i}`, 100_000 + members));
          const lagging = bucket('a', members, { weight });
          const share = Math.min(1, (ramp * weight) / (others + weight));
          const got = count(pickRamped([...full, lagging], n, ramp)).get('a') ?? 0;
          assert.equal(Math.abs(got - n * share) < 1 + 1e-6, true, `${got} of ${n * share}`);
        },
      ),
    );
  });

  it('picks many at once as one by one, and whatever their order', () => {
    fc.assert(
      fc.property(anyBuckets, fc.integer({ min: 0, max: 60 }), anyRamp, (buckets, n, ramp) => {
        const one: string[] = [];
        for (let now = buckets, i = 0; i < n; i++) {
          const [pick] = pickRamped(now, 1, ramp);
          if (pick === undefined) break;
          one.push(pick);
          now = filled(now, [pick]);
        }
        assert.deepEqual(pickRamped(buckets, n, ramp), one);
        assert.deepEqual(pickRamped(buckets.toReversed(), n, ramp), one);
      }),
    );
  });

  it('places as many as there is room for, as without one', () => {
    fc.assert(
      fc.property(anyBuckets, fc.integer({ min: 0, max: 200 }), anyRamp, (buckets, n, ramp) => {
        const picks = pickRamped(buckets, n, ramp);
        assert.equal(picks.length, pickEmptiest(buckets, n).length);
        for (const { members, capacity, name } of filled(buckets, picks)) {
          const before = buckets.find((each) => each.name === name)?.members ?? 0;
          if (capacity !== null) assert.equal(members <= Math.max(capacity, before), true);
        }
      }),
    );
  });

  it('changes nothing where all are even', () => {
    fc.assert(
      fc.property(anyBuckets, fc.integer({ min: 0, max: 100 }), anyRamp, (buckets, n, ramp) => {
        const even = filled(
          buckets.map((each) => ({ ...each, members: 0, capacity: null })),
          [],
        );
        const start = filled(even, pickEmptiest(even, 37));
        assert.deepEqual(pickRamped(start, n, ramp), pickEmptiest(start, n));
      }),
    );
  });
});
