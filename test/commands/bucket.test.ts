// sharder bucket list | add: what is there, and one more, at once for a service that runs.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { declareHub, engines, open, type TestEngine } from '../engines.js';
import { declareKinds, Sharder, type Database } from '../../src/index.js';
import { Service } from '../service.js';
import { directoryWith, run } from './run.js';

async function prepare(engine: TestEngine): Promise<{ url: string; database: Database }> {
  const url = await engine.createDatabase();
  const database = await open(url);
  await declareHub(database, {
    'hub-0': { url: 'https://hub-0.example', weight: 2 },
    'hub-1': { capacity: 100 },
  });
  await declareKinds(database, { homedir: { buckets: [{ name: 'home-0' }] } }, 'test');
  const sharder = await Sharder.start(database);
  for (const name of ['a', 'b', 'c']) await sharder.assign('hub', name);
  return { url, database };
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder bucket`, engine.options, () => {
    it('list is a table of all buckets, with their members', async () => {
      const { url } = await prepare(engine);
      const { code, stdout, stderr } = await run(['bucket', 'list'], {
        env: { DATABASE_URL: url },
      });
      assert.equal(code, 0);
      assert.equal(stderr, '');
      assert.equal(
        stdout,
        [
          'KIND     BUCKET  MEMBERS  WEIGHT  CAPACITY  STATE   URL',
          'homedir  home-0        0       1         -  active  -',
          'hub      hub-0         2       2         -  active  https://hub-0.example',
          'hub      hub-1         1       1       100  active  -',
          '',
        ].join('\n'),
      );
    });

    it('list --json is the same for programs', async () => {
      const { url } = await prepare(engine);
      const env = { DATABASE_URL: url };
      const { stdout } = await run(['bucket', 'list', '--kind', 'hub', '--json'], { env });
      const common = { kind: 'hub', state: 'active', state_reason: null };
      assert.deepEqual(JSON.parse(stdout), [
        {
          ...common,
          name: 'hub-0',
          url: 'https://hub-0.example',
          weight: 2,
          capacity: null,
          members: 2,
        },
        { ...common, name: 'hub-1', url: null, weight: 1, capacity: 100, members: 1 },
      ]);
    });

    it('add takes all settings, and is a line of the history', async () => {
      const { url, database } = await prepare(engine);
      const args = ['hub-2', '--url', 'http://x.example/', '--weight', '3', '--capacity', '0'];
      const env = { DATABASE_URL: url, SUDO_USER: 'iana' };
      assert.deepEqual(await run(['bucket', 'add', ...args], { env }), {
        code: 0,
        stdout: 'added bucket hub-2 to kind hub\n',
        stderr: '',
      });
      const row: unknown = await database
        .knex('bucket')
        .where({ kind: 'hub', name: 'hub-2' })
        .first('url', 'weight', 'capacity', 'state', 'members');
      assert.deepEqual(
        { ...(row as object) },
        { url: 'http://x.example', weight: 3, capacity: 0, state: 'active', members: 0 },
      );
      const line = (await database.knex('change').orderBy('id', 'desc').first()) as Change;
      assert.equal(line.actor, 'cli:iana');
      assert.equal(line.action, 'bucket add');
      assert.deepEqual([line.kind, line.from_bucket, line.to_bucket], ['hub', null, 'hub-2']);
    });

    const refused: readonly [args: string[], says: RegExp][] = [
      [['hub-1'], /^sharder: kind hub has a bucket hub-1 already: nothing was changed\n$/],
      [['hub-2', '--kind', 'nosuch'], /^sharder: there is no kind "nosuch": declare it/],
      [['hub-2', '--weight', '0'], /^sharder: weight is 0; it must be a whole number from 1 to/],
      [['hub-2', '--weight', '1000001'], /^sharder: weight is 1000001; it must be/],
      [['hub-2', '--capacity', '9999999999'], /^sharder: capacity is 9999999999; it must be/],
      [['hub-2', '--url', 'ftp://x'], /^sharder: "ftp:\/\/x" is not a URL for a bucket: http/],
      [['hub 2'], /^sharder: "hub 2" cannot name a bucket: 1 to 256 visible ASCII/],
      [[''], /^sharder: "" cannot name a bucket/],
      [['--', '--weight=1;'], /^sharder: "--weight=1;" cannot name a bucket/],
    ];

    it('add refuses with 1 what cannot be, and then has changed nothing', async () => {
      const { url, database } = await prepare(engine);
      const state = async () => ({
        kinds: await database.knex('kind').orderBy('name'),
        buckets: await database.knex('bucket').orderBy(['kind', 'name']),
        changes: await database.knex('change').orderBy('id'),
      });
      const before = await state();
      for (const [args, says] of refused) {
        const outcome = await run(['bucket', 'add', ...args], { env: { DATABASE_URL: url } });
        assert.equal(outcome.code, 1, args.join(' '));
        assert.equal(outcome.stdout, '');
        assert.match(outcome.stderr, says);
      }
      assert.deepEqual(await state(), before);
    });

    it('list of a kind that is not there is refused', async () => {
      const { url } = await prepare(engine);
      const env = { DATABASE_URL: url };
      const { code, stdout, stderr } = await run(['bucket', 'list', '--kind', 'nosuch'], { env });
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, /^sharder: there is no kind "nosuch"/);
    });

    it('add fills the new bucket of a running service at once', async () => {
      const url = await engine.createDatabase();
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1] } }');
      const service = await Service.start(url, { cwd });
      const bucketOf = async (name: string) => (await (await service.shard(name)).text()).trim();
      for (const name of ['a', 'b', 'c', 'd']) await bucketOf(name);

      const env = { DATABASE_URL: url };
      assert.equal((await run(['bucket', 'add', 'hub-2'], { env, cwd })).code, 0);
      assert.deepEqual(await Promise.all([bucketOf('e'), bucketOf('f')]), ['hub-2', 'hub-2']);
      assert.equal(await bucketOf('a'), 'hub-0');
      assert.equal(await bucketOf('g'), 'hub-0');
      assert.equal(await service.stop(), 0);
    });
  });
}

interface Change {
  readonly actor: string;
  readonly action: string;
  readonly kind: string;
  readonly from_bucket: string | null;
  readonly to_bucket: string | null;
}
