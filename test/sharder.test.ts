// What always holds, by name: one test or more for each rule that the sharder itself keeps, on both
// engines.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { declareKinds, openDatabase, Sharder, type SharderError } from '../src/index.js';
import {
  outsider,
  replicaOf,
  holdKind,
  eventually,
  isHeard,
  assign,
  bucketOf,
  found,
  names,
  assignAll,
  counts,
  members,
  rowCount,
  version,
  isRefused,
  spread,
} from './asking.js';
import { declareHub, engines, hubs, open, startSharder } from './engines.js';

// Fails for this one name in a way that no retry mends.
const REFUSE_POISON = {
  sqlite: `create trigger refuse_poison before insert on shard when new.name = 'poison'
    begin select raise(abort, 'poison'); end`,
  postgres: `alter table shard add constraint refuse_poison check (name <> 'poison')`,
};

for (const engine of engines) {
  describe(`one answer, on ${engine.name}`, engine.options, () => {
    it('a thousand first requests at once for one name leave one row and give one answer', async () => {
      const sharder = await startSharder(engine);
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async () => sharder.assign('hub', 'iana')),
      );
      assert.equal(new Set(answers.map(({ bucket }) => bucket.name)).size, 1);
      assert.equal(answers.filter(({ reason }) => reason === 'assigned').length, 1);
      const rows = await sharder.database.knex('shard').select('kind', 'bucket', 'name');
      assert.deepEqual(rows, [{ kind: 'hub', bucket: 'hub-0', name: 'iana' }]);
    });

    it('the same names asked of four replicas at once get one row and one answer each', async () => {
      const first = await startSharder(engine, hubs(7));
      const replicas = [first];
      while (replicas.length < 4) replicas.push(await replicaOf(first));
      const all = names(700);
      const answers = await Promise.all(
        replicas.map((replica, i) =>
          // Each begins elsewhere, so that each is first with some.
          assignAll(replica, [...all.slice(i * 175), ...all.slice(0, i * 175)]).then((list) => [
            ...list.slice(list.length - i * 175),
            ...list.slice(0, list.length - i * 175),
          ]),
        ),
      );
      for (const [i, name] of all.entries()) {
        const given = answers.map((list) => list[i]);
        assert.equal(new Set(given.map((answer) => answer?.bucket.name)).size, 1, name);
        assert.equal(given.filter((answer) => answer?.reason === 'assigned').length, 1, name);
      }
      assert.equal(await rowCount(first), 700);
      assert.ok(spread(await counts(first)) <= 1);
    });

    const ODD_NAMES = [
      ...['iana', 'Iana', 'IANA', 'i.ana', 'ia na', 'ia  na', 'iana@uni.example', 'i/a/n/a'],
      ...["o'neil", '"', '\\', '%', '_', '?', '??', '$1', ':name', ';--', '{}', 'null', '1', '01'],
      ...['__proto__', 'constructor', 'ß', 'ss', 'é', 'e\u0301', 'ı', 'i', '名前', '🦄', '\ufffc'],
      ...['a'.repeat(256), 'é'.repeat(128), '🦄'.repeat(64)],
    ];

    it('names that look alike are different objects, each with the answer of its own', async () => {
      // Two buckets per name: none has to share.
      const sharder = await startSharder(engine, hubs(ODD_NAMES.length));
      await declareKinds(sharder.database, { hub: { names: 'any', buckets: [] } }, 'test');
      const answers = await assignAll(sharder, ODD_NAMES);
      const given = answers.map(({ bucket }) => bucket.name);
      assert.equal(new Set(given).size, ODD_NAMES.length);

      const rows = await sharder.database
        .knex('shard')
        .select<{ name: string; bucket: string }[]>('name', 'bucket');
      assert.deepEqual(
        new Map(rows.map(({ name, bucket }) => [name, bucket])),
        new Map(ODD_NAMES.map((name, i) => [name, given[i]])),
      );
      const replica = await replicaOf(sharder);
      const again = await Promise.all(ODD_NAMES.map((name) => found(replica, name)));
      assert.deepEqual(again, given);
    });

    it('a name that could be taken for another is refused, and nothing is stored', async () => {
      const sharder = await startSharder(engine);
      const bad = [
        ...[
          '',
          ' ',
          ' iana',
          'iana ',
          '\tiana',
          'iana\n',
          '\u00a0iana',
          'iana\u2003',
          '\ufeffiana',
        ],
        ...['ia\nna', 'ia\0na', 'ia\x1fna', 'iana\x7f', 'ia\u0085na', '\ud83e', 'ia\udd84na'],
        ...['a'.repeat(257), 'é'.repeat(128) + 'a', '🦄'.repeat(65), 'a'.repeat(1_000_000)],
      ];
      for (const name of bad) {
        await assert.rejects(assign(sharder, name), isRefused('bad_name'), JSON.stringify(name));
        await assert.rejects(sharder.find('hub', name), isRefused('bad_name'));
      }
      assert.equal(await rowCount(sharder), 0);
    });

    it('a kind that nobody declared is refused, until somebody declares it', async () => {
      const sharder = await startSharder(engine);
      for (const kind of ['home', '', 'Hub', 'hub ', 'a/b', '-x', '__proto__', 'h'.repeat(64)]) {
        await assert.rejects(assign(sharder, 'iana', kind), isRefused('unknown_kind'), kind);
      }
      await declareKinds(sharder.database, { home: { buckets: [{ name: 'home-0' }] } }, 'test');
      assert.equal((await assign(sharder, 'iana', 'home')).bucket.name, 'home-0');
    });

    it('an object of one kind is another than that of the same name and another kind', async () => {
      const sharder = await startSharder(engine, hubs(1));
      await declareKinds(sharder.database, { home: { buckets: [{ name: 'home-0' }] } }, 'test');
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      assert.equal(await sharder.find('home', 'iana'), undefined);
      assert.equal((await assign(sharder, 'iana', 'home')).bucket.name, 'home-0');
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
    });
  });

  describe(`for ever, on ${engine.name}`, engine.options, () => {
    it('whoever has an answer can see its row from any other connection', async () => {
      const sharder = await startSharder(engine);
      await Promise.all(
        names(200).map(async (name) => {
          const { bucket } = await assign(sharder, name);
          const row: unknown = await sharder.database.knex('shard').where({ name }).first('bucket');
          assert.deepEqual(row, { bucket: bucket.name });
        }),
      );
    });

    it('the same answers come after the database was closed and opened again', async () => {
      const url = await engine.createDatabase();
      const database = await openDatabase(url);
      await declareHub(database, hubs(5));
      const before = await assignAll(await Sharder.start(database), names(100));
      await database.close();
      const restarted = await Sharder.start(await open(url));
      const after = await assignAll(restarted, names(100));
      assert.deepEqual(
        after.map(({ bucket }) => bucket.name),
        before.map(({ bucket }) => bucket.name),
      );
      assert.ok(after.every(({ reason }) => reason === 'existing'));
    });

    it('nobody moves when buckets are added, cordoned, filled or weighted anew', async (t) => {
      const sharder = await startSharder(engine, hubs(3));
      const all = names(90);
      const before = await assignAll(sharder, all);
      const other = await outsider(t, sharder);
      await other.run(`update bucket set state = 'cordoned' where name = 'hub-0'`);
      await other.run(`update bucket set capacity = 1 where name = 'hub-1'`);
      await declareHub(sharder.database, { 'hub-2': { weight: 1000 }, 'hub-9': {} });
      await assignAll(sharder, names(50, 'new'));
      const restarted = await replicaOf(sharder);
      for (const replica of [sharder, restarted]) {
        const now = await assignAll(replica, all);
        assert.deepEqual(
          now.map(({ bucket }) => bucket.name),
          before.map(({ bucket }) => bucket.name),
        );
      }
    });
  });

  describe(`even, on ${engine.name}`, engine.options, () => {
    it('five thousand first requests at once differ by one at most over seven buckets', async () => {
      const sharder = await startSharder(engine, hubs(7));
      await assignAll(sharder, names(5000));
      const perBucket = await counts(sharder);
      assert.equal(await rowCount(sharder), 5000);
      assert.ok(spread(perBucket) <= 1, JSON.stringify(perBucket));
    });

    it('weights of 1, 2 and 5 share 800 objects as 100, 200 and 500', async () => {
      const sharder = await startSharder(engine, {
        'hub-0': { weight: 1 },
        'hub-1': { weight: 2 },
        'hub-2': { weight: 5 },
      });
      await assignAll(sharder, names(800));
      assert.deepEqual(await counts(sharder), { 'hub-0': 100, 'hub-1': 200, 'hub-2': 500 });
    });

    it('ties go by name, whatever order the buckets came in', async () => {
      const sharder = await startSharder(engine, { b: {}, a: {}, Z: {}, c: {} });
      const order: string[] = [];
      for (const name of names(8)) order.push(await bucketOf(sharder, name));
      assert.deepEqual(order, ['Z', 'a', 'b', 'c', 'Z', 'a', 'b', 'c']);
    });

    it('a bucket that is added later fills first', async () => {
      const sharder = await startSharder(engine, hubs(2));
      await assignAll(sharder, names(100));
      await declareHub(sharder.database, { 'hub-9': {} });
      const answers = await assignAll(sharder, names(49, 'new'));
      assert.deepEqual([...new Set(answers.map(({ bucket }) => bucket.name))], ['hub-9']);
      await assignAll(sharder, names(4, 'newer'));
      assert.deepEqual(await counts(sharder), { 'hub-0': 51, 'hub-1': 51, 'hub-9': 51 });
    });
  });

  describe(`counted, on ${engine.name}`, engine.options, () => {
    it('members is the count of the rows while replicas assign and outsiders move and delete', async (t) => {
      const sharder = await startSharder(engine, hubs(4));
      const replica = await replicaOf(sharder);
      await assignAll(sharder, names(200));
      const other = await outsider(t, sharder);
      const meddle = async () => {
        for (let i = 0; i < 20; i++) {
          await eventually(() =>
            other.run(`update shard set bucket = 'hub-0' where name like 'user-${i}%'`),
          );
          await eventually(() => other.run(`delete from shard where name = 'user-${100 + i}'`));
          await nextTurn();
        }
      };
      await Promise.all([
        assignAll(sharder, names(1500, 'a')),
        assignAll(replica, names(1500, 'b')),
        meddle(),
      ]);
      assert.equal(await rowCount(sharder), 3180);
      assert.deepEqual(await members(sharder), await counts(sharder));
    });

    it('the version of the kind grows by one with every batch that assigned', async () => {
      const sharder = await startSharder(engine);
      let batches = 0;
      sharder.on('batch', () => batches++);
      const before = await version(sharder);
      await assignAll(sharder, names(2500));
      assert.ok(batches >= 3, 'a batch takes a thousand names at most');
      assert.equal(await version(sharder), before + batches);

      await assignAll(await replicaOf(sharder), names(2500));
      assert.equal(await version(sharder), before + batches, 'those that are known write nothing');
    });
  });

  describe(`placed only where allowed, on ${engine.name}`, engine.options, () => {
    it('capacity is reached exactly by many at once; the others are told and nothing is stored', async () => {
      const sharder = await startSharder(engine, {
        'hub-0': { capacity: 100 },
        'hub-1': { capacity: 30, weight: 3 },
        'hub-2': { capacity: 0 },
      });
      const results = await Promise.allSettled(names(200).map((name) => assign(sharder, name)));
      const refused = results.filter((result) => result.status === 'rejected');
      assert.equal(refused.length, 70);
      for (const { reason } of refused) isRefused('no_room')(reason as SharderError);
      assert.deepEqual(await counts(sharder), { 'hub-0': 100, 'hub-1': 30, 'hub-2': 0 });

      const before = await version(sharder);
      await assert.rejects(assign(sharder, 'late'), isRefused('no_room'));
      assert.equal(await found(sharder, 'late'), undefined);
      assert.equal(await version(sharder), before);
      assert.equal(await bucketOf(sharder, 'user-0'), await found(sharder, 'user-0'));

      await declareHub(sharder.database, { 'hub-2': { capacity: 1 } });
      assert.equal(await bucketOf(sharder, 'late'), 'hub-2');
    });

    it('two replicas fill the last places together without passing the capacity', async () => {
      const sharder = await startSharder(engine, { 'hub-0': { capacity: 333 } });
      const replica = await replicaOf(sharder);
      const results = await Promise.allSettled([
        ...names(250, 'a').map((name) => assign(sharder, name)),
        ...names(250, 'b').map((name) => assign(replica, name)),
      ]);
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 333);
      assert.deepEqual(await members(sharder), { 'hub-0': 333 });
    });

    for (const state of ['cordoned', 'draining']) {
      it(`a ${state} bucket gets nothing new and keeps answering for those it has`, async (t) => {
        const sharder = await startSharder(engine, hubs(2));
        assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
        const other = await outsider(t, sharder);
        await other.run(`update bucket set state = '${state}' where name = 'hub-0'`);
        const answers = await assignAll(sharder, names(20));
        assert.ok(answers.every(({ bucket }) => bucket.name === 'hub-1'));
        const replica = await replicaOf(sharder);
        for (const each of [sharder, replica]) {
          const answer = await assign(each, 'iana');
          assert.equal(answer.bucket.name, 'hub-0');
          assert.equal(answer.reason, 'existing');
        }

        await other.run(`update bucket set state = '${state}'`);
        await assert.rejects(assign(sharder, 'late'), isRefused('no_room'));
        assert.equal(await rowCount(sharder), 21);
      });
    }

    it('a kind without buckets has no room', async () => {
      const sharder = await startSharder(engine, {});
      await assert.rejects(assign(sharder, 'iana'), isRefused('no_room'));
    });

    it('an assignment that fails stores nothing, leaves the version, and harms no later one', async (t) => {
      const sharder = await startSharder(engine);
      const other = await outsider(t, sharder);
      await other.run(REFUSE_POISON[engine.name]);
      const before = await version(sharder);
      const results = await Promise.allSettled(
        ['iana', 'poison', 'ivan'].map((name) => assign(sharder, name)),
      );
      assert.ok(results.every(({ status }) => status === 'rejected'));
      assert.equal(await rowCount(sharder), 0);
      assert.equal(await version(sharder), before);
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      assert.equal(await version(sharder), before + 1);
    });
  });

  describe(`fresh, on ${engine.name}`, engine.options, () => {
    const CHANGES = [
      { what: 'moved', sql: `update shard set bucket = 'hub-4' where name = 'iana'`, now: 'hub-4' },
      { what: 'deleted', sql: `delete from shard where name = 'iana'`, now: undefined },
      {
        what: 'deleted with all others',
        sql: engine.name === 'sqlite' ? 'delete from shard' : 'truncate shard',
        now: undefined,
      },
      {
        what: 'renamed',
        sql: `update shard set name = 'ivan' where name = 'iana'`,
        now: undefined,
      },
      {
        what: 'replaced by another that took its name',
        sql: `begin; delete from shard where name = 'iana';
          update shard set name = 'iana' where name = 'user-0'; commit`,
        now: 'hub-1',
      },
      {
        what: 'moved with a thousand others by one statement',
        sql: `update shard set bucket = 'hub-4'`,
        now: 'hub-4',
      },
    ];
    for (const { what, sql, now } of CHANGES) {
      it(`an answer is dropped when its object is ${what} by an outsider`, async (t) => {
        const sharder = await startSharder(engine);
        assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
        await assignAll(sharder, names(1200));
        const other = await outsider(t, sharder);
        assert.equal(await found(sharder, 'iana'), 'hub-0');
        await other.run(sql);
        await isHeard(sharder, async () => {
          assert.equal(await found(sharder, 'iana'), now);
        });
        if (now !== undefined) assert.equal(await bucketOf(sharder, 'iana'), now);
      });
    }

    it('an object that was deleted is assigned anew, and renamed it keeps its bucket', async (t) => {
      const sharder = await startSharder(engine);
      const other = await outsider(t, sharder);
      await assignAll(sharder, ['iana', 'ivan']);
      await other.run(`delete from shard where name = 'iana'`);
      await other.run(`update shard set name = 'igor' where name = 'ivan'`);
      await isHeard(sharder, async () => {
        assert.equal(await found(sharder, 'iana'), undefined);
      });
      assert.equal((await assign(sharder, 'iana')).reason, 'assigned');
      assert.equal(await bucketOf(sharder, 'igor'), 'hub-1');
    });

    it('an answer carries the URL that its bucket has now', async (t) => {
      const sharder = await startSharder(engine, { 'hub-0': { url: 'http://old.example' } });
      assert.equal((await assign(sharder, 'iana')).bucket.url, 'http://old.example');
      const other = await outsider(t, sharder);
      for (const url of [`'http://new.example'`, 'null']) {
        await other.run(`update bucket set url = ${url}`);
        await isHeard(sharder, async () => {
          const { bucket } = await assign(sharder, 'iana');
          assert.equal(bucket.url, url === 'null' ? null : 'http://new.example');
        });
      }
    });

    it('a replica hears of what another has moved', async () => {
      const sharder = await startSharder(engine);
      const replica = await replicaOf(sharder);
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      assert.equal(await bucketOf(replica, 'iana'), 'hub-0');
      await replica.database.write((trx) =>
        trx('shard').where({ name: 'iana' }).update({ bucket: 'hub-3' }),
      );
      for (const each of [sharder, replica]) {
        await isHeard(each, async () => {
          assert.equal(await bucketOf(each, 'iana'), 'hub-3');
        });
      }
    });

    it('what this process itself has moved is known when the move has returned', async () => {
      const sharder = await startSharder(engine);
      for (const bucket of ['hub-1', 'hub-2', 'hub-3']) {
        await bucketOf(sharder, 'iana');
        await sharder.database.write((trx) =>
          trx('shard').where({ name: 'iana' }).update({ bucket }),
        );
        if (engine.name === 'sqlite') assert.equal(await bucketOf(sharder, 'iana'), bucket);
        else
          await eventually(async () => {
            assert.equal(await bucketOf(sharder, 'iana'), bucket);
          });
      }
    });
  });

  describe(`reading never writes, on ${engine.name}`, engine.options, () => {
    it('find creates nothing, for names that are there and names that are not', async () => {
      const sharder = await startSharder(engine);
      await assign(sharder, 'iana');
      const before = await version(sharder);
      assert.equal((await sharder.find('hub', 'iana'))?.reason, 'existing');
      const answers = await Promise.all(names(500).map((name) => sharder.find('hub', name)));
      assert.ok(answers.every((answer) => answer === undefined));
      assert.equal(await sharder.find('hub', 'Iana'), undefined);
      assert.equal(await rowCount(sharder), 1);
      assert.equal(await version(sharder), before);
    });
  });

  describe(`overloaded, on ${engine.name}`, engine.options, () => {
    it('the eleventh who waits is refused, the ten are answered, and known users do not wait', async (t) => {
      const sharder = await startSharder(engine, hubs(5), { queueLimit: 10 });
      await assign(sharder, 'known');
      const letGo = await holdKind(t, sharder);
      const waiting = names(10).map((name) => assign(sharder, name));
      await assert.rejects(assign(sharder, 'late'), isRefused('overloaded'));
      assert.equal(sharder.status.waiting, 10);
      assert.equal(await bucketOf(sharder, 'known'), 'hub-0');
      await letGo();
      const answers = await Promise.all(waiting);
      assert.ok(answers.every(({ reason }) => reason === 'assigned'));
      assert.equal(sharder.status.waiting, 0);
      assert.equal(await found(sharder, 'late'), undefined);
      assert.equal((await assign(sharder, 'late')).reason, 'assigned');
    });
  });
}
