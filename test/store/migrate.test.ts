// A database's schema is this version's before anything else is done with it, however many start at
// once, and a database that it cannot be brought to is left as it was.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import createKnex, { type Knex } from 'knex';
import { openDatabase, type SharderError } from '../../src/index.js';
import { schemaState } from '../../src/store/migrate.js';
import { engines, open, type TestEngine } from '../engines.js';
import { dumpSchema } from '../postgres.js';
import { renderSchema } from '../schema-snapshot.js';
import { CLI } from '../service.js';

const run = promisify(execFile);

const ALL = [
  '0001_tables',
  '0002_operating',
  '0003_plans',
  '0004_workers',
  '0005_hash',
  '0006_owners',
];

const FUTURE = '9999_of_a_newer_version';

/** `sharder migrate` as a process of its own; resolves with what it printed. */
async function migrateByCommand(url: string): Promise<string> {
  const { stdout } = await run(process.execPath, [CLI, 'migrate', '--database', url]);
  return stdout.trim();
}

/** A connection as a person has one, which no migration has touched. */
async function withPlainKnex<T>(
  engine: TestEngine,
  url: string,
  work: (knex: Knex) => Promise<T>,
): Promise<T> {
  const knex = createKnex(
    engine.name === 'sqlite'
      ? {
          client: 'better-sqlite3',
          connection: { filename: url.slice('sqlite:'.length) },
          useNullAsDefault: true,
        }
      : { client: 'pg', connection: url },
  );
  try {
    return await work(knex);
  } finally {
    await knex.destroy();
  }
}

/** The migrator's books as a newer version would have left them. */
async function recordMigration(knex: Knex, name: string): Promise<void> {
  if (!(await knex.schema.hasTable('schema_migration'))) {
    await knex.schema.createTable('schema_migration', (table) => {
      table.increments();
      table.string('name');
      table.integer('batch');
      table.timestamp('migration_time');
    });
  }
  await knex('schema_migration').insert({ name, batch: 2, migration_time: new Date() });
}

/** Everything that a migration could change, the migrator's books included. */
async function everything(engine: TestEngine, url: string): Promise<unknown> {
  return withPlainKnex(engine, url, async (knex) => [
    engine.name === 'sqlite'
      ? await knex('sqlite_schema').orderBy('rowid').select('type', 'name', 'sql')
      : dumpSchema(url).replace(/^\\(un)?restrict .*$/gm, ''),
    (await knex.schema.hasTable('schema_migration'))
      ? await knex('schema_migration').orderBy('id').select('*')
      : 'no books',
  ]);
}

/** What an error of code `schema` says. */
async function refusal(opening: Promise<unknown>): Promise<string> {
  let message = '';
  await assert.rejects(opening, (error: SharderError) => {
    assert.equal(error.code, 'schema', error.stack);
    ({ message } = error);
    return true;
  });
  return message;
}

for (const engine of engines) {
  describe(`migrations on ${engine.name}`, engine.options, () => {
    it('twenty who open an empty database at once all succeed, and one has applied', async () => {
      const url = await engine.createDatabase();
      const databases = await Promise.all(Array.from({ length: 20 }, () => open(url)));
      const applied = databases.flatMap(({ applied }) => applied);
      assert.deepEqual(applied, ALL);
      const rows = await Promise.all(databases.map(({ knex }) => knex('shard').select('*')));
      assert.deepEqual(rows.flat(), []);
    });

    it('eight processes that start on an empty database at once all succeed, and one has applied', async () => {
      const url = await engine.createDatabase();
      const lines = await Promise.all(Array.from({ length: 8 }, () => migrateByCommand(url)));
      const applied = lines.filter((line) => line.endsWith(`: applied ${ALL.join(', ')}`));
      const others = lines.filter((line) => line.endsWith(': up to date already'));
      assert.deepEqual([applied.length, others.length], [1, 7], lines.join('\n'));
    });

    it('what is made while it is looked at is not taken for the tables of the Python sharder', async () => {
      const url = await engine.createDatabase();
      const state = await withPlainKnex(engine, url, (knex) => {
        const hasTable = async (name: string): Promise<boolean> => {
          const has = await knex.schema.hasTable(name);
          await open(url); // by the first, and the others find it done
          return has;
        };
        const interrupted = new Proxy(knex, {
          get: (target, key): unknown =>
            key === 'schema' ? { hasTable } : Reflect.get(target, key),
        });
        return schemaState(interrupted, engine.name);
      });
      assert.equal(state.isLegacy, false);
    });

    it('twenty who open a database that is up to date apply nothing and change nothing', async () => {
      const url = await engine.createDatabase();
      await open(url);
      const before = await everything(engine, url);
      const databases = await Promise.all(Array.from({ length: 20 }, () => open(url)));
      assert.deepEqual(
        databases.flatMap(({ applied }) => applied),
        [],
      );
      assert.deepEqual(await everything(engine, url), before);
    });

    it('a database that a newer version made is refused by name, and nothing changes', async () => {
      const url = await engine.createDatabase();
      const database = await openDatabase(url);
      await recordMigration(database.knex, FUTURE);
      await database.close();
      const before = await everything(engine, url);
      for (const migrate of [true, false]) {
        const message = await refusal(openDatabase(url, { migrate }));
        assert.match(message, /newer version/);
        assert.match(message, new RegExp(FUTURE));
      }
      await assert.rejects(migrateByCommand(url), (error: { code: number; stderr: string }) => {
        assert.equal(error.code, 1);
        assert.match(error.stderr, new RegExp(`^sharder: .*${FUTURE}.*\n$`));
        return true;
      });
      assert.deepEqual(await everything(engine, url), before);
    });

    it('a newer database that lacks one of ours as well is not half migrated', async () => {
      const url = await engine.createDatabase();
      await withPlainKnex(engine, url, (knex) => recordMigration(knex, FUTURE));
      const before = await everything(engine, url);
      for (const migrate of [true, false]) {
        assert.match(await refusal(openDatabase(url, { migrate })), new RegExp(FUTURE));
      }
      assert.deepEqual(await everything(engine, url), before);
    });

    it('an empty database that may not be migrated is refused with the command to type', async () => {
      const url = await engine.createDatabase();
      const before = await everything(engine, url);
      const message = await refusal(openDatabase(url, { migrate: false }));
      assert.match(message, /`sharder migrate`/);
      for (const name of ALL) assert.ok(message.includes(name), message);
      assert.deepEqual(await everything(engine, url), before);

      await migrateByCommand(url);
      const database = await openDatabase(url, { migrate: false });
      await database.close();
    });

    it('a migration that fails halfway leaves the database as it was, and can be tried again', async () => {
      const url = await engine.createDatabase();
      // In the way of the last of the tables.
      await withPlainKnex(engine, url, (knex) =>
        knex.schema.createTable('change', (table) => {
          table.text('of_somebody_else');
        }),
      );
      const before = await everything(engine, url);
      await assert.rejects(openDatabase(url));
      assert.deepEqual(await everything(engine, url), before);

      await withPlainKnex(engine, url, (knex) => knex.schema.dropTable('change'));
      const clean = await engine.createDatabase();
      assert.deepEqual((await open(url)).applied, ALL);
      await open(clean);
      assert.equal(renderSchema(engine.name, url), renderSchema(engine.name, clean));
    });
  });
}
