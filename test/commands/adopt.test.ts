// sharder adopt: the Python sharder's database becomes ours, and nobody is lost; nor when it fails.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Knex } from 'knex';
import pg from 'pg';
import type { SharderError } from '../../src/index.js';
import { connect } from '../../src/store/database.js';
import { surveyLegacy } from '../../src/store/legacy.js';
import { BOOKS } from '../../src/store/migrate.js';
import { readSnapshot } from '../../src/store/snapshot.js';
import {
  engines,
  needsPostgres,
  open,
  postgresServer,
  temporaryDirectory,
  type TestEngine,
} from '../engines.js';
import { createLegacy, dummies, type LegacyOptions, type LegacyRow } from '../legacy.js';
import { eventually } from '../load.js';
import { dumpSchema } from '../postgres.js';
import { renderSchema, snapshot } from '../schema-snapshot.js';
import { Service } from '../service.js';
import { Run, run } from './run.js';

const SEED: readonly LegacyRow[] = [
  ...dummies('hub', 'hub-0', 'hub-1', 'hub-2'),
  ['hub', 'hub-0', 'iana'],
  ['hub', 'hub-1', 'brian'],
];

async function legacy(
  engine: TestEngine,
  rows: readonly LegacyRow[] = SEED,
  options?: LegacyOptions,
): Promise<{ url: string; env: { DATABASE_URL: string } }> {
  const url = await engine.createDatabase();
  await createLegacy(engine.name, url, rows, options);
  return { url, env: { DATABASE_URL: url } };
}

/** All of a database, to see that nothing was changed: SQLite's file byte for byte. */
async function everything(engine: TestEngine, url: string): Promise<string> {
  if (engine.name === 'sqlite') {
    return createHash('sha256')
      .update(readFileSync(url.slice('sqlite:'.length)))
      .digest('hex');
  }
  return dumpSchema(url).replaceAll(/^\\.*$/gm, '') + JSON.stringify(await oldRows(engine, url));
}

async function execute(engine: TestEngine, url: string, sql: string): Promise<void> {
  if (engine.name === 'sqlite') {
    new Sqlite(url.slice('sqlite:'.length)).exec(sql).close();
    return;
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql);
  await client.end();
}

/** Whether somebody is in the middle of a transaction that changes the table. */
async function isBeingWritten(engine: TestEngine, url: string): Promise<boolean> {
  if (engine.name === 'sqlite') return existsSync(`${url.slice('sqlite:'.length)}-journal`);
  const client = await (await postgresServer()).connect(new URL(url).pathname.slice(1));
  const { rows } = await client.query(
    `select from pg_locks where relation = to_regclass('shard') and mode = 'AccessExclusiveLock' and granted`,
  );
  await client.end();
  return rows.length > 0;
}

async function oldRows(engine: TestEngine, url: string): Promise<unknown[]> {
  if (engine.name === 'sqlite') {
    // Not read-only: what a process that was killed has left, the next one to open it rolls back.
    const connection = new Sqlite(url.slice('sqlite:'.length));
    const rows = connection.prepare('select * from shard order by id').all();
    connection.close();
    return rows;
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<object>('select * from shard order by id');
  await client.end();
  return rows;
}

// As the Python sharder finds it: by counting its own rows.
async function emptiest(knex: Knex): Promise<string> {
  const counts = knex('shard').where({ kind: 'hub' }).groupBy('bucket');
  const row = await counts.orderByRaw('count(bucket), bucket').first<{ bucket: string }>('bucket');
  return row.bucket;
}

async function adopted(url: string): Promise<{
  objects: unknown[];
  buckets: Record<string, number>;
  changes: { action: string; kind: string; detail: Record<string, unknown> | null }[];
}> {
  const { knex } = await open(url);
  const buckets = await knex('bucket').orderBy(['kind', 'name']).select('kind', 'name', 'members');
  const changes = await knex('change').orderBy('id');
  return {
    objects: await knex('shard').orderBy('id').select('id', 'kind', 'bucket', 'name'),
    buckets: Object.fromEntries(
      (buckets as { kind: string; name: string; members: number }[]).map((b) => [
        `${b.kind}/${b.name}`,
        b.members,
      ]),
    ),
    changes: (changes as { action: string; kind: string; detail: string | null }[]).map((row) => ({
      action: row.action,
      kind: row.kind,
      detail: (typeof row.detail === 'string' ? JSON.parse(row.detail) : row.detail) as Record<
        string,
        unknown
      > | null,
    })),
  };
}

// Every row is one that a real database of years might have.
const ODD: readonly LegacyRow[] = [
  ...dummies('hub', 'hub-0', 'hub-1'), // 1, 2
  ['hub', 'hub-0', 'iana'], // 3
  ['hub', 'hub-1', 'dummy-x'], // 4: a user who is called so
  ['hub', 'hub-1', 'dummy-hub-9'], // 5: a user, for it is not in hub-9
  ['hub', 'hub-7', 'greta'], // 6: a bucket without a dummy
  ['homedir', 'home-0', 'dummy-home-0'], // 7
  ['homedir', 'home-0', 'iana'], // 8
  ['hub', null, 'nadia'], // 9
  [null, 'hub-0', 'nobody'], // 10
  ['hub', 'hub-0', null], // 11
  ['hub', 'hub-0', ''], // 12
  ['hub', 'hub-0', ' padded'], // 13
  ['hub', 'hub-0', 'b\u0007ll'], // 14
  ['hub', '', 'empty'], // 15
  ['hub', 'hub-1', 'é'.repeat(200)], // 16: 400 bytes
  ['hub', 'hub-1', 'Ünal Ç'], // 17
];

for (const engine of engines) {
  describe(`on ${engine.name}, sharder adopt`, engine.options, () => {
    const sequel = (id: number) => (engine.name === 'sqlite' ? id : String(id));

    it('turns dummy rows into buckets, and every user keeps the bucket', async () => {
      const { url, env } = await legacy(engine);
      const { code, stdout, stderr } = await run(['adopt', '--reason=switch'], { env });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^adopted \S+: 2 objects in 3 buckets\n/);
      assert.equal(
        stdout.slice(stdout.indexOf('\n') + 1),
        'KIND  BUCKET  OBJECTS  DUMMY ROW\n' +
          'hub   hub-0         1  yes\n' +
          'hub   hub-1         1  yes\n' +
          'hub   hub-2         0  yes\n',
      );
      const after = await adopted(url);
      assert.deepEqual(after.objects, [
        { id: sequel(4), kind: 'hub', bucket: 'hub-0', name: 'iana' },
        { id: sequel(5), kind: 'hub', bucket: 'hub-1', name: 'brian' },
      ]);
      assert.deepEqual(after.buckets, { 'hub/hub-0': 1, 'hub/hub-1': 1, 'hub/hub-2': 0 });
      assert.deepEqual(
        after.changes.map(({ action }) => action),
        ['bucket add', 'bucket add', 'bucket add', 'adopt'],
      );
    });

    it('makes the schema that a new database has', async () => {
      const { url, env } = await legacy(engine);
      await run(['adopt'], { env });
      const rendered = renderSchema(engine.name, url);
      assert.equal(rendered, snapshot(engine.name, rendered));
    });

    it('is followed by a service that answers the same, and places new users after', async () => {
      const { url, env } = await legacy(engine);
      await run(['adopt'], { env });
      const service = await Service.start(url, { cwd: temporaryDirectory() });
      const answers: string[] = [];
      for (const name of ['iana', 'brian', 'carol', 'dan']) {
        answers.push((await (await service.shard(name)).text()).trim());
      }
      assert.deepEqual(answers, ['hub-0', 'hub-1', 'hub-2', 'hub-0']);
      assert.equal(await service.stop(), 0);
    });

    it('copes with odd rows: reports them, and keeps what they said in the history', async () => {
      const { url, env } = await legacy(engine, ODD);
      const { code, stdout, stderr } = await run(['adopt', '--json'], { env });
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout) as {
        buckets: unknown[];
        left_out: { id: number; why: string }[];
      };
      assert.deepEqual(report.buckets, [
        { kind: 'homedir', name: 'home-0', objects: 1, has_dummy: true },
        { kind: 'hub', name: 'hub-0', objects: 1, has_dummy: true },
        { kind: 'hub', name: 'hub-1', objects: 3, has_dummy: true },
        { kind: 'hub', name: 'hub-7', objects: 1, has_dummy: false },
      ]);
      assert.deepEqual(
        report.left_out.map(({ id, why }) => [id, why]),
        [
          [9, 'it has no bucket'],
          [10, 'it has no kind'],
          [11, 'it has no name'],
          [12, 'it has no name'],
          [13, 'the name begins or ends with white space'],
          [14, 'the name has a control character or is not valid Unicode'],
          [15, 'it has no bucket'],
          [16, 'the name has 400 bytes; at most 256 are allowed'],
        ],
      );
      const after = await adopted(url);
      assert.deepEqual(
        (after.objects as { kind: string; bucket: string; name: string }[]).map((o) =>
          [o.kind, o.bucket, o.name].join(' '),
        ),
        [
          'hub hub-0 iana',
          'hub hub-1 dummy-x',
          'hub hub-1 dummy-hub-9',
          'hub hub-7 greta',
          'homedir home-0 iana',
          'hub hub-1 Ünal Ç',
        ],
      );
      const kept = after.changes.filter(({ action }) => action === 'adopt: left out');
      assert.equal(kept.length, 8);
      assert.deepEqual(kept[0], {
        action: 'adopt: left out',
        kind: 'hub',
        detail: { id: 9, kind: 'hub', bucket: null, name: 'nadia', why: 'it has no bucket' },
      });
    });

    it('shows a name that a terminal would act on as text', async () => {
      const { env } = await legacy(engine, ODD);
      const { stdout } = await run(['adopt', '--dry-run'], { env });
      assert.match(stdout, /^14 +hub +hub-0 +b\\u0007ll +the name has a control/m);
    });

    it('of a name that stands there twice, keeps the lowest id that can be kept', async () => {
      const rows: readonly LegacyRow[] = [
        ...dummies('hub', 'hub-0', 'hub-1', 'hub-2'), // 1 to 3
        ['hub', 'hub-1', 'iana'], // 4
        ['hub', 'hub-0', 'iana'], // 5
        ['hub', 'hub-1', 'iana'], // 6
        ['hub', null, 'brian'], // 7
        ['hub', 'hub-2', 'brian'], // 8
        ['hub', 'hub-0', 'brian'], // 9
        ['homedir', 'hub-0', 'iana'], // 10
        ['hub', 'hub-1', 'dummy-hub-0'], // 11: the name of a dummy, in another bucket
      ];
      const { url, env } = await legacy(engine, rows, { isUnique: false });
      const { stdout } = await run(['adopt'], { env });
      assert.equal(
        stdout.slice(stdout.indexOf('left out')),
        'left out, and kept in the table `change`: 4 rows\n' +
          'ID  KIND  BUCKET  NAME   WHY\n' +
          ' 5  hub   hub-0   iana   its name is that of row 4, in hub-1\n' +
          ' 6  hub   hub-1   iana   its name is that of row 4, in hub-1\n' +
          ' 7  hub   -       brian  it has no bucket\n' +
          ' 9  hub   hub-0   brian  its name is that of row 8, in hub-2\n',
      );
      const { objects } = await adopted(url);
      assert.deepEqual(objects, [
        { id: sequel(4), kind: 'hub', bucket: 'hub-1', name: 'iana' },
        { id: sequel(8), kind: 'hub', bucket: 'hub-2', name: 'brian' },
        { id: sequel(10), kind: 'homedir', bucket: 'hub-0', name: 'iana' },
        { id: sequel(11), kind: 'hub', bucket: 'hub-1', name: 'dummy-hub-0' },
      ]);
    });

    it('--dry-run tells what it would do, and changes nothing', async () => {
      const { url, env } = await legacy(engine, ODD);
      const before = await everything(engine, url);
      const dry = await run(['adopt', '--dry-run'], { env });
      assert.equal(dry.code, 0);
      assert.equal(await everything(engine, url), before);
      const done = await run(['adopt'], { env });
      assert.equal(
        dry.stdout,
        done.stdout
          .replace(/^adopted/, 'would adopt')
          .replace('left out, and kept in the table `change`', 'left out'),
      );
      assert.notEqual(await everything(engine, url), before);
    });

    it('a second run does nothing, nor one on a database that was ours from the start', async () => {
      const { url, env } = await legacy(engine);
      await run(['adopt'], { env });
      const before = await adopted(url);
      for (const args of [['adopt'], ['adopt', '--dry-run']]) {
        const { code, stdout } = await run(args, { env });
        assert.equal(code, 0);
        assert.match(stdout, /^\S+ is Sharder's already: nothing was changed\n$/);
      }
      assert.deepEqual(await adopted(url), before);
      const { stdout } = await run(['adopt', '--json'], { env });
      assert.equal((JSON.parse(stdout) as { changed: boolean }).changed, false);

      const ours = await engine.createDatabase();
      await run(['migrate'], { env: { DATABASE_URL: ours } });
      assert.match((await run(['adopt', ours])).stdout, /is Sharder's already/);
    });

    it('takes the database from the command line too', async () => {
      const { url } = await legacy(engine);
      const { code, stdout } = await run(['adopt', url]);
      assert.equal(code, 0);
      assert.match(stdout, /^adopted /);
    });

    it('before it, every other command refuses, and says what to type', async () => {
      const { url, env } = await legacy(engine);
      const before = await everything(engine, url);
      for (const args of [['serve', '--listen', '127.0.0.1:0'], ['migrate'], ['bucket', 'list']]) {
        const { code, stdout, stderr } = await run(args, { env });
        assert.equal(code, 1, args.join(' '));
        assert.equal(stdout, '');
        assert.match(
          stderr,
          /^sharder: the database has a table `shard` that is not ours.*`sharder adopt --dry-run` .* `sharder adopt`\n$/,
        );
      }
      assert.equal(await everything(engine, url), before);
    });

    it('refuses bucket names that no cookie can carry, and says how to rename them', async () => {
      const rows: readonly LegacyRow[] = [
        ...SEED,
        ...dummies('hub', "it's hub 3"),
        ['hub', "it's hub 3", 'carol'],
        ['h b', 'x', 'y'],
      ];
      const { url, env } = await legacy(engine, rows);
      const before = await everything(engine, url);
      for (const args of [['adopt', '--dry-run'], ['adopt']]) {
        const { code, stdout, stderr } = await run(args, { env });
        assert.equal(code, 1);
        assert.equal(stdout, '');
        const mends = [...stderr.matchAll(/^ {2}(UPDATE .*);$/gm)].map(([, sql = '']) => sql);
        assert.equal(mends.length, 2);
        if (args.length > 1) continue;
        assert.equal(await everything(engine, url), before);
        for (const [i, sql] of mends.entries()) {
          await execute(engine, url, sql.replaceAll('NEW', `new-${i}`));
        }
      }
      const done = await run(['adopt'], { env });
      assert.equal(done.code, 0, done.stderr);
      const { buckets } = await adopted(url);
      assert.deepEqual(buckets, {
        'hub/hub-0': 1,
        'hub/hub-1': 1,
        'hub/hub-2': 0,
        'hub/new-1': 1,
        'new-0/x': 1,
      });
    });

    // On SQLite nothing in an old file makes it fail late; see the one that is killed in the middle.
    if (engine.name === 'postgres')
      it('that fails late leaves the database as it was', async () => {
        const { url, env } = await legacy(engine);
        // The migration fails, when the old table is gone already.
        await execute(
          engine,
          url,
          `create function fail() returns event_trigger language plpgsql as
          $$ begin raise exception 'no index today'; end $$`,
        );
        await execute(
          engine,
          url,
          `create event trigger late on ddl_command_end when tag in ('CREATE INDEX')
          execute function fail()`,
        );
        const before = await everything(engine, url);
        const { code, stdout, stderr } = await run(['adopt'], { env });
        assert.equal(code, 1);
        assert.equal(stdout, '');
        assert.match(stderr, /no index today/);
        assert.equal(await everything(engine, url), before);
      });

    it('refuses each name that is ours, by that name, and changes nothing', async () => {
      const { tables, indexes, functions, triggers } = await readSnapshot(engine.name);
      const names = [...tables, ...indexes, ...BOOKS].filter((name) => name !== 'shard');
      assert.ok(names.includes('spec') && names.includes('arrival') && triggers.length > 10);
      const sql = new Map(names.map((name) => [name, [`create table ${name} (x integer)`]]));
      if (engine.name === 'sqlite') {
        for (const { name } of triggers) {
          const on = 'after insert on other begin select 1; end';
          sql.set(name, ['create table other (x integer)', `create trigger ${name} ${on}`]);
        }
      } else {
        for (const name of functions) {
          sql.set(name, [
            `create function ${name}() returns trigger language plpgsql as $$ begin end $$`,
          ]);
        }
        sql.set('lease as a type', [`create type lease as enum ('x')`]);
        sql.set('plan as a view', ['create view plan as select 1 as x']);
        sql.set('spec_pin as an index', [
          'create table other (x integer)',
          'create index spec_pin on other (x)',
        ]);
      }
      for (const [title, statements] of sql) {
        const [name = ''] = title.split(' ');
        const { url } = await legacy(engine);
        for (const statement of statements) await execute(engine, url, statement);
        const database = connect(url, false);
        const survey = database.rehearse((trx) => surveyLegacy(trx, engine.name));
        await assert.rejects(survey, (error: SharderError) => {
          assert.equal(error.code, 'schema', `${title}: ${error.message}`);
          assert.match(error.message, new RegExp(`in the way are: .*\\b${name}\\b`), title);
          return true;
        });
        await database.close();
      }
    });

    it('refuses a migrator’s table that another program made, without a stack', async () => {
      for (const name of BOOKS) {
        const { url, env } = await legacy(engine);
        await execute(engine, url, `create table ${name} (x integer)`);
        const { code, stderr } = await run(['adopt'], { env });
        assert.equal(code, 1);
        assert.match(stderr, new RegExp(`^sharder: in the way are: table ${name}\\b.*\n$`));
      }
    });

    it('killed in the middle leaves the database as it was, and can be run again', async () => {
      const users = Array.from({ length: 50_000 }, (_, i): LegacyRow => ['hub', 'hub-0', `u${i}`]);
      const { url, env } = await legacy(engine, [...dummies('hub', 'hub-0'), ...users]);
      const rows = await oldRows(engine, url);
      const started = new Run(['adopt'], { env });
      await eventually('it holds the table', () => isBeingWritten(engine, url));
      started.process.kill('SIGKILL');
      assert.equal((await started.ended).stdout, '');
      assert.deepEqual(await oldRows(engine, url), rows);
      await run(['adopt'], { env });
      assert.deepEqual((await adopted(url)).buckets, { 'hub/hub-0': users.length });
    });

    it('twice at once is done once', async () => {
      const { url, env } = await legacy(engine, ODD);
      const both = await Promise.all([run(['adopt'], { env }), run(['adopt'], { env })]);
      assert.deepEqual(
        both.map(({ code, stderr }) => [code, stderr]),
        [
          [0, ''],
          [0, ''],
        ],
      );
      const said = both.map(({ stdout }) =>
        stdout.replace(/^\S+ .* already.*|(adopted)[^]*/, '$1'),
      );
      assert.deepEqual(said.sort(), ['\n', 'adopted'].sort());
      assert.equal((await adopted(url)).objects.length, 6);
    });

    it('refuses, with the name, what would be lost with the table, or is called like one of ours', async () => {
      type Thing = readonly [sql: string[], name: RegExp];
      const viewOnShard: Thing = [
        ['create view report as select bucket from shard'],
        /view report/,
      ];
      const things: readonly Thing[] = [
        [
          ['create table note (shard integer references shard (id) on delete cascade)'],
          /foreign key of table note/,
        ],
        [['create table change (id integer)'], /table change/],
        [
          engine.name === 'sqlite'
            ? ['create trigger audit after insert on shard begin select 1; end']
            : [
                'create function f() returns trigger language plpgsql as $$ begin return null; end $$',
                'create trigger audit after insert on shard for each row execute function f()',
              ],
          /trigger audit/,
        ],
        ...(engine.name === 'postgres' ? [viewOnShard] : []),
      ];
      for (const [sql, name] of things) {
        const { url, env } = await legacy(engine);
        for (const statement of sql) await execute(engine, url, statement);
        const before = await everything(engine, url);
        for (const args of [['adopt', '--dry-run'], ['adopt']]) {
          const { code, stdout, stderr } = await run(args, { env });
          assert.equal(code, 1);
          assert.equal(stdout, '');
          assert.match(stderr, /^sharder: in the way are: .*\n$/);
          assert.match(stderr, name);
        }
        assert.equal(await everything(engine, url), before);
      }
    });

    it('refuses a table `shard` that is not the Python sharder’s', async () => {
      const url = await engine.createDatabase();
      await execute(
        engine,
        url,
        'create table shard (id integer primary key, name text, extra text)',
      );
      const { code, stderr } = await run(['adopt', url]);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /has the columns id, name, extra; the Python sharder's has id, kind, buc/,
      );
    });

    it('keeps 200,000 users where they were', { timeout: 120_000 }, async () => {
      const buckets = Array.from({ length: 5 }, (_, i) => `hub-${i}`);
      const users = Array.from({ length: 200_000 }, (_, i): LegacyRow => [
        'hub',
        `hub-${(i * 7) % 5}`,
        `user-${i}@uni.example`,
      ]);
      const { url, env } = await legacy(engine, [...dummies('hub', ...buckets), ...users]);
      const { code, stdout, stderr } = await run(['adopt'], { env });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /: 200000 objects in 5 buckets\n/);
      const { knex } = await open(url);
      const rows = await knex('shard').select<{ name: string; bucket: string }[]>('name', 'bucket');
      const now = new Map(rows.map(({ name, bucket }) => [name, bucket]));
      assert.equal(now.size, users.length);
      for (const [, bucket, name] of users) assert.equal(now.get(name ?? ''), bucket);
    });

    it('lets the Python sharder have its table back: start it again', async () => {
      const { url, env } = await legacy(engine);
      const cwd = temporaryDirectory();
      await run(['adopt'], { env });
      const service = await Service.start(url, { cwd });
      assert.equal((await (await service.shard('carol')).text()).trim(), 'hub-2');
      await service.stop();

      // What it sends when it starts, and for a user who is known, and for one who is new.
      const { knex } = await open(url);
      for (const bucket of ['hub-0', 'hub-1', 'hub-2']) {
        const row = { kind: 'hub', bucket, name: `dummy-${bucket}` };
        assert.equal(
          await knex('shard').where({ bucket, name: row.name }).first('bucket'),
          undefined,
        );
        await knex('shard').insert(row);
      }
      const carol: unknown = await knex('shard').where({ name: 'carol' }).first('bucket');
      assert.deepEqual({ ...(carol as object) }, { bucket: 'hub-2' });
      const bucket = await emptiest(knex);
      await knex('shard').insert({ kind: 'hub', bucket, name: 'dan' });

      // And forward once more: its rows `dummy-…` go, by the statement in docs/switching.md.
      await knex.raw(`DELETE FROM shard WHERE name = 'dummy-' || bucket`);
      const back = await Service.start(url, { cwd });
      assert.equal((await (await back.shard('dan')).text()).trim(), bucket);
      assert.equal((await (await back.shard('carol')).text()).trim(), 'hub-2');
      await back.stop();
      const now = await adopted(url);
      assert.equal(
        Object.values(now.buckets).reduce((sum, n) => sum + n, 0),
        4,
      );
    });
  });
}

describe('sharder adopt', () => {
  it('of a database without the table is refused, and of a file that is not there', async () => {
    const missing = await run(['adopt', 'sqlite:missing.db']);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /^sharder: database: there is no file .*missing\.db/);
    const [sqlite] = engines;
    const url = (await sqlite?.createDatabase()) ?? '';
    new Sqlite(url.slice('sqlite:'.length)).exec('create table other (id integer)').close();
    const { code, stderr } = await run(['adopt', url]);
    assert.equal(code, 1);
    assert.match(stderr, /has no table `shard`: there is nothing to adopt\n$/);
  });

  it('understands how SQLAlchemy writes a SQLite URL, and says how it is written here', async () => {
    const { code, stderr } = await run(['adopt', 'sqlite:////srv/sharder/sharder.db']);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /"sqlite:\/\/\/\/srv.*" names no file; write sqlite:\/srv\/sharder\/sharder\.db/,
    );
  });

  it('waits for no transaction that the old service left open', needsPostgres, async () => {
    const [, postgres] = engines;
    assert.ok(postgres);
    const { url, env } = await legacy(postgres);
    const client = await (await postgresServer()).connect(new URL(url).pathname.slice(1));
    await client.query('begin');
    await client.query('select * from shard limit 1');
    const dry = await run(['adopt', '--dry-run'], { env });
    assert.equal(dry.code, 0);
    const { code, stderr } = await run(['adopt'], { env });
    assert.equal(code, 1);
    assert.match(stderr, /^sharder: another program uses the database: stop the Python sharder/);
    await client.query('commit');
    assert.equal((await run(['adopt'], { env })).code, 0);
    const ended = once(client, 'end');
    await client.end();
    await ended;
  });

  it('says so when the old service reads all the while', { timeout: 30_000 }, async () => {
    const [sqlite] = engines;
    assert.ok(sqlite);
    const { url, env } = await legacy(sqlite);
    // Not in WAL mode, in which SQLAlchemy leaves it, a reader keeps a writer from committing.
    const reader = new Sqlite(url.slice('sqlite:'.length));
    reader.exec('begin; select * from shard');
    reader.prepare('select * from shard').all();
    const { code, stderr } = await run(['adopt'], { env });
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^sharder: another program uses the database: stop the Python sharder.*\n$/,
    );
    reader.exec('commit');
    assert.equal((await run(['adopt'], { env })).code, 0);
    reader.close();
  });
});
