// sharder object rename | merge | pin | unpin | history | explain, and list --at.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Explanation } from '../../src/explain.js';
import { engines, temporaryDirectory } from '../engines.js';
import { Service } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { run } from './run.js';

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

for (const engine of engines) {
  describe(`on ${engine.name}, sharder object`, engine.options, () => {
    async function prepared() {
      const { env, database } = await prepare(engine);
      const object = (...args: string[]) => run(['object', ...args], { env });
      /** Runs it, and holds that it was refused and has changed nothing. */
      const refused = async (message: RegExp, ...args: string[]) => {
        const before = await contents(database);
        const { code, stdout, stderr } = await object(...args);
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(stderr, message);
        assert.deepEqual(await contents(database), before);
      };
      return { env, database, object, refused };
    }

    it('rename keeps the bucket, and the running service answers the new name with it', async () => {
      const { env, database, object, refused } = await prepared();
      const service = await Service.start(env.DATABASE_URL, { cwd: temporaryDirectory() });
      assert.equal(await (await service.shard('c')).text(), 'hub-1\n');
      const before = await contents(database);
      const dry = await object('rename', 'c', 'carol', '--dry-run');
      assert.match(
        dry.stdout,
        /^would rename object c of kind hub to carol; it is in bucket hub-1/,
      );
      assert.deepEqual(await contents(database), before);

      const { stdout } = await object('rename', 'c', 'carol', '--reason', 'married');
      assert.equal(
        stdout,
        'renamed object c of kind hub to carol; it is in bucket hub-1 as before\n',
      );
      assert.equal(await (await service.shard('carol')).text(), 'hub-1\n');
      const { action, name, reason, detail } = await lastChange(database);
      assert.deepEqual(
        [action, name, reason, detail],
        ['object rename', 'carol', 'married', { from: 'c' }],
      );
      await service.stop();

      await refused(
        /an object "a" of kind hub already, in bucket hub-0.*merge/,
        'rename',
        'b',
        'a',
      );
      await refused(/there is no object "c"/, 'rename', 'c', 'd');
      await refused(/begins or ends with white space/, 'rename', 'a', ' a');
    });

    it('merge leaves the second as it is, and the first is no more', async () => {
      const { env, database, object, refused } = await prepared();
      const service = await Service.start(env.DATABASE_URL, { cwd: temporaryDirectory() });
      assert.equal(await (await service.shard('a')).text(), 'hub-0\n');
      const { stdout } = await object('merge', 'a', 'c');
      assert.equal(
        stdout,
        'merged object a of kind hub, from bucket hub-0, into c, which is in bucket hub-1 as before\n',
      );
      const rows = await database.knex('shard').orderBy('name').select('name', 'bucket');
      assert.deepEqual(rows, [
        { name: 'b', bucket: 'hub-0' },
        { name: 'c', bucket: 'hub-1' },
      ]);
      const members = await database
        .knex('bucket')
        .where({ kind: 'hub' })
        .orderBy('name')
        .pluck('members');
      assert.deepEqual(members, [1, 1]);
      // Who logs in by the old name is new.
      const again = await service.shard('a');
      assert.equal(again.headers.get('x-shard-reason'), 'assigned');
      await service.stop();
      await refused(/cannot merge into itself/, 'merge', 'c', 'c');
      await refused(/there is no object "nobody"/, 'merge', 'c', 'nobody');
      await refused(/there is no object "nobody"/, 'merge', 'nobody', 'c');
    });

    it('merge leaves the bucket that --keep says, even a cordoned or full one', async () => {
      for (const [keep, bucket] of [
        ['into', 'hub-1'],
        ['from', 'hub-0'],
        ['older', 'hub-0'],
      ] as const) {
        const { env, database, object } = await prepared();
        await run(['bucket', 'cordon', 'hub-0'], { env });
        await run(['bucket', 'set', 'hub-0', '--capacity', '2'], { env });
        await object('pin', 'c');
        const find = async () =>
          (JSON.parse((await object('find', 'c', '--json')).stdout) as object[])[0];
        const was = await find();
        const service = await Service.start(env.DATABASE_URL, { cwd: temporaryDirectory() });
        assert.equal(await (await service.shard('c')).text(), 'hub-1\n');
        const before = await contents(database);
        const does =
          keep === 'into' ? 'is in bucket hub-1 as before' : 'goes from bucket hub-1 to hub-0';
        const what = `object a of kind hub, from bucket hub-0, into c, which ${does}\n`;
        const dry = await object('merge', 'a', 'c', '--keep', keep, '--dry-run');
        assert.equal(dry.stdout, `would merge ${what}`);
        assert.deepEqual(await contents(database), before);

        const { stdout } = await object('merge', 'a', 'c', '--keep', keep, '--json');
        assert.deepEqual(JSON.parse(stdout), {
          action: 'object merge',
          kind: 'hub',
          name: 'a',
          into: 'c',
          keep,
          from_bucket: 'hub-0',
          into_bucket: 'hub-1',
          bucket,
          changed: true,
          dry_run: false,
        });
        assert.deepEqual(await find(), { ...was, bucket }, 'pinned, and assigned when it was');
        assert.equal(await (await service.shard('c')).text(), `${bucket}\n`);
        await service.stop();
        const { action, name, from_bucket, to_bucket, detail } = await lastChange(database);
        assert.deepEqual(
          [action, name, from_bucket, to_bucket, detail],
          ['object merge', 'c', 'hub-1', bucket, { from: 'a', keep }],
        );
        const checked = await run(['check'], { env });
        assert.equal(checked.code, 0, checked.stdout);
        const explained = await object('explain', 'c');
        const why = keep === 'into' ? /by its first assignment/ : /by a merge: from a of cli:/;
        assert.match(explained.stdout, why);
      }
    });

    it('merge --keep older keeps the own bucket of one that is older, or as old', async () => {
      const { database, object } = await prepared();
      await database.knex('shard').update({ assigned_at: '2026-01-01T00:00:00.000Z' });
      assert.match(
        (await object('merge', 'c', 'a', '--keep', 'older')).stdout,
        /into a, which is in bucket hub-0 as before\n$/,
      );
      const wrong = await object('merge', 'a', 'b', '--keep', 'newer');
      assert.equal(wrong.code, 2);
      assert.match(wrong.stderr, /Allowed choices are into, from, older/);
    });

    it('pin and unpin mark it, once', async () => {
      const { database, object } = await prepared();
      const pinned = async () =>
        Boolean(
          (await database.knex('shard').where({ name: 'a' }).first<{ pinned: unknown }>()).pinned,
        );
      assert.equal((await object('pin', 'a')).stdout, 'pinned object a of kind hub\n');
      assert.equal(await pinned(), true);
      const before = await contents(database);
      assert.match((await object('pin', 'a')).stdout, /is pinned already: nothing was changed\n$/);
      assert.deepEqual(await contents(database), before);
      const { stdout } = await object('list', '--kind', 'hub');
      assert.match(stdout, /^hub +a +hub-0 +\S+ +yes$/m);
      assert.equal((await object('unpin', 'a')).stdout, 'unpinned object a of kind hub\n');
      assert.equal(await pinned(), false);
    });

    it('history is a line for each change, with who, why and under which name', async () => {
      const { object, refused } = await prepared();
      await object('move', 'a', 'hub-1', '--reason', 'asked for it');
      await object('rename', 'a', 'anna');
      await object('remove', 'anna');
      const { stdout } = await object('history', 'anna');
      const lines = stdout
        .replaceAll(TIME, 'TIME')
        .replaceAll(/cli:\S+ */g, 'ME ')
        .split('\n')
        .map((line) => line.replaceAll(/ +/g, ' '));
      assert.deepEqual(lines, [
        'AT ACTOR ACTION FROM TO REASON',
        'TIME - first assignment - hub-0 -',
        'TIME ME move hub-0 hub-1 asked for it',
        'TIME ME rename: to anna hub-1 - -',
        'TIME ME remove hub-1 - -',
        '',
      ]);
      const { changes } = JSON.parse((await object('history', 'anna', '--json')).stdout) as {
        changes: { action: string }[];
      };
      assert.deepEqual(
        changes.map(({ action }) => action),
        ['object move', 'object rename', 'object remove'],
      );
      await refused(/there is no object "nobody"/, 'history', 'nobody');
    });

    it('explain says why an object is where it is, and creates nothing', async () => {
      const { object } = await prepared();
      const first = await object('explain', 'a');
      assert.match(
        first.stdout.replaceAll(TIME, 'TIME'),
        /^object a of kind hub is in bucket hub-0, by its first assignment at TIME\.\n\nBUCKET/,
      );
      await object('move', 'a', 'hub-1', '--reason', 'asked for it');
      await object('pin', 'a');
      const moved = await object('explain', 'a');
      assert.match(
        moved.stdout.replaceAll(TIME, 'TIME'),
        /^object a of kind hub is in bucket hub-1, by a move of cli:\S+ at TIME \(asked for it\); first assigned at TIME\. It is pinned\.\n/,
      );
    });

    it('explain says where a new one would go, and the score of every bucket', async () => {
      const { env, database, object } = await prepared();
      await run(['bucket', 'add', 'hub-2'], { env });
      await run(['bucket', 'add', 'hub-3', '--capacity', '0'], { env });
      await run(['bucket', 'cordon', 'hub-1'], { env });
      const before = await contents(database);
      const { stdout } = await object('explain', 'nobody', '--json');
      const { next, scores, object: none } = JSON.parse(stdout) as Explanation;
      assert.equal(none, null);
      assert.equal(next, 'hub-2');
      assert.deepEqual(
        scores.map(({ bucket, score, closed }) => [bucket, score, closed]),
        [
          ['hub-2', 1, null],
          ['hub-0', 1.5, null],
          ['hub-1', null, 'cordoned'],
          ['hub-3', null, 'full'],
        ],
      );
      assert.match(
        (await object('explain', 'nobody')).stdout,
        /^object nobody of kind hub has no bucket; as a new one it would go to bucket hub-2\n/,
      );
      assert.deepEqual(await contents(database), before);
      const placed = await object('assign', 'nobody');
      assert.match(placed.stdout, /to bucket hub-2/);
    });

    it('history, explain and list --at say what was pruned, and make nothing up', async () => {
      const { env, object, refused } = await prepared();
      await object('move', 'a', 'hub-1');
      const gone = new Date().toISOString();
      while (new Date().toISOString() === gone) await new Promise(setImmediate);
      const at = new Date().toISOString();
      assert.equal((await run(['history', 'prune', '--before', at], { env })).code, 0);

      const history = await object('history', 'a');
      assert.match(
        history.stdout,
        /^AT +ACTOR +ACTION +FROM +TO +REASON\n\S+ +- +first assignment +- +- +-\n$/,
      );
      assert.equal(history.stderr, `note: lines from before ${at} were pruned\n`);
      const json = JSON.parse((await object('history', 'a', '--json')).stdout) as object;
      assert.ok('pruned_before' in json && json.pruned_before === at);
      const { stdout } = await object('explain', 'a');
      assert.ok(
        stdout.startsWith(
          `object a of kind hub is in bucket hub-1, as it was at ${at}, where its history was pruned; first assigned at `,
        ),
        stdout,
      );
      await refused(
        new RegExp(`no longer known: its history was pruned, and begins at ${at}`),
        'list',
        '--at',
        gone,
      );
      assert.match((await object('list', '--at', at)).stdout, /^hub +a +hub-1$/m);
    });

    it('list --at is where they were then', async () => {
      const { object } = await prepared();
      const at = new Date().toISOString();
      while (new Date().toISOString() === at) await new Promise(setImmediate);
      await object('move', 'a', 'hub-1');
      await object('rename', 'b', 'bob');
      await object('assign', 'd');
      const then = JSON.parse((await object('list', '--at', at, '--json')).stdout) as unknown;
      assert.deepEqual(then, [
        { kind: 'hub', name: 'a', bucket: 'hub-0' },
        { kind: 'hub', name: 'b', bucket: 'hub-0' },
        { kind: 'hub', name: 'c', bucket: 'hub-1' },
      ]);
      const of = await object('list', '--at', at, '--bucket', 'hub-1');
      assert.equal(of.stdout, 'KIND  OBJECT  BUCKET\nhub   c       hub-1\n');
      const wrong = await object('list', '--at', 'yesterday');
      assert.equal(wrong.code, 2);
      assert.match(wrong.stderr, /It must be a time/);
    });
  });
}
