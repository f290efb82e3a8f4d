// sharder object find --log-name: who is meant by a hash in the log.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { logName } from '../../src/log-names.js';
import { searchObject } from '../../src/store/search.js';
import { engines } from '../engines.js';
import { Service } from '../service.js';
import { contents, prepare } from './prepare.js';
import { directoryWith, run } from './run.js';

const KEY = 'a key of at least thirty-two characters'.replaceAll(' ', '-');
const SETTINGS = 'log: { level: debug, names: hash }';

for (const engine of engines) {
  describe(`on ${engine.name}, sharder object find --log-name`, engine.options, () => {
    async function prepared() {
      const { env, database } = await prepare(engine);
      const keyed = { ...env, SHARDER_LOG_KEY: KEY };
      const find = (hash: string, ...args: string[]) =>
        run(['object', 'find', '--log-name', hash, ...args], { env: keyed });
      return { env: keyed, database, find };
    }

    it('tells who is meant by a line of the log', async () => {
      const { env, find } = await prepared();
      const service = await Service.start(env.DATABASE_URL, { env, cwd: directoryWith(SETTINGS) });
      await service.shard('wilhelmina');
      await service.shard('wilhelmina', '/shard/homedir');
      await service.stop();
      assert.doesNotMatch(service.log, /wilhelmina/);
      const [hub = '', home = ''] = service.log.match(/u:[0-9a-f]{24}/g) ?? [];
      assert.notEqual(hub, home);
      assert.match((await find(hub)).stdout, /\nhub +wilhelmina +hub-0 /);
      assert.match((await find(home)).stdout, /\nhomedir +wilhelmina +home-0 /);
      const { stdout } = await find(hub, '--kind', 'hub', '--json');
      const [object] = JSON.parse(stdout) as { name: string; bucket: string }[];
      assert.deepEqual([object?.name, object?.bucket], ['wilhelmina', 'hub-0']);
      assert.equal((await find(hub, '--kind', 'homedir')).code, 1);
    });

    it('knows who was removed or renamed by the history', async () => {
      const { env, find } = await prepared();
      await run(['object', 'rename', 'a', 'anna'], { env });
      await run(['object', 'remove', 'b'], { env });
      for (const name of ['a', 'b']) {
        const { code, stdout, stderr } = await find(logName(KEY, 'hub', name));
        assert.equal(code, 0);
        assert.match(stdout, new RegExp(`\\nhub +${name} +- `));
        assert.match(stderr, new RegExp(`^note: .*sharder object history ${name} --kind hub`));
      }
      assert.match((await find(logName(KEY, 'hub', 'anna'))).stdout, /\nhub +anna +hub-0 /);
    });

    it('of nobody, by another key, or typed wrong is refused, and changes nothing', async () => {
      const { env, database, find } = await prepared();
      const before = await contents(database);
      const nobody = await find(logName(KEY, 'hub', 'nobody'));
      assert.deepEqual([nobody.code, nobody.stdout], [1, '']);
      assert.match(nobody.stderr, /no object of any kind, and no name in the history, is u:/);
      assert.equal((await find(logName('x'.repeat(32), 'hub', 'a'))).code, 1);
      assert.match((await find(logName(KEY, 'hub', 'a'), '--kind=no')).stderr, /no kind "no"/);

      for (const hash of ['u:123', 'a', logName(KEY, 'hub', 'a').toUpperCase()]) {
        const wrong = await find(hash);
        assert.equal(wrong.code, 2);
        assert.match(wrong.stderr, /the log has u: and 24 hexadecimal digits/);
      }
      const { SHARDER_LOG_KEY, ...keyless } = env;
      assert.equal(SHARDER_LOG_KEY, KEY);
      const args = ['object', 'find', '--log-name', logName(KEY, 'hub', 'a')];
      assert.match((await run(args, { env: keyless })).stderr, /SHARDER_LOG_KEY: is not set/);
      assert.match((await run([...args, 'a'], { env })).stderr, /either a name or --log-name/);
      assert.match((await run(['object', 'find'], { env })).stderr, /either a name or --log-name/);
      assert.deepEqual(await contents(database), before);
    });

    it('goes through all pages, of objects and of the history', async () => {
      const { database } = await prepared();
      const names = Array.from({ length: 11 }, (_, i) => `user-${i}`);
      await database
        .knex('shard')
        .insert(names.map((name) => ({ kind: 'homedir', bucket: 'home-0', name })));
      const line = { kind: 'homedir', actor: 'test', action: 'object remove' };
      const gone = names.map((name) => ({ ...line, name: `gone-${name}` }));
      await database.knex('change').insert([...gone, ...gone]);
      for (const name of [...names, ...gone.map((each) => each.name)]) {
        let asked = 0;
        const fits = (kind: string, each: string) => {
          asked++;
          return kind === 'homedir' && each === name;
        };
        const found = await searchObject(database, fits, undefined, 3);
        assert.deepEqual([found?.kind, found?.name], ['homedir', name]);
        assert.equal(found?.object === null, name.startsWith('gone'));
        assert.ok(asked <= 3 + 2 * names.length, 'each name once');
      }
      assert.equal(await searchObject(database, () => false, undefined, 3), undefined);
    });
  });
}

describe('sharder serve', () => {
  it('does not start with log.names hash and no key', async () => {
    const { code, stderr } = await run(['serve'], { cwd: directoryWith(SETTINGS) });
    assert.equal(code, 2);
    assert.match(stderr, /SHARDER_LOG_KEY: log\.names is hash.*openssl rand -hex 32/);
  });
});
