// What happens to a kind is told once, in order and whole, from any place on; or it is said that it is
// no longer known.

import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { declareKinds, Sharder, type Database } from '../../src/index.js';
import { KEPT } from '../../src/store/arrivals.js';
import { addBucket, removeBucket } from '../../src/store/buckets.js';
import {
  eventsPage,
  formatPlace,
  parsePlace,
  placeNow,
  type KindEvent,
} from '../../src/store/events.js';
import { createKind, getKind, removeKind, setKind } from '../../src/store/kinds.js';
import { mergeObjects, moveObject, removeObject, renameObject } from '../../src/store/objects.js';
import { pruneHistory } from '../../src/store/prune.js';
import { follow } from '../../src/watch/follow.js';
import { Ticker } from '../../src/watch/ticker.js';
import { declareHub, engines, hubs, open, type TestEngine } from '../engines.js';
import { eventually, names } from '../load.js';

const BY = { actor: 'test', reason: 'why not' };

/** Two replicas on one database. */
async function replicas(engine: TestEngine): Promise<readonly [Sharder, Sharder]> {
  const url = await engine.createDatabase();
  const first = await open(url);
  await declareHub(first, hubs(5));
  return [await Sharder.start(first), await Sharder.start(await open(url))];
}

/** All from a place on, in pages of this size. */
async function readAll(
  database: Database,
  since: string,
  { kind = 'hub', limit = 500 } = {},
): Promise<KindEvent[]> {
  const events: KindEvent[] = [];
  for (let place = parsePlace(since); ;) {
    const page = await eventsPage(database, kind, place, limit);
    assert.equal(page.events.length <= limit, true);
    events.push(...page.events);
    if (page.isLast) return events;
    place = page.next;
  }
}

const now = async (database: Database) => formatPlace(await placeNow(database, 'hub'));

const move = (database: Database, name: string, to: string) =>
  database.write((trx) => moveObject(trx, 'hub', name, to, BY));

async function assignAll({ assign }: { assign: (name: string) => unknown }, all: string[]) {
  for (let i = 0; i < all.length; i += 1_000) {
    await Promise.all(all.slice(i, i + 1_000).map(assign));
  }
}

/** Holds that these are all of the kind, from the beginning, by the tables. */
async function assertWhole({ knex }: Database, told: readonly KindEvent[]): Promise<void> {
  const places = told.map(({ id }) => parsePlace(id));
  const wrong = places.filter(({ version, index }, i) => {
    const before = places[i - 1] ?? { version: 0, index: 0 };
    return version < before.version || (version === before.version && index <= before.index);
  });
  assert.deepEqual(wrong, [], 'in order, and each once');

  const lines: { id: number | string; version: number | string }[] = await knex('change')
    .where({ kind: 'hub' })
    .whereNot({ action: 'history prune' })
    .orderBy('id')
    .select('id', 'version');
  assert.deepEqual(
    told.filter(({ action }) => action !== 'object assign').map(({ id }) => id),
    lines.map(({ id, version }) => `${version}.${id}`),
  );

  const rows: { name: string; bucket: string }[] = await knex('shard').select('name', 'bucket');
  const where = new Map<string, string>();
  for (const { action, name, to_bucket } of told) {
    if (name === null) continue;
    if (action === 'object assign') assert.equal(where.has(name), false, name);
    if (to_bucket === null) where.delete(name);
    else where.set(name, to_bucket);
  }
  assert.deepEqual(
    [...where].sort(),
    rows.map(({ name, bucket }) => [name, bucket]).sort(),
    'who applies them has what the table has',
  );
}

for (const engine of engines) {
  describe(`what happens to a kind on ${engine.name}`, engine.options, () => {
    it('is told once and in order to all who go and come again at another replica, whatever is written meanwhile', async () => {
      const both = await replicas(engine);
      const [first, second] = both;
      const tickers = both.map(({ database }) => new Ticker(database));
      const last = { place: '' };
      const watch = async (seed: number): Promise<KindEvent[]> => {
        const told: KindEvent[] = [];
        for (let round = seed; ; round++) {
          const end = new AbortController();
          const ticker = tickers[round % 2];
          assert.ok(ticker);
          const since = told.at(-1)?.id ?? '0';
          let left = 1 + ((round * 7_919) % 40);
          for await (const page of follow(ticker, 'hub', { since, signal: end.signal })) {
            // Some go in the middle of a page, and of a transaction.
            const taken = page.events.slice(0, left * 17);
            told.push(...taken);
            if (told.at(-1)?.id === last.place) return told;
            if (taken.length < page.events.length || --left === 0) break;
          }
          end.abort();
        }
      };
      const watching = Promise.all([1, 2, 3, 4, 5, 6].map(watch));

      const write = async (sharder: Sharder, prefix: string): Promise<void> => {
        const { database } = sharder;
        const all = [...names(prefix, 1_500)];
        await Promise.all(
          all.map(async (name, i) => {
            for (let wait = 0; wait < i % 50; wait++) await turn();
            await sharder.assign('hub', name);
          }),
        );
        for (const name of all.slice(0, 60)) await move(database, name, 'hub-4');
        for (const name of all.slice(60, 70)) {
          await database.write((trx) => removeObject(trx, 'hub', name, BY));
          await database.write((trx) => renameObject(trx, 'hub', `${prefix}-9`, name, BY));
          await database.write((trx) => renameObject(trx, 'hub', name, `${prefix}-9`, BY));
        }
        const [a = '', b = ''] = all.slice(80);
        await database.write((trx) => mergeObjects(trx, 'hub', a, b, BY, { keep: 'from' }));
      };
      await Promise.all([
        write(first, 'a'),
        write(second, 'b'),
        assignAll({ assign: (name) => first.assign('hub', name) }, [...names('c', 2_000)]),
        assignAll({ assign: (name) => second.assign('hub', name) }, [...names('c', 2_000)]),
      ]);
      await move(first.database, 'c-0', 'hub-3');
      const [line]: { id: number; version: number }[] = await first.database
        .knex('change')
        .orderBy('id', 'desc')
        .limit(1)
        .select('id', 'version');
      last.place = `${line?.version ?? ''}.${line?.id ?? ''}`;
      const all = await watching;
      const [whole = []] = all;
      await assertWhole(first.database, whole);
      for (const told of all) assert.deepEqual(told, whole);
      assert.equal(whole.length > 5_000, true);
    });

    it('comes in pages of any size, from the middle of a transaction on too', async () => {
      const [sharder] = await replicas(engine);
      const { database } = sharder;
      await assignAll({ assign: (name) => sharder.assign('hub', name) }, [...names('USER', 3_000)]);
      // Two lines for each object, in one version.
      await database.write((trx) => setKind(trx, 'hub', { normalize: 'lower' }, BY));
      await assignAll({ assign: (name) => sharder.assign('hub', name) }, [...names('new', 1_000)]);
      const whole = await readAll(database, '0');
      await assertWhole(database, whole);
      const sizes = new Map<number, number>();
      for (const { version } of whole) sizes.set(version, (sizes.get(version) ?? 0) + 1);
      assert.equal(Math.max(...sizes.values()) > 6_000, true, 'one version has many');
      for (const limit of [7, 333, 5_000]) {
        assert.deepEqual(await readAll(database, '0', { limit }), whole);
      }
      for (let i = 0; i < whole.length; i += 997) {
        const rest = await readAll(database, whole[i]?.id ?? '');
        assert.deepEqual(rest, whole.slice(i + 1));
      }
      const version = whole[4_000]?.version ?? 0;
      assert.deepEqual(
        await readAll(database, String(version)),
        whole.filter((event) => event.version > version),
      );
    });

    it('of a place that it has not come to, or that is none, is refused', async () => {
      const [{ database }] = await replicas(engine);
      const { version } = await getKind(database.knex, 'hub');
      assert.deepEqual(await readAll(database, String(version)), []);
      await assert.rejects(readAll(database, String(version + 1)), { code: 'bad_request' });
      await assert.rejects(readAll(database, '1', { kind: 'nosuch' }), { code: 'unknown_kind' });
      for (const text of ['', 'x', '-1', '1.', '1.2.3', '.1', '1e3', '9'.repeat(16)]) {
        assert.throws(() => parsePlace(text), { code: 'bad_request' }, text);
      }
    });

    it('is forgotten, and said to be, when so much has come since that it is not kept', async () => {
      const [sharder] = await replicas(engine);
      const { database } = sharder;
      const assign = (name: string) => sharder.assign('hub', name);
      await assignAll({ assign }, [...names('first', 1_500)]);
      const [early] = await readAll(database, '0');
      const half = (await readAll(database, '0')).find(({ name }) => name === 'first-700')?.id;
      assert.ok(early && half);
      const kept = async () => {
        const [first] = await database
          .knex('arrival')
          .where({ kind: 'hub' })
          .orderBy('version')
          .limit(1)
          .pluck<(number | string)[]>('version');
        return Number(first);
      };
      const before = await kept();
      await assignAll({ assign }, [...names('then', KEPT + 10_000)]);
      const since = await now(database);
      await assignAll({ assign }, [...names('last', 2_500)]);
      await eventually('those that are too many are gone', async () => {
        return (await kept()) > Math.max(before, parsePlace(half).version);
      });
      for (const place of [early.id, half, '0', String(early.version)]) {
        await assert.rejects(readAll(database, place), { code: 'forgotten' }, place);
      }
      const told = await readAll(database, since);
      assert.deepEqual(
        told.map(({ name }) => name).sort(),
        [...names('last', 2_500)].sort(),
        'what is kept is whole',
      );
      const first = await kept();
      const rest = await readAll(database, `${first}.1`);
      assert.equal(rest.length > KEPT - 3_000 && rest.length < KEPT + 13_000, true);
      await assert.rejects(readAll(database, String(first - 2)), { code: 'forgotten' });
    });

    it('is forgotten in the middle of a transaction that is not kept, and known from its end on', async () => {
      const [sharder] = await replicas(engine);
      const { database } = sharder;
      const assign = (name: string) => sharder.assign('hub', name);
      await assignAll({ assign }, [...names('half', 10)]);
      await sharder.assign('hub', 'then');
      const half = (await readAll(database, '0')).find(({ name }) => name === 'half-4');
      assert.ok(half);
      const { version } = half;
      await database.knex('arrival').where('version', '<=', version).delete();
      await assert.rejects(readAll(database, half.id), { code: 'forgotten' });
      const told = await readAll(database, String(version));
      assert.deepEqual(
        told.map(({ name }) => name),
        ['then'],
      );
    });

    it('is forgotten where lines were pruned since', async () => {
      const [sharder] = await replicas(engine);
      const { database } = sharder;
      await sharder.assign('hub', 'iana');
      const before = await now(database);
      await move(database, 'iana', 'hub-3');
      const [moved] = await readAll(database, before);
      const since = await now(database);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await pruneHistory(database, { before: new Date() }, BY);
      await assert.rejects(readAll(database, before), { code: 'forgotten' });
      await assert.rejects(readAll(database, moved?.id ?? ''), { code: 'forgotten' });
      await move(database, 'iana', 'hub-2');
      const told = await readAll(database, since);
      assert.deepEqual(
        told.map(({ action, to_bucket }) => [action, to_bucket]),
        [['object move', 'hub-2']],
        'pruning itself is nothing that happens to a kind',
      );
    });

    it('ends with the kind, and goes on with another of the same name, whose versions are higher', async () => {
      const [sharder, other] = await replicas(engine);
      const { database } = sharder;
      await declareKinds(database, { home: { buckets: [{ name: 'home-0' }] } }, 'test');
      await sharder.assign('home', 'iana');
      const { version: early } = await getKind(database.knex, 'home');
      const watching = (async () => {
        const told: KindEvent[] = [];
        const options = { since: '0', signal: new AbortController().signal };
        for await (const page of follow(new Ticker(other.database), 'home', options)) {
          told.push(...page.events);
        }
        return told;
      })();
      await database.write((trx) => removeObject(trx, 'home', 'iana', BY));
      await database.write((trx) => removeBucket(trx, 'home', 'home-0', BY));
      await database.write((trx) => removeKind(trx, 'home', BY));
      const told = await watching;
      const actions = ['bucket add', 'object assign', 'object remove', 'bucket remove'];
      assert.deepEqual(
        told.map(({ action }) => action),
        [...actions, 'kind remove'],
      );
      await assert.rejects(placeNow(database, 'home'), { code: 'unknown_kind' });

      // Whoever comes again is told the rest of it.
      const since = told.at(-3)?.id;
      const rest: KindEvent[] = [];
      const { signal } = new AbortController();
      for await (const page of follow(new Ticker(database), 'home', { since, signal })) {
        rest.push(...page.events);
      }
      assert.deepEqual(rest, told.slice(-2));

      const last = told.at(-1);
      await database.write((trx) => createKind(trx, 'home', {}, BY));
      await database.write((trx) => addBucket(trx, 'home', 'home-1', {}, BY));
      await sharder.assign('home', 'iana');
      const on = await readAll(database, last?.id ?? '', { kind: 'home' });
      assert.deepEqual(
        on.map(({ action }) => action),
        ['kind create', 'bucket add', 'object assign'],
      );
      assert.equal((on[0]?.version ?? 0) > (last?.version ?? 0), true);
      const fromBefore = readAll(database, String(early - 1), { kind: 'home' });
      await assert.rejects(fromBefore, { code: 'forgotten' });
      const { length } = await database.knex('arrival').where({ kind: 'home' });
      assert.equal(length, 2);
    });

    it('is not known from before the database knew of watching', async () => {
      const [{ database }] = await replicas(engine);
      const { version } = await getKind(database.knex, 'hub');
      const none = engine.name === 'sqlite' ? '[]' : '{}';
      // As the migration leaves it.
      await database.knex('arrival').insert({
        ...{ kind: 'hub', version, previous: version, total: 0, names: none, buckets: none },
      });
      await assert.rejects(readAll(database, String(version - 1)), { code: 'forgotten' });
      assert.deepEqual(await readAll(database, String(version)), []);
    });

    it('that nothing happens leaves nothing, and makes no version lost', async () => {
      const [sharder] = await replicas(engine);
      const { database } = sharder;
      await sharder.assign('hub', 'iana');
      const since = await now(database);
      const { bucket } = await sharder.assign('hub', 'iana');
      await move(database, 'iana', bucket.name); // it takes the lock all the same
      assert.notEqual(await now(database), since);
      assert.deepEqual(await readAll(database, since), []);
    });
  });
}
