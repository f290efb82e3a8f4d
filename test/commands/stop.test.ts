// Ctrl-C and SIGTERM, sent to real processes at different moments: the process ends by the signal, says in
// one line what it leaves and how to go on, and the database is sound.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import pg from 'pg';
import type { Database } from '../../src/index.js';
import { engines, needsPostgres, temporaryDirectory, type TestEngine } from '../engines.js';
import { eventually } from '../load.js';
import { freePort } from '../postgres.js';
import { CLI, Service } from '../service.js';
import { contents, prepare } from './prepare.js';
import { run, Run } from './run.js';
import { assertSound, rows } from './transfer.js';

/** Sends a signal, and holds that it ended the command, with this line on stderr and nothing else. */
async function stopped(command: Run, signal: NodeJS.Signals, line: string): Promise<void> {
  command.process.kill(signal);
  const { stderr } = await command.ended;
  assert.deepEqual([command.process.signalCode, stderr], [signal, `stopped: ${line}\n`]);
}

/** Keeps others from writing until it is released. */
async function lock(engine: TestEngine, database: Database): Promise<() => Promise<void>> {
  if (engine.name === 'sqlite') {
    const connection = new Sqlite(fileOf(database));
    connection.exec('begin immediate');
    return async () => {
      connection.close();
      return Promise.resolve();
    };
  }
  const trx = await database.knex.transaction();
  await trx('kind').forUpdate();
  return async () => {
    await trx.rollback();
  };
}

function fileOf(database: Database): string {
  return database.location.slice('sqlite:'.length);
}

/** Resolves when the command waits for the lock: on SQLite, when it has opened the file. */
async function waits(command: Run, database: Database): Promise<void> {
  await eventually('it waits', async () => {
    if (database.engineName === 'sqlite') return hasOpen(command, `${fileOf(database)}-wal`);
    const { rows } = await database.knex.raw<{ rows: unknown[] }>(WAITING);
    return rows.length > 0;
  });
}

// In this database: a server has several.
const WAITING = `select from pg_stat_activity
  where wait_event_type = 'Lock' and datname = current_database()`;

function hasOpen({ process: { pid } }: Run, file: string): boolean {
  const dir = `/proc/${pid ?? 0}/fd`;
  return readdirSync(dir).some((fd) => {
    try {
      return readlinkSync(join(dir, fd)) === file;
    } catch {
      return false; // closed since
    }
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

for (const engine of engines) {
  describe(`on ${engine.name}, a signal`, engine.options, () => {
    it('while a change waits for the database leaves everything as it was', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const move = ['object', 'move', 'a', 'hub-1'];
      const cases: readonly [signal: NodeJS.Signals, args: readonly string[]][] = [
        ['SIGINT', move],
        ['SIGTERM', move],
        ['SIGINT', ['bucket', 'cordon', 'hub-0']],
        ['SIGINT', ['object', 'assign', 'new']],
      ];
      for (const [signal, args] of cases) {
        const release = await lock(engine, database);
        const command = new Run(args, { env });
        await waits(command, database);
        // On PostgreSQL an assignment is one statement with its commit.
        const line =
          engine.name === 'postgres' && args.includes('assign')
            ? 'it may have been done, or not: `sharder object history new` tells'
            : 'nothing was changed; the same command does it';
        await stopped(command, signal, line);
        await release();
        if (engine.name === 'postgres') {
          await eventually('the server has noticed', async () => {
            const { rows } = await database.knex.raw<{ rows: unknown[] }>(WAITING);
            return rows.length === 0;
          });
        }
        assert.deepEqual(await contents(database), before);
      }
      assert.equal(
        (await run(move, { env })).stdout,
        'moved object a of kind hub from bucket hub-0 to hub-1\n',
      );
      await assertSound(env);
    });

    it('while it migrates leaves the schema as it was', async () => {
      const url = await engine.createDatabase();
      const env = { DATABASE_URL: url };
      if (engine.name === 'sqlite') {
        const connection = new Sqlite(url.slice('sqlite:'.length));
        connection.exec('begin immediate; create table x (y)');
        const command = new Run(['migrate'], { env });
        await eventually('it waits', () => Promise.resolve(hasOpen(command, connection.name)));
        await stopped(
          command,
          'SIGINT',
          'the schema is as it was; the same command brings it up to date',
        );
        connection.close();
      } else {
        // Tables of the same name wait for each other.
        const [client, observer] = [0, 1].map(() => new pg.Client({ connectionString: url }));
        assert.ok(client && observer);
        for (const each of [client, observer]) await each.connect();
        await client.query('begin; create table kind (x int)');
        const command = new Run(['migrate'], { env });
        await eventually('it waits', async () => {
          const { rows } = await observer.query(WAITING);
          return rows.length > 0;
        });
        await stopped(
          command,
          'SIGINT',
          'the schema is as it was; the same command brings it up to date',
        );
        await client.query('rollback');
        for (const each of [client, observer]) await each.end();
      }
      assert.match((await run(['migrate'], { env })).stdout, /applied 0001_tables/);
      await assertSound(env);
    });

    it('while an import reads leaves everything as it was, through --url too', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const SHARDER_ADMIN_TOKEN = 'x'.repeat(32);
      const service = await Service.start(env.DATABASE_URL, {
        cwd: temporaryDirectory(),
        env: { SHARDER_ADMIN_TOKEN },
      });
      for (const more of [[], ['--url', service.url]]) {
        for (const signal of SIGNALS) {
          const child = spawn(process.execPath, [CLI, 'import', '-', '--format=csv', ...more], {
            env: { ...process.env, ...env, SHARDER_TOKEN: SHARDER_ADMIN_TOKEN },
            stdio: ['pipe', 'ignore', 'pipe'],
          });
          child.stdin.on('error', () => undefined);
          let stderr = '';
          child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
          // More than a pipe holds: it has begun to read when all of it is written.
          await new Promise((resolve) => child.stdin.write(rows(40_000), resolve));
          child.kill(signal);
          const [, by] = (await once(child, 'close')) as [null, string];
          assert.deepEqual(
            [by, stderr],
            [signal, 'stopped: nothing was imported; the same command does it\n'],
          );
          assert.deepEqual(await contents(database), before);
        }
      }
      await service.stop();
      assert.deepEqual(await contents(database), before);
      await assertSound(env);
    });

    it('while an export writes leaves no file, nor a part of one', async () => {
      const { env, database } = await prepare(engine);
      await fill(database, 300_000);
      const cwd = temporaryDirectory();
      for (const signal of SIGNALS) {
        const command = new Run(['export', 'all.csv'], { env, cwd });
        await eventually('it writes', () => Promise.resolve(existsSync(join(cwd, 'all.csv.part'))));
        await stopped(command, signal, 'nothing was exported; the same command does it');
        assert.deepEqual(readdirSync(cwd), []);
      }
      await assertSound(env);
    });

    it('while a check reads ends it at once', async () => {
      const { env, database } = await prepare(engine);
      await fill(database, 300_000);
      const command = new Run(['check'], { env });
      if (engine.name === 'sqlite') {
        await eventually('it reads', () =>
          Promise.resolve(hasOpen(command, `${fileOf(database)}-wal`)),
        );
        command.process.kill('SIGINT');
        await command.ended;
        assert.equal(command.process.signalCode, 'SIGINT');
      } else {
        await eventually('it reads', async () => {
          const { rows } = await database.knex.raw<{ rows: unknown[] }>(
            "select from pg_stat_activity where state = 'active' and query like '%shard%' and pid <> pg_backend_pid()",
          );
          return rows.length > 0;
        });
        await stopped(command, 'SIGINT', 'nothing was changed, and not all was checked');
      }
      await assertSound(env);
    });

    it('while it prunes keeps what is done, and the same command goes on', async () => {
      const { env, database } = await prepare(engine);
      const { knex } = database;
      await knex.raw(
        `insert into change (at, actor, action, kind, name)
          ${numbers(database, 100_000)} select '2020-01-01T00:00:00.000Z', 'x', 'object pin', 'hub', 'a' from n`,
      );
      const args = ['history', 'prune', '--before', '2021-01-01T00:00:00Z'];
      const command = new Run(args, { env });
      const lines = (of: object) => knex('change').where(of).select('id');
      await eventually('it prunes', async () => {
        return (await lines({ action: 'history prune' })).length > 0;
      });
      const soFar = 'what was pruned so far stays pruned; the same command goes on';
      await stopped(command, 'SIGINT', soFar);
      assert.ok((await lines({ actor: 'x' })).length > 0);
      await assertSound(env);
      assert.match((await run(args, { env })).stdout, /^pruned \d+ lines of the history/);
      assert.equal((await lines({ actor: 'x' })).length, 0);
      await assertSound(env);
    });

    it('among many assignments keeps those that are made, and the same command goes on', async () => {
      const { env, database } = await prepare(engine);
      const args = ['object', 'assign', '-', '--kind=homedir'];
      const all = Array.from({ length: 1_500 }, (_, i) => `user-${i}\n`);
      const child = spawn(process.execPath, [CLI, ...args], {
        env: { ...process.env, ...env },
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      child.stdin.write(all.slice(0, 1_000).join(''));
      await once(child.stdout, 'data');
      child.kill('SIGINT');
      assert.deepEqual(await once(child, 'close'), [null, 'SIGINT']);
      assert.equal(
        stderr,
        'stopped: what was assigned so far stays so; the same command goes on\n',
      );
      const count = async () => (await database.knex('shard').where({ kind: 'homedir' })).length;
      assert.equal(await count(), 1_000);
      await assertSound(env);
      const again = spawn(process.execPath, [CLI, ...args], {
        env: { ...process.env, ...env },
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      again.stdin.end(all.join(''));
      assert.deepEqual(await once(again, 'exit'), [0, null]);
      assert.equal(await count(), 1_500);
      await assertSound(env);
    });
  });
}

/** So many objects in home-0. */
async function fill(database: Database, count: number): Promise<void> {
  await database.knex.transaction(async (trx) => {
    if (database.engineName === 'postgres') await trx.raw('set local statement_timeout = 0');
    await trx.raw(`insert into shard (kind, bucket, name)
      ${numbers(database, count)} select 'homedir', 'home-0', 'user-' || i from n`);
  });
}

function numbers({ engineName }: Database, count: number): string {
  return engineName === 'sqlite'
    ? `with recursive n (i) as (select 1 union all select i + 1 from n where i < ${count})`
    : `with n (i) as (select generate_series(1, ${count}))`;
}

describe('a signal while PostgreSQL commits', needsPostgres, () => {
  it('says that it may have been done, as it then is', async () => {
    const [, postgres] = engines;
    assert.ok(postgres);
    const { env, database } = await prepare(postgres);
    const { knex } = database;
    await knex.raw(`create function slow() returns trigger language plpgsql as
      $$ begin perform pg_sleep(1); return null; end $$`);
    await knex.raw(`create constraint trigger slow after insert on change
      deferrable initially deferred for each row execute function slow()`);
    const command = new Run(['object', 'move', 'a', 'hub-1'], { env });
    await eventually('it commits', async () => {
      const { rows } = await knex.raw<{ rows: unknown[] }>(
        "select from pg_stat_activity where wait_event = 'PgSleep'",
      );
      return rows.length > 0;
    });
    await stopped(
      command,
      'SIGINT',
      'it may have been done, or not: `sharder object history a` tells',
    );
    await eventually('it is done', async () => {
      const row = (await knex('shard').where({ name: 'a' }).first()) as { bucket: string };
      return row.bucket === 'hub-1';
    });
    await knex.raw('drop trigger slow on change');
    await assertSound(env);
  });
});

describe('a signal while a service is asked', () => {
  const token = { SHARDER_TOKEN: 'x'.repeat(32) };

  it('that says nothing: it may have been done', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const args = ['object', 'move', 'a b', 'hub-1', '--url', `http://127.0.0.1:${port}`];
    const command = new Run(args, { env: token });
    const [socket] = (await once(silent, 'connection')) as [NodeJS.ReadableStream];
    await once(socket, 'data');
    await stopped(
      command,
      'SIGTERM',
      "it may have been done, or not: `sharder object history -- 'a b'` tells",
    );
    silent.close();
  });

  it('that is not there: nothing was changed', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    // It tries for some seconds.
    const command = new Run(['bucket', 'remove', 'hub-0', '--url', url], {
      env: { ...token, NODE_DEBUG: 'net' },
    });
    await command.says('emit close'); // the first refusal
    command.process.kill('SIGINT');
    const { stderr } = await command.ended;
    assert.equal(command.process.signalCode, 'SIGINT');
    assert.match(stderr, /^stopped: nothing was changed; the same command does it$/m);
  });
});

describe('Ctrl-C on a terminal', () => {
  it('wipes the progress away, and the shell sees the signal', async () => {
    const [sqlite] = engines;
    assert.ok(sqlite);
    const { env, database } = await prepare(sqlite);
    const before = await contents(database);
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, 'in.csv'), rows(2_000_000));
    const typed = `stty cols 80; exec '${process.execPath}' '${CLI}' import in.csv`;
    const child = spawn('script', ['-qec', typed, '/dev/null'], {
      env: { ...process.env, ...env, TERM: 'xterm' },
      cwd,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    await eventually('it shows how far it is', () => shown.includes('% ['));
    child.stdin.write('\u0003');
    assert.deepEqual(await closed, [130, null]); // as shells say it: 128 + SIGINT
    assert.match(shown, /\r\u001b\[Kstopped: nothing was imported; the same command does it\r\n/);
    assert.deepEqual(await contents(database), before);
    await assertSound(env);
  });
});
