// The planner against the rules as the design states them: the fewest moves, nobody moved twice, pins,
// capacities and states kept.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  draft,
  limits,
  waysOf,
  type Draft,
  type Goal,
  type PlanBucket,
} from '../../src/rebalance/planner.js';
import { evenShares } from '../../src/rebalance/shares.js';

function bucket(name: string, members: number, more: Partial<PlanBucket> = {}): PlanBucket {
  return { name, members, weight: 1, capacity: null, state: 'active', pinned: 0, ...more };
}

function after(buckets: readonly PlanBucket[], plan: Draft): Map<string, number> {
  const members = new Map(buckets.map((each) => [each.name, each.members]));
  for (const chunk of waysOf(plan, 7)) {
    for (const { from, to } of chunk) {
      members.set(from, (members.get(from) ?? 0) - 1);
      members.set(to, (members.get(to) ?? 0) + 1);
    }
  }
  return members;
}

const anyBuckets = (most: { readonly members: number; readonly buckets: number }) =>
  fc
    .uniqueArray(
      fc.record({
        name: fc.string({ minLength: 1, maxLength: 2 }),
        weight: fc.integer({ min: 1, max: 3 }),
        capacity: fc.option(fc.integer({ min: 0, max: most.members })),
        members: fc.integer({ min: 0, max: most.members }),
        state: fc.constantFrom('active', 'active', 'active', 'cordoned', 'draining'),
        pins: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
      }),
      { selector: ({ name }) => name, minLength: 1, maxLength: most.buckets },
    )
    .map((buckets) =>
      buckets.map(({ pins, ...each }): PlanBucket => ({
        ...each,
        pinned: Math.floor(pins * each.members),
      })),
    );

/** Buckets, and a goal that concerns some of them. */
function anyCase(most: { readonly members: number; readonly buckets: number }) {
  return anyBuckets(most).chain((buckets) => {
    const some = fc.subarray(
      buckets.map(({ name }) => name),
      { minLength: 1 },
    );
    const goal: fc.Arbitrary<Goal> = fc.oneof(
      fc
        .integer({ min: 1, max: 60 })
        .map((threshold) => ({ goal: 'rebalance', threshold }) as const),
      some.map((names) => ({ goal: 'drain', buckets: names }) as const),
      some.map((names) => ({ goal: 'spread', buckets: names }) as const),
    );
    return fc.record({ buckets: fc.constant(buckets), goal });
  });
}

describe('any plan', () => {
  it('makes each move from a bucket that gives to another that takes, and nobody does both', () => {
    fc.assert(
      fc.property(anyCase({ members: 60, buckets: 8 }), ({ buckets, goal }) => {
        const plan = draft(goal, buckets);
        const ways = [...waysOf(plan, 5)].flat();
        assert.equal(ways.length, plan.count);
        const from = new Set(ways.map((way) => way.from));
        const to = new Set(ways.map((way) => way.to));
        assert.deepEqual(
          [...from].filter((name) => to.has(name)),
          [],
        );
      }),
    );
  });

  it('keeps to pins, capacities and states', () => {
    fc.assert(
      fc.property(anyCase({ members: 60, buckets: 8 }), ({ buckets, goal }) => {
        const members = after(buckets, draft(goal, buckets));
        for (const each of buckets) {
          const now = members.get(each.name) ?? -1;
          assert.equal(now >= Math.min(each.members, each.pinned), true, 'a pinned one went');
          const isTaking = now > each.members;
          assert.equal(isTaking && each.state !== 'active', false, 'a closed one took');
          assert.equal(isTaking && now > (each.capacity ?? Infinity), false, 'a full one took');
        }
      }),
    );
  });

  it('is the same whatever the order of the buckets, and the chunks', () => {
    fc.assert(
      fc.property(anyCase({ members: 60, buckets: 8 }), ({ buckets, goal }) => {
        const ways = [...waysOf(draft(goal, buckets), 1_000)].flat();
        assert.deepEqual([...waysOf(draft(goal, buckets.toReversed()), 3)].flat(), ways);
      }),
    );
  });

  it('makes no more moves than the fewest that come as near to its goal', () => {
    fc.assert(
      fc.property(anyCase({ members: 5, buckets: 4 }), ({ buckets, goal }) => {
        const members = after(buckets, draft(goal, buckets));
        const reached = missing(
          goal,
          buckets,
          buckets.map(({ name }) => members.get(name) ?? 0),
        );
        const moved = movesTo(
          buckets,
          buckets.map(({ name }) => members.get(name) ?? 0),
        );
        const best = fewest(goal, buckets);
        assert.deepEqual({ reached, moved }, best);
      }),
      { numRuns: 300 },
    );
  });
});

// By trying all that can be: how near to the goal one can come, and with how few moves.
function fewest(goal: Goal, buckets: readonly PlanBucket[]): { reached: number; moved: number } {
  let best = { reached: Infinity, moved: Infinity };
  for (const members of outcomes(buckets, goal)) {
    const reached = missing(goal, buckets, members);
    const moved = movesTo(buckets, members);
    if (reached < best.reached || (reached === best.reached && moved < best.moved)) {
      best = { reached, moved };
    }
  }
  return best;
}

function movesTo(buckets: readonly PlanBucket[], members: readonly number[]): number {
  return buckets.reduce((sum, each, i) => sum + Math.max(0, each.members - (members[i] ?? 0)), 0);
}

// All ways in which as many objects can lie that a plan may come to.
function outcomes(buckets: readonly PlanBucket[], goal: Goal): number[][] {
  const total = buckets.reduce((sum, { members }) => sum + members, 0);
  const drained = goal.goal === 'drain' ? goal.buckets : [];
  const ranges = buckets.map((each) => {
    const { name, members, pinned, state, capacity } = each;
    const isLeft = goal.goal === 'drain' ? false : state === 'draining';
    const takes = state === 'active' && !drained.includes(name);
    const most = takes ? Math.max(members, capacity ?? total) : members;
    return [isLeft ? members : Math.min(pinned, members), most] as const;
  });
  let partial: number[][] = [[]];
  for (const [least, most] of ranges) {
    partial = partial.flatMap((each) =>
      Array.from({ length: most - least + 1 }, (_, i) => [...each, least + i]),
    );
  }
  return partial.filter((each) => each.reduce((sum, one) => sum + one, 0) === total);
}

// How many objects are where the goal would not have them, or are not where it would.
function missing(goal: Goal, buckets: readonly PlanBucket[], members: readonly number[]): number {
  const sum = (each: (bucket: PlanBucket, i: number) => number) =>
    buckets.reduce((all, bucket, i) => all + Math.max(0, each(bucket, i)), 0);
  switch (goal.goal) {
    case 'rebalance': {
      const most = limits(goal.threshold, buckets);
      return sum((_, i) => (members[i] ?? 0) - (most[i] ?? 0));
    }
    case 'drain':
      return sum(({ name }, i) => (goal.buckets.includes(name) ? (members[i] ?? 0) : 0));
    case 'spread': {
      const even = sharesOf(buckets);
      return sum(({ name, state }, i) =>
        goal.buckets.includes(name) && state === 'active'
          ? Math.floor((even[i] ?? 0) + 1e-6) - (members[i] ?? 0)
          : 0,
      );
    }
  }
}

function sharesOf(buckets: readonly PlanBucket[]): number[] {
  const sharing = buckets.filter(({ state }) => state !== 'draining');
  const even = evenShares(
    sharing.map(({ weight, state, capacity, members }) => ({
      weight,
      most: state === 'active' ? (capacity ?? Infinity) : members,
    })),
    sharing.reduce((sum, { members }) => sum + members, 0),
  );
  return buckets.map((each) =>
    each.state === 'draining' ? each.members : (even[sharing.indexOf(each)] ?? 0),
  );
}

describe('even shares', () => {
  const of = (buckets: readonly [weight: number, most: number][], total: number) =>
    evenShares(
      buckets.map(([weight, most]) => ({ weight, most })),
      total,
    ).map((share) => Math.round(share * 1e6) / 1e6);

  it('are in proportion to the weights', () => {
    assert.deepEqual(of([[1, Infinity], [2, Infinity], [1, Infinity]], 100), [25, 50, 25]); // prettier-ignore
  });

  it('leave to the others what does not fit into one', () => {
    assert.deepEqual(of([[1, 10], [1, Infinity], [2, Infinity]], 100), [10, 30, 60]); // prettier-ignore
  });

  it('are what all can hold where there is no room for so many', () => {
    assert.deepEqual(of([[1, 10], [5, 20]], 100), [10, 20]); // prettier-ignore
  });

  it('are exact enough for a thousand million objects', () => {
    const even = of(Array.from({ length: 200 }, () => [1, Infinity] as const) as never, 1e9);
    assert.equal(new Set(even).size, 1);
    assert.equal(even[0], 5e6);
  });
});

describe('rebalance', () => {
  it('moves the fewest to bring all within 10 percent above the even share', () => {
    const buckets = [bucket('a', 200), bucket('b', 100), bucket('c', 0)];
    const plan = draft({ goal: 'rebalance', threshold: 10 }, buckets);
    assert.deepEqual(Object.fromEntries(after(buckets, plan)), { a: 110, b: 100, c: 90 });
  });

  it('does nothing where all are within', () => {
    const buckets = [bucket('a', 110), bucket('b', 100), bucket('c', 90)];
    assert.equal(draft({ goal: 'rebalance', threshold: 10 }, buckets).count, 0);
  });

  it('brings a bucket under its new capacity', () => {
    const buckets = [bucket('a', 100, { capacity: 40 }), bucket('b', 100)];
    const plan = draft({ goal: 'rebalance', threshold: 10 }, buckets);
    assert.deepEqual(Object.fromEntries(after(buckets, plan)), { a: 40, b: 160 });
  });

  it('says how many are pinned above the limit, and for how many there is no room', () => {
    const pinned = [bucket('a', 100, { pinned: 80 }), bucket('b', 0)];
    const kept = draft({ goal: 'rebalance', threshold: 10 }, pinned);
    assert.deepEqual([kept.count, kept.pinned, kept.without_room], [20, 25, 0]);
    const full = [bucket('a', 100, { capacity: 50 }), bucket('b', 30, { capacity: 40 })];
    const crowded = draft({ goal: 'rebalance', threshold: 10 }, full);
    assert.deepEqual([crowded.count, crowded.pinned, crowded.without_room], [10, 0, 40]);
  });
});

describe('drain', () => {
  const four = [bucket('a', 40), bucket('b', 50), bucket('c', 60, { weight: 2 }), bucket('d', 30)];

  it('empties several at once into the others, to the emptiest first', () => {
    const plan = draft({ goal: 'drain', buckets: ['a', 'd'] }, four);
    assert.deepEqual(Object.fromEntries(after(four, plan)), { a: 0, b: 60, c: 120, d: 0 });
  });

  it('leaves who is pinned, and those for whom nobody has room', () => {
    const buckets = [bucket('a', 40, { pinned: 3 }), bucket('b', 50, { capacity: 70 })];
    const plan = draft({ goal: 'drain', buckets: ['a'] }, buckets);
    assert.deepEqual([plan.count, plan.pinned, plan.without_room], [20, 3, 17]);
  });
});

describe('spread', () => {
  it('fills a new bucket to its even share, from the fullest', () => {
    const buckets = [bucket('a', 100), bucket('b', 80), bucket('c', 60), bucket('new', 0)];
    const plan = draft({ goal: 'spread', buckets: ['new'] }, buckets);
    assert.deepEqual(Object.fromEntries(after(buckets, plan)), { a: 60, b: 60, c: 60, new: 60 });
  });

  it('leaves alone whoever has no more than the share', () => {
    const buckets = [bucket('a', 100), bucket('b', 20), bucket('new', 0)];
    const plan = draft({ goal: 'spread', buckets: ['new'] }, buckets);
    assert.deepEqual(Object.fromEntries(after(buckets, plan)), { a: 60, b: 20, new: 40 });
  });
});
