// How every command behaves towards a shell: pipes that close, terminals, and tables of any size.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { engines, open, type TestEngine } from '../engines.js';
import { CLI } from '../service.js';
import { prepare } from './prepare.js';
import { run } from './run.js';

const ROWS = 400_000;

/** A database with so many objects in kind `homedir`. */
async function prepareMany(engine: TestEngine): Promise<{ DATABASE_URL: string }> {
  const { env } = await prepare(engine);
  const { knex, engineName } = await open(env.DATABASE_URL);
  const numbers =
    engineName === 'sqlite'
      ? `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${ROWS})`
      : `with n (i) as (select generate_series(1, ${ROWS}))`;
  const insert = `insert into shard (kind, bucket, name)
    ${numbers} select 'homedir', 'home-0', 'user-' || i from n`;
  await knex.transaction(async (trx) => {
    if (engineName === 'postgres') await trx.raw('set local statement_timeout = 0');
    await trx.raw(insert);
  });
  return env;
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder object list`, engine.options, () => {
    it(
      'streams 400,000 rows through a heap that could not hold them',
      { timeout: 180_000 },
      async () => {
        const env = await prepareMany(engine);
        for (const format of [[], ['--json'], ['--bucket=home-0', '--json']]) {
          const args = [
            '--max-old-space-size=48',
            CLI,
            'object',
            'list',
            '--kind=homedir',
            ...format,
          ];
          const child = spawn(process.execPath, args, {
            env: { ...process.env, ...env },
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          const exited = once(child, 'exit');
          let lines = 0;
          for await (const line of createInterface({ input: child.stdout }))
            if (line.includes('user-')) lines++;
          assert.deepEqual(await exited, [0, null]);
          assert.equal(lines, ROWS);
        }
      },
    );
  });
}

const [sqlite] = engines;
assert.ok(sqlite);

describe('sharder', () => {
  it('ends quietly when nobody reads on', async () => {
    const { env } = await prepare(sqlite);
    const { knex } = await open(env.DATABASE_URL);
    for (let i = 0; i < 20_000; i += 500) {
      const rows = Array.from({ length: 500 }, (_, j) => `user-${i + j}`);
      await knex('shard').insert(rows.map((name) => ({ kind: 'homedir', bucket: 'home-0', name })));
    }
    for (const command of ['object list', 'object list --json', 'bucket list', '--help']) {
      // The shell tells what the command exited with.
      const script = `'${process.execPath}' '${CLI}' ${command} | head -c 1; echo " \${PIPESTATUS[0]}"`;
      const { stdout, stderr } = spawnSync('bash', ['-c', script], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      });
      assert.match(stdout, /^. 0\n$/, command);
      assert.equal(stderr, '', command);
    }
  });

  const terminals: readonly [name: string, env: NodeJS.ProcessEnv, isColoured: boolean][] = [
    ['a terminal', { TERM: 'xterm-256color' }, true],
    ['a terminal, with NO_COLOR', { TERM: 'xterm-256color', NO_COLOR: '1' }, false],
    ['a terminal that is dumb', { TERM: 'dumb' }, false],
  ];
  for (const [name, extra, isColoured] of terminals) {
    it(`on ${name} ${isColoured ? 'uses' : 'uses no'} colours`, async () => {
      const { env } = await prepare(sqlite);
      const clean = Object.fromEntries(
        Object.entries(process.env).filter(
          ([key]) => !/^(NO_COLOR|FORCE_COLOR|CI|COLORTERM|NODE_DISABLE_COLORS)/.test(key),
        ),
      );
      // script(1) is a terminal to what it runs; stderr goes to the same.
      const command = `'${process.execPath}' '${CLI}' bucket list; '${process.execPath}' '${CLI}' object find nobody`;
      const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
        env: { ...clean, ...env, ...extra },
        encoding: 'utf8',
      });
      assert.match(stdout, /KIND/);
      assert.match(stdout, /sharder:/);
      const [headings = '', error = ''] = ['KIND', 'sharder:'].map(
        (word) => stdout.split('\n').find((line) => line.includes(word)) ?? '',
      );
      assert.equal(headings.includes('\u001b['), isColoured, JSON.stringify(headings));
      assert.equal(error.includes('\u001b['), isColoured, JSON.stringify(error));
    });
  }

  it('in a pipe uses no colours', async () => {
    const { env } = await prepare(sqlite);
    const { stdout } = await run(['bucket', 'list'], { env });
    assert.match(stdout, /^KIND/);
    const { stderr } = await run(['object', 'find', 'nobody'], { env });
    assert.match(stderr, /^sharder: there is no object/);
  });
});
