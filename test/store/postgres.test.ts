// What only PostgreSQL has: people in psql who take no lock, schemas, roles, encodings, standbys.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type pg from 'pg';
import { openDatabase, Sharder } from '../../src/index.js';
import {
  declareHub,
  engines,
  hubs,
  needsPostgres,
  open,
  postgresServer,
  startSharder,
} from '../engines.js';

const engine = engines.find(({ name }) => name === 'postgres') ?? engines[0];
if (!engine) throw new Error('no engine');

async function waitsForLock(url: string): Promise<void> {
  const watcher = await (await postgresServer()).connect(databaseOf(url));
  try {
    for (;;) {
      const { rows } = await watcher.query(
        `select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      );
      if (rows.length > 0) return;
    }
  } finally {
    await watcher.end();
  }
}

function databaseOf(url: string): string {
  return url.replace(/.*\//, '');
}

describe('beside a person in psql', needsPostgres, () => {
  for (const { what, sql } of [
    {
      what: 'cordons a bucket',
      sql: `update bucket set state = 'cordoned' where name = 'hub-0'`,
    },
    {
      what: 'fills a bucket',
      sql: `insert into shard (kind, bucket, name) values ('hub', 'hub-0', 'outsider')`,
    },
  ]) {
    it(`a new object waits for one who ${what}, and goes elsewhere`, async () => {
      const sharder = await startSharder(engine, { 'hub-0': { capacity: 1 }, 'hub-1': {} });
      const url = sharder.database.location;
      const person = await (await postgresServer()).connect(databaseOf(url));
      await person.query('begin');
      await person.query(sql);
      const answer = Promise.resolve(sharder.assign('hub', 'iana'));
      await waitsForLock(url);
      await person.query('commit');
      assert.equal((await answer).bucket.name, 'hub-1');
      await person.end();
    });
  }

  it('the triggers work for one whose search path leads elsewhere', async () => {
    const server = await postgresServer();
    const url = await engine.createDatabase();
    const admin = await server.connect(databaseOf(url));
    await admin.query(`create role tenant login; create schema tenant authorization tenant`);
    const tenantUrl = url.replace('sharder@', 'tenant@');
    const database = await open(tenantUrl);
    await declareHub(database, hubs(2));
    await admin.query(
      `insert into tenant.shard (kind, bucket, name) values ('hub', 'hub-0', 'iana')`,
    );
    const { rows } = await admin.query(`select members from tenant.bucket where name = 'hub-0'`);
    assert.deepEqual(rows, [{ members: 1 }]);
    await admin.end();
  });
});

describe('a PostgreSQL that is not as it should be', needsPostgres, () => {
  it('where it is read-only, new objects are refused and known ones found', async () => {
    const sharder = await startSharder(engine);
    await sharder.assign('hub', 'iana');
    const name = databaseOf(sharder.database.location);
    const admin = await (await postgresServer()).connect('postgres');
    await admin.query(`alter database ${name} set default_transaction_read_only = on`);
    const second = await Sharder.start(
      await openDatabase(sharder.database.location, { migrate: false }),
    );
    const downs: unknown[] = [];
    second.on('down', (why) => downs.push(why));
    const [fresh, ...known] = await Promise.allSettled([
      Promise.resolve(second.assign('hub', 'ivan')),
      ...Array.from({ length: 50 }, () => second.find('hub', 'iana')),
    ]);
    assert.equal(
      fresh.status === 'rejected' && (fresh.reason as { code: string }).code,
      'database_unavailable',
    );
    assert.deepEqual(new Set(known.map(({ status }) => status)), new Set(['fulfilled']));
    assert.deepEqual(downs, []);
    await second.database.close();
    await admin.end();
  });

  it('commits durably, whatever the default of the database', async () => {
    const url = await engine.createDatabase();
    const admin = await (await postgresServer()).connect('postgres');
    await admin.query(`alter database ${databaseOf(url)} set synchronous_commit = off`);
    const database = await open(url);
    const { rows } = await database.knex.raw<{ rows: object[] }>('show synchronous_commit');
    assert.deepEqual(rows, [{ synchronous_commit: 'on' }]);
    await admin.end();
  });

  it('compiles no statement, which would take longer than doing it', async () => {
    const url = await engine.createDatabase();
    for (const isBulk of [false, true]) {
      const database = await openDatabase(url, { isBulk });
      const { rows } = await database.read((knex) => knex.raw<pg.QueryResult>('show jit'));
      await database.close();
      assert.deepEqual(rows, [{ jit: 'off' }]);
    }
  });

  it('with another encoding than UTF-8 is refused', async () => {
    const server = await postgresServer();
    const admin = await server.connect('postgres');
    await admin.query(`create database latin encoding 'LATIN1' locale 'C' template template0`);
    await admin.end();
    const database = await open(server.url('latin'));
    await assert.rejects(Sharder.start(database), { code: 'settings', message: /LATIN1.*UTF8/ });
  });

  it('behind something that delivers no notification is refused', async () => {
    const url = await engine.createDatabase();
    const database = await open(url);
    // Stands in for a pooler that takes LISTEN and swallows what comes of it.
    const admin = await (await postgresServer()).connect(databaseOf(url));
    await admin.query(`
      create function public.pg_notify(text, text) returns void language sql as 'select';
      alter database ${databaseOf(url)} set search_path = public, pg_catalog`);
    await admin.end();
    await assert.rejects(Sharder.start(database), {
      code: 'settings',
      message: /LISTEN delivers nothing: connect to PostgreSQL directly/,
    });
  });

  it('without that database is a mistake in the settings, and says which', async () => {
    const server = await postgresServer();
    await assert.rejects(openDatabase(server.url('nowhere')), {
      code: 'settings',
      message: /"nowhere" does not exist/,
    });
  });
});
