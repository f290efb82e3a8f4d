// What may stand where somebody is typing: `sharder __complete`, which the shells' scripts ask.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { contents, prepare } from '../commands/prepare.js';
import { run } from '../commands/run.js';
import { engines, temporaryDirectory } from '../engines.js';
import { Service } from '../service.js';

/** The answer to zsh: `files`, or the words that may stand there, each by its description. */
async function asked(words: string, env: NodeJS.ProcessEnv = {}) {
  const args = ['__complete', 'zsh', '--', ...`sharder ${words}`.split(' ')];
  const { code, stdout, stderr } = await run(args, { env });
  assert.deepEqual([code, stderr], [0, '']);
  const [what, ...lines] = stdout.trimEnd().split('\n');
  if (what === 'files') return what;
  return Object.fromEntries(lines.map((line) => line.split('\t') as [string, string]));
}

async function words(typed: string, env?: NodeJS.ProcessEnv): Promise<string[]> {
  return Object.keys(await asked(typed, env));
}

describe('sharder completion', () => {
  it('of commands has each with what it does, and those that are hidden not', async () => {
    const all = await asked('');
    assert.ok(typeof all === 'object');
    assert.equal(all.migrate, "bring the database's schema up to date");
    assert.ok(Object.keys(all).every((name) => /^[a-z]+$/.test(name)));
    assert.ok((await words('object ')).includes('move'));
    assert.deepEqual(await words('render '), [
      ...['nginx', 'kubernetes', 'compose', 'systemd', 'kubernetes-sharder'],
    ]);
    assert.deepEqual(await words('lease '), ['list', 'objects', 'drain', 'release']);
    assert.deepEqual(await words('spec '), ['list', 'show', 'set', 'remove']);
    assert.ok((await words('kind create x --')).includes('--reshard-interval'));
    assert.ok((await words('--database x object ')).includes('move'));
  });

  it('of options has those of the command that were not given, with what they mean', async () => {
    const all = await asked('object move a --dry-run --kind hub -');
    assert.ok(typeof all === 'object');
    assert.equal(all['--reason'], 'why, for the history');
    assert.ok('--database' in all && '--help' in all);
    assert.ok(!('--dry-run' in all) && !('--kind' in all) && !('--weight' in all));
    assert.deepEqual(await words('object move -- -'), []);
  });

  it('knows choices and files, as the value of an option, after = and as an argument', async () => {
    assert.deepEqual(await words('export --format '), ['csv', 'ndjson']);
    assert.deepEqual(await words('export --format='), ['csv', 'ndjson']);
    assert.deepEqual(await words('spec set a --pin-rule '), ['hold', 'any']);
    assert.deepEqual(await words('completion '), ['bash', 'zsh', 'fish']);
    for (const typed of [
      'import ',
      'backup ',
      '--config-file ',
      'serve --config-file=',
      'render systemd --output ',
    ])
      assert.equal(await asked(typed), 'files', typed);
    for (const typed of [
      'import a ',
      'object find ',
      'spec show ',
      'bucket add ',
      'object move a --reason ',
    ])
      assert.deepEqual(await words(typed), [], typed);
  });

  it('takes nothing for a command or an option after --', async () => {
    assert.deepEqual(await words('object move -- a --kin'), []);
  });

  it('prints a script for each shell, and refuses others', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, stdout } = await run(['completion', shell]);
      assert.equal(code, 0);
      assert.match(stdout, /__complete/);
    }
    assert.equal((await run(['completion', 'tcsh'])).code, 2);
  });

  it('is quiet where the names cannot be read, and makes no database', async () => {
    for (const DATABASE_URL of ['sqlite:none.db', 'postgres://u@127.0.0.1:1/x', 'nonsense'])
      assert.deepEqual(await words('bucket set ', { DATABASE_URL }), []);
    assert.deepEqual(await words('bucket set ', { SHARDER_URL: 'http://127.0.0.1:1' }), []);
    assert.deepEqual(await words('--config-file none.yml kind show '), []);
  });

  it('gives up after a second on a database or a service that says nothing', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const token = { SHARDER_TOKEN: 'x'.repeat(32) };
    for (const env of [
      { DATABASE_URL: `postgres://u@127.0.0.1:${port}/x` },
      { SHARDER_URL: `http://127.0.0.1:${port}`, ...token },
    ]) {
      const started = performance.now();
      assert.deepEqual(await words('bucket set ', env), []);
      assert.ok(performance.now() - started < 5_000); // it would be a minute
    }
    silent.close();
  });
});

for (const engine of engines) {
  describe(`on ${engine.name}, sharder completion`, engine.options, () => {
    it('has the names of kinds and buckets, no names of objects, and writes nothing', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      assert.deepEqual(await words('bucket set ', env), ['hub-0', 'hub-1']);
      assert.deepEqual(await words('bucket set --kind homedir ', env), ['home-0']);
      assert.deepEqual(await words('object move --kind=homedir a ', env), ['home-0']);
      assert.deepEqual(await words('lease release --kind homedir ', env), ['home-0']);
      assert.deepEqual(await words('lease drain --kind homedir ', env), ['home-0']);
      assert.deepEqual(await words('spec set a b --kind=homedir --pin ', env), ['home-0']);
      assert.deepEqual(await words('lease list --kind ', env), ['homedir', 'hub']);
      assert.deepEqual(await words('object list --bucket ', env), ['hub-0', 'hub-1']);
      assert.deepEqual(await words('object list --kind ', env), ['homedir', 'hub']);
      assert.deepEqual(await words('object find ', env), []);
      const url = ['--database', env.DATABASE_URL].join(' ');
      if (engine.name === 'sqlite')
        assert.deepEqual(await words(`${url} bucket set `, {}), ['hub-0', 'hub-1']);
      assert.deepEqual(await contents(database), before);
    });

    it('asks the service of --url', async () => {
      const { env } = await prepare(engine);
      const SHARDER_ADMIN_TOKEN = 'x'.repeat(32);
      const service = await Service.start(env.DATABASE_URL, {
        cwd: temporaryDirectory(),
        env: { SHARDER_ADMIN_TOKEN },
      });
      const token = { SHARDER_TOKEN: SHARDER_ADMIN_TOKEN };
      assert.deepEqual(await words(`--url ${service.url} bucket set `, token), ['hub-0', 'hub-1']);
      assert.deepEqual(await words(`bucket set --kind homedir --url=${service.url} x`, token), []);
      assert.deepEqual(await words('object list --kind ', { ...token, SHARDER_URL: service.url }), [
        'homedir',
        'hub',
      ]);
      await service.stop();
    });
  });
}
