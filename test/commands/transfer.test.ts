// sharder export and import.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { openDatabase, type Database } from '../../src/index.js';
import { importPages } from '../../src/transfer/import.js';
import { Page } from '../../src/transfer/page.js';
import { engines, needsPostgres, open, temporaryDirectory, type TestEngine } from '../engines.js';
import { again, assertKept, eventually, Load, names } from '../load.js';
import { CLI, Service } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { directoryWith, run, Run, type Outcome } from './run.js';

const TIME = '2026-01-02T03:04:05.678Z';

/** Runs a command in a directory with these files. */
function runWith(
  files: Readonly<Record<string, string | Buffer>>,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const cwd = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  return run(args, { env, cwd });
}

function importCsv(csv: string, env: NodeJS.ProcessEnv, ...args: string[]): Promise<Outcome> {
  return runWith({ 'users.csv': csv }, ['import', 'users.csv', ...args], env);
}

async function objects({ knex }: Database): Promise<Record<string, string>> {
  const rows: { kind: string; name: string; bucket: string }[] = await knex('shard');
  return Object.fromEntries(rows.map(({ kind, name, bucket }) => [`${kind}/${name}`, bucket]));
}

/** All that an export carries. */
async function everything(env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await run(['export', '--format=ndjson'], { env });
  assert.equal(code, 0, stderr);
  return stdout;
}

async function assertSound(env: NodeJS.ProcessEnv): Promise<void> {
  const { code, stdout } = await run(['check'], { env });
  assert.equal(code, 0, stdout);
}

function rows(count: number): string {
  return `user,hub\n${Array.from({ length: count }, (_, i) => `user-${i},hub-${i % 2}\n`).join('')}`;
}

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
  describe(`on ${engine.name}, sharder export`, engine.options, () => {
    it('writes CSV, and NDJSON that begins with the kinds and buckets', async () => {
      const { env, database } = await prepare(engine);
      await database.knex('shard').del();
      const odd = { kind: 'hub', bucket: 'hub-1', name: 'o"d, ü \\', assigned_at: TIME };
      const home = { kind: 'homedir', bucket: 'home-0', name: 'a', assigned_at: TIME };
      await database.knex('shard').insert([odd, home]);
      await run(['bucket', 'cordon', 'hub-1', '--reason=full'], { env });

      const csv = await run(['export', '--format=csv'], { env });
      assert.deepEqual(csv, {
        code: 0,
        stdout:
          'kind,name,bucket,assigned_at\n' +
          `homedir,a,home-0,${TIME}\n` +
          `hub,"o""d, ü \\",hub-1,${TIME}\n`,
        stderr: '',
      });
      const lines = (await everything(env)).trimEnd().split('\n');
      assert.deepEqual(lines, [
        '{"type":"kind","kind":"homedir","policy":"emptiest","settings":{}}',
        '{"type":"kind","kind":"hub","policy":"emptiest","settings":{}}',
        '{"type":"bucket","kind":"homedir","name":"home-0","url":null,"weight":1,"capacity":null,"state":"active","state_reason":null}',
        '{"type":"bucket","kind":"hub","name":"hub-0","url":"https://hub-0.example","weight":2,"capacity":null,"state":"active","state_reason":null}',
        '{"type":"bucket","kind":"hub","name":"hub-1","url":null,"weight":1,"capacity":100,"state":"cordoned","state_reason":"full"}',
        `{"kind":"homedir","name":"a","bucket":"home-0","assigned_at":"${TIME}"}`,
        `{"kind":"hub","name":"o\\"d, ü \\\\","bucket":"hub-1","assigned_at":"${TIME}"}`,
      ]);
      const one = await run(['export', '--format=csv', '--kind=homedir'], { env });
      assert.equal(one.stdout.trimEnd().split('\n').length, 2);
      const none = await run(['export', '--format=csv', '--kind=x'], { env });
      assert.match(none.stderr, /^sharder: there is no kind "x"/);
      assert.equal(none.code, 1);
    });

    it('writes a file whole or not at all, and over another only when told', async () => {
      const { env } = await prepare(engine);
      const cwd = temporaryDirectory();
      const write = (...args: string[]) => run(['export', ...args], { env, cwd });
      assert.deepEqual(await write('all.csv.gz'), { code: 0, stdout: '', stderr: '' });
      const text = gunzipSync(readFileSync(join(cwd, 'all.csv.gz'))).toString();
      assert.match(text, /^kind,name,bucket,assigned_at\nhub,a,hub-0,/);
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

  describe(`on ${engine.name}, sharder import`, engine.options, () => {
    it('takes a name and a bucket from columns in any order, and what others call them', async () => {
      const files = {
        'a plain table': 'name,bucket\nx,hub-0\ny,hub-1\n',
        'other names': 'user,hub\nx,hub-0\ny,hub-1\n',
        'more of them': 'SHARD,Username\nhub-0,x\nhub-1,y\n',
        'a byte order mark and CRLF': '\uFEFFobject,bin\r\nx,hub-0\r\ny,hub-1\r\n',
        'quotes, other columns, blank lines':
          'note,"user",hub\n"two\nlines, one ""note""",x,hub-0\n\n,"y",hub-1',
      };
      for (const [what, csv] of Object.entries(files)) {
        const { env, database } = await prepare(engine);
        const { code, stdout, stderr } = await importCsv(csv, env);
        assert.equal(code, 0, `${what}: ${stderr}`);
        assert.equal(stdout, 'imported users.csv: 2 new, 0 moved, 0 unchanged\n');
        const { 'hub/x': x, 'hub/y': y } = await objects(database);
        assert.deepEqual([x, y], ['hub-0', 'hub-1'], what);
      }
    });

    it('takes NDJSON, gzip and standard input, and the times that are given', async () => {
      const { env, database } = await prepare(engine);
      const ndjson =
        `\uFEFF{"kind":"homedir","name":"n","bucket":"home-0","assigned_at":"${TIME}"}\n\n` +
        '{"name":"m","bucket":"hub-1","assigned_at":"2026-01-02T04:04:05.678+01:00","more":[1]}';
      const gz = await runWith({ 'u.jsonl.gz': gzipSync(ndjson) }, ['import', 'u.jsonl.gz'], env);
      assert.equal(gz.stdout, 'imported u.jsonl.gz: 2 new, 0 moved, 0 unchanged\n', gz.stderr);
      const times = await database.knex('shard').whereIn('name', ['n', 'm']).pluck('assigned_at');
      for (const time of times) assert.equal(new Date(time as string).toISOString(), TIME);

      const child = spawn(
        process.execPath,
        [CLI, 'import', '-', '--format=csv', '--kind=homedir'],
        {
          env: { ...process.env, ...env },
          stdio: ['pipe', 'ignore', 'inherit'],
        },
      );
      child.stdin.end('user,hub\np,home-0\n');
      assert.deepEqual(await once(child, 'exit'), [0, null]);
      assert.equal((await objects(database))['homedir/p'], 'home-0');
    });

    it('says what is wrong by line, all of it at once, and has changed nothing', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const csv = [
        'kind,name,bucket,assigned_at', // line 1
        ',right,hub-0,',
        ', wrong,hub-0,',
        `,${'x'.repeat(257)},hub-0,`,
        ',b,hub-9,',
        'nokind,b,hub-0,',
        ',a,hub-1,', // is in hub-0
        ',twice,hub-0,',
        ',twice,hub-1,',
        ',late,hub-0,yesterday',
        ',short,hub-0',
        'homedir,a,home-0,', // right
        ',tab\there,hub-0,',
        ',,hub-0,',
      ].join('\n');
      const { code, stdout, stderr } = await importCsv(csv, env);
      assert.equal(code, 1);
      assert.equal(stdout, '');
      const lines = stderr.trimEnd().split('\n');
      assert.equal(
        lines[0],
        'sharder: users.csv: 11 lines are wrong, 2 right, and nothing was imported:',
      );
      const expected = [
        /^ {2}line 3: the name begins or ends with white space$/,
        /^ {2}line 4: the name has 257 bytes; at most 256 are allowed$/,
        /^ {2}line 5: kind hub has no bucket "hub-9"$/,
        /^ {2}line 6: there is no kind "nokind"$/,
        /^ {2}line 7: a is in hub-0 already, not in hub-1$/,
        /^ {2}line 8: twice is in hub-0 here, and in another bucket in line 9$/,
        /^ {2}line 9: twice is in hub-1 here, and in another bucket in line 8$/,
        /^ {2}line 10: assigned_at is "yesterday"; it must be a time such as /,
        /^ {2}line 11: it has 3 fields, and the first line 4$/,
        /^ {2}line 13: the name has a control character/,
        /^ {2}line 14: the name is empty$/,
        /^--create-buckets makes /,
        /^--move moves /,
        /^--skip-errors leaves out /,
      ];
      assert.equal(lines.length, 1 + expected.length, stderr);
      expected.forEach((pattern, i) => {
        assert.match(lines[i + 1] ?? '', pattern);
      });
      assert.deepEqual(await contents(database), before);

      const json = await importCsv(csv, env, '--json');
      assert.equal(json.code, 1);
      const told = JSON.parse(json.stdout) as { problems: unknown[]; changed: boolean };
      assert.equal(told.problems.length, 11);
      assert.deepEqual(told.problems[2], {
        line: 5,
        code: 'unknown_bucket',
        message: 'kind hub has no bucket "hub-9"',
      });
      assert.equal(told.changed, false);
    });

    it('--skip-errors imports what is right, and tells what is not', async () => {
      const { env, database } = await prepare(engine);
      const csv = 'user,hub\nx,hub-0\ny,hub-9\na,hub-1\nt,hub-0\nt,hub-1\nz,hub-1\n';
      const dry = await importCsv(csv, env, '--skip-errors', '--dry-run');
      assert.equal(dry.stdout, 'would import users.csv: 2 new, 0 moved, 0 unchanged, 4 left out\n');
      const { code, stdout, stderr } = await importCsv(csv, env, '--skip-errors');
      assert.equal(code, 0);
      assert.equal(stdout, 'imported users.csv: 2 new, 0 moved, 0 unchanged, 4 left out\n');
      assert.equal(
        stderr,
        'note: left out line 3: kind hub has no bucket "hub-9"\n' +
          'note: left out line 4: a is in hub-0 already, not in hub-1\n' +
          'note: left out line 5: t is in hub-0 here, and in another bucket in line 6\n' +
          'note: left out line 6: t is in hub-1 here, and in another bucket in line 5\n',
      );
      const { 'hub/x': x, 'hub/z': z, 'hub/a': a, 'hub/t': t } = await objects(database);
      assert.deepEqual([x, z, a, t], ['hub-0', 'hub-1', 'hub-0', undefined]);
      await assertSound(env);
    });

    it('moves only with --move, with a line of history for each, and one for the import', async () => {
      const { env, database } = await prepare(engine);
      const csv = 'user,hub\na,hub-1\nb,hub-0\nc,hub-0\nn,hub-1\nn,hub-1\n';
      const before = await contents(database);
      const args = ['--move', '--reason=new disks'];
      const dry = await importCsv(csv, env, ...args, '--dry-run');
      assert.equal(dry.stdout, 'would import users.csv: 1 new, 2 moved, 2 unchanged\n');
      assert.deepEqual(await contents(database), before);

      const done = await importCsv(csv, env, ...args);
      assert.equal(done.stdout, 'imported users.csv: 1 new, 2 moved, 2 unchanged\n');
      const { changes } = (await contents(database)) as { changes: Record<string, unknown>[] };
      const added = changes.slice((before.changes as unknown[]).length);
      assert.deepEqual(
        added.map((line) => [
          line.action,
          line.name,
          line.from_bucket,
          line.to_bucket,
          line.reason,
        ]),
        [
          ['object move', 'a', 'hub-0', 'hub-1', 'new disks'],
          ['object move', 'c', 'hub-1', 'hub-0', 'new disks'],
          ['import', null, null, null, 'new disks'],
        ],
      );
      const { actor, kind, detail } = await lastChange(database);
      assert.match(actor, /^cli:\w+/);
      assert.deepEqual([kind, detail], ['hub', { file: 'users.csv', objects: 3 }]);
      await assertSound(env);
    });

    it('does nothing the second time', async () => {
      const { env, database } = await prepare(engine);
      const csv = 'user,hub\nx,hub-0\ny,hub-1\na,hub-0\n';
      assert.equal((await importCsv(csv, env)).code, 0);
      const before = await contents(database);
      const second = await importCsv(csv, env);
      assert.equal(second.stdout, 'imported users.csv: 0 new, 0 moved, 3 unchanged\n');
      assert.deepEqual(await contents(database), before);
    });

    it('takes a line as a fact: into full and cordoned buckets too, with a note', async () => {
      const { env, database } = await prepare(engine);
      await run(['bucket', 'set', 'hub-1', '--capacity=2'], { env });
      await run(['bucket', 'cordon', 'hub-0'], { env });
      const csv = 'user,hub\np,hub-0\nq,hub-1\nr,hub-1\n';
      const { code, stderr } = await importCsv(csv, env);
      assert.equal(code, 0);
      assert.equal(
        stderr,
        'note: bucket hub-0 of kind hub is cordoned: it takes the 1 all the same\n' +
          'note: bucket hub-1 of kind hub has room for 2, and comes to hold 3\n',
      );
      assert.equal((await objects(database))['hub/r'], 'hub-1');
    });

    it('makes kinds and buckets with --create-buckets, and only then', async () => {
      const { env, database } = await prepare(engine);
      const csv = 'kind,name,bucket\nhub,x,hub-7\ncell,y,cell-1\n';
      const { code, stderr } = await importCsv(csv, env, '--create-buckets');
      assert.equal(code, 0);
      assert.equal(
        stderr,
        'note: made kind cell\n' +
          'note: made bucket hub-7 of kind hub\n' +
          'note: made bucket cell-1 of kind cell\n',
      );
      const { 'hub/x': x, 'cell/y': y } = await objects(database);
      assert.deepEqual([x, y], ['hub-7', 'cell-1']);
      const bad = await importCsv('user,hub\nx2,no good\n', env, '--create-buckets');
      assert.match(bad.stderr, /line 2: "no good" cannot name a bucket/);

      const lines = [
        '{"type":"bucket","kind":"hub","name":"hub-0","weight":9}', // it is there, and stays as it is
        '{"type":"bucket","kind":"hub","name":"hub-8","weight":3,"capacity":5,"state":"cordoned","state_reason":"new","url":"http://h8"}',
        '{"type":"bucket","kind":"hub","name":"hub-x","weight":0}',
        '{"type":"flower"}',
        'nonsense',
        '[1]',
        '{"name":"x"}',
        '{"name":"x","bucket":"hub-0","kind":1}',
      ];
      const args = ['import', 'b.ndjson', '--create-buckets', '--skip-errors'];
      const ndjson = await runWith({ 'b.ndjson': lines.join('\n') }, args, env);
      assert.match(ndjson.stdout, /0 new, 0 moved, 0 unchanged, 6 left out/);
      for (const line of [3, 4, 5, 6, 7, 8]) {
        assert.match(ndjson.stderr, new RegExp(`left out line ${line}: `));
      }
      const buckets = await database
        .knex('bucket')
        .whereIn('name', ['hub-0', 'hub-8'])
        .orderBy('name')
        .select('name', 'weight', 'capacity', 'state', 'state_reason', 'url');
      assert.deepEqual(buckets, [
        { name: 'hub-0', weight: 2, capacity: null, state: 'active', state_reason: null, url: 'https://hub-0.example' }, // prettier-ignore
        { name: 'hub-8', weight: 3, capacity: 5, state: 'cordoned', state_reason: 'new', url: 'http://h8' }, // prettier-ignore
      ]);
    });

    it('notices who was assigned elsewhere just before the lock', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const attempt = async (move: boolean, skipErrors: boolean) => {
        const bulk = await openDatabase(env.DATABASE_URL, { isBulk: true });
        const page = new Page();
        ['x', 'y', 'z'].forEach((name, i) => {
          page.objects.push({ line: i + 2, kind: 'hub', name, bucket: 'hub-0', assigned_at: TIME });
        });
        try {
          return await importPages(bulk, pageOf(page), {
            kind: 'hub',
            file: 'users.csv',
            createBuckets: false,
            move,
            skipErrors,
            dryRun: false,
            by: { actor: 'test' },
            onRows: () => undefined,
            onWrite: async () => {
              await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'y' });
              await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-1', name: 'z' });
            },
          });
        } finally {
          await bulk.close();
        }
      };
      const forget = () => database.knex('shard').whereIn('name', ['x', 'y', 'z']).del();
      const late = [{ line: 4, code: 'elsewhere', message: 'z is in hub-1 already, not in hub-0' }];

      const refused = await attempt(false, false);
      assert.deepEqual([refused.wrong, refused.problems], [1, late]);
      assert.equal((await objects(database))['hub/x'], undefined);
      await forget();
      assert.deepEqual((await contents(database)).changes, before.changes);

      const skipped = await attempt(false, true);
      assert.deepEqual([skipped.added, skipped.unchanged, skipped.problems], [1, 1, late]);
      await forget();

      const moved = await attempt(true, false);
      assert.deepEqual([moved.added, moved.moved, moved.unchanged, moved.wrong], [1, 1, 1, 0]);
      assert.equal((await objects(database))['hub/z'], 'hub-0');
      await assertSound(env);
    });

    it('refuses what it cannot read, and says why', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const cut = gzipSync(rows(1_000)).subarray(0, 500);
      const table: readonly [
        file: string,
        text: string | Buffer,
        args: string[],
        code: number,
        says: RegExp,
      ][] = [
        // prettier-ignore
        ['u.csv', '', [], 1, /u\.csv: it is empty: the first line must name the columns/],
        ['u.csv', 'a,b\nx,y\n', [], 1, /u\.csv: the columns are "a", "b"; one of them must be name, user, username or object/], // prettier-ignore
        ['u.csv', 'user,name,hub\n', [], 1, /only one of them must be name, user/],
        ['u.csv', 'user;hub\nx;hub-0\n', [], 1, /the columns are "user;hub"; one of them/],
        ['u.csv', 'user,hub\n"x,hub-0\n', [], 1, /u\.csv: line \d: it is no CSV/],
        ['u.csv', `user,hub\n"${'x,hub-0\n'.repeat(50_000)}`, [], 1, /u\.csv: line \d+: it is no CSV/], // prettier-ignore
        ['u.ndjson', 'x'.repeat(300_000), [], 1, /u\.ndjson: it is no NDJSON: it has a line of 100,000/], // prettier-ignore
        ['u.csv.gz', cut, [], 1, /u\.csv\.gz: it is cut off/],
        ['u.csv.gz', 'user,hub\n', [], 1, /u\.csv\.gz: it is not compressed by gzip/],
        ['u.csv', '', ['--table=x'], 2, /--table: is for SQLite databases/],
        ['u.db', '', [], 2, /u\.db is a SQLite database: --table TABLE says which/],
        ['u.db', 'no database at all, but text', ['--table=x'], 1, /u\.db: it cannot be read: file is not a database/], // prettier-ignore
        ['u.txt', '', [], 2, /u\.txt: its name tells no format/],
      ];
      for (const [file, text, args, code, says] of table) {
        const outcome = await runWith({ [file]: text }, ['import', file, ...args], env);
        assert.match(outcome.stderr, says);
        assert.equal(outcome.code, code, outcome.stderr);
      }
      const missing = await run(['import', 'none.csv'], { env });
      assert.match(missing.stderr, /^sharder: none\.csv: there is no such file/);
      assert.deepEqual(await contents(database), before);
    });

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

    it('takes the tables of the Python sharder and its ancestors', async () => {
      const { env, database } = await prepare(engine);
      const cwd = temporaryDirectory();
      const old = new Sqlite(join(cwd, 'old.db'));
      old.exec(`
        create table entries_v1 (
          id integer primary key, kind text not null, bucket text not null, name text not null,
          unique (kind, name));
        insert into entries_v1 (id, kind, bucket, name) values
          (1, 'homedir', 'nfs-1', 'dummy-nfs-1'),
          (2, 'homedir', 'nfs-1', 'ida'),
          (3, 'hub', '{"cluster": "c1", "hub": "hub-a", "ip": "10.1.2.3"}',
            'dummy-{"cluster": "c1", "hub": "hub-a", "ip": "10.1.2.3"}'),
          (4, 'hub', '{"cluster": "c1", "hub": "hub-a", "ip": "10.1.2.3"}', 'jon'),
          (7, 'hub', 'hub-0', ' k ');
      `);
      old.close();
      const wrong = await run(['import', 'old.db', '--table=entries'], { env, cwd });
      assert.match(wrong.stderr, /old\.db: it has no table "entries": it has entries_v1/);
      const args = ['import', 'old.db', '--table=entries_v1', '--create-buckets'];
      const refused = await run(args, { env, cwd });
      assert.match(refused.stderr, /\n {2}line 7: the name begins or ends with white space\n/);
      const { stdout, stderr } = await run([...args, '--skip-errors'], { env, cwd });
      assert.equal(stdout, 'imported old.db: 2 new, 0 moved, 0 unchanged, 1 left out\n', stderr);
      const { 'homedir/ida': ida, 'hub/jon': jon } = await objects(database);
      assert.deepEqual([ida, jon], ['nfs-1', 'hub-a']);
      const hub = await database.knex('bucket').where({ name: 'hub-a' }).first<{ url: string }>();
      assert.equal(hub.url, 'http://10.1.2.3');
      // The same, as psql copies it.
      const csv = 'id,kind,bucket,name\n1,hub,hub-0,dummy-hub-0\n2,hub,hub-0,lea\n';
      const copied = await importCsv(csv, env);
      assert.equal(copied.stdout, 'imported users.csv: 1 new, 0 moved, 0 unchanged\n');
    });
  });
}

async function* pageOf(page: Page): AsyncGenerator<Page> {
  await Promise.resolve();
  yield page;
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
      const all = new Set(fc.sample(fc.oneof(name, odd), { numRuns: 2_000, seed: 7 }));
      const inserted = [...all]
        .filter((each) => Buffer.byteLength(each) <= 256)
        .map((each) => ({
          kind: 'homedir',
          bucket: 'home-0',
          name: each,
          assigned_at: TIME,
        }));
      assert.ok(inserted.length > 500);
      for (const row of inserted) await database.knex('shard').insert(row);
      let last: NodeJS.ProcessEnv = env;
      const cwd = temporaryDirectory();
      for (const [i, engine] of [postgres, sqlite].entries()) {
        const file = `step-${i}.${format}`;
        const next = { DATABASE_URL: await engine.createDatabase() };
        await open(next.DATABASE_URL);
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
    assert.ok(!existsSync('-'));
  });
});
