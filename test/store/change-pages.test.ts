// The history in pages: every line that fits once, newest first, a bounded number read for each page.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { declareKinds, type Database } from '../../src/index.js';
import { listChanges, type ChangeFilter } from '../../src/store/change-pages.js';
import type { ChangeRow } from '../../src/store/history.js';
import { declareHub, engines, hubs, open } from '../engines.js';

const EPOCH = Date.parse('2026-01-01T00:00:00.000Z');
const MINUTE = 60_000;
const LINES = 200;

interface Line {
  readonly at: Date;
  readonly kind: string;
  readonly name: string | null;
  readonly from_bucket: string | null;
  readonly to_bucket: string | null;
  readonly actor: string;
  readonly action: string;
  readonly plan: number | null;
}

// A line a minute, each column in a rhythm of its own.
const all: Line[] = Array.from({ length: LINES }, (_, i) => ({
  at: new Date(EPOCH + i * MINUTE),
  kind: i % 3 === 0 ? 'homedir' : 'hub',
  name: i % 7 === 0 ? null : `user-${i % 5}`,
  from_bucket: i % 4 === 0 ? 'hub-0' : null,
  to_bucket: i % 6 === 0 ? 'hub-0' : 'hub-1',
  actor: i % 50 === 0 ? 'cli:vera' : 'cli:iana',
  action: i % 2 === 0 ? 'object move' : 'object pin',
  plan: i % 8 === 0 ? 7 : null,
}));

function fits(line: Line, filter: ChangeFilter): boolean {
  const { bucket, since, until, ...columns } = filter;
  const equal = Object.entries(columns).every(
    ([column, value]) => value === undefined || line[column as keyof Line] === value,
  );
  const isOf = bucket === undefined || line.from_bucket === bucket || line.to_bucket === bucket;
  return equal && isOf && (!since || line.at >= since) && (!until || line.at < until);
}

const time = fc.integer({ min: -5, max: LINES + 5 }).map((n) => new Date(EPOCH + n * MINUTE));
const maybe = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
const filters: fc.Arbitrary<ChangeFilter> = fc.record({
  kind: maybe(fc.constantFrom('hub', 'homedir')),
  name: maybe(fc.constantFrom('user-0', 'user-1', 'nobody')),
  bucket: maybe(fc.constantFrom('hub-0', 'hub-1', 'hub-2')),
  actor: maybe(fc.constantFrom('cli:vera', 'cli:iana')),
  action: maybe(fc.constantFrom('object move', 'object pin')),
  plan: maybe(fc.constantFrom(7, 8)),
  since: maybe(time),
  until: maybe(time),
});

for (const engine of engines) {
  describe(`the history in pages on ${engine.name}`, engine.options, () => {
    let database: Database;
    before(async () => {
      database = await open(await engine.createDatabase());
      await declareHub(database, hubs(1));
      await declareKinds(database, { homedir: { buckets: [{ name: 'home-0' }] } }, 'test');
      await database.knex('change').delete();
      for (const line of all) {
        const at = engine.name === 'sqlite' ? line.at.toISOString() : line.at;
        await database.knex('change').insert({ ...line, at });
      }
    });

    it('has every line that fits once, newest first, whatever is asked for', async () => {
      await fc.assert(
        fc.asyncProperty(
          filters,
          fc.integer({ min: 1, max: 60 }),
          fc.integer({ min: 1, max: 60 }),
          async (filter, limit, window) => {
            const found: ChangeRow[] = [];
            let after: number | null = null;
            let pages = 0;
            do {
              assert.ok(++pages <= LINES + 1, 'it comes to an end');
              const page = await listChanges(database, filter, after, limit, window);
              assert.ok(page.changes.length <= limit);
              assert.ok(after === null || page.next === null || page.next < after);
              found.push(...page.changes);
              after = page.next;
            } while (after !== null);
            const expected = all.filter((line) => fits(line, filter)).reverse();
            assert.deepEqual(
              found.map(({ at }) => at),
              expected.map(({ at }) => at.toISOString()),
            );
          },
        ),
        { numRuns: engine.name === 'sqlite' ? 300 : 100 },
      );
    });

    it('reads no more lines than a window for a page, however few fit', async () => {
      const first = await listChanges(database, { actor: 'cli:vera' }, null, 10, 20);
      assert.deepEqual([first.changes, typeof first.next], [[], 'number']);
      const second = await listChanges(database, { actor: 'cli:vera' }, first.next, 10, 20);
      assert.equal(Number(first.next) - Number(second.next), 20);
    });

    it('ends where all lines are older than is asked for', async () => {
      const since = new Date(EPOCH + (LINES - 10) * MINUTE);
      const first = await listChanges(database, { since }, null, 50, 50);
      assert.equal(first.changes.length, 10);
      const second = await listChanges(database, { since }, first.next, 50, 50);
      assert.deepEqual(second, { changes: [], next: null });
    });

    it('is refused for a kind that is not there', async () => {
      await assert.rejects(listChanges(database, { kind: 'nosuch' }, null, 10), {
        code: 'unknown_kind',
      });
    });
  });
}
