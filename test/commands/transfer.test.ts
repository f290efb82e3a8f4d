// Export and import at length: broken off, in little memory, beside a service, from engine to engine.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { declareKinds, type Database } from '../../src/index.js';
import { engines, needsPostgres, open, temporaryDirectory, type TestEngine } from '../engines.js';
import { again, assertKept, eventually, Load, names } from '../load.js';
import { CLI, Service } from '../service.js';
import { contents, prepare } from './prepare.js';
import { directoryWith, run, Run } from './run.js';
import { assertSound, everything, rows, TIME } from './transfer.js';

/** Whether somebody is writing: on SQLite to the file, on PostgreSQL to the kind `hub`. */
async function isLocked(engine: TestEngine, database: Database, url: string): Promise<boolean> {
  if (engine.name === 'sqlite') {
    const connection = new Sqlite(url.slice('sqlite:'.length), { timeout: 0 });
    try {
      connection.exec('begin immediate; rollback');
      return false;
    } catch {
      return true;
    } finally {
      connection.close();
    }
  }
  return database.knex
    .transaction((trx) => trx.raw(`select from kind where name = 'hub' for update nowait`))
    .then(
      () => false,
      () => true,
    );
}

for (const engine of engines) {
  describe(`on ${engine.name}, an import`, engine.options, () => {
    it('ended by Ctrl-C in the middle, leaves the table as it was', async () => {
      const { env, database } = await prepare(engine);
      const url = env.DATABASE_URL;
      const before = await contents(database);
      // While it reads,
      const child = spawn(process.execPath, [CLI, 'import', '-', '--format=csv'], {
        env: { ...process.env, ...env },
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      child.stdin.on('error', () => undefined);
      child.stdin.write(rows(20_000));
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      child.kill('SIGINT');
      assert.deepEqual(await once(child, 'exit'), [null, 'SIGINT']);
      assert.deepEqual(await contents(database), before);

      // and while it writes.
      const cwd = temporaryDirectory();
      writeFileSync(join(cwd, 'users.csv'), rows(200_000));
      const command = new Run(['import', 'users.csv'], { env, cwd });
      await eventually('the lock is taken', () => isLocked(engine, database, url));
      command.process.kill('SIGINT');
      assert.equal((await command.ended).code, null);
      await eventually('the lock is gone', async () => !(await isLocked(engine, database, url)));
      assert.deepEqual(await contents(database), before);
      await assertSound(env);
    });

    it('of 200,000 rows needs no heap that could hold them, nor does the export', async () => {
      const { env, database } = await prepare(engine);
      const cwd = temporaryDirectory();
      writeFileSync(join(cwd, 'in.csv'), rows(200_000));
      const small = (...args: string[]) =>
        spawnSync(process.execPath, ['--max-old-space-size=40', CLI, ...args], {
          env: { ...process.env, ...env },
          cwd,
          encoding: 'utf8',
        });
      const csv = small('import', 'in.csv');
      assert.equal(csv.stdout, 'imported in.csv: 200000 new, 0 moved, 0 unchanged\n', csv.stderr);
      assert.equal(small('export', 'out.ndjson').status, 0);
      await database.knex('shard').del();
      const ndjson = small('import', 'out.ndjson');
      assert.equal(ndjson.stdout, 'imported out.ndjson: 200003 new, 0 moved, 0 unchanged\n');
      await assertSound(env);
    });

    it('is honoured at once by a service, which answers all the while', async () => {
      const url = await engine.createDatabase();
      const env = { DATABASE_URL: url };
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1, hub-2] } }');
      const service = await Service.start(url, { cwd });
      const known = [...names('known', 30)];
      const first = new Load(16);
      await first.run(service.url, known);
      const load = new Load(8);
      const fresh = new Load(8);
      const running = [load.run(service.url, again(known)), fresh.run(service.url, names('new'))];

      writeFileSync(join(cwd, 'users.csv'), rows(50_000));
      const { code, stderr } = await run(['import', 'users.csv'], { env, cwd });
      assert.equal(code, 0, stderr);
      load.stop();
      fresh.stop();
      assert.deepEqual(await Promise.all(running), [0, 0]);
      assert.deepEqual([...load.contradictions, ...fresh.contradictions], []);
      assert.deepEqual([...load.refusals, ...fresh.refusals], []);
      assert.ok(fresh.answers.size > 0);
      const answers = new Map([...first.answers, ...fresh.answers, ['user-7', 'hub-1'] as const]);
      await assertKept(url, answers, { isEven: false });

      // Who is moved by an import is answered the new bucket, though the old one is in the cache.
      const [name = ''] = known;
      const to = first.answers.get(name) === 'hub-0' ? 'hub-1' : 'hub-0';
      writeFileSync(join(cwd, 'move.csv'), `user,hub\n${name},${to}\nnew-user,hub-2\n`);
      assert.equal((await run(['import', 'move.csv', '--move'], { env, cwd })).code, 0);
      assert.equal((await (await service.shard(name)).text()).trim(), to);
      assert.equal((await (await service.shard('new-user')).text()).trim(), 'hub-2');
      for (const each of [first, load, fresh]) each.close();
      assert.equal(await service.stop(), 0);
    });
  });
}

const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((text) => text === text.trim() && !/[\p{Cc}\p{Cs}\uFFFD]/u.test(text));
const odd = fc.constantFrom(
  '=1+1',
  '"',
  "'",
  ',',
  '\\N',
  '\\.',
  'a\u00a0b',
  'é',
  'é',
  '🙂',
  '{}',
  '-',
);

describe('a round trip from SQLite to PostgreSQL and back', needsPostgres, () => {
  for (const format of ['csv.gz', 'ndjson']) {
    it(`leaves equal tables, whatever the names, by ${format}`, async () => {
      const [sqlite, postgres] = engines;
      assert.ok(sqlite && postgres);
      const { env, database } = await prepare(sqlite);
      const anyName = { homedir: { names: 'any', buckets: [] } } as const;
      await declareKinds(database, anyName, 'test');
      const all = new Set(fc.sample(fc.oneof(name, odd), { numRuns: 2_000, seed: 7 }));
      const inserted = [...all]
        .filter((each) => Buffer.byteLength(each) <= 256)
        .map((each, i) => ({
          kind: 'homedir',
          bucket: 'home-0',
          name: each,
          assigned_at: TIME,
          pinned: i % 3 === 0,
        }));
      assert.ok(inserted.length > 500);
      for (const row of inserted) await database.knex('shard').insert(row);
      let last: NodeJS.ProcessEnv = env;
      const cwd = temporaryDirectory();
      for (const [i, engine] of [postgres, sqlite].entries()) {
        const file = `step-${i}.${format}`;
        const next = { DATABASE_URL: await engine.createDatabase() };
        await declareKinds(await open(next.DATABASE_URL), anyName, 'test');
        assert.equal((await run(['export', file], { env: last, cwd })).code, 0);
        const { code, stderr } = await run(['import', file, '--create-buckets'], {
          env: next,
          cwd,
        });
        assert.equal(code, 0, stderr);
        await assertSound(next);
        last = next;
      }
      const [before, after] = [await everything(env), await everything(last)].map((text) =>
        text.split('\n').filter((line) => format === 'ndjson' || !line.startsWith('{"type"')),
      );
      assert.deepEqual(after, before);
    });
  }
});

describe('sharder import on a terminal', () => {
  it('tells how far it is once it takes longer than a second', async () => {
    const [sqlite] = engines;
    assert.ok(sqlite);
    const { env } = await prepare(sqlite);
    const cli = `'${process.execPath}' '${CLI}' import - --format csv`;
    const slow = `(echo user,hub; sleep 2; echo x,hub-0) | ${cli}`;
    const { stdout } = spawnSync('script', ['-qec', slow, '/dev/null'], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    assert.match(stdout, /\r1 rows read, \d+ per second/);
    assert.match(stdout, /imported -: 1 new/);
    const quick = spawnSync(
      'script',
      ['-qec', `(echo user,hub; echo y,hub-0) | ${cli}`, '/dev/null'],
      {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      },
    );
    assert.doesNotMatch(quick.stdout, /per second/);
  });
});
