// What the tables themselves promise, whoever writes to them: what they refuse, and that a bucket's
// members are counted right. And that the snapshots beside the migrations are what they make.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import SqliteConnection from 'better-sqlite3';
import fc from 'fast-check';
import pg from 'pg';
import type { Database } from '../../src/index.js';
import { declareHub, engines, hubs, open, type TestEngine } from '../engines.js';
import { renderSchema, snapshot } from '../schema-snapshot.js';

async function openWithHubs(engine: TestEngine, count: number): Promise<Database> {
  const database = await open(await engine.createDatabase());
  await declareHub(database, hubs(count));
  return database;
}

/** All that the tables hold. */
async function contents({ knex }: Database): Promise<unknown> {
  return Promise.all([
    knex('kind').orderBy('name'),
    knex('bucket').orderBy(['kind', 'name']),
    knex('shard').orderBy('id'),
  ]);
}

interface Counted {
  readonly bucket: string;
  readonly stored: number;
  readonly counted: unknown;
}

/** Each bucket's members, as stored and as counted. */
async function members({ knex }: Database) {
  const objects = knex('shard')
    .count('*')
    .where({ kind: knex.ref('bucket.kind'), bucket: knex.ref('bucket.name') });
  const rows = await knex('bucket')
    .orderBy(['kind', 'name'])
    .select<Counted[]>('name as bucket', 'members as stored', objects.as('counted'));
  return {
    stored: rows.map(({ bucket, stored }) => [bucket, stored]),
    counted: rows.map(({ bucket, counted }) => [bucket, Number(counted)]),
  };
}

// Decided on codes: SQLITE_CONSTRAINT_…, or class 23 of SQLSTATE.
function breaksConstraint(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return error.code?.startsWith('23') ?? false;
  return (
    error instanceof SqliteConnection.SqliteError && error.code.startsWith('SQLITE_CONSTRAINT_')
  );
}

const LONG_NAME = 'é'.repeat(128) + 'a'; // 257 bytes

const REFUSED = {
  'a row that names a bucket that is not there': `insert into shard (kind, bucket, name) values ('hub', 'hub-9', 'ivan')`,
  'a row that names a bucket of another kind': `insert into shard (kind, bucket, name) values ('home', 'hub-0', 'ivan')`,
  'a move to a bucket that is not there': `update shard set bucket = 'hub-9'`,
  'the deletion of a bucket with members': `delete from bucket where name = 'hub-0'`,
  'the renaming of a bucket with members': `update bucket set name = 'hub-9' where name = 'hub-0'`,
  'a second row for the same object': `insert into shard (kind, bucket, name) values ('hub', 'hub-1', 'iana')`,
  'an object without a name': `insert into shard (kind, bucket, name) values ('hub', 'hub-0', '')`,
  'an object with a name of 257 bytes': `insert into shard (kind, bucket, name) values ('hub', 'hub-0', '${LONG_NAME}')`,
  'an object whose name is null': `insert into shard (kind, bucket, name) values ('hub', 'hub-0', null)`,
  'a bucket of a kind that is not there': `insert into bucket (kind, name) values ('work', 'work-0')`,
  'a second bucket of the same name': `insert into bucket (kind, name) values ('hub', 'hub-0')`,
  'a bucket without a name': `insert into bucket (kind, name) values ('hub', '')`,
  'a weight of 0': `update bucket set weight = 0`,
  'a weight of -1': `update bucket set weight = -1`,
  'a weight over a million': `update bucket set weight = 1000001`,
  'no weight at all': `update bucket set weight = null`,
  'a negative capacity': `update bucket set capacity = -1`,
  'a state that there is none of': `update bucket set state = 'asleep'`,
  'members below zero': `update bucket set members = -1`,
  'a policy that there is none of': `update kind set policy = 'fullest'`,
  'a kind without a name': `insert into kind (name) values ('')`,
  'a second kind of the same name': `insert into kind (name) values ('hub')`,
  'the deletion of a kind with buckets': `delete from kind`,
};

for (const engine of engines) {
  describe(`the schema on ${engine.name}`, engine.options, () => {
    it('is what its snapshot says', async () => {
      const url = await engine.createDatabase();
      await open(url);
      const rendered = renderSchema(engine.name, url);
      assert.equal(
        rendered,
        snapshot(engine.name, rendered),
        `schema/${engine.name}/schema.sql is not what the migrations make; UPDATE_SNAPSHOT=1 writes it`,
      );
    });

    it('begins a row of shard with id, kind, bucket, name', async () => {
      const { knex } = await openWithHubs(engine, 1);
      await knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'iana' });
      const row = await knex('shard').first<Record<string, unknown>>('*');
      assert.deepEqual(Object.keys(row).slice(0, 4), ['id', 'kind', 'bucket', 'name']);
      assert.deepEqual(Object.values(row).slice(1, 4), ['hub', 'hub-0', 'iana']);
    });

    it('takes rows with their ids, as another system numbered them, and numbers on', async () => {
      const { knex } = await openWithHubs(engine, 1);
      const row = { kind: 'hub', bucket: 'hub-0' };
      await knex('shard').insert({ id: 5000, ...row, name: 'imported' });
      await knex('shard').insert({ ...row, name: 'iana' });
      const ids = await knex('shard').pluck<unknown[]>('id');
      assert.equal(new Set(ids).size, 2);
    });

    it('refuses what must never be, and is left as it was', async (t) => {
      const database = await openWithHubs(engine, 2);
      await database.knex('kind').insert({ name: 'home' });
      await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'iana' });
      const before = await contents(database);
      for (const [what, sql] of Object.entries(REFUSED)) {
        await t.test(what, async () => {
          await assert.rejects(database.knex.raw(sql), breaksConstraint);
          assert.deepEqual(await contents(database), before);
        });
      }
    });

    it('lets a bucket go once it has no members', async () => {
      const { knex } = await openWithHubs(engine, 2);
      await knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'iana' });
      await knex('shard').update({ bucket: 'hub-1' });
      await knex('bucket').where({ name: 'hub-0' }).delete();
      assert.deepEqual(await knex('bucket').pluck('name'), ['hub-1']);
    });
  });

  describe(`the members of a bucket on ${engine.name}`, engine.options, () => {
    const step = statement(engine.name);

    it('are the count of its rows after any statements that anybody makes', async () => {
      const database = await openWithHubs(engine, 3);
      await database.knex('kind').insert({ name: 'home' });
      await database.knex('bucket').insert({ kind: 'home', name: 'hub-0' });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (statements) => {
          await database.knex('shard').delete();
          await database.knex('bucket').update({ members: 0 });
          for (const sql of statements) {
            // Some break a constraint: then all of the statement is undone, the counting included.
            await database.knex.raw(sql).catch((error: unknown) => {
              if (!breaksConstraint(error)) throw error;
            });
            const { stored, counted } = await members(database);
            assert.deepEqual(stored, counted, sql);
          }
        }),
        { numRuns: 60 },
      );
    });

    it('are undone with the transaction', async () => {
      const database = await openWithHubs(engine, 2);
      const { knex } = database;
      await knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'iana' });
      const trx = await knex.transaction();
      await trx('shard').insert({ kind: 'hub', bucket: 'hub-1', name: 'ivan' });
      await trx('shard').where({ name: 'iana' }).delete();
      await trx.rollback();
      assert.deepEqual((await members(database)).stored, [
        ['hub-0', 1],
        ['hub-1', 0],
      ]);
    });
  });
}

/** One statement, of one row or of many, as a person might type it. */
function statement(engine: TestEngine['name']): fc.Arbitrary<string> {
  const bucket = fc.constantFrom('hub-0', 'hub-1', 'hub-2');
  const name = fc.nat(20).map((n) => `user-${n}`);
  const row = fc.tuple(bucket, name).map(([bucket, name]) => `('hub', '${bucket}', '${name}')`);
  const rows = fc.array(row, { minLength: 1, maxLength: 10 }).map((list) => list.join(', '));
  const insert = 'insert into shard (kind, bucket, name)';
  const statements = [
    rows.map((rows) => `${insert} values ${rows} on conflict do nothing`),
    rows.map((rows) => `${insert} values ${rows}`),
    row.map(
      (row) =>
        `${insert} values ${row} on conflict (kind, name) do update set bucket = excluded.bucket`,
    ),
    fc
      .tuple(bucket, bucket)
      .map(([a, b]) => `update shard set bucket = '${a}' where bucket = '${b}'`),
    fc.tuple(bucket, name).map(([a, n]) => `update shard set bucket = '${a}' where name = '${n}'`),
    // Round about, some of the rows each.
    fc.constant(
      `update shard set bucket = case bucket when 'hub-0' then 'hub-1' when 'hub-1' then 'hub-2' else 'hub-0' end where kind = 'hub'`,
    ),
    name.map((n) => `update shard set kind = 'home', bucket = 'hub-0' where name = '${n}'`),
    name.map((n) => `update shard set name = '${n}-renamed' where name = '${n}'`),
    name.map((n) => `delete from shard where name = '${n}'`),
    bucket.map((b) => `delete from shard where bucket = '${b}'`),
    fc.constant('delete from shard'),
    fc.constant('update shard set assigned_at = assigned_at'),
  ];
  if (engine === 'sqlite') {
    statements.push(
      rows.map((rows) => `insert or ignore into shard (kind, bucket, name) values ${rows}`),
    );
  } else {
    statements.push(
      fc.constant('truncate shard'),
      rows.map(
        (rows) =>
          `with gone as (delete from shard where bucket = 'hub-0')
           ${insert} values ${rows} on conflict do nothing`,
      ),
    );
  }
  return fc.oneof(...statements);
}
