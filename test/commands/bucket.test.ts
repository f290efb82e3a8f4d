// sharder bucket list | add | set | cordon | uncordon | remove: what is there, and what is changed,
// at once for a service that runs; or not at all.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Bucket } from '../../src/store/buckets.js';
import { engines } from '../engines.js';
import { Service } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { directoryWith, run } from './run.js';

for (const engine of engines) {
  describe(`on ${engine.name}, sharder bucket`, engine.options, () => {
    it('list is a table of all buckets, with their members', async () => {
      const { env } = await prepare(engine);
      const { code, stdout, stderr } = await run(['bucket', 'list'], { env });
      assert.equal(code, 0);
      assert.equal(stderr, '');
      assert.equal(
        stdout,
        [
          'KIND     BUCKET  MEMBERS  SHARE  WEIGHT  CAPACITY  STATE   URL',
          'homedir  home-0        0  0.0%        1         -  active  -',
          'hub      hub-0         2  66.7%       2         -  active  https://hub-0.example',
          'hub      hub-1         1  33.3%       1       100  active  -',
          '',
        ].join('\n'),
      );
    });

    it('list --json is the same for programs', async () => {
      const { env } = await prepare(engine);
      const { stdout } = await run(['bucket', 'list', '--kind', 'hub', '--json'], { env });
      const common = { kind: 'hub', state: 'active', state_reason: null };
      const hub0 = { name: 'hub-0', url: 'https://hub-0.example', weight: 2, capacity: null };
      assert.deepEqual(JSON.parse(stdout), [
        { ...common, ...hub0, members: 2, share: 2 / 3, over_full: false },
        {
          ...common,
          name: 'hub-1',
          url: null,
          weight: 1,
          capacity: 100,
          members: 1,
          share: 1 / 3,
          over_full: false,
        },
      ]);
    });

    it('list of a kind that is not there is refused', async () => {
      const { env } = await prepare(engine);
      const { code, stdout, stderr } = await run(['bucket', 'list', '--kind', 'nosuch'], { env });
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, /^sharder: there is no kind "nosuch"/);
    });

    it('add takes all settings, and is a line of the history', async () => {
      const { env, database } = await prepare(engine);
      const args = ['hub-2', '--url', 'http://x.example/', '--weight', '3', '--capacity', '0'];
      assert.deepEqual(
        await run(['bucket', 'add', ...args, '--reason', 'term'], {
          env: { ...env, SUDO_USER: 'iana' },
        }),
        { code: 0, stdout: 'added bucket hub-2 to kind hub\n', stderr: '' },
      );
      const row: unknown = await database
        .knex('bucket')
        .where({ kind: 'hub', name: 'hub-2' })
        .first('url', 'weight', 'capacity', 'state', 'members');
      assert.deepEqual(
        { ...(row as object) },
        { url: 'http://x.example', weight: 3, capacity: 0, state: 'active', members: 0 },
      );
      const line = await lastChange(database);
      assert.equal(line.actor, 'cli:iana');
      assert.equal(line.action, 'bucket add');
      assert.equal(line.reason, 'term');
      assert.deepEqual([line.kind, line.from_bucket, line.to_bucket], ['hub', null, 'hub-2']);
    });

    it('set changes what is given, keeps the rest, and says from what to what', async () => {
      const { env, database } = await prepare(engine);
      const { stdout } = await run(['bucket', 'set', 'hub-1', '--weight', '3'], { env });
      assert.equal(stdout, 'set bucket hub-1 of kind hub: weight 1 → 3\n');
      const bucket = () => database.knex('bucket').where({ name: 'hub-1' }).first();
      const { weight, capacity } = (await bucket()) as Record<string, unknown>;
      assert.deepEqual([weight, capacity], [3, 100]);
      const line = await lastChange(database);
      assert.equal(line.action, 'bucket set');
      assert.deepEqual(line.detail, { weight: { from: 1, to: 3 } });

      const none = await run(['bucket', 'set', 'hub-1', '--no-capacity', '--url=http://h'], {
        env,
      });
      assert.equal(
        none.stdout,
        'set bucket hub-1 of kind hub: url none → http://h, capacity 100 → none\n',
      );
      const noUrl = await run(['bucket', 'set', 'hub-1', '--no-url'], { env });
      assert.equal(noUrl.stdout, 'set bucket hub-1 of kind hub: url http://h → none\n');
    });

    it('set to what it is changes nothing, and says so', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const { code, stdout } = await run(['bucket', 'set', 'hub-1', '--weight', '1'], { env });
      assert.equal(code, 0);
      assert.equal(stdout, 'bucket hub-1 of kind hub is so already: nothing was changed\n');
      assert.deepEqual(await contents(database), before);
    });

    it('set says when the settings file will undo it', async () => {
      const { env } = await prepare(engine);
      const cwd = directoryWith('kinds: { hub: { buckets: [{ name: hub-1, weight: 1 }] } }');
      const args = ['bucket', 'set', 'hub-1', '--weight', '2', '--capacity', '7'];
      const { code, stderr } = await run(args, { env, cwd });
      assert.equal(code, 0);
      assert.equal(
        stderr,
        'note: the settings declare weight of hub-1: the next start sets it again\n',
      );
    });

    it('cordon and uncordon say why, and say when new users are refused', async () => {
      const { env, database } = await prepare(engine);
      const one = await run(['bucket', 'cordon', 'hub-0', '--reason', 'disk'], { env });
      assert.deepEqual(one, {
        code: 0,
        stdout: 'cordoned bucket hub-0 of kind hub (disk)\n',
        stderr: '',
      });
      const list = await run(['bucket', 'list', '--kind', 'hub'], { env });
      assert.match(list.stdout, /hub-0 .* cordoned \(disk\) {2}https/);
      const all = await run(['bucket', 'cordon', 'hub-1'], { env });
      assert.match(
        all.stderr,
        /^note: then no active bucket of kind hub has room, and new objects are r/,
      );
      assert.deepEqual(
        [(await lastChange(database)).action, (await lastChange(database)).to_bucket],
        ['bucket cordon', 'hub-1'],
      );

      const back = await run(['bucket', 'uncordon', 'hub-0'], { env });
      assert.equal(back.stdout, 'uncordoned bucket hub-0 of kind hub\n');
      const row = (await database.knex('bucket').where({ name: 'hub-0' }).first()) as Bucket;
      assert.deepEqual([row.state, row.state_reason], ['active', null]);
      await run(['bucket', 'cordon', 'hub-1', '--reason', 'old'], { env });
      const same = await run(['bucket', 'cordon', 'hub-1'], { env });
      assert.match(same.stdout, /is so already/);
      assert.match((await run(['bucket', 'list'], { env })).stdout, /cordoned \(old\)/);
      const again = await run(['bucket', 'uncordon', 'hub-0'], { env });
      assert.match(again.stdout, /is so already: nothing was changed$/m);
    });

    it('remove takes an empty bucket away, and refuses another with the count', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const full = await run(['bucket', 'remove', 'hub-0'], { env });
      assert.equal(full.code, 1);
      assert.match(
        full.stderr,
        /^sharder: bucket hub-0 of kind hub holds 2 objects: empty it first \(`sharder plan drain hub-0`\)\n$/,
      );
      assert.deepEqual(await contents(database), before);

      await run(['bucket', 'add', 'hub-2'], { env });
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-2] } }');
      const empty = await run(['bucket', 'remove', 'hub-2'], { env, cwd });
      assert.equal(empty.stdout, 'removed bucket hub-2 of kind hub\n');
      assert.match(empty.stderr, /^note: the settings declare hub-2: the next start adds it again/);
      const line = await lastChange(database);
      assert.deepEqual([line.action, line.from_bucket], ['bucket remove', 'hub-2']);
      const rows = await database.knex('bucket').where({ name: 'hub-2' });
      assert.deepEqual(rows, []);
    });

    const dryRuns: readonly [args: string[], says: string][] = [
      [['add', 'hub-2'], 'would add bucket hub-2 to kind hub'],
      [['set', 'hub-1', '--weight=9'], 'would set bucket hub-1 of kind hub: weight 1 → 9'],
      [['cordon', 'hub-1'], 'would cordon bucket hub-1 of kind hub'],
      [['remove', 'home-0', '--kind=homedir'], 'would remove bucket home-0 of kind homedir'],
    ];

    it('--dry-run says what would be done, and does not do it', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      for (const [args, says] of dryRuns) {
        const { code, stdout } = await run(['bucket', ...args, '--dry-run'], { env });
        assert.equal(code, 0);
        assert.equal(stdout, `${says}\n`);
      }
      assert.deepEqual(await contents(database), before);
    });

    it('--json tells a program the same', async () => {
      const { env } = await prepare(engine);
      const common = { kind: 'hub', bucket: 'hub-1', changed: true };
      const answer = async (...args: string[]): Promise<unknown> =>
        JSON.parse((await run(['bucket', ...args, '--json'], { env })).stdout);
      assert.deepEqual(await answer('set', 'hub-1', '--capacity=5', '--dry-run'), {
        ...common,
        action: 'bucket set',
        detail: { capacity: { from: 100, to: 5 } },
        dry_run: true,
      });
      assert.deepEqual(await answer('cordon', 'hub-1'), {
        ...common,
        action: 'bucket cordon',
        detail: { state: { from: 'active', to: 'cordoned' } },
        dry_run: false,
      });
    });

    const refused: readonly [args: string[], says: RegExp][] = [
      [['add', 'hub-1'], /^sharder: kind hub has a bucket hub-1 already\n$/],
      [['add', 'hub-2', '--kind', 'nosuch'], /^sharder: there is no kind "nosuch": make it/],
      [
        ['add', 'hub-2', '--weight', '0'],
        /^sharder: weight: is 0; it must be a whole number from 1 to/,
      ],
      [['add', 'hub-2', '--weight', '1000001'], /^sharder: weight: is 1000001; it must be/],
      [['add', 'hub-2', '--capacity', '9999999999'], /^sharder: capacity: is 9999999999; it must/],
      [['add', 'hub-2', '--url', 'ftp://x'], /^sharder: "ftp:\/\/x" is not a URL for a bucket: h/],
      [['add', 'hub 2'], /^sharder: "hub 2" cannot name a bucket: 1 to 256 visible ASCII/],
      [['add', ''], /^sharder: "" cannot name a bucket/],
      [['add', '--', '--weight=1;'], /^sharder: "--weight=1;" cannot name a bucket/],
      [['set', 'hub-9', '--weight=1'], /^sharder: kind hub has no bucket "hub-9": it has hub-0, h/],
      [['set', 'hub-1', '--kind=x', '--weight=1'], /^sharder: there is no kind "x"/],
      [
        ['set', 'hub-1', '--weight=0'],
        /^sharder: weight: is 0; it must be a whole number from 1 to 1000000/,
      ],
      [['cordon', 'hub-9'], /^sharder: kind hub has no bucket "hub-9"/],
      [['uncordon', 'home-0'], /^sharder: kind hub has no bucket "home-0"/],
      [['remove', 'hub-9'], /^sharder: kind hub has no bucket "hub-9"/],
    ];

    it('refuses with 1 what cannot be, and then has changed nothing', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      for (const [args, says] of refused) {
        const outcome = await run(['bucket', ...args], { env });
        assert.equal(outcome.code, 1, args.join(' '));
        assert.equal(outcome.stdout, '');
        assert.match(outcome.stderr, says);
      }
      assert.deepEqual(await contents(database), before);
    });

    it('add and cordon hold for a running service at once', async () => {
      const url = await engine.createDatabase();
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1] } }');
      const env = { DATABASE_URL: url };
      const service = await Service.start(url, { cwd });
      const bucketOf = async (name: string) => (await (await service.shard(name)).text()).trim();
      for (const name of ['a', 'b', 'c', 'd']) await bucketOf(name);

      assert.equal((await run(['bucket', 'add', 'hub-2'], { env, cwd })).code, 0);
      assert.deepEqual(await Promise.all([bucketOf('e'), bucketOf('f')]), ['hub-2', 'hub-2']);
      assert.equal(await bucketOf('a'), 'hub-0');
      assert.equal((await run(['bucket', 'cordon', 'hub-0'], { env, cwd })).code, 0);
      assert.equal(await bucketOf('g'), 'hub-1');
      assert.equal(await bucketOf('a'), 'hub-0');
      assert.equal(await service.stop(), 0);
    });
  });
}
