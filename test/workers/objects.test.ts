// Objects follow their workers, and never have two.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sharder, SharderError } from '../../src/index.js';
import { setBucketState } from '../../src/store/buckets.js';
import { moveObject } from '../../src/store/objects.js';
import { writeSpecs } from '../../src/store/spec-writes.js';
import { PLACED_AT_ONCE } from '../../src/workers/objects.js';
import { unregisterObject } from '../../src/workers/register.js';
import { engines } from '../engines.js';
import { BY, KIND, names, start } from './prepare.js';
import { pass } from './time.js';

for (const engine of engines) {
  describe(`objects that follow their workers, on ${engine.name}`, engine.options, () => {
    it('wait until there is a worker, and then are shared out evenly', async () => {
      const { register, worker, spec, round } = await start(engine);
      await register(...names(4));
      assert.deepEqual([(await spec('job-0')).state, (await spec('job-0')).bucket], ['waiting', null]); // prettier-ignore
      const a = await worker('a');
      assert.equal((await a.look()).length, 4);
      assert.equal((await spec('job-0')).state, 'owned');
      const b = await worker('b');
      await round();
      assert.equal((await a.look()).length, 2);
      assert.equal((await b.look()).length, 2);
    });

    it('a thousand are registered in one go', async () => {
      const { register, worker } = await start(engine);
      const a = await worker('a');
      const { specs, changed } = await register(...names(1_000));
      assert.deepEqual([specs.length, changed.every(Boolean)], [1_000, true]);
      assert.equal((await a.look()).length, 1_000);
    });

    it('an object stays with its worker until that says that it has stopped it; the next has a higher epoch', async () => {
      const { database, register, worker, spec, round } = await start(engine);
      const a = await worker('a');
      await register(...names(2));
      await a.look();
      const b = await worker('b');
      await round();
      await a.look({ slow: true });
      assert.deepEqual(await b.look(), []);
      const before = await spec('job-1');
      assert.deepEqual([before.state, before.bucket, before.heir], ['dropping', 'a', 'b']);
      await a.look();
      assert.deepEqual(await b.look(), ['job-1']);
      assert.equal((b.has.get('job-1') ?? 0) > (before.epoch ?? 0), true);
      const lines = await database.knex('change').where({ name: 'job-1' }).orderBy('id').pluck('action'); // prettier-ignore
      assert.deepEqual(lines, ['spec set', 'object place', 'object drop', 'object move']);
    });

    it('of a worker that has died they move when its lease and the grace are over, and not before', async () => {
      const { database, register, worker, round } = await start(engine);
      const [a, b] = [await worker('a'), await worker('b')];
      await worker('c');
      await register(...names(6));
      assert.equal((await a.look()).length, 2);
      await b.look();
      for (const seconds of [8, 6]) {
        await pass(database, seconds);
        await b.claim();
        await worker('c');
      }
      await round();
      assert.equal((await b.look()).length, 2);
      await pass(database, 2);
      await round();
      assert.equal((await b.look()).length, 3);
      await assert.rejects(a.look(), { code: 'lease_lost' });
    });

    it('one that comes back within its grace has its objects, to begin again with a higher epoch', async () => {
      const { database, register, worker, spec } = await start(engine);
      const a = await worker('a');
      await register(...names(2));
      await a.look();
      const { epoch } = await spec('job-0');
      await pass(database, 12);
      const again = await worker('a');
      assert.deepEqual(await again.look(), ['job-0', 'job-1']);
      assert.equal((again.has.get('job-0') ?? 0) > (epoch ?? 0), true);
      await assert.rejects(a.look(), { code: 'lease_lost' });
    });

    it('of one that gives its lease back they move at once', async () => {
      const { register, worker } = await start(engine);
      const [a, b] = [await worker('a'), await worker('b')];
      await register(...names(4));
      await a.look();
      await b.look();
      await a.release();
      assert.equal((await b.look()).length, 4);
    });

    it('of one that drains they are handed over, as many at a time as may be', async () => {
      const { database, register, worker, round, spec } = await start(engine, { max_moving: 2 });
      const a = await worker('a');
      await register(...names(5));
      await a.look();
      const b = await worker('b', { capacity: 100 });
      await database.knex('bucket').where({ name: 'a' }).update({ state: 'draining' });
      for (const left of [3, 1, 0]) {
        await round();
        await round(); // what is on its way counts
        assert.equal((await a.look()).length, left);
      }
      assert.equal((await b.look()).length, 5);
      assert.equal((await spec('job-0')).bucket, 'b');
    });

    it('a worker that stops nothing holds up no other: those hand over theirs', async () => {
      const { database, register, worker, round, spec } = await start(engine, { max_moving: 2 });
      const [a, b] = [await worker('a'), await worker('b')];
      await register(...names(8));
      await a.look();
      await b.look();
      await database.knex('bucket').whereIn('name', ['a', 'b']).update({ state: 'draining' });
      const c = await worker('c');
      for (const left of [2, 0]) {
        await round();
        await a.look({ slow: true });
        assert.equal((await b.look()).length, left);
      }
      assert.equal((await c.look()).length, 4);
      assert.equal((await round()).dropped, 0); // and that one is told no more than it may be
      const states = await Promise.all(names(8).map(async ({ name }) => (await spec(name)).state));
      assert.equal(states.filter((state) => state === 'dropping').length, 2);
    });

    it('nor does one that does not give away what is pinned elsewhere', async () => {
      const { register, worker, round } = await start(engine, { max_moving: 2 });
      const a = await worker('a');
      const pinned = names(6).map(({ name }) => ({ name, pin: 'b', pin_rule: 'any' as const }));
      await register(...pinned);
      await a.look();
      const c = await worker('c');
      await register({ name: 'z', pin: 'd', pin_rule: 'any' });
      assert.deepEqual(await c.look(), ['z']);
      await worker('b');
      await round();
      const d = await worker('d');
      await round();
      await a.look({ slow: true });
      await c.look();
      assert.deepEqual(await d.look(), ['z']);
    });

    it('an object that has just been moved for evenness is left alone for the cooldown', async () => {
      const { database, register, worker, round } = await start(engine, { cooldown: 60 });
      const a = await worker('a');
      await register(...names(4));
      await a.look();
      const b = await worker('b');
      await round();
      await a.look();
      assert.equal((await b.look()).length, 2);
      await database.write((trx) => setBucketState(trx, KIND, 'a', 'cordoned', BY));
      const c = await worker('c');
      await round();
      assert.equal((await b.look()).length, 2);
      await database.knex('spec').whereNotNull('moved_at').update({ moved_at: '2000-01-01T00:00:00Z' }); // prettier-ignore
      await round();
      assert.equal((await b.look()).length, 1);
      assert.equal((await c.look()).length, 1);
    });

    it('by load: one that reports too much gives some away, and nothing more until all have reported again', async () => {
      const { register, worker, round } = await start(engine);
      const a = await worker('a', { load: 5 });
      await register(...names(10));
      await a.look();
      const b = await worker('b', { load: 0 });
      assert.equal((await round()).dropped, 5);
      await a.look();
      assert.equal((await b.look()).length, 5);
      await a.claim({ load: 5 }); // it has not noticed yet
      assert.equal((await round()).dropped, 0);
      await b.claim({ load: 2.5 });
      assert.equal((await round()).dropped, 1);
    });

    it('a pinned object goes to its worker as soon as that is there; hold waits, any does not', async () => {
      const { register, worker, round, spec } = await start(engine);
      const a = await worker('a');
      await register(
        { name: 'held', pin: 'b' },
        { name: 'any', pin: 'b', pin_rule: 'any' },
        { name: 'free' },
      );
      assert.deepEqual(await a.look(), ['any', 'free']);
      assert.equal((await spec('held')).state, 'waiting');
      const b = await worker('b');
      assert.deepEqual(await b.look(), ['held']);
      await round();
      assert.deepEqual(await a.look(), ['free']);
      assert.deepEqual(await b.look(), ['any', 'held']);
    });

    it('an object of a group has a worker of that group, also when either changes it', async () => {
      const { register, worker } = await start(engine);
      const [a, b] = [await worker('a', { group: 'gpu' }), await worker('b')];
      await register({ name: 'train', group: 'gpu' });
      assert.deepEqual(await a.look(), ['train']);
      await register({ name: 'train', group: null, pin: 'b' });
      await a.look();
      await register({ name: 'train', group: 'gpu', pin: null });
      assert.deepEqual(await a.look(), ['train']);
      await a.claim({ group: 'cpu' });
      assert.deepEqual(await a.look(), []);
      await b.claim({ group: 'gpu' });
      assert.deepEqual(await b.look(), ['train']);
    });

    it('one whose process starts again without its group is told to stop what asks for that', async () => {
      const { register, worker, spec } = await start(engine);
      const a = await worker('a', { group: 'gpu' });
      await register({ name: 'train', group: 'gpu' }, { name: 'free' });
      await a.look();
      const again = await worker('a');
      const { state, heir } = await spec('train');
      assert.deepEqual([state, heir], ['dropping', null]);
      assert.deepEqual(await again.look(), ['free']);
      assert.equal((await spec('train')).state, 'waiting');
    });

    it('a thousand that nobody can take keep none waiting that somebody can', async () => {
      const { database, register, worker, spec } = await start(engine);
      const wish = { spec: null, group: null, pin: null, pin_rule: 'hold', weight: 1 } as const;
      const odd = Array.from({ length: PLACED_AT_ONCE }, (_, i) => ({ ...wish, name: `a-${i}` }));
      for (const asks of [{ group: 'tpu' }, { pin: 'nobody' }]) {
        const those = odd.map((each) => ({ ...each, ...asks }));
        await database.write((trx) => writeSpecs(trx, { name: KIND, version: 0 }, those, BY));
        await register({ name: 'z', weight: 2 });
        await worker('w');
        assert.equal((await spec('z')).bucket, 'w');
        await database.write((trx) => unregisterObject(trx, KIND, 'z', BY));
        await database.knex('spec').delete();
        await database.knex('shard').delete();
      }
    });

    it('what nobody else can have keeps nothing with a worker that drains', async () => {
      const { database, register, worker, round } = await start(engine, { max_moving: 1 });
      const a = await worker('a', { group: 'gpu' });
      await register({ name: 'free' });
      await register({ name: 'train', group: 'gpu' }); // goes first, for it came last
      await a.look();
      const b = await worker('b');
      await database.knex('bucket').where({ name: 'a' }).update({ state: 'draining' });
      await round();
      assert.deepEqual(await a.look(), ['train']);
      assert.deepEqual(await b.look(), ['free']);
    });

    it('capacity is enforced, in weights of objects', async () => {
      const { register, worker, spec } = await start(engine);
      await worker('a', { capacity: 5 });
      await register({ name: 'x', weight: 3 }, { name: 'y', weight: 3 }, { name: 'z', weight: 2 });
      const states = await Promise.all(['x', 'y', 'z'].map(async (each) => (await spec(each)).state)); // prettier-ignore
      assert.deepEqual(states, ['adding', 'waiting', 'adding']);
    });

    it('what an object asks for by the time that it is stopped decides who has it next', async () => {
      for (const [asks, expected] of [
        [{ weight: 5 }, ['waiting', null]],
        [{ group: 'gpu' }, ['waiting', null]],
        [{ pin: 'nobody', pin_rule: 'hold' }, ['waiting', null]],
        [{ pin: 'nobody', pin_rule: 'any' }, ['adding', 'b']],
      ] as const) {
        const { register, worker, round, spec } = await start(engine);
        const a = await worker('a', { capacity: 2 });
        await register(...names(2));
        await a.look();
        await worker('b', { capacity: 3 });
        await round();
        assert.deepEqual((await spec('job-1')).heir, 'b');
        await register({ name: 'job-1', ...asks });
        await a.look();
        const { state, bucket } = await spec('job-1');
        assert.deepEqual([state, bucket], expected);
      }
    });

    it('nobody who asks for one that waits has a say in where it goes', async () => {
      const { database, register, worker } = await start(engine);
      await worker('a');
      await register({ name: 'train', group: 'gpu' }, { name: 'free' });
      const sharder = await Sharder.start(database);
      await assert.rejects(async () => sharder.assign(KIND, 'train'), {
        code: 'no_room',
        message: /^object "train" of kind queue waits for a worker that will do/,
      });
      assert.equal((await sharder.assign(KIND, 'free')).bucket.name, 'a');
      assert.equal((await sharder.assign(KIND, 'iana')).reason, 'assigned');
      const rows = await database.knex('shard').orderBy('name').pluck('name');
      assert.deepEqual(rows, ['free', 'iana']);
    });

    it('another spec is told with a higher epoch, the same one is not', async () => {
      const { register, worker, spec } = await start(engine);
      const a = await worker('a');
      const spec1 = { topic: 'mail', n: 1 }; // PostgreSQL keeps the keys in another order
      await register({ name: 'x', spec: spec1 });
      await a.look();
      const same = await register({ name: 'x', spec: spec1 });
      assert.deepEqual(same.changed, [false]);
      const before = (await spec('x')).epoch ?? 0;
      await register({ name: 'x', spec: { n: 1, topic: 'mail' }, weight: 2 });
      assert.deepEqual([(await spec('x')).epoch, (await spec('x')).state], [before, 'owned']);
      await register({ name: 'x', spec: { n: 2 } });
      assert.equal((await spec('x')).state, 'adding');
      await a.look();
      assert.equal((a.has.get('x') ?? 0) > before, true);
    });

    it('is taken away when its worker has stopped it', async () => {
      const { database, register, worker } = await start(engine);
      const a = await worker('a');
      await register(...names(2));
      await a.look();
      const remove = (name: string) =>
        database.write((trx) => unregisterObject(trx, KIND, name, BY));
      assert.deepEqual(await remove('job-0'), { isGone: false, changed: true });
      assert.deepEqual(await remove('job-0'), { isGone: false, changed: false });
      assert.deepEqual(await a.look(), ['job-1']);
      await assert.rejects(remove('job-0'), { code: 'unknown_object' });
      const left = await database.knex('shard').where({ kind: KIND }).pluck('name');
      assert.deepEqual(left, ['job-1']);
    });

    it('nothing moves while more than half of the workers are silent', async () => {
      const { database, register, worker, round, spec } = await start(engine);
      const a = await worker('a');
      await worker('b');
      await worker('c');
      await register(...names(6));
      await pass(database, 8);
      await a.claim();
      await pass(database, 9);
      await a.claim();
      const { halted } = await round();
      assert.equal(halted, true);
      const owners = await Promise.all(names(6).map(async ({ name }) => (await spec(name)).bucket));
      assert.deepEqual(new Set(owners), new Set(['a', 'b', 'c']));
      const b = await worker('b');
      assert.equal((await round()).halted, false);
      await pass(database, 6);
      await a.claim();
      await b.claim();
      await round();
      const after = await Promise.all(names(6).map(async ({ name }) => (await spec(name)).bucket));
      assert.deepEqual(new Set(after), new Set(['a', 'b']));
    });

    it('is moved by its workers alone: by hand it is refused and says what to do', async () => {
      const { database, register, worker } = await start(engine);
      await worker('a');
      await worker('b');
      await register({ name: 'x' });
      const moved = database.write((trx) => moveObject(trx, KIND, 'x', 'b', BY));
      await assert.rejects(moved, (error: SharderError) => {
        assert.equal(error.code, 'bad_request');
        assert.match(error.message, /follows its worker.*pin/s);
        return true;
      });
    });
  });
}
