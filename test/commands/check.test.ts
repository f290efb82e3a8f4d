// sharder check.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import pg from 'pg';
import type { Database } from '../../src/index.js';
import { queryRows } from '../../src/store/rows.js';
import { checkTriggers } from '../../src/store/rules.js';
import { readSnapshot } from '../../src/store/snapshot.js';
import { engines, type TestEngine } from '../engines.js';
import { Load, names } from '../load.js';
import { Service } from '../service.js';
import { contents, lastChange, prepare } from './prepare.js';
import { directoryWith, run } from './run.js';

interface Fault {
  readonly rule: string;
  readonly kind: string | null;
  readonly bucket: string | null;
  readonly name: string | null;
  readonly message: string;
}

/** Runs statements past every rule: no foreign keys, no triggers, and on SQLite no checks. */
async function damage(engine: TestEngine, url: string, sql: string): Promise<void> {
  if (engine.name === 'sqlite') {
    const connection = new Sqlite(url.slice('sqlite:'.length));
    connection.unsafeMode(true);
    for (const pragma of ['foreign_keys = off', 'writable_schema = on']) connection.pragma(pragma);
    connection.exec(sql);
    connection.close();
    return;
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`set session_replication_role = replica; ${sql}`);
  await client.end();
}

/** Those of the database itself, so that the snapshot's parser misses none. */
async function triggerNames(engine: TestEngine, { knex }: Database): Promise<string[]> {
  const rows = await queryRows<{ name: string }>(
    knex,
    engine.name === 'sqlite'
      ? `select name from sqlite_schema where type = 'trigger'`
      : 'select tgname as name from pg_trigger where not tgisinternal',
  );
  return rows.map(({ name }) => name);
}

async function findFaults(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Fault[]> {
  const { code, stdout, stderr } = await run(['check', '--json', ...args], { env });
  const { ok, faults } = JSON.parse(stdout) as { ok: boolean; faults: Fault[] };
  assert.equal(ok, faults.length === 0);
  assert.equal(code, ok ? 0 : 1, stderr);
  return faults;
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder check`, engine.options, () => {
    it('finds nothing wrong with a database that nobody has damaged', async () => {
      const { env, database } = await prepare(engine);
      const before = await contents(database);
      const { code, stdout, stderr } = await run(['check', '--fix'], { env });
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^\S+: nothing is wrong with its 2 kinds, 3 buckets, 3 objects\n$/);
      assert.deepEqual(await contents(database), before);
    });

    it('finds wrong counts, and --fix sets them right', async () => {
      const { env, database } = await prepare(engine);
      await damage(engine, env.DATABASE_URL, 'update bucket set members = 7');
      const found = await run(['check'], { env });
      assert.equal(found.code, 1);
      assert.match(found.stdout, /^KIND +BUCKET +OBJECT +WHAT IS WRONG +WHAT TO DO\n/);
      assert.match(found.stdout, /hub +hub-1 +- +members is 7, and it holds 1 object +sharder check --fix/); // prettier-ignore
      assert.match(found.stderr, /^sharder: 3 things are wrong in /);

      const fixed = await run(['check', '--fix'], { env });
      assert.equal(fixed.code, 0, fixed.stdout);
      assert.match(fixed.stdout, /^set right the members of 3 buckets\n.*nothing is wrong/);
      const members = await database.knex('bucket').orderBy(['kind', 'name']).pluck('members');
      assert.deepEqual(members, [0, 2, 1]);
      const { action, detail } = await lastChange(database);
      assert.deepEqual([action, detail], ['check fix', { members: { from: 7, to: 1 } }]);
    });

    const same = (sql: string) => ({ sqlite: sql, postgres: sql });
    const damages: readonly {
      what: string;
      sql: Readonly<Record<TestEngine['name'], string>>;
      fault: Partial<Fault>;
    }[] = [
      {
        what: 'an object in a bucket that is not there',
        sql: same(`update shard set bucket = 'gone' where name = 'a';
          update bucket set members = 1 where name = 'hub-0'`),
        fault: { rule: 'bucket', kind: 'hub', bucket: 'gone' },
      },
      {
        what: 'a bucket of a kind that is not there',
        sql: same(`insert into bucket (kind, name) values ('lost', 'b')`),
        fault: { rule: 'kind', kind: 'lost', bucket: 'b' },
      },
      {
        what: 'a name that nobody can have',
        sql: same(`update shard set name = ' a' where name = 'a'`),
        fault: { rule: 'name', kind: 'hub', bucket: 'hub-0', name: ' a' },
      },
      {
        what: 'a name that no bucket can have',
        sql: same(`insert into bucket (kind, name) values ('hub', 'a b')`),
        fault: { rule: 'name', kind: 'hub', bucket: 'a b', name: null },
      },
      {
        what: 'an object that stands there twice',
        sql: {
          sqlite: `
            update sqlite_schema set sql = replace(sql, 'unique (kind, name),', '')
              where name = 'shard';
            delete from sqlite_schema where name = 'sqlite_autoindex_shard_1';
            pragma writable_schema = reset;
            insert into shard (kind, bucket, name) values ('hub', 'hub-1', 'a');
            vacuum`,
          postgres: `
            alter table shard drop constraint shard_kind_name_key;
            insert into shard (kind, bucket, name) values ('hub', 'hub-1', 'a');
            update bucket set members = 2 where name = 'hub-1'`,
        },
        fault: { rule: 'once', kind: 'hub', bucket: null, name: 'a' },
      },
      {
        what: 'a trigger that is gone',
        sql: {
          sqlite: 'drop trigger shard_deleted',
          postgres: 'alter table shard disable trigger shard_deleted',
        },
        fault: {
          rule: 'trigger',
          message: 'the trigger shard_deleted is not there, or is switched off',
        },
      },
    ];
    for (const { what, sql, fault } of damages) {
      it(`finds ${what}, and --fix does not pretend to mend it`, async () => {
        const { env, database } = await prepare(engine);
        await damage(engine, env.DATABASE_URL, sql[engine.name]);
        const before = await contents(database);
        for (const args of [[], ['--fix']]) {
          const faults = await findFaults(env, ...args);
          assert.equal(faults.length, 1, JSON.stringify(faults));
          for (const [key, value] of Object.entries(fault)) {
            assert.equal(faults[0]?.[key as keyof Fault], value);
          }
        }
        assert.deepEqual(await contents(database), before);
      });
    }

    it('finds each trigger that is gone, switched off or another, and is content with all', async () => {
      const { env, database } = await prepare(engine);
      const url = env.DATABASE_URL;
      const { triggers } = await readSnapshot(engine.name);
      const faults = async () =>
        (await database.read((knex) => checkTriggers(knex, engine.name))).map(
          ({ message }) => message,
        );
      assert.deepEqual(await faults(), []);
      const there = await triggerNames(engine, database);
      assert.deepEqual(triggers.map(({ name }) => name).sort(), there.sort());
      for (const { name, table, body } of triggers) {
        const gone = [`the trigger ${name} is not there, or is switched off`];
        const other = [`the trigger ${name} differs from ours`];
        if (engine.name === 'sqlite') {
          await damage(engine, url, `drop trigger ${name}`);
          assert.deepEqual(await faults(), gone);
          const fake = `create trigger ${name} after insert on ${table} begin select 1; end`;
          await damage(engine, url, fake);
          assert.deepEqual(await faults(), other);
          await damage(engine, url, `drop trigger ${name}; ${body}`);
        } else {
          for (const how of ['disable', 'enable replica']) {
            await damage(engine, url, `alter table ${table} ${how} trigger ${name}`);
            assert.deepEqual(await faults(), gone, how);
          }
          await damage(engine, url, `alter table ${table} enable trigger ${name}`);
          await damage(engine, url, `alter trigger ${name} on ${table} rename to mine`);
          assert.deepEqual(await faults(), gone);
          await damage(engine, url, `alter trigger mine on ${table} rename to ${name}`);
        }
        assert.deepEqual(await faults(), []);
      }
      if (engine.name === 'postgres') {
        await damage(
          engine,
          url,
          `create or replace function kind_ended() returns trigger language plpgsql as
            $$ begin return null; end $$`,
        );
        assert.deepEqual(await faults(), ['the trigger kind_ended differs from ours']);
      }
    });

    it('notes more members than a bucket has room for, which is no fault', async () => {
      const { env } = await prepare(engine);
      await run(['bucket', 'set', 'hub-0', '--capacity=1'], { env });
      const { code, stderr } = await run(['check'], { env });
      assert.equal(code, 0);
      assert.equal(stderr, 'note: bucket hub-0 of kind hub has room for 1, and holds 2\n');
    });

    it('finds nothing wrong while a service assigns, and does not hold it up', async () => {
      const url = await engine.createDatabase();
      const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1, hub-2] } }');
      const service = await Service.start(url, { cwd });
      const load = new Load(16);
      const running = load.run(service.url, names('new'));
      for (const args of [[], [], ['--fix']]) {
        assert.deepEqual(await findFaults({ DATABASE_URL: url }, ...args), []);
      }
      load.stop();
      assert.equal(await running, 0);
      assert.deepEqual(load.refusals, []);
      assert.ok(load.answers.size > 100);
      load.close();
      assert.equal(await service.stop(), 0);
    });
  });
}

describe('on sqlite, sharder check', () => {
  const [sqlite] = engines;
  assert.ok(sqlite);

  it('finds an index that lacks a row, a time that is none, and a revision that is gone', async () => {
    const { env } = await prepare(sqlite);
    await damage(
      sqlite,
      env.DATABASE_URL,
      `update shard set assigned_at = 'yesterday' where name = 'b';
      delete from revision;
      create table hidden as select * from sqlite_schema where name = 'shard_kind_bucket';
      delete from sqlite_schema where name = 'shard_kind_bucket';
      pragma writable_schema = reset;
      delete from shard where name = 'c';
      pragma writable_schema = on;
      insert into sqlite_schema select * from hidden;
      drop table hidden;
      pragma writable_schema = reset`,
    );
    const faults = await findFaults(env);
    assert.deepEqual(
      faults.map(({ rule, message }) => [rule, message]),
      [
        ['file', 'wrong # of entries in index shard_kind_bucket'],
        ['file', 'the table revision has no row'],
        ['time', 'assigned_at is "yesterday"'],
      ],
    );
  });
});
