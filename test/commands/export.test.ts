// sharder export.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createKind } from '../../src/store/kinds.js';
import { registerObjects } from '../../src/workers/register.js';
import { engines, temporaryDirectory } from '../engines.js';
import { CLI, Service } from '../service.js';
import { prepare } from './prepare.js';
import { directoryWith, run } from './run.js';
import { everything, importCsv, rows, TIME } from './transfer.js';

const TOKEN = 'x'.repeat(32);
const TOKENS = { SHARDER_ADMIN_TOKEN: TOKEN, SHARDER_TOKEN: TOKEN };

for (const engine of engines) {
  describe(`on ${engine.name}, sharder export`, engine.options, () => {
    it('writes CSV, and NDJSON that begins with the kinds and buckets', async () => {
      const { env, database } = await prepare(engine);
      await database.knex('shard').del();
      const odd = {
        kind: 'hub',
        bucket: 'hub-1',
        name: 'o"d, ü \\',
        assigned_at: TIME,
        pinned: true,
      };
      const home = {
        kind: 'homedir',
        bucket: 'home-0',
        name: 'a',
        assigned_at: TIME,
        pinned: false,
      };
      await database.knex('shard').insert([odd, home]);
      await run(['bucket', 'cordon', 'hub-1', '--reason=full'], { env });

      const csv = await run(['export', '--format=csv'], { env });
      assert.deepEqual(csv, {
        code: 0,
        stdout:
          'kind,name,bucket,assigned_at,pinned\n' +
          `homedir,a,home-0,${TIME},false\n` +
          `hub,"o""d, ü \\",hub-1,${TIME},true\n`,
        stderr: '',
      });
      const lines = (await everything(env)).trimEnd().split('\n');
      assert.deepEqual(lines, [
        '{"type":"kind","kind":"homedir","policy":"emptiest","settings":{}}',
        '{"type":"kind","kind":"hub","policy":"emptiest","settings":{}}',
        '{"type":"bucket","kind":"homedir","name":"home-0","url":null,"weight":1,"capacity":null,"state":"active","state_reason":null}',
        '{"type":"bucket","kind":"hub","name":"hub-0","url":"https://hub-0.example","weight":2,"capacity":null,"state":"active","state_reason":null}',
        '{"type":"bucket","kind":"hub","name":"hub-1","url":null,"weight":1,"capacity":100,"state":"cordoned","state_reason":"full"}',
        `{"kind":"homedir","name":"a","bucket":"home-0","assigned_at":"${TIME}","pinned":false}`,
        `{"kind":"hub","name":"o\\"d, ü \\\\","bucket":"hub-1","assigned_at":"${TIME}","pinned":true}`,
      ]);
      const one = await run(['export', '--format=csv', '--kind=homedir'], { env });
      assert.equal(one.stdout.trimEnd().split('\n').length, 2);
      const none = await run(['export', '--format=csv', '--kind=x'], { env });
      assert.match(none.stderr, /^sharder: there is no kind "x"/);
      assert.equal(none.code, 1);
    });

    it('says that it leaves out what objects ask for that follow workers, on the database and with --url', async () => {
      const { env, database } = await prepare(engine);
      await database.write(async (trx) => {
        await createKind(trx, 'queue', { settings: { leased: true } }, { actor: 'test' });
        await createKind(trx, 'idle', { settings: { leased: true } }, { actor: 'test' });
        await registerObjects(trx, 'queue', [{ name: 'job-1' }], { actor: 'test' });
      });
      const note =
        'note: objects of kind queue follow workers: what they ask for is not exported (`sharder spec list --kind queue --json` has it)\n';
      const service = await Service.start(env.DATABASE_URL, {
        cwd: directoryWith(''),
        env: TOKENS,
      });
      for (const [args, says] of [
        [['--format=csv'], note],
        [['--format=ndjson', '--kind=hub'], ''],
      ] as const) {
        const direct = await run(['export', ...args], { env });
        assert.deepEqual([direct.code, direct.stderr], [0, says]);
        const there = ['export', ...args, '--url', service.url];
        assert.deepEqual(await run(there, { env: TOKENS }), direct);
      }
      await service.stop();
    });

    it('writes a file whole or not at all, and over another only when told', async () => {
      const { env } = await prepare(engine);
      const cwd = temporaryDirectory();
      const write = (...args: string[]) => run(['export', ...args], { env, cwd });
      assert.deepEqual(await write('all.csv.gz'), { code: 0, stdout: '', stderr: '' });
      const text = gunzipSync(readFileSync(join(cwd, 'all.csv.gz'))).toString();
      assert.match(text, /^kind,name,bucket,assigned_at,pinned\nhub,a,hub-0,/);
      const second = await write('all.csv.gz');
      assert.equal(second.code, 1);
      assert.match(second.stderr, /^sharder: all\.csv\.gz is there already: name another, or/);
      assert.equal((await write('all.csv.gz', '--overwrite')).code, 0);
      assert.equal((await write('none.csv', '--kind=x')).code, 1);
      assert.equal((await write('no/where.csv')).code, 1);
      assert.deepEqual(readdirSync(cwd), ['all.csv.gz']);
    });

    it('is of one moment, whatever is written meanwhile', async () => {
      const { env, database } = await prepare(engine);
      assert.equal((await importCsv(rows(50_000), env)).code, 0);
      const child = spawn(process.execPath, [CLI, 'export', '--format=csv'], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      // What is not read stands still.
      const ended = once(child, 'exit');
      await once(child.stdout, 'readable');
      await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'zzz' });
      await database.knex('shard').where({ name: 'user-9' }).del();
      let text = '';
      for await (const chunk of child.stdout.setEncoding('utf8')) text += String(chunk);
      assert.deepEqual(await ended, [0, null]);
      assert.ok(!text.includes(',zzz,'));
      assert.ok(text.includes(',user-9,'));
      assert.equal(text.trimEnd().split('\n').length, 1 + 3 + 50_000);
    });

    it('ends quietly when nobody reads on', async () => {
      const { env } = await prepare(engine);
      assert.equal((await importCsv(rows(20_000), env)).code, 0);
      for (const format of ['csv', 'ndjson']) {
        const script = `'${process.execPath}' '${CLI}' export --format ${format} | head -c 1; echo " \${PIPESTATUS[0]}"`;
        const { stdout, stderr } = spawnSync('bash', ['-c', script], {
          env: { ...process.env, ...env },
          encoding: 'utf8',
        });
        assert.match(stdout, /^. 0\n$/);
        assert.equal(stderr, '');
      }
    });
  });
}
