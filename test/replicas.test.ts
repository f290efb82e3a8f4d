// Any number of processes share a database: they give one answer for every name, share the buckets
// evenly, hear of each other's changes, and do not hold each other up.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { hubs, needsPostgres, postgresServer, temporaryDirectory } from './engines.js';
import { assertKept, eventually, Load, names } from './load.js';
import type { PostgresServer } from './postgres.js';
import { CLI, Service } from './service.js';

const cwd = temporaryDirectory();
const kinds = { hub: { buckets: Object.keys(hubs(7)) } };
writeFileSync(join(cwd, 'sharder.yml'), JSON.stringify({ kinds }));

describe('three processes on one PostgreSQL', needsPostgres, () => {
  let server: PostgresServer;
  let database: string;
  let services: [Service, Service, Service];
  let urls: string[];
  before(async () => {
    server = await postgresServer();
    database = await server.createDatabase();
    // At once, on an empty database: one of them makes the tables.
    const start = () => Service.start(database, { cwd });
    services = await Promise.all([start(), start(), start()]);
    urls = services.map(({ url }) => url);
  });
  after(() => Promise.all(services.map((service) => service.stop())));

  it('10,000 names from 64 connections, each asked of all three at once, get one answer each and are spread evenly at every moment', async (t) => {
    const load = new Load(64);
    t.after(() => {
      load.close();
    });
    const thrice = [...names('user', 10_000)].flatMap((name) => [name, name, name]);
    assert.equal(await load.run(urls, thrice), 0);
    for (const url of urls) assert.equal(await load.run(url, [...load.answers.keys()]), 0);
    assert.deepEqual(load.refusals, []);
    assert.deepEqual(load.contradictions, []);
    assert.equal(load.answers.size, 10_000);
    await assertKept(database, load.answers);
    assert.deepEqual(await unevenMoments(server, database), []);
  });

  it('an object that is moved by SQL is answered with its new bucket by all three', async (t) => {
    const load = new Load(3);
    t.after(() => {
      load.close();
    });
    const bucketsOf = (name: string) =>
      Promise.all(urls.map(async (url) => (await load.ask(url, name)).bucket));
    const [bucket = ''] = await bucketsOf('iana');
    const elsewhere = bucket === 'hub-6' ? 'hub-5' : 'hub-6';
    await move(server, database, 'iana', elsewhere);
    await eventually('all three answer with the new bucket', async () => {
      return (await bucketsOf('iana')).every((bucket) => bucket === elsewhere);
    });
  });

  it('a process that was stopped while an object was moved answers with the new bucket', async (t) => {
    const load = new Load(3);
    t.after(() => {
      load.close();
    });
    const [, , service] = services;
    const { bucket } = await load.ask(service.url, 'mia');
    const elsewhere = bucket === 'hub-6' ? 'hub-5' : 'hub-6';
    service.process.kill('SIGSTOP');
    await move(server, database, 'mia', elsewhere);
    service.process.kill('SIGCONT');
    await eventually('it has heard', async () => {
      return (await load.ask(service.url, 'mia')).bucket === elsewhere;
    });
    for (let i = 0; i < 50; i++) {
      assert.equal((await load.ask(service.url, 'mia')).bucket, elsewhere);
    }
  });

  it('a process that is stopped in the middle of a transaction does not hold up the others for ever', async (t) => {
    const [, other, service] = services;
    const load = new Load(16);
    const admin = await server.connect(new URL(database).pathname.slice(1));
    const running = load.run(service.url, names('stopped'));
    t.after(async () => {
      load.stop();
      service.process.kill('SIGCONT');
      await running;
      load.close();
      await admin.end();
    });
    await eventually('it is stopped while it holds the lock of the kind', async () => {
      service.process.kill('SIGSTOP');
      // Whoever holds the lock and waits for its client will wait until the client goes on.
      const { rows } = await admin.query(
        `select from kind where name = 'hub' for update skip locked`,
      );
      const { rows: idle } = await admin.query(
        `select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'`,
      );
      if (rows.length === 0 && idle.length > 0) return true;
      service.process.kill('SIGCONT');
      return false;
    });
    const others = new Load(1);
    t.after(() => {
      others.close();
    });
    await eventually('another process places a new user', async () => {
      return (await others.ask(other.url, 'nora')).status === 200;
    });

    const { answers } = load.counts;
    service.process.kill('SIGCONT');
    await eventually('it goes on by itself', () => load.counts.answers > answers + 100);
    assert.deepEqual(load.contradictions, []);
    const refused = load.refusals.filter(({ status }) => status !== 503);
    assert.deepEqual(refused, []);
  });
});

describe('two processes on one SQLite file', () => {
  it('give one answer for every name', async (t) => {
    const database = `sqlite:${join(temporaryDirectory(), 'shared.db')}`;
    const first = await Service.start(database, { cwd });
    const second = await Service.start(database, { cwd });
    const load = new Load(16);
    t.after(async () => {
      load.close();
      await Promise.all([first.stop(), second.stop()]);
    });
    const urls = [first.url, second.url];
    const twice = [...names('user', 1_000)].flatMap((name) => [name, name]);
    assert.equal(await load.run(urls, twice), 0);
    for (const url of urls) assert.equal(await load.run(url, [...load.answers.keys()]), 0);
    assert.deepEqual(load.refusals, []);
    assert.deepEqual(load.contradictions, []);
    assert.equal(load.answers.size, 1_000);
    await assertKept(database, load.answers);
  });

  it('the command line adds and lists buckets while the service is under load', async (t) => {
    const database = `sqlite:${join(temporaryDirectory(), 'busy.db')}`;
    const service = await Service.start(database, { cwd });
    const load = new Load();
    const running = load.run(service.url, names('user'));
    t.after(async () => {
      load.close();
      await service.stop();
    });
    await eventually('new users are answered', () => load.answers.size > 100);
    for (const name of ['hub-7', 'hub-8', 'hub-9']) {
      const added = await sharder(database, 'bucket', 'add', name);
      assert.equal(added, `added bucket ${name} to kind hub\n`);
      const listed = await sharder(database, 'bucket', 'list', '--json');
      assert.ok((JSON.parse(listed) as { name: string }[]).some((bucket) => bucket.name === name));
    }
    await eventually('the new buckets have filled up', () => {
      const last = [...load.answers.values()].slice(-20);
      return last.some((bucket) => bucket !== 'hub-7' && bucket !== 'hub-8' && bucket !== 'hub-9');
    });
    load.stop();
    assert.equal(await running, 0);
    assert.deepEqual(load.refusals, []);
    assert.deepEqual(load.contradictions, []);
    await assertKept(database, load.answers);
  });
});

// What was in the buckets after each transaction that left them uneven. Chance evens out in the end
// what was placed by guesses, so the end alone would tell little.
async function unevenMoments(server: PostgresServer, database: string): Promise<string[]> {
  const client = await server.connect(new URL(database).pathname.slice(1));
  const { rows } = await client.query<{ placed: Record<string, number> }>(
    `select json_object_agg(bucket, objects) as placed from (
       select xmin::text as transaction, bucket, count(*) as objects, min(id) as first
       from shard group by 1, 2
     ) placements group by transaction order by min(first)`,
  );
  await client.end();
  assert.ok(rows.length > 10, 'there were many transactions');
  const sizes = new Map(kinds.hub.buckets.map((bucket) => [bucket, 0]));
  return rows.flatMap(({ placed }) => {
    for (const [bucket, n] of Object.entries(placed))
      sizes.set(bucket, (sizes.get(bucket) ?? 0) + n);
    const now = [...sizes.values()];
    return Math.max(...now) - Math.min(...now) > 1 ? [now.join(' ')] : [];
  });
}

async function move(
  server: PostgresServer,
  database: string,
  name: string,
  bucket: string,
): Promise<void> {
  const client = await server.connect(new URL(database).pathname.slice(1));
  const values = [bucket, name];
  const { rowCount } = await client.query('update shard set bucket = $1 where name = $2', values);
  assert.equal(rowCount, 1);
  await client.end();
}

async function sharder(database: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [CLI, ...args], {
    env: { ...process.env, DATABASE_URL: database },
    cwd,
  });
  assert.equal(stderr, '');
  return stdout;
}
