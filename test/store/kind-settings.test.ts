// A kind is created, set and removed by a person, each with a line of history; and a new normaliser
// finds everybody a normal name, or changes nothing.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { SharderError, type Database } from '../../src/index.js';
import { normalizeName, type Normalize } from '../../src/normalize.js';
import { objectHistory, objectsAt } from '../../src/store/history.js';
import {
  DEFAULT_KIND_SETTINGS,
  readKindSettings,
  type KindChanges,
} from '../../src/store/kind-settings.js';
import {
  createKind,
  declareKinds,
  getKind,
  listKinds,
  lockKind,
  removeKind,
  setKind,
} from '../../src/store/kinds.js';
import * as store from '../../src/store/objects.js';
import { explainObject } from '../../src/explain.js';
import { isRefused } from '../asking.js';
import { contents, lastChange, type ChangeRow } from '../commands/prepare.js';
import { declareHub, engines, hubs, open, type TestEngine } from '../engines.js';

const BY = { actor: 'ops', reason: 'case 7' };

async function start(engine: TestEngine): Promise<Database> {
  const database = await open(await engine.createDatabase());
  await declareHub(database, hubs(3));
  return database;
}

function set(database: Database, changes: KindChanges, kind = 'hub') {
  return database.write((trx) => setKind(trx, kind, changes, BY));
}

/** Puts objects in hub-0, hub-1, hub-2 and hub-0 again, behind everybody's back. */
async function add({ knex }: Database, names: readonly string[], kind = 'hub'): Promise<void> {
  for (let i = 0; i < names.length; i += 300) {
    const page = names.slice(i, i + 300);
    await knex('shard').insert(
      page.map((name, j) => ({ kind, name, bucket: `hub-${(i + j) % 3}` })),
    );
  }
}

async function objects({ knex }: Database): Promise<Record<string, string>> {
  const rows = await knex('shard').select<{ name: string; bucket: string }[]>('name', 'bucket');
  return Object.fromEntries(rows.map(({ name, bucket }) => [name, bucket]));
}

async function storedJson({ knex }: Database): Promise<unknown> {
  const row: { settings: unknown } = await knex('kind').where({ name: 'hub' }).first('settings');
  return parsed(row.settings);
}

// SQLite has JSON as text.
function parsed(json: unknown): unknown {
  return typeof json === 'string' ? JSON.parse(json) : json;
}

async function messageOf(work: Promise<unknown>, code: SharderError['code']): Promise<string> {
  let message = '';
  await assert.rejects(work, (error: SharderError) => {
    message = error.message;
    return isRefused(code)(error);
  });
  return message;
}

describe('what a kind was told', () => {
  it('is read with the default of what is not there, and of what is no value', () => {
    const normal = { ...DEFAULT_KIND_SETTINGS, normalize: 'lower' };
    assert.deepEqual(readKindSettings('{"normalize":"lower"}'), normal);
    assert.deepEqual(readKindSettings({ normalize: 'lower', cookie: 'false', x: 1 }), normal);
    assert.equal(readKindSettings({ threshold: 1000 }).threshold, 1000);
  });

  it('is read without an error, whatever is there', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (value, normalize) => {
        for (const each of [value, { normalize, cookie: value, threshold: value, ramp: value }]) {
          assert.deepEqual(Object.keys(readKindSettings(each)), Object.keys(DEFAULT_KIND_SETTINGS));
        }
      }),
    );
  });
});

for (const engine of engines) {
  describe(`a kind on ${engine.name}`, engine.options, () => {
    it('is created with what it is told, and a line of history', async () => {
      const database = await start(engine);
      const settings = { normalize: 'lower', threshold: 20 } as const;
      await database.write((trx) => createKind(trx, 'home', { settings }, BY));
      const { policy, settings: now } = await database.read((knex) => getKind(knex, 'home'));
      assert.equal(policy, 'emptiest');
      assert.deepEqual(now, { ...DEFAULT_KIND_SETTINGS, ...settings });
      const { action, kind, actor, reason, detail } = await lastChange(database);
      assert.deepEqual([action, kind, actor, reason], ['kind create', 'home', 'ops', 'case 7']);
      assert.deepEqual(detail, { policy: 'emptiest', ...settings });
    });

    it('is not created twice, also by many at once', async () => {
      const url = await engine.createDatabase();
      const databases = [await open(url), await open(url), await open(url)];
      const results = await Promise.allSettled(
        databases.map((each) => each.write((trx) => createKind(trx, 'home', {}, BY))),
      );
      const refused = results.filter((result) => result.status === 'rejected');
      assert.equal(refused.length, 2);
      for (const { reason } of refused) isRefused('exists')(reason as SharderError);
      assert.equal((await databases[0]?.knex('change'))?.length, 1);
    });

    it('is not created with a name, a policy or a setting that it cannot have', async () => {
      const database = await start(engine);
      const before = await contents(database);
      const wrong: [kind: string, how: object, code: SharderError['code'], why: RegExp][] = [
        ['a b', {}, 'bad_name', /cannot name a kind/],
        ['home', { policy: 'random' }, 'bad_request', /^policy "random" is none: .* emptiest or h/],
        [
          'home',
          { policy: 'hash', settings: { leased: true } },
          'bad_request',
          /^kind home cannot be leased and have the policy hash/,
        ],
        [
          'home',
          { settings: { key: { header: 'X-Tenant' } } },
          'bad_request',
          /^key: kind home has the policy emptiest, which remembers users/,
        ],
        ...[
          [{ key: 'tenant' }, /^key is "tenant": it must be user, or have one of header, query/],
          [{ key: {} }, /^key is \{\}: it must have one of header, query and cookie/],
          [{ key: { header: 'A', query: 'b' } }, /must have one of header, query and cookie/],
          [{ key: { header: 'A b' } }, /^key\.header: must be the name of a header$/],
          [{ key: { query: 'a=b' } }, /^key\.query: must be the name of a parameter/],
          [
            { key: { cookie: 'a', pattern: '(?=a)' } },
            /^key\.pattern: .* "\(\?=a\)" .* neither ah/,
          ],
          [{ key: { header: 'A', part: 1 } }, /^key is .*"part"/],
          [{ hash: 'md5' }, /^hash is "md5": it must be rendezvous or modulo$/],
        ].map(([settings, why]): [string, object, SharderError['code'], RegExp] => [
          'home',
          { policy: 'hash', settings },
          'bad_request',
          why as RegExp,
        ]),
        [
          'home',
          { settings: { normalize: 'LOWER' } },
          'bad_request',
          /^normalize is "LOWER": it must be none, lower or lower-local$/,
        ],
        ['home', { settings: { cookie: 1 } }, 'bad_request', /^cookie is 1: it must be true or f/],
        ['home', { settings: { threshold: 0 } }, 'bad_request', /^threshold is 0: .*1 to 1000/],
        [
          'home',
          { settings: { leased: 'yes' } },
          'bad_request',
          /^leased is "yes": it must be true/,
        ],
        ['home', { settings: { grace: -1 } }, 'bad_request', /^grace is -1: .*0 to 86400 seconds$/],
        ['home', { settings: { max_moving: 0 } }, 'bad_request', /^max_moving is 0: .*1 to 10000$/],
        [
          'home',
          { settings: { breaker: 100 } },
          'bad_request',
          /^breaker is 100: .*99 percent, or/,
        ],
        [
          'home',
          { settings: { ramp: 0.5 } },
          'bad_request',
          /^ramp is 0\.5: .*1 to 1000, or null$/,
        ],
        [
          'home',
          { settings: { case: 1 } },
          'bad_request',
          /"case".*cookie, threshold, ramp, leased, .*breaker, hash, key$/,
        ],
      ];
      for (const [kind, how, code, why] of wrong) {
        const creating = database.write((trx) => createKind(trx, kind, how, BY));
        assert.match(await messageOf(creating, code), why);
      }
      await messageOf(set(database, { threshold: 2000 }), 'bad_request');
      await messageOf(set(database, {}, 'nosuch'), 'unknown_kind');
      assert.deepEqual(await contents(database), before);
    });

    it('is set, with what it was and what it is; the rest of the column stays', async () => {
      const database = await start(engine);
      const json = JSON.stringify({ mine: { a: [1] }, threshold: 'many' });
      await database.knex('kind').update({ settings: json });
      assert.deepEqual(await set(database, { cookie: false, threshold: 10.5 }), {
        cookie: { from: true, to: false },
        threshold: { from: '"many"', to: 10.5 },
      });
      assert.deepEqual(await storedJson(database), {
        mine: { a: [1] },
        threshold: 10.5,
        cookie: false,
      });
      const { action, kind, detail } = await lastChange(database);
      assert.deepEqual([action, kind], ['kind set', 'hub']);
      assert.deepEqual(detail, {
        cookie: { from: true, to: false },
        threshold: { from: '"many"', to: 10.5 },
      });
      const before = await contents(database);
      assert.deepEqual(await set(database, { cookie: false, normalize: 'none', ramp: null }), {});
      assert.deepEqual(await contents(database), before);
    });

    it('has a ramp from when it is told until it is told null', async () => {
      const database = await start(engine);
      assert.deepEqual(await set(database, { ramp: 2.5 }), { ramp: { from: null, to: 2.5 } });
      assert.equal((await getKind(database.knex, 'hub')).settings.ramp, 2.5);
      assert.deepEqual(await set(database, { ramp: null }), { ramp: { from: 2.5, to: null } });
      assert.equal((await getKind(database.knex, 'hub')).settings.ramp, null);
    });

    it('is leased from when it is told, with what is said of its workers', async () => {
      const database = await start(engine);
      const settings = {
        leased: true,
        grace: 0.5,
        reshard_interval: 0,
        max_moving: 7,
        cooldown: 9,
      };
      const changed = await set(database, { ...settings, breaker: null });
      assert.deepEqual(changed.leased, { from: false, to: true });
      assert.deepEqual(changed.breaker, { from: 50, to: null });
      const now = (await getKind(database.knex, 'hub')).settings;
      assert.deepEqual(now, { ...DEFAULT_KIND_SETTINGS, ...settings, breaker: null });
    });

    it('is removed when it has no buckets, with a line of history', async () => {
      const database = await start(engine);
      const removing = () => database.write((trx) => removeKind(trx, 'hub', BY));
      assert.match(
        await messageOf(removing(), 'not_empty'),
        /^kind hub has bucket hub-0 and 2 more: .*`sharder bucket remove hub-0 --kind hub`/,
      );
      await database.knex('bucket').delete();
      await removing();
      assert.deepEqual(await listKinds(database.knex), []);
      const { action, kind } = await lastChange(database);
      assert.deepEqual([action, kind], ['kind remove', 'hub']);
      await messageOf(removing(), 'unknown_kind');
    });

    it('tells its row to who takes its lock', async () => {
      const database = await start(engine);
      await set(database, { cookie: false });
      const { version } = await getKind(database.knex, 'hub');
      const row = await database.write((trx) => lockKind(trx, 'hub'));
      assert.deepEqual(row, {
        name: 'hub',
        policy: 'emptiest',
        settings: { ...DEFAULT_KIND_SETTINGS, cookie: false },
        json: { cookie: false },
        version: version + 1,
        places: 0,
        placedAt: null,
        lapses: [],
        halted: false,
        resumedAt: null,
      });
    });

    it('is declared with its settings; what the declaration leaves out stays', async () => {
      const database = await start(engine);
      await add(database, ['IANA']);
      await declareKinds(
        database,
        { hub: { normalize: 'lower', buckets: [] }, home: { cookie: false, buckets: [] } },
        'sharder.yml',
      );
      assert.deepEqual(await objects(database), { iana: 'hub-0' });
      const home = await getKind(database.knex, 'home');
      assert.deepEqual(home.settings, { ...DEFAULT_KIND_SETTINGS, cookie: false });
      const lines = await database
        .knex('change')
        .where({ actor: 'sharder.yml' })
        .orderBy('id')
        .pluck('action');
      assert.deepEqual(lines, ['kind set', 'object rename', 'object rename', 'kind set']);

      const before = await contents(database);
      const { version } = await getKind(database.knex, 'hub');
      await declareKinds(database, { hub: { normalize: 'lower', buckets: [] } }, 'sharder.yml');
      await declareKinds(database, { hub: { buckets: [] } }, 'sharder.yml');
      assert.deepEqual(await contents(database), before);
      assert.equal((await getKind(database.knex, 'hub')).version, version);
    });

    it('that cannot have the declared normalize is not declared at all', async () => {
      const database = await start(engine);
      await add(database, ['IANA', 'iana']);
      const before = await contents(database);
      const declared = { normalize: 'lower', buckets: [{ name: 'hub-7' }] } as const;
      await messageOf(declareKinds(database, { hub: declared }, 'sharder.yml'), 'collision');
      assert.deepEqual(await contents(database), before);
    });
  });

  describe(`a new normaliser on ${engine.name}`, engine.options, () => {
    it('renames everybody, in their buckets, each with the two lines that a rename has', async () => {
      const database = await start(engine);
      await add(database, ['IANA@example.org', 'Ivan', 'igor', 'ŽOFIE@']);
      await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-2', name: 'Zoe' });
      const assigned = await database.knex('shard').orderBy('id').select('id', 'assigned_at');
      assert.deepEqual(await set(database, { normalize: 'lower-local' }), {
        normalize: { from: 'none', to: 'lower-local' },
      });
      assert.deepEqual(await objects(database), {
        iana: 'hub-0',
        ivan: 'hub-1',
        igor: 'hub-2',
        žofie: 'hub-0',
        zoe: 'hub-2',
      });
      assert.deepEqual(
        await database.knex('shard').orderBy('id').select('id', 'assigned_at'),
        assigned,
      );
      const members = await database.knex('bucket').orderBy('name').pluck('members');
      assert.deepEqual(members, [2, 1, 2]);
      const lines = await database
        .knex('change')
        .where({ action: 'object rename' })
        .whereIn('name', ['IANA@example.org', 'iana'])
        .orderBy('id')
        .select<ChangeRow[]>();
      assert.deepEqual(
        lines.map(({ actor, reason, name, from_bucket, to_bucket, detail }) => ({
          ...{ actor, reason, name, from_bucket, to_bucket },
          detail: parsed(detail),
        })),
        [
          {
            ...{ actor: 'ops', reason: 'case 7', name: 'IANA@example.org' },
            ...{ from_bucket: 'hub-0', to_bucket: null, detail: { to: 'iana' } },
          },
          {
            ...{ actor: 'ops', reason: 'case 7', name: 'iana' },
            ...{ from_bucket: null, to_bucket: 'hub-0', detail: { from: 'IANA@example.org' } },
          },
        ],
      );
      assert.equal((await database.knex('change').where({ action: 'object rename' })).length, 8);
    });

    it('leaves the history right: where everybody was, and what they were called', async () => {
      const database = await start(engine);
      await add(database, ['IANA', 'ivan', 'Gone']);
      await database.write((trx) => store.moveObject(trx, 'hub', 'IANA', 'hub-2', BY));
      await database.write((trx) => store.removeObject(trx, 'hub', 'Gone', BY));
      await sleep(2);
      const before = new Date();
      await sleep(2);
      await set(database, { normalize: 'lower' });
      await sleep(2);

      const at = async (time: Date) => {
        const found: Record<string, string> = {};
        for await (const page of objectsAt(database, 'hub', time, 2)) {
          for (const { name, bucket } of page) found[name] = bucket;
        }
        return found;
      };
      assert.deepEqual(await at(before), { IANA: 'hub-2', ivan: 'hub-1' });
      assert.deepEqual(await at(new Date()), { iana: 'hub-2', ivan: 'hub-1' });
      for (const name of ['iana', 'IANA', 'Iana']) {
        const { assigned, changes } = await objectHistory(database, 'hub', name);
        assert.equal(assigned?.bucket, 'hub-0');
        assert.deepEqual(
          changes.map(({ action, detail }) => [action, detail]),
          [
            ['object move', null],
            ['object rename', { to: 'iana' }],
          ],
        );
      }
      const { changes } = await objectHistory(database, 'hub', 'Gone');
      assert.deepEqual(
        changes.map(({ action }) => action),
        ['object remove'],
      );
    });

    it('is refused where names fall together, names the first ten, and changes nothing', async () => {
      const database = await start(engine);
      const people = Array.from({ length: 12 }, (_, i) => `p${String(i).padStart(2, '0')}`);
      await add(database, [...people, 'q', ...people.map((name) => name.toUpperCase())]);
      await add(database, ['Q@one', 'Q@two', 'Other']);
      const before = await contents(database);
      const message = await messageOf(set(database, { normalize: 'lower-local' }), 'collision');
      const [first, ...rest] = message.split('\n');
      assert.equal(
        first,
        'normalize lower-local does not fit kind hub: 14 objects would have the name of another',
      );
      assert.equal(rest.length, 12);
      assert.ok(rest.includes('  P00, p00 → p00 (hub-1, hub-0)'), message);
      assert.equal(rest[10], '  and 4 more');
      assert.match(rest[11] ?? '', /`sharder object merge`.*set it again$/);
      assert.deepEqual(await contents(database), before);
      assert.equal((await getKind(database.knex, 'hub')).settings.normalize, 'none');

      for (const name of people) {
        await database.write((trx) => store.mergeObjects(trx, 'hub', name.toUpperCase(), name, BY));
      }
      const two = await messageOf(set(database, { normalize: 'lower-local' }), 'collision');
      assert.match(two, /\n {2}Q@one, q → q \(hub-0, hub-0\)\n {2}Q@two, q → q \(hub-1, hub-0\)\n/);
      await database.write((trx) => store.removeObject(trx, 'hub', 'q', BY));
      const one = await messageOf(set(database, { normalize: 'lower-local' }), 'collision');
      assert.match(one, /: 1 object would .*\n {2}Q@one, Q@two → q \(hub-0, hub-1\)\n/);
      await database.write((trx) => store.removeObject(trx, 'hub', 'Q@one', BY));
      await set(database, { normalize: 'lower-local' });
      assert.deepEqual(Object.keys(await objects(database)).toSorted(), ['other', ...people, 'q']);
    });

    it('is refused where somebody would have no name', async () => {
      const database = await start(engine);
      await add(database, ['Iana', '@example.org', 'x @example.org']);
      const before = await contents(database);
      const message = await messageOf(set(database, { normalize: 'lower-local' }), 'bad_name');
      assert.match(message, /: 2 objects would have no name\n {2}"@example.org" becomes ""/);
      assert.deepEqual(await contents(database), before);
      await set(database, { normalize: 'lower' });
    });

    it('touches no other kind', async () => {
      const database = await start(engine);
      const buckets = Object.keys(hubs(3)).map((name) => ({ name }));
      await declareKinds(database, { home: { buckets } }, 'test');
      await add(database, ['IANA']);
      await add(database, ['IANA', 'iana'], 'home');
      await set(database, { normalize: 'lower' });
      const home = await database
        .knex('shard')
        .where({ kind: 'home' })
        .orderBy('name')
        .pluck('name');
      assert.deepEqual(new Set(home), new Set(['IANA', 'iana']));
    });

    it('that is no more leaves the names as they are', async () => {
      const database = await start(engine);
      await add(database, ['Iana']);
      await set(database, { normalize: 'lower' });
      await set(database, { normalize: 'none' });
      assert.deepEqual(await objects(database), { iana: 'hub-0' });
    });

    it('finds any names their normal form, or says how many fall together', async () => {
      const name = fc.string({ unit: fc.constantFrom('a', 'A', 'b', 'B', '@'), minLength: 1 });
      const people = fc.uniqueArray(name, { maxLength: 8 });
      const database = await start(engine);
      await fc.assert(
        fc.asyncProperty(people, fc.constantFrom('lower', 'lower-local'), async (names, how) => {
          await database.knex('shard').delete();
          await set(database, { normalize: 'none' });
          await add(database, names);
          const forms = names.map((each) => formOf(each, how));
          const where = Object.fromEntries(forms.map((form, i) => [String(form), `hub-${i % 3}`]));
          const code = forms.includes(undefined)
            ? 'bad_name'
            : new Set(forms).size < forms.length
              ? 'collision'
              : undefined;
          if (code === undefined) {
            await set(database, { normalize: how });
            assert.deepEqual(await objects(database), where);
          } else {
            const message = await messageOf(set(database, { normalize: how }), code);
            const count = forms.filter((form) => form === undefined).length;
            const together = forms.length - new Set(forms).size;
            assert.match(message, new RegExp(`: ${count || together} objects? would have`));
            assert.deepEqual(new Set(Object.keys(await objects(database))), new Set(names));
          }
        }),
        { numRuns: 60 },
      );
    });

    it('renames a hundred thousand within half a minute, and lets others go on after every few hundred', async () => {
      const database = await start(engine);
      const people = Array.from({ length: 100_000 }, (_, i) => `User-${i}`);
      await add(database, people);
      let turns = 0;
      let isDone = false;
      const count = () => {
        turns++;
        if (!isDone) setImmediate(count);
      };
      count();
      const started = performance.now();
      await set(database, { normalize: 'lower' });
      const milliseconds = performance.now() - started;
      isDone = true;
      assert.ok(milliseconds < 30_000, `${milliseconds} ms`);
      assert.ok(turns > 500, `${turns} turns in ${milliseconds} ms`);
      const rows = await database.knex('shard').where('name', 'like', 'user-%').pluck('name');
      assert.equal(rows.length, 100_000);
      const [lines] = await database
        .knex('change')
        .where({ action: 'object rename' })
        .count('* as n');
      assert.equal(Number(lines?.n), 200_000);
    });
  });

  describe(`a name that a person gives, on ${engine.name}`, engine.options, () => {
    async function lower(how: Normalize = 'lower-local'): Promise<Database> {
      const database = await start(engine);
      await set(database, { normalize: how });
      await add(database, ['iana', 'ivan']);
      return database;
    }

    it('is made normal before the object is looked up', async () => {
      const database = await lower();
      const write = <T>(work: Parameters<typeof database.write<T>>[0]) => database.write(work);
      const [found] = await store.findObjects(database, 'IANA@x', 'hub');
      assert.equal(found?.name, 'iana');
      assert.equal((await store.findObjects(database, 'Iana'))[0]?.name, 'iana');
      assert.deepEqual(await store.findObjects(database, '@x', 'hub'), []);
      const explained = await explainObject(database, 'hub', 'IANA');
      assert.deepEqual([explained.name, explained.object?.bucket], ['iana', 'hub-0']);

      assert.equal(
        await write((trx) => store.moveObject(trx, 'hub', 'IANA', 'hub-2', BY)),
        'hub-0',
      );
      assert.equal((await lastChange(database)).name, 'iana');
      assert.equal(
        await write(async (trx) =>
          store.pinObject(trx, await lockKind(trx, 'hub'), 'Iana@x', true, BY),
        ),
        true,
      );
      assert.equal(
        await write((trx) => store.renameObject(trx, 'hub', 'IANA', 'ANA@x', BY)),
        'hub-2',
      );
      const renamed = await lastChange(database);
      assert.deepEqual([renamed.name, renamed.detail], ['ana', { from: 'iana' }]);
      const merged = await write((trx) => store.mergeObjects(trx, 'hub', 'Ivan', 'ANA', BY));
      assert.deepEqual(merged, { bucket: 'hub-2', was: 'hub-2', from: 'hub-1' });
      assert.deepEqual((await lastChange(database)).detail, { from: 'ivan', keep: 'into' });
      assert.equal(await write((trx) => store.removeObject(trx, 'hub', 'ANA', BY)), 'hub-2');
      assert.deepEqual(await objects(database), {});
    });

    it('is refused where it is the same object, a bad name, or nobody', async () => {
      const database = await lower();
      const before = await contents(database);
      const write = (work: (trx: Parameters<typeof lockKind>[0]) => Promise<unknown>) =>
        database.write(work);
      const { renameObject, mergeObjects, moveObject } = store;
      await messageOf(
        write((trx) => renameObject(trx, 'hub', 'iana', 'IVAN', BY)),
        'exists',
      );
      const same = await messageOf(
        write((trx) => renameObject(trx, 'hub', 'iana', 'IANA', BY)),
        'exists',
      );
      assert.match(same, /"iana" of kind hub is called so already: .* lower-local$/);
      await messageOf(
        write((trx) => mergeObjects(trx, 'hub', 'iana', 'IANA', BY)),
        'bad_request',
      );
      await messageOf(
        write((trx) => renameObject(trx, 'hub', 'iana', '@x', BY)),
        'bad_name',
      );
      await messageOf(
        write((trx) => moveObject(trx, 'hub', 'NOBODY', 'hub-1', BY)),
        'unknown_object',
      );
      assert.deepEqual(await contents(database), before);
    });

    it('is taken as it stands where somebody wrote such a one into the table', async () => {
      const database = await lower('lower');
      await add(database, ['IANA']);
      assert.equal((await store.findObjects(database, 'IANA'))[0]?.name, 'IANA');
      await database.write((trx) => store.mergeObjects(trx, 'hub', 'IANA', 'iana', BY));
      assert.deepEqual(Object.keys(await objects(database)).toSorted(), ['iana', 'ivan']);
    });
  });
}

function formOf(name: string, how: Normalize): string | undefined {
  try {
    return normalizeName(name, how);
  } catch {
    return undefined;
  }
}
