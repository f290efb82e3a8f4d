// Every worker has a place of its own, and as few as can be change it.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { givePlaces, type Placed } from '../../src/workers/places.js';

function at(places: Readonly<Record<string, number | null>>): Placed[] {
  return Object.entries(places).map(([bucket, place]) => ({ bucket, place }));
}

function given(places: Readonly<Record<string, number | null>>): Record<string, number> {
  return Object.fromEntries(givePlaces(at(places)));
}

describe('places', () => {
  it('are given in the order in which workers come', () => {
    assert.deepEqual(given({ c: null, a: null, b: null }), { c: 0, a: 1, b: 2 });
  });

  it('of one that left go to the last one, and all others keep theirs', () => {
    assert.deepEqual(given({ a: 0, c: 2, d: 3 }), { a: 0, d: 1, c: 2 });
  });

  it('of one that left go to one that comes, and nobody moves', () => {
    assert.deepEqual(given({ a: 0, c: 2, d: null }), { a: 0, c: 2, d: 1 });
  });

  it('are 0 to n - 1, one each, and change for no more workers than they must', () => {
    const workers = fc
      .uniqueArray(fc.record({ bucket: fc.string(), place: fc.option(fc.nat(20)) }), {
        selector: ({ bucket }) => bucket,
        maxLength: 15,
      })
      .map((all) => {
        const seen = new Set<number>(); // no two have had the same
        return all.map(({ bucket, place }) => {
          const isTwice = place !== null && seen.has(place);
          if (place !== null) seen.add(place);
          return { bucket, place: isTwice ? null : place };
        });
      });
    fc.assert(
      fc.property(workers, (before) => {
        const after = givePlaces(before);
        const places = [...after.values()].sort((a, b) => a - b);
        assert.deepEqual(
          places,
          before.map((_, i) => i),
        );
        // Only those whose place is no longer there must move.
        const moved = before.filter(
          ({ bucket, place }) => place !== null && after.get(bucket) !== place,
        );
        assert.deepEqual(
          moved.filter(({ place }) => (place ?? 0) < before.length),
          [],
        );
      }),
    );
  });
});
