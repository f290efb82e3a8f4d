// What is asked for while a call runs goes into the next one, and each gets its own answer, whatever
// order things happen in.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { Batch, type Place } from '../../src/assign/batch.js';

/** A call of `work` that waits for the test to end it. */
interface Call {
  readonly number: number;
  readonly keys: readonly string[];
  resolve(answers: readonly (string | Error)[]): void;
  reject(error: Error): void;
}

/** A batch whose calls the test ends by hand. */
class Bench {
  readonly calls: Call[] = [];
  running: Call | undefined;
  readonly batch: Batch<string>;

  constructor(maxSize: number, joinRunning: boolean) {
    this.batch = new Batch(
      (keys) =>
        new Promise((resolve, reject) => {
          assert.equal(this.running, undefined, 'one call at a time');
          const call = { number: this.calls.length, keys, resolve, reject };
          this.calls.push(call);
          this.running = call;
        }),
      { maxSize, joinRunning },
    );
  }

  /** Ends the running call; a key in `bad` gets an error of its own. */
  answer(bad: readonly string[] = []): void {
    const call = this.running;
    this.running = undefined;
    call?.resolve(
      call.keys.map((key) =>
        bad.includes(key) ? new Error(answerOf(call, key)) : answerOf(call, key),
      ),
    );
  }

  fail(): void {
    const call = this.running;
    this.running = undefined;
    call?.reject(new Error(`call ${call.number} failed`));
  }
}

function answerOf(call: Call, key: string): string {
  return `${key} by call ${call.number}`;
}

/** What a place came to: `ok …` or `error …`. */
function outcome({ promise }: Place<string>): Promise<string> {
  return promise.then(
    (value) => `ok ${value}`,
    (error: unknown) => `error ${(error as Error).message}`,
  );
}

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const key = fc.constantFrom(...KEYS);
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant('add' as const), key }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('turn' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant('answer' as const), bad: fc.subarray(KEYS) }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('fail' as const) }) },
);

interface Asked {
  readonly key: string;
  readonly joined: boolean;
  /** How many calls had begun when it was asked for. */
  readonly callsBefore: number;
  /** The call that was running then. */
  readonly running: Call | undefined;
  readonly outcome: Promise<string>;
}

describe('a batch', () => {
  for (const joinRunning of [true, false]) {
    it(`gives each its own answer in any interleaving, joinRunning ${joinRunning}`, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 60 }),
          fc.integer({ min: 1, max: 5 }),
          async (steps, maxSize) => {
            const bench = new Bench(maxSize, joinRunning);
            const asked: Asked[] = [];
            const ended = new Map<number, readonly string[] | 'failed'>();
            for (const step of steps) {
              const { running } = bench;
              if (step.what === 'add') {
                const place = bench.batch.add(step.key);
                asked.push({
                  key: step.key,
                  joined: place.joined,
                  callsBefore: bench.calls.length,
                  running,
                  outcome: outcome(place),
                });
              } else if (step.what === 'turn') {
                await nextTurn();
              } else if (running) {
                ended.set(running.number, step.what === 'answer' ? step.bad : 'failed');
                if (step.what === 'answer') bench.answer(step.bad);
                else bench.fail();
                await nextTurn(); // lets the batch see that its call has ended
              }
            }
            let left = true;
            while (left) {
              await nextTurn();
              await nextTurn(); // the call that ended schedules the next
              left = bench.running !== undefined;
              bench.answer();
            }

            const placed = asked.filter(({ joined }) => !joined).map(({ key }) => key);
            assert.deepEqual(
              bench.calls.flatMap(({ keys }) => keys),
              placed,
              'each key leaves once, in the order of asking',
            );
            for (const { keys } of bench.calls) {
              assert.ok(keys.length >= 1 && keys.length <= maxSize);
              assert.equal(new Set(keys).size, keys.length);
            }
            for (const { key, joined, callsBefore, running, outcome } of asked) {
              const isRunning = joinRunning && (running?.keys.includes(key) ?? false);
              const call = isRunning
                ? running
                : bench.calls.find(
                    ({ number, keys }) => number >= callsBefore && keys.includes(key),
                  );
              assert.ok(call);
              if (isRunning) assert.ok(joined, 'what is being asked for is not asked for again');
              const end = ended.get(call.number) ?? [];
              let expected = `ok ${answerOf(call, key)}`;
              if (end === 'failed') expected = `error call ${call.number} failed`;
              else if (end.includes(key)) expected = `error ${answerOf(call, key)}`;
              assert.equal(await outcome, expected);
            }
          },
        ),
        { numRuns: 200 },
      );
    });
  }

  it('lets a lone key leave in the next turn of the event loop', async () => {
    const bench = new Bench(10, true);
    const place = bench.batch.add('a');
    assert.equal(bench.calls.length, 0);
    await nextTurn();
    assert.deepEqual(bench.running?.keys, ['a']);
    bench.answer();
    assert.equal(await place.promise, 'a by call 0');
  });

  it('groups what is asked for in one turn, and what comes while a call runs', async () => {
    const bench = new Bench(10, true);
    for (const key of ['a', 'b']) bench.batch.add(key);
    await nextTurn();
    for (const key of ['c', 'd', 'c']) bench.batch.add(key);
    await nextTurn();
    assert.equal(bench.calls.length, 1);
    bench.answer();
    await nextTurn();
    await nextTurn();
    assert.deepEqual(
      bench.calls.map(({ keys }) => keys),
      [
        ['a', 'b'],
        ['c', 'd'],
      ],
    );
    bench.answer();
  });

  it('joins a key of the running call only when told that its answer is as good', async () => {
    for (const joinRunning of [true, false]) {
      const bench = new Bench(10, joinRunning);
      const first = bench.batch.add('a');
      assert.equal(first.joined, false);
      await nextTurn();
      const second = bench.batch.add('a');
      assert.equal(second.joined, joinRunning);
      assert.equal(second.promise === first.promise, joinRunning);
      bench.answer();
      await nextTurn();
      await nextTurn();
      bench.answer();
      assert.equal(await first.promise, 'a by call 0');
      assert.equal(await second.promise, `a by call ${joinRunning ? 0 : 1}`);
      assert.equal(bench.batch.add('a').joined, false, 'a call that has ended is not joined');
      await nextTurn();
      bench.answer();
    }
  });

  it('goes on after a call that throws before it returns a promise', async () => {
    let calls = 0;
    const batch = new Batch<string>(
      (keys) => {
        if (calls++ === 0) throw new Error('at once');
        return Promise.resolve(keys);
      },
      { maxSize: 10, joinRunning: true },
    );
    await assert.rejects(batch.add('a').promise, /at once/);
    assert.equal(await batch.add('a').promise, 'a');
  });
});
