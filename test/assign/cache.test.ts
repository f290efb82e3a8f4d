// The cache keeps no answer that somebody may have changed since it was looked up.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Answers, type Answer } from '../../src/assign/answer.js';
import { Cache, type Moment } from '../../src/assign/cache.js';
import { DEAF } from '../../src/store/engine.js';

const answers = new Answers();
function answerOf(bucket: string): Answer {
  return answers.of('hub', { bucket, url: null }).existing;
}
const [OLD, NEW] = [answerOf('hub-0'), answerOf('hub-1')];

describe('the cache', () => {
  it('gives back what was put in, by kind and name', () => {
    const cache = new Cache(10);
    cache.set('hub', 'iana', OLD, cache.moment(1));
    assert.equal(cache.get('hub', 'iana', 1), OLD);
    assert.equal(cache.get('hub', 'Iana', 1), undefined);
    assert.equal(cache.get('home', 'iana', 1), undefined);
  });

  it('keeps kind and name apart where a name has a slash', () => {
    const cache = new Cache(10);
    cache.set('hub', 'a/b', OLD, cache.moment(1));
    cache.set('hub', 'a', NEW, cache.moment(1));
    assert.equal(cache.get('hub', 'a/b', 1), OLD);
    cache.drop({ kind: 'hub', name: 'a' });
    assert.equal(cache.get('hub', 'a/b', 1), OLD);
  });

  it('does not keep an answer that was looked up before a drop, of whatever name', () => {
    for (const name of ['iana', 'ivan']) {
      const cache = new Cache(10);
      const moment = cache.moment(1);
      cache.drop({ kind: 'hub', name });
      cache.set('hub', 'iana', OLD, moment);
      assert.equal(cache.get('hub', 'iana', 1), undefined);
      assert.equal(cache.getStale('hub', 'iana'), undefined);
      cache.set('hub', 'iana', NEW, cache.moment(1));
      assert.equal(cache.get('hub', 'iana', 1), NEW);
    }
  });

  it('forgets what is dropped, also for while the database is down', () => {
    const cache = new Cache(10);
    cache.set('hub', 'iana', OLD, cache.moment(1));
    cache.drop({ kind: 'hub', name: 'iana' });
    assert.equal(cache.get('hub', 'iana', 1), undefined);
    assert.equal(cache.getStale('hub', 'iana'), undefined);
  });

  it('does not trust an answer of another generation, but still has it to say', () => {
    const cache = new Cache(10);
    cache.set('hub', 'iana', OLD, cache.moment(1));
    assert.equal(cache.get('hub', 'iana', 2), undefined);
    assert.equal(cache.get('hub', 'iana', DEAF), undefined);
    assert.equal(cache.getStale('hub', 'iana'), OLD);
  });

  it('never trusts what was found while it could not hear', () => {
    const cache = new Cache(10);
    cache.set('hub', 'iana', OLD, cache.moment(DEAF));
    for (const generation of [DEAF, 0, 1]) {
      assert.equal(cache.get('hub', 'iana', generation), undefined);
    }
    assert.equal(cache.getStale('hub', 'iana'), OLD);
  });

  it('holds so many and no more, and lets go of what was used longest ago', () => {
    const cache = new Cache(100);
    for (let i = 0; i < 1000; i++) {
      cache.set('hub', `user-${i}`, OLD, cache.moment(1));
      cache.get('hub', 'user-0', 1);
    }
    assert.equal(cache.size, 100);
    assert.equal(cache.get('hub', 'user-0', 1), OLD);
    assert.equal(cache.get('hub', 'user-900', 1), undefined);
    assert.equal(cache.get('hub', 'user-901', 1), OLD);
  });

  it('agrees with its definition in any order of lookups, drops and generations', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ what: fc.constant('begin' as const), name }),
      fc.record({ what: fc.constant('end' as const), which: fc.nat(5) }),
      fc.record({ what: fc.constant('drop' as const), name }),
      fc.record({
        what: fc.constant('hear' as const),
        generation: fc.constantFrom(DEAF, 1, 2, 3),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const cache = new Cache(10);
        let generation = 1;
        let answered = 0;
        // What a lookup that is under way knows: whether anything was dropped since it began.
        let lookups: { name: string; moment: Moment; began: number; isSpoilt: boolean }[] = [];
        const kept = new Map<string, { answer: Answer; generation: number }>();
        for (const step of steps) {
          if (step.what === 'begin') {
            const moment = cache.moment(generation);
            lookups.push({ name: step.name, moment, began: generation, isSpoilt: false });
          } else if (step.what === 'drop') {
            cache.drop({ kind: 'hub', name: step.name });
            kept.delete(step.name);
            lookups = lookups.map((lookup) => ({ ...lookup, isSpoilt: true }));
          } else if (step.what === 'hear') {
            ({ generation } = step);
          } else {
            const [lookup] = lookups.splice(step.which, 1);
            if (!lookup) continue;
            const answer = answerOf(`hub-${answered++}`);
            cache.set('hub', lookup.name, answer, lookup.moment);
            if (!lookup.isSpoilt) kept.set(lookup.name, { answer, generation: lookup.began });
          }
          for (const name of ['a', 'b', 'c']) {
            const entry = kept.get(name);
            const isTrusted = generation !== DEAF && entry?.generation === generation;
            assert.equal(cache.get('hub', name, generation), isTrusted ? entry.answer : undefined);
            assert.equal(cache.getStale('hub', name), entry?.answer);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
