// sharder object list | find | assign | move | remove, and kind list.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_KIND_SETTINGS } from '../../src/store/kind-settings.js';
import { engines, open } from '../engines.js';
import { again, Load, names } from '../load.js';
import { Service } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { directoryWith, run } from './run.js';

// The time of the day, which no test foresees.
function withoutTimes(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME');
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder object`, engine.options, () => {
    it('list is a table of all objects, or of those of one kind or bucket', async () => {
      const { env, database } = await prepare(engine);
      await database.knex('shard').insert({ kind: 'homedir', bucket: 'home-0', name: 'éa b' });
      const list = async (...args: string[]) => {
        const { code, stdout, stderr } = await run(['object', 'list', ...args], { env });
        assert.equal(code, 0, stderr);
        return withoutTimes(stdout).trimEnd().split('\n');
      };
      const hubs = [
        'KIND  OBJECT  BUCKET  ASSIGNED                  PINNED',
        'hub   a       hub-0   TIME  -',
        'hub   b       hub-0   TIME  -',
        'hub   c       hub-1   TIME  -',
      ];
      assert.deepEqual(await list('--kind', 'hub'), hubs);
      assert.deepEqual(await list('--bucket', 'hub-1'), [hubs[0], hubs[3]]);
      assert.deepEqual(await list('--kind', 'homedir', '--bucket', 'home-0'), [
        'KIND     OBJECT  BUCKET  ASSIGNED                  PINNED',
        'homedir  éa b    home-0  TIME  -',
      ]);
      assert.equal((await list()).length, 5);
    });

    it('list --json is an array, an object to a line, of nothing too', async () => {
      const { env } = await prepare(engine);
      const { stdout } = await run(['object', 'list', '--json'], { env });
      assert.equal(
        withoutTimes(stdout),
        [
          '[',
          '  {"kind":"hub","name":"a","bucket":"hub-0","assigned_at":"TIME","pinned":false},',
          '  {"kind":"hub","name":"b","bucket":"hub-0","assigned_at":"TIME","pinned":false},',
          '  {"kind":"hub","name":"c","bucket":"hub-1","assigned_at":"TIME","pinned":false}',
          ']',
          '',
        ].join('\n'),
      );
      const none = await run(['object', 'list', '--kind', 'homedir', '--json'], { env });
      assert.deepEqual(JSON.parse(none.stdout), []);
      const empty = await run(['object', 'list', '--kind', 'homedir'], { env });
      assert.equal(empty.stdout, 'KIND  OBJECT  BUCKET  ASSIGNED  PINNED\n');
    });

    it('list has every object once, over many pages, also of one bucket', async () => {
      const { env, database } = await prepare(engine);
      const all = Array.from({ length: 12_345 }, (_, i) => `user-${i}`);
      for (let i = 0; i < all.length; i += 100) {
        const rows = all
          .slice(i, i + 100)
          .map((name) => ({ kind: 'homedir', bucket: 'home-0', name }));
        await database.knex('shard').insert(rows);
      }
      for (const args of [['--kind=homedir'], ['--kind=homedir', '--bucket=home-0']]) {
        const { stdout } = await run(['object', 'list', '--json', ...args], { env });
        const listed = (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
        assert.equal(listed.length, all.length);
        assert.deepEqual(new Set(listed), new Set(all));
      }
      const { stdout } = await run(['object', 'list'], { env });
      assert.equal(stdout.split('\n').filter((line) => line.startsWith('KIND')).length, 1);
      assert.equal(stdout.trimEnd().split('\n').length, 1 + all.length + 3);
    });

    it('find tells where an object is, in every kind that has it', async () => {
      const { env, database } = await prepare(engine);
      await database.knex('shard').insert({ kind: 'homedir', bucket: 'home-0', name: 'a' });
      const find = async (...args: string[]) =>
        withoutTimes((await run(['object', 'find', 'a', ...args], { env })).stdout);
      assert.equal(
        await find(),
        'KIND     OBJECT  BUCKET  ASSIGNED                  PINNED\n' +
          'homedir  a       home-0  TIME  -\n' +
          'hub      a       hub-0   TIME  -\n',
      );
      assert.deepEqual(JSON.parse(await find('--kind', 'hub', '--json')), [
        { kind: 'hub', name: 'a', bucket: 'hub-0', assigned_at: 'TIME', pinned: false },
      ]);
    });

    it('find of nobody is refused, and creates nothing', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const nobody = await run(['object', 'find', 'nobody'], { env });
      assert.deepEqual(nobody, {
        code: 1,
        stdout: '',
        stderr:
          'sharder: there is no object "nobody" of any kind: it was never assigned, or was removed\n',
      });
      const home = await run(['object', 'find', 'a', '--kind=homedir'], { env });
      assert.match(home.stderr, /^sharder: there is no object "a" of kind homedir/);
      assert.deepEqual(await contents(database), before);
    });

    it('assign puts a new object where its first request would, and leaves a known one', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const dry = await run(['object', 'assign', 'd', '--dry-run'], { env });
      assert.equal(dry.stdout, 'would assign object d of kind hub to bucket hub-0\n');
      assert.deepEqual(await contents(database), before);
      const done = await run(['object', 'assign', 'd'], { env });
      assert.deepEqual(done, {
        code: 0,
        stdout: 'assigned object d of kind hub to bucket hub-0\n',
        stderr: '',
      });
      for (const args of [[], ['--dry-run']]) {
        const known = await run(['object', 'assign', 'd', ...args], { env });
        assert.equal(
          known.stdout,
          'object d of kind hub is in bucket hub-0 already: nothing was changed\n',
        );
      }
      assert.equal((await database.knex('shard').where({ name: 'd' })).length, 1);
    });

    it('assign refuses when no bucket has room, with --dry-run too', async () => {
      const { env } = await prepare(engine);
      await run(['bucket', 'cordon', 'home-0', '--kind=homedir'], { env });
      for (const args of [[], ['--dry-run']]) {
        const { code, stderr } = await run(['object', 'assign', 'x', '--kind=homedir', ...args], {
          env,
        });
        assert.equal(code, 1);
        assert.match(stderr, /^sharder: no active bucket of kind homedir has room/);
      }
    });

    it('move changes the bucket, the counts and the history', async () => {
      const { env, database } = await prepare(engine);
      const args = ['object', 'move', 'a', 'hub-1', '--reason', 'asked for it'];
      const dry = await run([...args, '--dry-run', '--json'], { env });
      assert.deepEqual(JSON.parse(dry.stdout), {
        action: 'object move',
        kind: 'hub',
        name: 'a',
        from_bucket: 'hub-0',
        to_bucket: 'hub-1',
        changed: true,
        dry_run: true,
      });
      const done = await run(args, { env });
      assert.deepEqual(done, {
        code: 0,
        stdout: 'moved object a of kind hub from bucket hub-0 to hub-1\n',
        stderr: '',
      });
      const line = await lastChange(database);
      assert.deepEqual(
        [line.action, line.kind, line.name, line.from_bucket, line.to_bucket, line.reason],
        ['object move', 'hub', 'a', 'hub-0', 'hub-1', 'asked for it'],
      );
      assert.match(line.actor, /^cli:\w+/);
      const members = await database
        .knex('bucket')
        .where({ kind: 'hub' })
        .orderBy('name')
        .pluck('members');
      assert.deepEqual(members, [1, 2]);

      const before = await contents(database);
      const again = await run(args, { env });
      assert.equal(again.code, 0);
      assert.match(again.stdout, /^object a of kind hub is in bucket hub-1 already: nothing was/);
      assert.deepEqual(await contents(database), before);
    });

    it('move into a cordoned or full bucket needs --force', async () => {
      const { env, database } = await prepare(engine);
      await run(['bucket', 'cordon', 'hub-1'], { env });
      const before = await contents(database);
      const closed = await run(['object', 'move', 'a', 'hub-1'], { env });
      assert.equal(closed.code, 1);
      assert.match(closed.stderr, /^sharder: bucket hub-1 of kind hub is cordoned: choose another/);
      await run(['bucket', 'uncordon', 'hub-1'], { env });
      await run(['bucket', 'set', 'hub-1', '--capacity', '1'], { env });
      const full = await run(['object', 'move', 'a', 'hub-1'], { env });
      assert.match(full.stderr, /^sharder: bucket hub-1 of kind hub is full \(1 of 1\)/);
      assert.deepEqual((await contents(database)).objects, before.objects);
      const forced = await run(['object', 'move', 'a', 'hub-1', '--force'], { env });
      assert.equal(forced.code, 0);
      assert.match(forced.stdout, /^moved object a /);
    });

    it('remove forgets an object', async () => {
      const { env, database } = await prepare(engine);
      const { stdout } = await run(['object', 'remove', 'a', '--reason=left'], { env });
      assert.equal(stdout, 'removed object a of kind hub from bucket hub-0\n');
      assert.deepEqual(await database.knex('shard').where({ name: 'a' }), []);
      const line = await lastChange(database);
      assert.deepEqual(
        [line.action, line.name, line.from_bucket, line.to_bucket, line.reason],
        ['object remove', 'a', 'hub-0', null, 'left'],
      );
    });

    const refused: readonly [args: string[], says: RegExp][] = [
      [['list', '--kind=x'], /^sharder: there is no kind "x"/],
      [['list', '--bucket=x'], /^sharder: kind hub has no bucket "x": it has hub-0, hub-1/],
      [['find', ''], /^sharder: the name is empty/],
      [['find', 'a', '--kind=x'], /^sharder: there is no kind "x"/],
      [['assign', 'z', '--kind=x'], /^sharder: there is no kind "x"/],
      [['assign', ' z'], /^sharder: the name begins or ends with white space/],
      [['assign', ' z', '--dry-run'], /^sharder: the name begins or ends with white space/],
      [['move', 'nobody', 'hub-1'], /^sharder: there is no object "nobody" of kind hub/],
      [['move', 'a', 'hub-9'], /^sharder: kind hub has no bucket "hub-9": it has hub-0, hub-1/],
      [['move', 'a', 'home-0'], /^sharder: kind hub has no bucket "home-0"/],
      [['move', 'a', 'hub-1', '--kind=x'], /^sharder: there is no kind "x"/],
      [['remove', 'nobody'], /^sharder: there is no object "nobody" of kind hub/],
      [['remove', 'a', '--kind=homedir'], /^sharder: there is no object "a" of kind homedir/],
    ];

    it('refuses with 1 what cannot be, names it, and has changed nothing', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      for (const [args, says] of refused) {
        const { code, stdout, stderr } = await run(['object', ...args], { env });
        assert.equal(code, 1, args.join(' '));
        assert.equal(stdout, '');
        assert.match(stderr, says);
      }
      assert.deepEqual(await contents(database), before);
    });

    it('kind list counts buckets and objects', async () => {
      const { env } = await prepare(engine);
      const table = await run(['kind', 'list'], { env });
      assert.equal(
        table.stdout,
        'KIND     POLICY    NORMALIZE  NAMES   COOKIE  THRESHOLD  RAMP  BUCKETS  OBJECTS\n' +
          'homedir  emptiest  none       strict  yes     10%        -           1        0\n' +
          'hub      emptiest  none       strict  yes     10%        -           2        3\n',
      );
      const { stdout } = await run(['kind', 'list', '--json'], { env });
      const [, hub] = JSON.parse(stdout) as Record<string, unknown>[];
      const { version, ...rest } = hub ?? {};
      assert.ok(Number(version) > 0);
      assert.deepEqual(rest, {
        name: 'hub',
        policy: 'emptiest',
        ...DEFAULT_KIND_SETTINGS,
        halted: false,
        buckets: ['hub-0', 'hub-1'],
        objects: 3,
      });
    });

    it('commands do what they say while the service answers under load', async () => {
      const url = await engine.createDatabase();
      const env = { DATABASE_URL: url };
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1, hub-2] } }');
      const service = await Service.start(url, { cwd });
      const known = [...names('known', 30)];
      const first = new Load(16);
      await first.run(service.url, known);
      const inHub2 = known.filter((name) => first.answers.get(name) === 'hub-2');
      assert.ok(inHub2.length === 10);

      // Known and new users ask all the while.
      const load = new Load(16);
      const fresh = new Load(16);
      const staying = known.filter((name) => !inHub2.includes(name));
      const running = [load.run(service.url, again(staying)), fresh.run(service.url, names('new'))];
      const bucketOf = async (name: string) => (await (await service.shard(name)).text()).trim();
      const command = async (...args: string[]) => {
        const { code, stderr } = await run(args, { env });
        assert.equal(code, 0, stderr);
      };
      await command('bucket', 'cordon', 'hub-2');
      const { stdout } = await run(['object', 'list', '--bucket=hub-2', '--json'], { env });
      const inside = (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
      // Who was new between the start and the cordon is in it too.
      assert.deepEqual(
        inHub2.filter((name) => !inside.includes(name)),
        [],
      );
      const [one = '', ...others] = inside;
      await command('object', 'move', one, 'hub-0');
      assert.equal(await bucketOf(one), 'hub-0');
      // The others by hand, as there may be hundreds.
      const database = await open(url);
      await database.write((trx) =>
        trx('shard').whereIn('name', others).update({ bucket: 'hub-1' }),
      );
      await command('bucket', 'remove', 'hub-2');
      assert.equal(await bucketOf(inHub2[1] ?? ''), 'hub-1');

      load.stop();
      fresh.stop();
      assert.deepEqual(await Promise.all(running), [0, 0]);
      assert.deepEqual(load.contradictions, []);
      assert.deepEqual([...load.refusals, ...fresh.refusals], []);
      load.close();
      fresh.close();
      first.close();
      assert.equal(await service.stop(), 0);
    });
  });
}
