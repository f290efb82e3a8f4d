// sharder history list | prune.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ChangeRow } from '../../src/store/history.js';
import { engines } from '../engines.js';
import { contents, prepare } from './prepare.js';
import { run } from './run.js';

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

for (const engine of engines) {
  describe(`on ${engine.name}, sharder history`, engine.options, () => {
    async function prepared() {
      const { env, database } = await prepare(engine);
      const sharder = (...args: string[]) => run(args, { env });
      const history = (...args: string[]) => sharder('history', ...args);
      /** What `list` has, each line by its action and object. */
      const listed = async (...args: string[]) => {
        const { stdout } = await history('list', '--json', ...args);
        const lines = JSON.parse(stdout) as ChangeRow[];
        return lines.map(({ action, name }) => `${action} ${name ?? '-'}`);
      };
      await sharder('object', 'move', 'a', 'hub-1', '--reason', 'asked for it');
      await sharder('object', 'rename', 'b', 'bob');
      return { database, sharder, history, listed };
    }

    it('list is every line, newest first, or those that are asked for', async () => {
      const { history, listed } = await prepared();
      const { stdout } = await history('list', '--kind', 'hub');
      const table = stdout
        .replaceAll(TIME, 'TIME')
        .replaceAll(/cli:\S+ */g, 'ME ')
        .split('\n')
        .map((line) => line.replaceAll(/ +/g, ' '));
      assert.deepEqual(table, [
        'AT ACTOR ACTION KIND OBJECT FROM TO REASON',
        'TIME ME object rename: from b hub bob - hub-0 -',
        'TIME ME object rename: to bob hub b hub-0 - -',
        'TIME ME object move hub a hub-0 hub-1 asked for it',
        'TIME test bucket add hub - - hub-1 -',
        'TIME test bucket add hub - - hub-0 -',
        '',
      ]);
      assert.equal((await listed()).length, 6);
      assert.deepEqual(await listed('--limit', '1'), ['object rename bob']);
      assert.deepEqual(await listed('--limit', '0'), []);
      assert.deepEqual(await listed('--object', 'a'), ['object move a']);
      assert.deepEqual(await listed('--bucket', 'hub-1'), ['object move a', 'bucket add -']);
      assert.deepEqual(await listed('--action', 'object move'), ['object move a']);
      assert.deepEqual(await listed('--actor', 'test', '--kind', 'homedir'), ['bucket add -']);
      assert.deepEqual(await listed('--since', '2099-01-01'), []);
      assert.deepEqual(await listed('--until', '2000-01-01'), []);
      assert.equal((await listed('--since', '2000-01-01', '--until', '2099-01-01')).length, 6);
      const nosuch = await history('list', '--kind', 'nosuch');
      assert.deepEqual([nosuch.code, nosuch.stdout], [1, '']);
      assert.match(nosuch.stderr, /there is no kind "nosuch"/);
    });

    it('list goes on over many pages, up to its limit', async () => {
      const { database, listed } = await prepared();
      const line = { kind: 'hub', actor: 'bulk', action: 'object remove' };
      for (let i = 0; i < 60; i++) {
        const rows = Array.from({ length: 100 }, (_, j) => ({
          ...line,
          name: `user-${i * 100 + j}`,
        }));
        await database.knex('change').insert(rows);
      }
      assert.equal((await listed()).length, 50);
      assert.equal(new Set(await listed('--limit', '5500')).size, 5_500);
      assert.equal((await listed('--limit', '9999')).length, 6_006);
      assert.deepEqual(await listed('--action', 'object move'), ['object move a']);
    });

    it('prune deletes what is older, and says how much', async () => {
      const { database, history, listed } = await prepared();
      const time = new Date().toISOString();
      while (new Date().toISOString() === time) await new Promise(setImmediate);
      const before = ['--before', new Date().toISOString()];
      const all = await contents(database);
      const dry = await history('prune', ...before, '--dry-run');
      assert.equal(
        dry.stdout.replaceAll(TIME, 'TIME'),
        'would prune 6 lines of the history from before TIME: 1 of kind homedir, 5 of kind hub\n',
      );
      assert.deepEqual(await contents(database), all);

      const one = await history('prune', ...before, '--kind', 'homedir', '--reason', 'the law');
      assert.equal(
        one.stdout.replaceAll(TIME, 'TIME'),
        'pruned 1 line of the history from before TIME: 1 of kind homedir\n',
      );
      const { stdout } = await history('prune', ...before, '--json');
      assert.deepEqual(JSON.parse(stdout), {
        action: 'history prune',
        before: before[1],
        lines: 5,
        kinds: [{ kind: 'hub', lines: 5 }],
        changed: true,
        dry_run: false,
      });
      const nothing = await history('prune', ...before);
      assert.match(nothing.stdout, /^there is no line from before \S+: nothing was changed\n$/);
      assert.deepEqual(await listed(), ['history prune -', 'history prune -']);
      const { knex } = database;
      const kept = { objects: await knex('shard').orderBy('id') };
      assert.deepEqual(kept.objects, all.objects);
    });

    it('prune is refused without a time, for one that is to come, or a kind that is not there', async () => {
      const { database, history } = await prepared();
      const all = await contents(database);
      assert.equal((await history('prune')).code, 2);
      assert.equal((await history('prune', '--before', 'yesterday')).code, 2);
      const future = await history('prune', '--before', '2199-01-01');
      assert.equal(future.code, 1);
      assert.match(future.stderr, /is not over: it can be pruned up to now/);
      const nosuch = await history('prune', '--before', '2000-01-01', '--kind', 'nosuch');
      assert.match(nosuch.stderr, /there is no kind "nosuch"/);
      assert.deepEqual(await contents(database), all);
    });
  });
}
