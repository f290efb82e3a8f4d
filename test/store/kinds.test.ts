// Declaring kinds, as the settings do at every start: it adds and updates what is declared, and does
// nothing behind a person's back.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  declareKinds,
  openDatabase,
  type Database,
  type KindDeclaration,
  type SharderError,
} from '../../src/index.js';
import { listBuckets, type Bucket } from '../../src/store/buckets.js';
import { listKinds } from '../../src/store/kinds.js';
import { engines, open } from '../engines.js';

type Kinds = Readonly<Record<string, KindDeclaration>>;

async function declare(database: Database, kinds: Kinds): Promise<void> {
  await declareKinds(database, kinds, 'the settings');
}

async function kinds({ knex }: Database): Promise<Map<string, readonly string[]>> {
  return new Map((await listKinds(knex)).map(({ name, buckets }) => [name, buckets]));
}

async function bucket(database: Database, name: string): Promise<Partial<Bucket> | undefined> {
  const found = (await listBuckets(database.knex)).find((bucket) => bucket.name === name);
  return found && { url: found.url, weight: found.weight, capacity: found.capacity };
}

interface Line {
  readonly actor: string;
  readonly action: string;
  readonly kind: string;
  readonly to_bucket: string | null;
}

async function history({ knex }: Database): Promise<Line[]> {
  return knex('change').orderBy('id').select<Line[]>('actor', 'action', 'kind', 'to_bucket');
}

/** All that a declaration may write. */
async function contents({ knex }: Database): Promise<unknown> {
  return Promise.all([
    knex('kind').orderBy('name'),
    knex('bucket').orderBy(['kind', 'name']),
    knex('change').orderBy('id'),
  ]);
}

const HUB = {
  hub: {
    buckets: [
      { name: 'hub-0', url: 'https://hub-0.example/', weight: 2, capacity: 100 },
      { name: 'hub-1' },
    ],
  },
};

for (const engine of engines) {
  describe(`declaring kinds on ${engine.name}`, engine.options, () => {
    it('adds the kinds and buckets that are not there, each with a line of history', async () => {
      const database = await open(await engine.createDatabase());
      await declare(database, { ...HUB, home: { buckets: [] } });
      assert.deepEqual(
        await kinds(database),
        new Map([
          ['home', []],
          ['hub', ['hub-0', 'hub-1']],
        ]),
      );
      assert.deepEqual(await listBuckets(database.knex, 'hub'), [
        {
          kind: 'hub',
          name: 'hub-0',
          url: 'https://hub-0.example',
          weight: 2,
          capacity: 100,
          state: 'active',
          state_reason: null,
          members: 0,
        },
        {
          kind: 'hub',
          name: 'hub-1',
          url: null,
          weight: 1,
          capacity: null,
          state: 'active',
          state_reason: null,
          members: 0,
        },
      ]);
      const line = { actor: 'the settings', action: 'bucket add', kind: 'hub' };
      assert.deepEqual(await history(database), [
        { ...line, to_bucket: 'hub-0' },
        { ...line, to_bucket: 'hub-1' },
      ]);
    });

    it('writes nothing the second time, the version of the kind included', async () => {
      const database = await open(await engine.createDatabase());
      await declare(database, HUB);
      const before = await contents(database);
      await declare(database, HUB);
      await declare(database, { hub: { buckets: [] } });
      await declare(database, {});
      assert.deepEqual(await contents(database), before);
    });

    it('sets what it says of a bucket, with a line of history, and leaves the rest', async () => {
      const database = await open(await engine.createDatabase());
      await declare(database, HUB);
      await database.knex('bucket').where({ name: 'hub-0' }).update({ state: 'cordoned' });
      await declare(database, { hub: { buckets: [{ name: 'hub-0', weight: 7 }] } });
      assert.deepEqual(await bucket(database, 'hub-0'), {
        url: 'https://hub-0.example',
        weight: 7,
        capacity: 100,
      });
      await declare(database, { hub: { buckets: [{ name: 'hub-1', capacity: 0 }] } });
      assert.deepEqual(await bucket(database, 'hub-1'), { url: null, weight: 1, capacity: 0 });
      assert.equal((await listBuckets(database.knex))[0]?.state, 'cordoned');
      const line = { actor: 'the settings', action: 'bucket set', kind: 'hub' };
      assert.deepEqual((await history(database)).slice(2), [
        { ...line, to_bucket: 'hub-0' },
        { ...line, to_bucket: 'hub-1' },
      ]);
    });

    it('removes nothing that is left out, and adds beside it', async () => {
      const database = await open(await engine.createDatabase());
      await declare(database, { ...HUB, home: { buckets: [{ name: 'home-0' }] } });
      await declare(database, { hub: { buckets: [{ name: 'hub-2' }] } });
      assert.deepEqual(
        await kinds(database),
        new Map([
          ['home', ['home-0']],
          ['hub', ['hub-0', 'hub-1', 'hub-2']],
        ]),
      );
    });

    it('counts one version for all that it writes to a kind', async () => {
      const database = await open(await engine.createDatabase());
      const version = async () =>
        Number((await database.knex('kind').pluck<unknown[]>('version'))[0]);
      await declare(database, HUB);
      const before = await version();
      await declare(database, {
        hub: { buckets: [{ name: 'hub-0', weight: 3 }, { name: 'hub-5' }, { name: 'hub-6' }] },
      });
      assert.equal(await version(), before + 1);
    });

    it('ten starts at once add each bucket once', async () => {
      const url = await engine.createDatabase();
      const databases = [await open(url)];
      while (databases.length < 10) databases.push(await open(url));
      await Promise.all(databases.map((database) => declare(database, HUB)));
      const [database] = databases;
      assert.ok(database);
      assert.deepEqual(await kinds(database), new Map([['hub', ['hub-0', 'hub-1']]]));
      assert.equal((await history(database)).length, 2);
    });

    const GOOD = { name: 'hub-7', weight: 5 };
    const WRONG: [what: string, code: SharderError['code'], kinds: Kinds][] = [
      ['a URL that is none', 'bad_request', of({ name: 'hub-0', url: 'hub-0.example' })],
      ['a URL of another scheme', 'bad_request', of({ name: 'hub-8', url: 'ftp://hub-8.example' })],
      ['a URL with a password', 'bad_request', of({ name: 'hub-8', url: 'http://a:b@h.example' })],
      ['a URL with a query', 'bad_request', of({ name: 'hub-8', url: 'http://h.example/?a=b' })],
      [
        'a URL with an empty query',
        'bad_request',
        of({ name: 'hub-8', url: 'http://h.example/?' }),
      ],
      [
        'a URL with an empty fragment',
        'bad_request',
        of({ name: 'hub-8', url: 'http://h.example/#' }),
      ],
      ['a weight of 0', 'bad_request', of({ name: 'hub-0', weight: 0 })],
      ['half a weight', 'bad_request', of({ name: 'hub-8', weight: 0.5 })],
      ['a weight that is no number', 'bad_request', of({ name: 'hub-8', weight: NaN })],
      ['a negative capacity', 'bad_request', of({ name: 'hub-0', capacity: -1 })],
      ['a bucket without a name', 'bad_name', of({ name: '' })],
      ['a bucket with a comma in its name', 'bad_name', of({ name: 'hub,8' })],
      ['a bucket with a name of 257 bytes', 'bad_name', of({ name: 'h'.repeat(257) })],
      ['a kind with a slash in its name', 'bad_name', { 'hub/a': { buckets: [GOOD] } }],
      ['a kind without a name', 'bad_name', { '': { buckets: [GOOD] } }],
    ];
    function of(wrong: KindDeclaration['buckets'][number]): Kinds {
      return { hub: { buckets: [GOOD, wrong] } };
    }
    it('refuses what is wrong, and then changes nothing of the kind', async (t) => {
      const database = await open(await engine.createDatabase());
      const empty = await open(await engine.createDatabase());
      await declare(database, HUB);
      for (const [what, code, kinds] of WRONG) {
        await t.test(what, async () => {
          for (const each of [database, empty]) {
            const before = await contents(each);
            await assert.rejects(declare(each, kinds), (error: SharderError) => {
              assert.equal(error.code, code, error.stack);
              return true;
            });
            assert.deepEqual(await contents(each), before);
          }
        });
      }
    });

    it('what it added is there after the database was closed', async () => {
      const url = await engine.createDatabase();
      const database = await openDatabase(url);
      await declare(database, HUB);
      await database.close();
      assert.deepEqual(await kinds(await open(url)), new Map([['hub', ['hub-0', 'hub-1']]]));
    });
  });
}
