// sharder watch: on the database and with --url the same, and nothing is missed or told twice over the
// end of a service.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addBucket } from '../../src/store/buckets.js';
import { moveObject } from '../../src/store/objects.js';
import type { Database } from '../../src/index.js';
import { engines } from '../engines.js';
import { eventually, Load, names } from '../load.js';
import { freePort } from '../postgres.js';
import { Service } from '../service.js';
import { prepare } from './prepare.js';
import { directoryWith, run, Run } from './run.js';

const TOKEN = 'x'.repeat(32);
const TOKENS = { SHARDER_ADMIN_TOKEN: TOKEN, SHARDER_TOKEN: TOKEN };

interface Event {
  readonly id: string;
  readonly action: string;
  readonly name: string | null;
}

function eventsOf(stdout: string): Event[] {
  return stdout
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Event);
}

const move = (database: Database, name: string, to: string, reason?: string) =>
  database.write((trx) =>
    moveObject(trx, 'hub', name, to, { actor: 'somebody', reason }, { force: true }),
  );

for (const engine of engines) {
  describe(`sharder watch on ${engine.name}`, engine.options, () => {
    it('prints a line for each event as it comes, and says at Ctrl-C how to go on, on the database and with --url', async () => {
      const { env, database } = await prepare(engine);
      const service = await Service.start(env.DATABASE_URL, {
        cwd: directoryWith(''),
        env: TOKENS,
      });
      const lines: string[] = [];
      for (const [from, to, more] of [
        ['hub-0', 'hub-1', []],
        ['hub-1', 'hub-0', ['--url', service.url]],
      ] as const) {
        const command = new Run(['watch', ...more], { env: { ...env, ...TOKENS } });
        await command.says('watching kind hub from ');
        await move(database, 'a', to, 'asked for it');
        await command.says('asked for it');
        command.process.kill('SIGINT');
        const { stdout, stderr } = await command.ended;
        assert.equal(command.process.signalCode, 'SIGINT');
        const [, heading, ...rest] = ['', ...stdout.trimEnd().split('\n')];
        assert.match(heading ?? '', /^AT +ACTOR +ACTION +OBJECT +FROM +TO +REASON$/);
        assert.equal(rest.length, 1, stdout);
        const line = new RegExp(`^\\S+Z +somebody +object move +a +${from} +${to} +asked for it$`);
        assert.match(rest[0] ?? '', line);
        const said = /^stopped: `sharder watch --since (\d+\.\d+)` goes on$/m.exec(stderr);
        assert.notEqual(said, null, stderr);
        lines.push(said?.[1] ?? '');
      }
      const since = ['watch', '--once', '--json', '--since', lines[0] ?? ''];
      const direct = await run(since, { env });
      const remote = await run([...since, '--url', service.url], { env: TOKENS });
      assert.deepEqual(remote, direct);
      assert.deepEqual(
        eventsOf(direct.stdout).map(({ id, action }) => [id, action]),
        [[lines[1], 'object move']],
      );
      await service.stop();
    });

    it('--bucket leaves out what concerns other buckets, on the database and with --url', async () => {
      const { env, database } = await prepare(engine);
      const service = await Service.start(env.DATABASE_URL, {
        cwd: directoryWith(''),
        env: TOKENS,
      });
      await database.write((trx) => addBucket(trx, 'hub', 'hub-2', {}, { actor: 'test' }));
      await move(database, 'c', 'hub-2');
      await move(database, 'a', 'hub-2');
      const args = ['watch', '--bucket', 'hub-1', '--since', '0'];
      const direct = await run([...args, '--once', '--json'], { env });
      const remote = await run([...args, '--once', '--json', '--url', service.url], {
        env: TOKENS,
      });
      assert.deepEqual(remote, direct);
      assert.deepEqual(
        eventsOf(direct.stdout).map(({ action, name }) => [action, name]),
        [
          ['bucket add', null],
          ['object assign', 'c'],
          ['object move', 'c'],
        ],
      );
      const command = new Run(args, { env });
      await command.says('object move');
      command.process.kill('SIGINT');
      const { stderr } = await command.ended;
      assert.match(stderr, /`sharder watch --bucket hub-1 --since \S+` goes on$/m);
      await service.stop();
    });

    it('refuses what cannot be, on the database and with --url', async () => {
      const { env } = await prepare(engine);
      const service = await Service.start(env.DATABASE_URL, {
        cwd: directoryWith(''),
        env: TOKENS,
      });
      for (const [args, says] of [
        [['--kind', 'nosuch'], /there is no kind "nosuch"/],
        [['--since', 'yesterday'], /since: "yesterday" is no place/],
        [['--since', '999'], /is this the same database\?/],
      ] as const) {
        const direct = await run(['watch', ...args], { env });
        assert.equal(direct.code, 1);
        assert.match(direct.stderr, says);
        const remote = await run(['watch', ...args, '--url', service.url], { env: TOKENS });
        assert.deepEqual(remote, direct);
      }
      await service.stop();
      const nobody = await run(['watch', '--url', service.url], { env: TOKENS });
      assert.match(nobody.stderr, /does not answer/);
    });

    it('with --url goes on when the service was killed, or stopped, and is there again', async () => {
      const { env, database } = await prepare(engine);
      const listen = `127.0.0.1:${await freePort()}`;
      const start = () =>
        Service.start(env.DATABASE_URL, {
          cwd: directoryWith(''),
          args: ['--listen', listen],
          env: TOKENS,
        });
      let service = await start();
      const command = new Run(['watch', '--json', '--url', service.url], { env: TOKENS });
      await command.says('watching');
      const load = new Load(8);
      const all = [...names('user', 900)];
      for (const [i, signal] of (['SIGKILL', 'SIGTERM', 'SIGKILL'] as const).entries()) {
        const running = load.run(service.url, all.slice(i * 300, i * 300 + 300));
        await eventually('some are told', () => command.stdout.includes(`"user-${i * 300}"`));
        if (i === 1) await running; // what is stopped in order has answered
        await service.stop(signal);
        await running;
        await move(database, 'a', i % 2 === 0 ? 'hub-1' : 'hub-0', `while it was away, ${i}`);
        service = await start();
        await command.says(`while it was away, ${i}`);
      }
      await load.run(service.url, ['last']);
      await command.says('"last"');
      command.process.kill('SIGTERM');
      const { stdout } = await command.ended;
      const told = eventsOf(stdout);
      const ids = told.map(({ id }) => id);
      assert.equal(new Set(ids).size, ids.length);
      const rows = await database
        .knex('shard')
        .where('name', 'like', 'user-%')
        .pluck<string[]>('name');
      assert.equal(rows.length >= load.answers.size - 1, true);
      const assigned = told.filter(({ action }) => action === 'object assign');
      assert.deepEqual(assigned.map(({ name }) => name).sort(), [...rows, 'last'].sort());
      assert.equal(told.filter(({ action }) => action === 'object move').length, 3);
      load.close();
      await service.stop();
    });

    it('tells an import that moves 20,000 in one transaction, each once', async () => {
      const { env } = await prepare(engine);
      const rows = (bucket: string) =>
        ['name,bucket', ...[...names('user', 20_000)].map((name) => `${name},${bucket}`)].join(
          '\n',
        );
      const load = async (bucket: string) => {
        const { code, stderr } = await run(['import', '-', '--format=csv', '--move'], {
          env,
          stdin: rows(bucket),
        });
        assert.equal(code, 0, stderr);
      };
      await load('hub-0');
      const before = await run(['watch', '--since', '0', '--once', '--json'], { env });
      const last = eventsOf(before.stdout).at(-1);
      assert.equal(last?.action, 'import');
      await load('hub-1');
      const { stdout } = await run(['watch', '--since', last.id, '--once', '--json'], {
        env,
      });
      const told = eventsOf(stdout);
      assert.equal(told.pop()?.action, 'import');
      assert.deepEqual(
        told.map(({ action, name }) => `${action} ${name ?? ''}`).sort(),
        [...names('object move user', 20_000)].sort(),
      );
      assert.equal(
        new Set(told.map(({ id }) => id.split('.', 1).join())).size,
        1,
        'of one version',
      );
    });
  });
}
