// Objects go to the emptiest worker that will do, and no more of them move than evenness needs.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { handOver, place, surplus, type Worker } from '../../src/workers/placing.js';

const IDLE: Omit<Worker, 'bucket'> = {
  ...{ weight: 1, capacity: null, group: null, held: 0, leaving: 0, load: null },
  state: 'active',
};
const ANY = { weight: 1, group: null, pin: null, pinRule: 'hold' } as const;

const worker = (bucket: string, said: Partial<Worker> = {}): Worker => ({
  ...IDLE,
  bucket,
  ...said,
});
const objects = (count: number, said: object = {}) =>
  Array.from({ length: count }, (_, i) => ({ ...ANY, ...said, name: `o${i}` }));

describe('placing', () => {
  it('each goes to the emptiest, ties by name, heavier workers get more', () => {
    const placed = place([worker('a', { weight: 2 }), worker('b')], objects(6));
    assert.deepEqual([...placed.values()], ['a', 'a', 'b', 'a', 'a', 'b']);
  });

  it('an object of a group goes to its workers only, and waits where there is none', () => {
    const workers = [worker('a'), worker('g', { group: 'gpu', held: 9 })];
    assert.deepEqual([...place(workers, objects(1, { group: 'gpu' }))], [['o0', 'g']]);
    assert.equal(place(workers, objects(1, { group: 'tpu' })).size, 0);
  });

  it('a pinned one goes to its pin; where that is not there it waits, or takes any', () => {
    const workers = [worker('a'), worker('b', { held: 9 })];
    assert.deepEqual([...place(workers, objects(1, { pin: 'b' })).values()], ['b']);
    assert.equal(place(workers, objects(1, { pin: 'c' })).size, 0);
    const fallen = place(workers, objects(1, { pin: 'c', pinRule: 'any' }));
    assert.deepEqual([...fallen.values()], ['a']);
  });

  it('nothing goes where there is no room, counting what has not left yet', () => {
    const full = worker('a', { capacity: 5, held: 3, leaving: 1 });
    assert.equal(place([full], objects(3)).size, 1);
    assert.equal(place([full], objects(1, { weight: 2 })).size, 0);
  });

  it('nothing goes to a worker that is cordoned or drains', () => {
    const workers = [worker('a', { state: 'cordoned' }), worker('b', { state: 'draining' })];
    assert.equal(place(workers, objects(2)).size, 0);
  });
});

const held = (bucket: string, count: number, said: object = {}) =>
  objects(count, said).map((each) => ({ ...each, name: `${bucket}-${each.name}` }));
const THRESHOLD = 10;

describe('handing over', () => {
  it('a worker that joins gets its share, from the most over-full first', () => {
    const workers = [worker('a', { held: 60 }), worker('b', { held: 40 }), worker('c')];
    const movable = new Map([['a', held('a', 60)], ['b', held('b', 40)]]); // prettier-ignore
    const handed = handOver(workers, movable, THRESHOLD);
    // A third is 33 1/3, and 10 percent above that 36; below it 30.
    const from = (bucket: string) => handed.filter((each) => each.from === bucket).length;
    assert.deepEqual([from('a'), from('b')], [25, 5]);
    assert.equal(handed[0]?.from, 'a');
    assert.equal(handed.every(({ to }) => to === 'c'), true); // prettier-ignore
  });

  it('all of one that drains go, whatever the threshold', () => {
    const workers = [worker('a', { held: 3, state: 'draining' }), worker('b', { held: 9 })];
    const handed = handOver(workers, new Map([['a', held('a', 3)]]), THRESHOLD);
    assert.deepEqual(handed.map(({ to }) => to), ['b', 'b', 'b']); // prettier-ignore
  });

  it('where all say their load it goes by that', () => {
    const workers = [worker('a', { held: 10, load: 0.9 }), worker('b', { held: 10, load: 0.3 })];
    const handed = handOver(workers, new Map([['a', held('a', 10)]]), THRESHOLD);
    assert.deepEqual(handed.map(({ to }) => to), ['b', 'b', 'b']); // prettier-ignore
  });

  it('of a group they stay in their group', () => {
    const workers = [
      worker('a', { held: 20, group: 'gpu' }),
      worker('b', { held: 0 }),
      worker('c', { held: 10, group: 'gpu' }),
    ];
    const handed = handOver(workers, new Map([['a', held('a', 20, { group: 'gpu' })]]), THRESHOLD);
    assert.deepEqual(new Set(handed.map(({ to }) => to)), new Set(['c']));
    assert.equal(handed.length, 4); // 15, and 10 percent above that 16
  });

  it('one that joins many gets its share, though none of them is over-full', () => {
    const eleven = Array.from({ length: 11 }, (_, i) => worker(`w${i}`, { held: 11 }));
    const workers = [...eleven, worker('new')];
    const movable = new Map(eleven.map(({ bucket }) => [bucket, held(bucket, 11)]));
    const handed = handOver(workers, movable, THRESHOLD);
    // 121 of 12 are 10 each, and 10 percent below that 9.
    assert.deepEqual([handed.length, new Set(handed.map(({ from }) => from)).size], [9, 9]);
    assert.deepEqual(new Set(handed.map(({ to }) => to)), new Set(['new']));
  });

  it('of any workers no more move than are above the limit, each once, and nobody is over-full then', () => {
    const workers = fc.array(
      fc.record({ weight: fc.integer({ min: 1, max: 5 }), held: fc.integer({ min: 0, max: 60 }) }),
      { minLength: 1, maxLength: 12 },
    );
    const total = (all: readonly Worker[]) => all.reduce((sum, each) => sum + each.held, 0);
    const weights = (all: readonly Worker[]) => all.reduce((sum, each) => sum + each.weight, 0);
    fc.assert(
      fc.property(workers, fc.integer({ min: 1, max: 50 }), (said, threshold) => {
        const all = said.map((each, i) => worker(`w${i}`, each));
        const movable = new Map(all.map((each) => [each.bucket, held(each.bucket, each.held)]));
        const above = [...surplus(all, threshold).values()].reduce((sum, n) => sum + n, 0);
        const handed = handOver(all, movable, threshold);
        assert.equal(new Set(handed.map(({ name }) => name)).size, handed.length);
        assert.equal(handed.length <= above, true, `${handed.length} of ${above}`);
        const after = all.map((each) => ({
          ...each,
          held:
            each.held -
            handed.filter(({ from }) => from === each.bucket).length +
            handed.filter(({ to }) => to === each.bucket).length,
        }));
        const share = (each: Worker) => (total(all) * each.weight) / weights(all);
        for (const each of after) {
          const high = Math.max(Math.ceil(share(each)), share(each) * (1 + threshold / 100));
          assert.equal(each.held <= high + 1e-6, true, 'over-full');
        }
        assert.deepEqual(handOver(after, movable, threshold), []);
      }),
    );
  });
});
