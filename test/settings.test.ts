// The settings of a kind, as services on one database hear of them: whatever one of them has missed,
// a person has one bucket.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sharder, type Answer } from '../src/index.js';
import { DEFAULT_KIND_SETTINGS, type KindChanges } from '../src/store/kind-settings.js';
import { setKind } from '../src/store/kinds.js';
import {
  assign,
  assignAll,
  bucketOf,
  counts,
  cutListener,
  eventually,
  found,
  isHeard,
  isRefused,
  names,
  outsider,
  replicaOf,
  spread,
  type Outsider,
} from './asking.js';
import { engines, hubs, startSharder, type TestEngine } from './engines.js';

const BY = { actor: 'test' };
const DEFAULTS = { ...DEFAULT_KIND_SETTINGS, policy: 'emptiest' };
const ONE = ['IANA', 'Iana', 'iana', 'iana@example.org', 'IANA@EXAMPLE.ORG'];

async function set({ database }: Sharder, changes: KindChanges): Promise<void> {
  await database.write((trx) => setKind(trx, 'hub', changes, BY));
}

async function start(engine: TestEngine, changes: KindChanges = {}): Promise<Sharder> {
  const sharder = await startSharder(engine, hubs(5));
  await set(sharder, changes);
  await isHeard(sharder, () => {
    assert.deepEqual(sharder.settings('hub'), { ...DEFAULTS, ...changes });
  });
  return sharder;
}

function stored({ database }: Sharder): Promise<string[]> {
  return database.knex('shard').orderBy('name').pluck<string[]>('name');
}

function reasons(answers: readonly Answer[], reason: Answer['reason']): number {
  return answers.filter((answer) => answer.reason === reason).length;
}

// From now on nobody hears of new settings.
const SILENCE = {
  sqlite: 'drop trigger kind_settings_changed',
  postgres: 'alter table kind disable trigger kind_settings_changed',
};

async function setUnheard(engine: TestEngine, other: Outsider, settings: object): Promise<void> {
  await other.run(SILENCE[engine.name]);
  await other.run(`update kind set settings = '${JSON.stringify(settings)}'`);
}

for (const engine of engines) {
  describe(`normal names on ${engine.name}`, engine.options, () => {
    it('first requests under many names of one person leave one row and give one answer', async () => {
      const sharder = await start(engine, { normalize: 'lower-local' });
      const answers = await assignAll(sharder, [...ONE, ...ONE, 'ivan']);
      assert.equal(new Set(answers.slice(0, -1).map(({ bucket }) => bucket.name)).size, 1);
      assert.equal(reasons(answers, 'assigned'), 2);
      assert.deepEqual(await stored(sharder), ['iana', 'ivan']);
      assert.equal(await found(sharder, 'IANA@elsewhere.example'), answers[0]?.bucket.name);
    });

    it('the same person under all names is asked of four services at once, and has one row', async () => {
      const first = await start(engine, { normalize: 'lower' });
      const services = [first];
      while (services.length < 4) services.push(await replicaOf(first));
      const people = names(150);
      const lists = await Promise.all(
        services.map((service, i) =>
          assignAll(
            service,
            people.map((name) => name.toUpperCase().slice(0, i) + name.slice(i)),
          ),
        ),
      );
      for (const [i, name] of people.entries()) {
        const answers = lists.map((list) => list[i]);
        assert.equal(new Set(answers.map((answer) => answer?.bucket.name)).size, 1, name);
        assert.equal(answers.filter((answer) => answer?.reason === 'assigned').length, 1, name);
      }
      assert.deepEqual(await stored(first), people.toSorted());
      assert.ok(spread(await counts(first)) <= 1);
    });

    it('a known person is answered at once, without a promise, under every name', async () => {
      const sharder = await start(engine, { normalize: 'lower-local' });
      const { bucket } = await assign(sharder, 'IANA');
      const { cacheHits, cacheMisses } = sharder.status;
      for (const name of ONE) {
        const answer = sharder.assign('hub', name);
        assert.ok(!(answer instanceof Promise), name);
        assert.equal(answer.bucket, bucket);
      }
      const { status } = sharder;
      assert.deepEqual([status.cacheHits, status.cacheMisses], [cacheHits + 5, cacheMisses]);
      assert.equal(status.cached, 1);
    });

    it('services that have not heard of the setting leave one row all the same', async (t) => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      const other = await outsider(t, sharder);
      await setUnheard(engine, other, { normalize: 'lower-local' });
      assert.equal(sharder.settings('hub').normalize, 'none');
      const answers = (
        await Promise.all([assignAll(sharder, ONE), assignAll(replica, ONE.toReversed())])
      ).flat();
      assert.equal(new Set(answers.map(({ bucket }) => bucket.name)).size, 1);
      assert.equal(reasons(answers, 'assigned'), 1);
      assert.deepEqual(await stored(sharder), ['iana']);
      for (const each of [sharder, replica]) {
        assert.equal(each.settings('hub').normalize, 'lower-local', 'the lock has told');
        assert.equal(await found(each, 'IANA@x'), answers[0]?.bucket.name);
      }
    });

    it('services that have not heard that the setting is gone give each name a row of its own', async (t) => {
      const sharder = await start(engine, { normalize: 'lower' });
      const other = await outsider(t, sharder);
      await setUnheard(engine, other, {});
      await assignAll(sharder, ['IANA', 'Ivan']);
      assert.deepEqual(new Set(await stored(sharder)), new Set(['IANA', 'Ivan']));
    });

    it('a name that has no normal form is refused alone, by who has heard and by who has not', async (t) => {
      const sharder = await start(engine);
      const other = await outsider(t, sharder);
      await setUnheard(engine, other, { normalize: 'lower-local' });
      const results = await Promise.allSettled(
        ['Iana', '@example.org', 'Ivan'].map((name) => assign(sharder, name)),
      );
      assert.deepEqual(
        results.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      );
      await assert.rejects(assign(sharder, '@example.org'), isRefused('bad_name'));
      await assert.rejects(sharder.find('hub', '@example.org'), isRefused('bad_name'));
      assert.deepEqual(await stored(sharder), ['iana', 'ivan']);
    });

    it('when the setting comes, everybody has the answer that they had, under the old name and the new', async () => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      const before = new Map<string, string>();
      for (const name of ['IANA', 'Ivan', 'igor', 'Žofie']) {
        before.set(name, await bucketOf(sharder, name));
        assert.equal(await bucketOf(replica, name), before.get(name));
      }
      await set(sharder, { normalize: 'lower' });
      for (const each of [sharder, replica]) {
        await isHeard(each, async () => {
          assert.equal(each.settings('hub').normalize, 'lower');
          for (const [name, bucket] of before) {
            for (const called of [name, name.toLowerCase(), name.toUpperCase()]) {
              const answer = await each.find('hub', called);
              assert.equal(answer?.bucket.name, bucket, called);
            }
          }
        });
        for (const [name, bucket] of before) assert.equal(await bucketOf(each, name), bucket);
      }
      assert.equal((await stored(sharder)).length, 4);
    });

    it('everybody who is asked for while the setting comes has one row and one answer, then and later', async () => {
      const sharder = await start(engine);
      const services = [sharder, await replicaOf(sharder), await replicaOf(sharder)];
      const people = names(600, 'User');
      const asking = services.map(async (service) => {
        const answers: Answer[] = [];
        for (let i = 0; i < people.length; i += 50) {
          answers.push(...(await assignAll(service, people.slice(i, i + 50))));
        }
        return answers;
      });
      await eventually(async () => {
        assert.notEqual((await stored(sharder)).length, 0);
      });
      await set(sharder, { normalize: 'lower' });
      const lists = await Promise.all(asking);
      for (const service of services) {
        lists.push(await assignAll(service, names(600, 'USER')));
      }
      for (const [i, name] of people.entries()) {
        assert.equal(new Set(lists.map((list) => list[i]?.bucket.name)).size, 1, name);
      }
      assert.deepEqual(await stored(sharder), names(600).toSorted());
    });

    it('the name that is stored is what normalize tells', async () => {
      const sharder = await start(engine, { normalize: 'lower' });
      assert.equal(sharder.normalize('hub', 'IANA'), 'iana');
      assert.equal(sharder.normalize('other', 'IANA'), 'IANA');
      assert.throws(() => sharder.normalize('hub', ''), isRefused('bad_name'));
    });
  });

  describe(`settings on ${engine.name}`, engine.options, () => {
    it('are the same object until they change, and the defaults of a kind that is not there', async () => {
      const sharder = await start(engine, { cookie: false, threshold: 25 });
      const settings = sharder.settings('hub');
      assert.deepEqual(settings, { ...DEFAULTS, cookie: false, threshold: 25 });
      await assignAll(sharder, names(20));
      await sharder.database.write((trx) => trx('shard').update({ bucket: 'hub-3' }));
      await isHeard(sharder, async () => {
        assert.equal(await found(sharder, 'user-0'), 'hub-3');
      });
      assert.equal(sharder.settings('hub'), settings);
      assert.deepEqual(sharder.settings('nosuch'), DEFAULTS);
    });

    it('are heard by every service when anybody changes them, adds a kind or removes one', async (t) => {
      const sharder = await start(engine);
      const replica = await replicaOf(sharder);
      const other = await outsider(t, sharder);
      const hear = async (kind: string, threshold: number) => {
        for (const each of [sharder, replica]) {
          await isHeard(each, () => {
            assert.equal(each.settings(kind).threshold, threshold);
          });
        }
      };
      await set(replica, { threshold: 20 });
      await hear('hub', 20);
      await other.run(`update kind set settings = '{"threshold": 30}'`);
      await hear('hub', 30);
      await other.run(`insert into kind (name, settings) values ('home', '{"threshold": 40}')`);
      await hear('home', 40);
      await other.run(`delete from kind where name = 'home'`);
      await hear('home', 10);
    });

    it('of a value that is none are the default of it, and no request fails of it', async (t) => {
      const sharder = await start(engine);
      const other = await outsider(t, sharder);
      const odd: readonly [json: string, threshold: number][] = [
        ['{"normalize": "LOWER", "cookie": "no", "threshold": 20, "mine": [1]}', 20],
        ['{"normalize": 5, "cookie": null, "threshold": 0}', 10],
        ['{"threshold": 1001}', 10],
        ['{"threshold": 30, "ramp": 0}', 30],
        ['{"threshold": 40, "ramp": "2"}', 40],
        ['[]', 10],
        ['"lower"', 10],
        ['null', 10],
      ];
      for (const [i, [json, threshold]] of odd.entries()) {
        await other.run(`update kind set settings = '${json}'`);
        await isHeard(sharder, () => {
          assert.deepEqual(sharder.settings('hub'), { ...DEFAULTS, threshold }, json);
        });
        assert.equal((await assign(sharder, `User-${i}`)).reason, 'assigned');
      }
      assert.equal((await stored(sharder))[0], 'User-0');
    });
  });
}

const postgres = engines.find(({ name }) => name === 'postgres');
describe('a service that could not hear', postgres?.options, () => {
  it('has the settings of now when it hears again', async (t) => {
    assert.ok(postgres);
    const sharder = await start(postgres);
    const other = await outsider(t, sharder);
    await assign(sharder, 'iana');
    await setUnheard(postgres, other, { normalize: 'lower' });
    assert.equal(await found(sharder, 'IANA'), undefined);
    await cutListener(other);
    await eventually(async () => {
      assert.equal(await found(sharder, 'IANA'), 'hub-0');
    });
    assert.equal((await stored(sharder)).length, 1);
  });
});
