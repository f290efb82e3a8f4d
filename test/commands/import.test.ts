// sharder import: what it takes, what it refuses, and what it does.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import Sqlite from 'better-sqlite3';
import { openDatabase } from '../../src/index.js';
import type { Normalize } from '../../src/normalize.js';
import { setKind } from '../../src/store/kinds.js';
import { importPages } from '../../src/transfer/import.js';
import { Page } from '../../src/transfer/page.js';
import { engines, temporaryDirectory } from '../engines.js';
import { CLI } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { run } from './run.js';
import { assertSound, importCsv, objects, rows, runWith, TIME } from './transfer.js';

for (const engine of engines) {
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

    it('makes names normal as their kind has it, those of one file too', async () => {
      const { env, database } = await prepare(engine);
      const set = (normalize: Normalize) =>
        database.write((trx) => setKind(trx, 'hub', { normalize }, { actor: 'test' }));
      await set('lower-local');
      const csv = 'name,bucket\nIana@x,hub-0\nIANA,hub-0\nA@y,hub-0\nIvan,hub-1\n';
      const { code, stdout, stderr } = await importCsv(csv, env);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, 'imported users.csv: 2 new, 0 moved, 2 unchanged\n');
      const all = { 'hub/iana': 'hub-0', 'hub/ivan': 'hub-1' };
      const before = await objects(database);
      assert.deepEqual(before, { 'hub/a': 'hub-0', 'hub/b': 'hub-0', 'hub/c': 'hub-1', ...all });

      const wrong = await importCsv('name,bucket\nX@1,hub-0\nx@2,hub-1\n@z,hub-0\n', env);
      assert.match(wrong.stderr, /line 2: x is in hub-0 here, and in another bucket in line 3/);
      assert.match(wrong.stderr, /line 4: "@z" becomes "" \(normalize: lower-local\)/);
      assert.deepEqual(await objects(database), before);

      const created = await runWith(
        {
          'k.ndjson':
            '{"type":"kind","kind":"new","settings":{"normalize":"lower","mine":1}}\n' +
            '{"type":"bucket","kind":"new","name":"n-0"}\n' +
            '{"kind":"new","name":"IANA@X","bucket":"n-0"}\n',
        },
        ['import', 'k.ndjson', '--create-buckets'],
        env,
      );
      assert.equal(created.code, 0, created.stderr);
      assert.deepEqual(await objects(database), { ...before, 'new/iana@x': 'n-0' });
      const odd = '{"type":"kind","kind":"odd","settings":{"normalize":"LOWER"}}\n';
      const refused = await runWith(
        { 'k.ndjson': odd },
        ['import', 'k.ndjson', '--create-buckets'],
        env,
      );
      assert.match(
        refused.stderr,
        /line 1: settings.normalize: must be none, lower or lower-local/,
      );
    });

    it('stops where normalize is changed between its check and its write', async () => {
      const { env, database } = await prepare(engine);
      const bulk = await openDatabase(env.DATABASE_URL, { isBulk: true });
      const page = new Page();
      const object = { line: 1, kind: 'hub', name: 'IANA', bucket: 'hub-0' };
      page.objects.push({ ...object, assigned_at: undefined, pinned: undefined });
      const importing = importPages(bulk, pageOf(page), {
        kind: 'hub',
        file: 'test',
        createBuckets: false,
        move: false,
        skipErrors: false,
        dryRun: false,
        by: { actor: 'test' },
        onRead: () => undefined,
        onRows: () => undefined,
        onWrite: async () => {
          await database.write((trx) =>
            setKind(trx, 'hub', { normalize: 'lower' }, { actor: 'test' }),
          );
        },
      });
      await assert.rejects(importing, /normalize of kind hub was changed meanwhile/);
      await bulk.close();
      assert.equal((await database.knex('shard')).length, 3);
    });

    it('pins whom the file pins, and refuses a pin that is neither true nor false', async () => {
      const { env, database } = await prepare(engine);
      const csv = 'name,bucket,pinned\nv,hub-0,true\nw,hub-0,0\nx,hub-0,\ny,hub-0,Yes\n';
      assert.equal((await importCsv(csv, env)).code, 0);
      const pinned = await database.knex('shard').where({ pinned: true }).pluck('name');
      assert.deepEqual(pinned.toSorted(), ['v', 'y']);
      for (const odd of ['maybe', 'constructor']) {
        const { stderr } = await importCsv(`name,bucket,pinned\nz,hub-0,${odd}\n`, env);
        assert.match(stderr, new RegExp(`line 2: pinned is "${odd}"; it must be true or false`));
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
        /^ {2}line 10: assigned_at is "yesterday"; it must be a time with its zone, such as /,
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
          page.objects.push({
            line: i + 2,
            kind: 'hub',
            name,
            bucket: 'hub-0',
            assigned_at: TIME,
            pinned: undefined,
          });
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
            onRead: () => undefined,
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
        [
          'u.ndjson',
          '{"type":"constructor"}',
          [],
          1,
          /line 1: its "type" is unknown: it must be "kind"/,
        ],
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
