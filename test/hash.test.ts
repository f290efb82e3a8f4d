// Hashed: a kind of the policy `hash` has every key where its name says, on every replica, without a row;
// and where a row says otherwise, there.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Rendezvous, modulo } from '../src/assign/hash.js';
import { createKind, declareKinds, setKind } from '../src/store/kinds.js';
import { Sharder, type Answer } from '../src/index.js';
import { addBucket, removeBucket, setBucket, setBucketState } from '../src/store/buckets.js';
import { lockKind } from '../src/store/kinds.js';
import { MAX_PINS } from '../src/store/hash-table.js';
import { putPin, removePin } from '../src/store/pins.js';
import {
  cutListener,
  eventually,
  isHeard,
  isRefused,
  names,
  outsider,
  replicaOf,
} from './asking.js';
import { engines, needsPostgres, open, type TestEngine } from './engines.js';
import { PostgresServer } from './postgres.js';

const BY = { actor: 'test' };
const SERVERS = ['server-1', 'server-2', 'server-10', 'server-11'];
const KEYS = names(400, 'key');

async function start(engine: TestEngine, settings: object = {}): Promise<Sharder> {
  const database = await open(await engine.createDatabase());
  const buckets = SERVERS.map((name) => ({ name, url: `http://${name}.example` }));
  await declareKinds(database, { tenant: { policy: 'hash', ...settings, buckets } }, 'test');
  return Sharder.start(database);
}

async function ask(sharder: Sharder, key: string): Promise<Answer> {
  return sharder.assign('tenant', key);
}

/** The bucket of each key. */
async function places(sharder: Sharder, keys = KEYS): Promise<string[]> {
  const answers = await Promise.all(keys.map((key) => ask(sharder, key)));
  return answers.map(({ bucket }) => bucket.name);
}

function expected(weights: Readonly<Record<string, number>>, keys = KEYS): (string | undefined)[] {
  const hash = new Rendezvous(Object.entries(weights).map(([name, weight]) => ({ name, weight })));
  return keys.map((key) => hash.bucketOf(key));
}

const EVEN = Object.fromEntries(SERVERS.map((name) => [name, 1]));

function pin(sharder: Sharder, key: string, bucket: string): Promise<unknown> {
  return sharder.database.write(async (trx) =>
    putPin(trx, await lockKind(trx, 'tenant'), key, bucket, BY),
  );
}

function unpin(sharder: Sharder, key: string): Promise<unknown> {
  return sharder.database.write(async (trx) =>
    removePin(trx, await lockKind(trx, 'tenant'), key, BY),
  );
}

/** A bucket in which the key is not by the hash. */
function elsewhere(key: string): string {
  const [there] = expected(EVEN, [key]);
  return SERVERS.find((name) => name !== there) ?? '';
}

for (const engine of engines) {
  describe(`a kind that is hashed, on ${engine.name}`, engine.options, () => {
    it('has each key where the hash says, on every replica, and stores nothing', async () => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      assert.deepEqual(await places(sharder), expected(EVEN));
      assert.deepEqual(await places(replica), expected(EVEN));
      assert.deepEqual(await ask(sharder, 'key-0'), {
        bucket: {
          kind: 'tenant',
          name: expected(EVEN)[0],
          url: `http://${expected(EVEN)[0]}.example`,
        },
        reason: 'hashed',
        isStale: false,
      });
      assert.deepEqual(await sharder.find('tenant', 'key-0'), await ask(sharder, 'key-0'));
      assert.equal(sharder.peek('tenant', 'key-0'), expected(EVEN)[0]);
      assert.deepEqual(await sharder.database.knex('shard'), []);
    });

    it('is answered at once, without a promise, once it was asked for', async () => {
      const sharder = await start(engine);
      await ask(sharder, 'key-0');
      await isHeard(sharder, () => {
        const answer = sharder.assign('tenant', 'key-1');
        assert.ok(!(answer instanceof Promise));
      });
    });

    it('makes names normal before they are hashed', async () => {
      const sharder = await start(engine, { normalize: 'lower' });
      assert.deepEqual(
        await places(sharder, ['KEY-1', 'Key-2']),
        expected(EVEN, ['key-1', 'key-2']),
      );
      assert.throws(() => sharder.assign('tenant', 'a\n'), isRefused('bad_name'));
      assert.throws(() => sharder.assign('tenant', 'a'.repeat(257)), isRefused('bad_name'));
    });

    it('has longer keys where they are not the user', async () => {
      const sharder = await start(engine, { key: { header: 'X-Original-URI' } });
      const long = `/${'é'.repeat(4_095)}`;
      assert.deepEqual(await places(sharder, [long]), expected(EVEN, [long]));
      await assert.rejects(
        async () => sharder.assign('tenant', `${long}é`),
        /the name has 8193 bytes; at most 8192/,
      );
    });

    it('by modulo counts the buckets in their natural order', async () => {
      const sharder = await start(engine, { hash: 'modulo' });
      const { database } = sharder;
      const all = KEYS.map((key) => modulo(key, SERVERS));
      assert.deepEqual(await places(sharder), all);
      await database.write((trx) => setBucketState(trx, 'tenant', 'server-2', 'draining', BY));
      const others = expected({ 'server-1': 1, 'server-10': 1, 'server-11': 1 });
      const drained = all.map((name, i) => (name === 'server-2' ? others[i] : name));
      await isHeard(sharder, async () => {
        assert.deepEqual(await places(sharder), drained);
      });
    });

    it('moves the keys of a draining bucket alone, and back', async () => {
      const sharder = await start(engine);
      const { database } = sharder;
      await database.write((trx) => setBucketState(trx, 'tenant', 'server-2', 'draining', BY));
      const rest = { 'server-1': 1, 'server-10': 1, 'server-11': 1 };
      await isHeard(sharder, async () => {
        assert.deepEqual(await places(sharder), expected(rest));
      });
      await database.write((trx) => setBucketState(trx, 'tenant', 'server-2', 'cordoned', BY));
      await isHeard(sharder, async () => {
        assert.deepEqual(await places(sharder), expected(EVEN));
      });
    });

    it('hears of a bucket that comes, changes or goes, by whom it may be', async (t) => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      const { database } = sharder;
      const psql = await outsider(t, sharder);
      const steps: [change: () => Promise<unknown>, weights: Record<string, number>][] = [
        [() => Promise.resolve(), EVEN],
        [
          () => database.write((trx) => addBucket(trx, 'tenant', 'server-3', {}, BY)),
          { ...EVEN, 'server-3': 1 },
        ],
        [
          () => database.write((trx) => setBucket(trx, 'tenant', 'server-3', { weight: 4 }, BY)),
          { ...EVEN, 'server-3': 4 },
        ],
        [
          () => psql.run(`update bucket set weight = 1 where name = 'server-3'`),
          { ...EVEN, 'server-3': 1 },
        ],
        [() => psql.run(`update bucket set state = 'draining' where name = 'server-3'`), EVEN],
        [() => psql.run(`delete from bucket where name = 'server-3'`), EVEN],
        [
          () => psql.run(`insert into bucket (kind, name) values ('tenant', 'server-4')`),
          { ...EVEN, 'server-4': 1 },
        ],
        [() => database.write((trx) => removeBucket(trx, 'tenant', 'server-4', BY)), EVEN],
      ];
      for (const [change, weights] of steps) {
        await change();
        for (const each of [sharder, replica]) {
          await isHeard(each, async () => {
            assert.deepEqual(await places(each), expected(weights));
          });
        }
      }
    });

    it('has a pinned key where it is pinned, whoever has done it, until it is unpinned', async (t) => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      const psql = await outsider(t, sharder);
      const [hashed = ''] = expected(EVEN, ['acme']);
      const other = elsewhere('acme');
      const third = SERVERS.find((name) => ![hashed, other].includes(name)) ?? '';
      const where = `kind = 'tenant' and name = 'acme'`;
      const steps: [change: () => Promise<unknown>, bucket: string, reason: string][] = [
        [() => Promise.resolve(), hashed, 'hashed'],
        [() => pin(replica, 'acme', other), other, 'pinned'],
        [() => pin(sharder, 'acme', third), third, 'pinned'],
        [() => psql.run(`update shard set bucket = '${other}' where ${where}`), other, 'pinned'],
        [() => unpin(replica, 'acme'), hashed, 'hashed'],
        [
          () =>
            psql.run(
              `insert into shard (kind, bucket, name) values ('tenant', '${other}', 'acme')`,
            ),
          other,
          'pinned',
        ],
        [() => psql.run(`delete from shard where ${where}`), hashed, 'hashed'],
        // A row of another key, and then of another kind, becomes this one's.
        [() => pin(replica, 'else', other), hashed, 'hashed'],
        [
          () => psql.run(`update shard set name = 'acme' where kind = 'tenant' and name = 'else'`),
          other,
          'pinned',
        ],
        [() => psql.run(`delete from shard where ${where}`), hashed, 'hashed'],
        [
          async () => {
            await psql.run(`insert into kind (name) values ('plain')`);
            await psql.run(`insert into bucket (kind, name) values ('plain', 'a')`);
            await psql.run(`insert into shard (kind, bucket, name) values ('plain', 'a', 'acme')`);
          },
          hashed,
          'hashed',
        ],
        [
          () =>
            psql.run(
              `update shard set kind = 'tenant', bucket = '${third}' where kind = 'plain' and name = 'acme'`,
            ),
          third,
          'pinned',
        ],
      ];
      for (const [change, bucket, reason] of steps) {
        await change();
        for (const each of [sharder, replica]) {
          await isHeard(each, async () => {
            const answer = await ask(each, 'acme');
            assert.deepEqual([answer.bucket.name, answer.reason], [bucket, reason]);
          });
        }
        assert.deepEqual(await places(sharder), expected(EVEN));
      }
    });

    it('knows its pinned keys when there are too many to hold', async (t) => {
      const sharder = await start(engine);
      const psql = await outsider(t, sharder);
      const many = names(MAX_PINS + 1, 'key').map((key) => `('tenant', 'server-1', '${key}')`);
      await psql.run(`insert into shard (kind, bucket, name) values ${many.join()}`);
      const other = SERVERS[1] ?? '';
      await pin(sharder, 'key-0', other);
      const replica = await replicaOf(sharder);
      for (const each of [sharder, replica]) {
        await isHeard(each, async () => {
          assert.deepEqual(await places(each, ['key-0', 'key-1', 'key-5000']), [
            other,
            ...['server-1', 'server-1'],
          ]);
          assert.equal((await ask(each, 'key-0')).reason, 'pinned');
          const free = names(50, 'free');
          assert.deepEqual(await places(each, free), expected(EVEN, free));
          assert.equal((await ask(each, 'free-0')).reason, 'hashed');
        });
      }
      await unpin(sharder, 'key-0');
      for (const each of [sharder, replica]) {
        await isHeard(each, async () => {
          assert.deepEqual(await places(each, ['key-0']), expected(EVEN, ['key-0']));
        });
      }
    });

    it('says so when no bucket takes keys', async () => {
      const sharder = await start(engine);
      const { database } = sharder;
      for (const name of SERVERS) {
        await database.write((trx) => setBucketState(trx, 'tenant', name, 'draining', BY));
      }
      await isHeard(sharder, async () => {
        await assert.rejects(async () => sharder.assign('tenant', 'acme'), {
          code: 'no_room',
          message: /^no bucket of kind tenant takes keys: add one .* draining \(sharder bucket unc/,
        });
      });
      await database.write((trx) => createKind(trx, 'empty', { policy: 'hash' }, BY));
      await isHeard(sharder, () =>
        assert.rejects(async () => sharder.assign('empty', 'acme'), isRefused('no_room')),
      );
    });

    it('becomes one when no object is there that is not pinned, and stores nothing from then on', async () => {
      const sharder = await start(engine);
      const { database } = sharder;
      const buckets = SERVERS.map((name) => ({ name }));
      await declareKinds(database, { hub: { buckets } }, 'test');
      for (const name of ['iana', 'brian']) await sharder.assign('hub', name);
      const hash = () => database.write((trx) => setKind(trx, 'hub', { policy: 'hash' }, BY));
      await assert.rejects(hash, {
        code: 'not_empty',
        message:
          /^kind hub has 2 objects that the hash would put elsewhere: .*`sharder object pin NAME`/,
      });
      await database.knex('shard').where({ name: 'iana' }).update({ pinned: true });
      await assert.rejects(hash, /^SharderError: kind hub has 1 object that/);
      await database.knex('shard').where({ name: 'brian' }).delete();
      assert.deepEqual(await hash(), { policy: { from: 'emptiest', to: 'hash' } });
      await isHeard(sharder, async () => {
        assert.equal((await sharder.assign('hub', 'iana')).reason, 'pinned');
        const brian = await sharder.assign('hub', 'brian');
        assert.deepEqual(
          [brian.reason, brian.bucket.name],
          ['hashed', expected(EVEN, ['brian'])[0]],
        );
      });
      await database.write((trx) => setKind(trx, 'hub', { policy: 'emptiest' }, BY));
      await isHeard(sharder, async () => {
        assert.equal((await sharder.assign('hub', 'iana')).reason, 'existing');
        assert.notEqual((await sharder.assign('hub', 'brian')).reason, 'hashed');
      });
      assert.equal((await database.knex('shard')).length, 2);
    });

    it('stores nothing either for a replica that has not heard of it yet', async (t) => {
      const sharder = await start(engine);
      const { database } = sharder;
      await declareKinds(database, { hub: { buckets: SERVERS.map((name) => ({ name })) } }, 'test');
      const psql = await outsider(t, sharder);
      assert.equal(sharder.settings('hub').policy, 'emptiest');
      // In the same turn on SQLite; on PostgreSQL the message is on its way.
      await psql.run(`update kind set policy = 'hash' where name = 'hub'`);
      assert.equal((await sharder.assign('hub', 'iana')).reason, 'hashed');
      assert.deepEqual(await database.knex('shard'), []);
    });

    it('is declared so by the settings, and left so by those that say nothing', async () => {
      const { database } = await start(engine, { key: { query: 'tenant', pattern: '^(.)' } });
      await declareKinds(database, { tenant: { buckets: [] } }, 'test');
      const [policy] = await database.knex('kind').pluck<string[]>('policy');
      assert.equal(policy, 'hash');
      const changes = await database.knex('change').where({ action: 'kind set' });
      assert.equal(changes.length, 1);
    });
  });
}

describe('a kind that is hashed, while a replica cannot hear', needsPostgres, () => {
  it('is read anew for each request, until it hears again', async (t) => {
    const [, engine] = engines;
    if (!engine) throw new Error('no engine');
    const sharder = await start(engine);
    const psql = await outsider(t, sharder);
    assert.deepEqual(await places(sharder), expected(EVEN));
    await cutListener(psql);
    await pin(sharder, 'acme', elsewhere('acme'));
    assert.equal((await ask(sharder, 'acme')).bucket.name, elsewhere('acme'));
    await eventually(() => {
      assert.ok(!(sharder.assign('tenant', 'acme') instanceof Promise));
    });
    assert.equal((await ask(sharder, 'acme')).bucket.name, elsewhere('acme'));
  });
});

describe('a kind that becomes hashed', needsPostgres, () => {
  it('is told so of an object that was asked for while its new policy was being read', async (t) => {
    const [, engine] = engines;
    if (!engine) throw new Error('no engine');
    const sharder = await start(engine);
    await declareKinds(sharder.database, { hub: { buckets: [{ name: 'a' }] } }, 'test');
    await sharder.assign('hub', 'iana');
    const writer = await outsider(t, sharder);
    const holder = await outsider(t, sharder);
    await writer.run(`begin; update kind set policy = 'hash' where name = 'hub'`);
    await writer.run(`update shard set pinned = true where name = 'iana'`);
    // It has the table as soon as the change is committed, and keeps others from reading the policy.
    const held = holder.run('begin; lock table kind in access exclusive mode');
    await eventually(async () => {
      const waiting = await sharder.database
        .knex('pg_locks')
        .whereRaw("not granted and relation = 'kind'::regclass")
        .select('pid');
      assert.equal(waiting.length, 1);
    });
    await writer.run('commit');
    await held;
    // In memory from the new generation on, as the old policy has it.
    await eventually(async () => {
      await sharder.assign('hub', 'iana');
      assert.equal(sharder.assign('hub', 'iana') instanceof Promise, false);
    });
    assert.equal((await sharder.assign('hub', 'iana')).reason, 'existing');
    await holder.run('commit');
    await eventually(async () => {
      assert.equal((await sharder.assign('hub', 'iana')).reason, 'pinned');
    });
  });
});

describe('a kind that is hashed, while the database is down', needsPostgres, () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.stop());

  it('is answered as it was known, marked as stale; one that was never asked for is not', async () => {
    const name = 'postgres' as const;
    const engine = {
      name,
      options: { skip: false as const },
      createDatabase: () => server.createDatabase(),
    };
    const sharder = await start(engine);
    const buckets = [{ name: 'a' }];
    await declareKinds(sharder.database, { other: { policy: 'hash', buckets } }, 'test');
    await pin(sharder, 'acme', elsewhere('acme'));
    await eventually(async () => {
      assert.equal((await ask(sharder, 'acme')).reason, 'pinned');
    });
    const isDown = once(sharder, 'down');
    await server.kill();
    await isDown;
    const { bucket, ...how } = await ask(sharder, 'acme');
    assert.deepEqual([bucket.name, how], [elsewhere('acme'), { reason: 'pinned', isStale: true }]);
    assert.deepEqual(await places(sharder), expected(EVEN));
    await assert.rejects(
      async () => sharder.assign('other', 'x'),
      isRefused('database_unavailable'),
    );
  });
});
