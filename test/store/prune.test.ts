// Pruning: what is older is gone, what is left tells so, and nobody waits.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explainObject } from '../../src/explain.js';
import { declareKinds, Sharder, SharderError, type Database } from '../../src/index.js';
import { listChanges } from '../../src/store/change-pages.js';
import { objectHistory, objectsAt } from '../../src/store/history.js';
import * as store from '../../src/store/objects.js';
import { pruneHistory } from '../../src/store/prune.js';
import { declareHub, engines, hubs, open } from '../engines.js';

const BY = { actor: 'test', reason: 'the law' };
const OLD = new Date('2020-01-01T00:00:00.000Z');
const HORIZON = new Date('2021-01-01T00:00:00.000Z');

for (const engine of engines) {
  describe(`pruning the history on ${engine.name}`, engine.options, () => {
    /** Object `a`, moved from hub-0 to hub-1 in 2020 and to hub-2 now; ten lines of 2020 of each kind. */
    async function prepared() {
      const database = await open(await engine.createDatabase());
      await declareHub(database, hubs(3));
      await declareKinds(database, { homedir: { buckets: [{ name: 'home-0' }] } }, 'test');
      const sharder = await Sharder.start(database);
      await sharder.assign('hub', 'a');
      const { knex } = database;
      const at = (time: Date) => (engine.name === 'sqlite' ? time.toISOString() : time);
      await knex('shard').update({ assigned_at: at(new Date('2019-01-01T00:00:00Z')) });
      await database.write((trx) => store.moveObject(trx, 'hub', 'a', 'hub-1', BY));
      for (const kind of ['hub', 'homedir']) {
        const line = { kind, actor: 'test', action: 'object remove', from_bucket: 'x' };
        const gone = Array.from({ length: 10 }, (_, i) => ({ ...line, name: `gone-${i}` }));
        await knex('change').insert(gone);
      }
      await knex('change').update({ at: at(OLD) });
      return { database, sharder, at };
    }

    const move = (database: Database, to = 'hub-2') =>
      database.write((trx) => store.moveObject(trx, 'hub', 'a', to, BY));
    const lines = (database: Database) =>
      database
        .knex('change')
        .orderBy('id')
        .select<{ id: number | string; kind: string }[]>('id', 'kind');
    const count = async (database: Database, kind: string) =>
      (await lines(database)).filter((line) => line.kind === kind).length;

    it('deletes what is older, of one kind or of all, and leaves a line that says so', async () => {
      const { database } = await prepared();
      await move(database);
      const before = { before: HORIZON, chunkSize: 3 };
      const there = {
        hub: await count(database, 'hub'),
        homedir: await count(database, 'homedir'),
      };
      const old = { hub: there.hub - 1, homedir: there.homedir };
      const both = [
        { kind: 'homedir', lines: old.homedir },
        { kind: 'hub', lines: old.hub },
      ];
      assert.deepEqual(await pruneHistory(database, { ...before, isDry: true }, BY), both);
      assert.equal(await count(database, 'hub'), there.hub);

      const pruned = await pruneHistory(database, { ...before, kind: 'hub' }, BY);
      assert.deepEqual(pruned, [{ kind: 'hub', lines: old.hub }]);
      assert.equal(await count(database, 'homedir'), there.homedir);
      const left = (await listChanges(database, { kind: 'hub' }, null, 10)).changes;
      assert.deepEqual(
        left.map(({ action, name, detail, actor, reason }) => [
          action,
          name,
          detail,
          actor,
          reason,
        ]),
        [
          [
            'history prune',
            null,
            { before: HORIZON.toISOString(), lines: old.hub },
            'test',
            'the law',
          ],
          ['object move', 'a', null, 'test', 'the law'],
        ],
      );

      const rest = await pruneHistory(database, before, BY);
      assert.deepEqual(rest, [{ kind: 'homedir', lines: old.homedir }]);
      assert.equal(await count(database, 'hub'), 2, 'nothing to delete leaves no line');
    });

    it('never deletes the lines that tell of it, and gives no id a second time', async () => {
      const { database } = await prepared();
      const ids = new Set((await lines(database)).map(({ id }) => Number(id)));
      for (let i = 0; i < 2; i++) {
        await move(database, i === 0 ? 'hub-2' : 'hub-0');
        await new Promise((resolve) => setTimeout(resolve, 5));
        await pruneHistory(database, { before: new Date(), chunkSize: 4 }, BY);
        for (const { id } of await lines(database)) assert.ok(!ids.has(Number(id)));
        const left = [await count(database, 'hub'), await count(database, 'homedir')];
        assert.deepEqual(left, [1 + i, 1]);
      }
    });

    it('leaves no first assignment, and no cause, that is not known any more', async () => {
      const { database, sharder } = await prepared();
      assert.equal((await objectHistory(database, 'hub', 'a')).assigned?.bucket, 'hub-0');
      await pruneHistory(database, { before: HORIZON }, BY);
      const history = await objectHistory(database, 'hub', 'a');
      assert.deepEqual(history, {
        assigned: { at: '2019-01-01T00:00:00.000Z', bucket: null },
        changes: [],
        pruned_before: HORIZON.toISOString(),
      });
      const { change, pruned_before } = await explainObject(database, 'hub', 'a');
      assert.deepEqual([change, pruned_before], [null, HORIZON.toISOString()]);

      await move(database);
      const moved = await objectHistory(database, 'hub', 'a');
      assert.deepEqual([moved.assigned?.bucket, moved.changes.length], [null, 1]);
      await sharder.assign('hub', 'new');
      const fresh = await objectHistory(database, 'hub', 'new');
      assert.equal(fresh.assigned?.bucket, 'hub-0', 'of one that came after, it is known');
    });

    it('refuses to tell where everyone was before, and says from when on it can', async () => {
      const { database } = await prepared();
      const at = async (time: Date, kind = 'hub') => {
        const found = [];
        for await (const page of objectsAt(database, kind, time, 2)) found.push(...page);
        return found;
      };
      assert.deepEqual(await at(new Date('2019-06-01')), [
        { kind: 'hub', name: 'a', bucket: 'hub-0' },
      ]);
      await pruneHistory(database, { before: HORIZON, kind: 'hub' }, BY);
      await assert.rejects(at(new Date(HORIZON.getTime() - 1)), {
        code: 'forgotten',
        message: /begins at 2021-01-01T00:00:00\.000Z/,
      });
      assert.deepEqual(await at(HORIZON), [{ kind: 'hub', name: 'a', bucket: 'hub-1' }]);
      assert.deepEqual(await at(OLD, 'homedir'), []);
    });

    it('that happens between two pages of a list is noticed', async () => {
      const { database, sharder } = await prepared();
      for (const name of ['b', 'c', 'd']) await sharder.assign('hub', name);
      await database.knex('shard').update({ assigned_at: new Date(0).toISOString() });
      const pages = objectsAt(database, 'hub', new Date('2019-06-01'), 1);
      assert.equal((await pages.next()).done, false);
      await pruneHistory(database, { before: HORIZON }, BY);
      await assert.rejects(pages.next(), (error: unknown) => {
        return error instanceof SharderError && error.code === 'forgotten';
      });
    });

    it('that is broken off has told what it has deleted, and goes on when it is called again', async () => {
      const { database } = await prepared();
      const old = await count(database, 'hub');
      let chunks = 0;
      const broken = new Proxy(database, {
        get: (target, key) => {
          if (key === 'write' && ++chunks > 2) throw new Error('the power went out');
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
      const options = { before: HORIZON, kind: 'hub', chunkSize: 3 };
      await assert.rejects(pruneHistory(broken, options, BY), /the power went out/);
      const [told] = (await listChanges(database, { action: 'history prune' }, null, 10)).changes;
      const left = await count(database, 'hub');
      assert.ok(left > 1);
      assert.deepEqual(told?.detail, { before: HORIZON.toISOString(), lines: old - (left - 1) });
      const [again] = await pruneHistory(database, options, BY);
      assert.equal(again?.lines, left - 1);
    });

    it('goes by the time of a line, whatever the order in which they were written', async () => {
      const { database, at } = await prepared();
      const ids = (await lines(database)).map(({ id }) => id);
      const young = ids.filter((_, i) => i % 2 === 0);
      await database
        .knex('change')
        .whereIn('id', young)
        .update({ at: at(HORIZON) });
      await pruneHistory(database, { before: HORIZON, chunkSize: 3 }, BY);
      const left = (await lines(database)).map(({ id }) => id);
      assert.deepEqual(left.slice(0, young.length), young);
      assert.equal(left.length, young.length + 2);
    });

    it('is refused for a time that is to come, or a kind that is not there', async () => {
      const { database } = await prepared();
      const there = await lines(database);
      const before = new Date(Date.now() + 60_000);
      await assert.rejects(pruneHistory(database, { before }, BY), { code: 'bad_request' });
      const nosuch = { before: HORIZON, kind: 'nosuch' };
      await assert.rejects(pruneHistory(database, nosuch, BY), { code: 'unknown_kind' });
      assert.deepEqual(await lines(database), there);
    });

    if (engine.name === 'sqlite') return; // it has one writer at a time
    it("waits for nobody who has a kind's lock, and so keeps nobody waiting", async () => {
      const { database } = await prepared();
      await database.knex.transaction(async (trx) => {
        await trx('kind').increment('version');
        const pruned = await pruneHistory(database, { before: HORIZON }, BY);
        assert.equal(pruned.length, 2);
      });
    });
  });
}
