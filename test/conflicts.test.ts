// When others write at the same time, hold locks, or cannot be heard: what is retried, what waits, and
// what is not believed meanwhile.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import {
  outsider,
  holdKind,
  eventually,
  assign,
  bucketOf,
  found,
  names,
  assignAll,
  counts,
  members,
  rowCount,
  version,
  isRefused,
  spread,
  isWaiting,
  cutListener,
} from './asking.js';
import { engines, needsPostgres, startSharder } from './engines.js';

const postgres = engines.filter(({ name }) => name === 'postgres');
const sqlite = engines.filter(({ name }) => name === 'sqlite');

for (const engine of sqlite) {
  describe('while another program writes to the SQLite file', () => {
    it('known users are answered, new ones wait, and the event loop keeps turning', async (t) => {
      const sharder = await startSharder(engine);
      await assign(sharder, 'known');
      const letGo = await holdKind(t, sharder);
      let isAnswered = false;
      const waiting = assign(sharder, 'new').finally(() => (isAnswered = true));
      for (let turn = 0; turn < 100; turn++) {
        await sleep(1);
        assert.equal(await bucketOf(sharder, 'known'), 'hub-0');
        assert.equal(isAnswered, false);
      }
      await letGo();
      assert.equal((await waiting).bucket.name, 'hub-1');
    });

    it('every connection is durable at each commit and keeps the foreign keys', async () => {
      const { database } = await startSharder(engine);
      const pragma = async (name: string) => {
        const rows = await database.knex.raw<Record<string, unknown>[]>(`pragma ${name}`);
        return Object.values(rows[0] ?? {})[0];
      };
      assert.equal(await pragma('journal_mode'), 'wal');
      assert.equal(await pragma('synchronous'), 2);
      assert.equal(await pragma('foreign_keys'), 1);
      assert.equal(await pragma('busy_timeout'), 0);
    });
  });
}

describe('a lock that is held for longer than five seconds', { concurrency: true }, () => {
  for (const engine of engines) {
    it(
      `is answered as database_busy, and nothing is stored, on ${engine.name}`,
      engine.options,
      async (t) => {
        const sharder = await startSharder(engine);
        await assign(sharder, 'known');
        const letGo = await holdKind(t, sharder);
        await assert.rejects(assign(sharder, 'new'), isRefused('database_busy'));
        const known = await assign(sharder, 'known');
        assert.deepEqual([known.bucket.name, known.isStale], ['hub-0', false]);
        await letGo();
        assert.equal(await found(sharder, 'new'), undefined);
        assert.equal((await assign(sharder, 'new')).reason, 'assigned');
      },
    );
  }
});

for (const engine of postgres) {
  describe('conflicts on PostgreSQL are retried', needsPostgres, () => {
    it('a name that an outsider inserts in the middle of our batch keeps the bucket it got there', async (t) => {
      const sharder = await startSharder(engine);
      const [other, watcher] = [await outsider(t, sharder), await outsider(t, sharder)];
      await other.run(
        `begin; insert into shard (kind, bucket, name) values ('hub', 'hub-3', 'iana')`,
      );
      const all = [...names(25, 'a'), 'iana', ...names(25, 'b')];
      const waiting = assignAll(sharder, all);
      await eventually(() => isWaiting(watcher));
      await other.run('commit');
      const answers = await waiting;
      assert.deepEqual(
        [answers[25]?.bucket.name, answers[25]?.reason],
        ['hub-3', 'existing'],
        'the answer is the row that was committed',
      );
      assert.equal(answers.filter(({ reason }) => reason === 'assigned').length, 50);
      assert.equal(await rowCount(sharder), 51);
      assert.ok(spread(await counts(sharder)) <= 1);
      assert.deepEqual(await members(sharder), await counts(sharder));
    });

    it('a deadlock', async (t) => {
      const sharder = await startSharder(engine);
      const [other, holder, watcher] = [
        await outsider(t, sharder),
        await outsider(t, sharder),
        await outsider(t, sharder),
      ];
      // We are the victim: the outsider would notice far later.
      await other.run(`set deadlock_timeout = '20s'`);
      // Both stand in line for the kind's row, we first; the outsider holds the bucket that we need
      // next.
      await holder.run(`begin; select from kind where name = 'hub' for update`);
      const waiting = assign(sharder, 'iana');
      await eventually(() => isWaiting(watcher));
      await other.run(`begin; update bucket set weight = weight where name = 'hub-0'`);
      const second = other.run(`update kind set version = version where name = 'hub'`);
      await eventually(() => isWaiting(watcher, 2));
      await holder.run('commit');
      await second;
      await other.run('commit');
      assert.equal((await waiting).reason, 'assigned');
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      assert.deepEqual(await members(sharder), await counts(sharder));

      // A connection that ends hands in what it has counted.
      await sharder.database.close();
      await eventually(async () => {
        const rows = await watcher.rows<{ deadlocks: string }>(
          'select deadlocks from pg_stat_database where datname = current_database()',
        );
        assert.notEqual(Number(rows[0]?.deadlocks), 0); // the second try may meet one, too
      });
    });

    for (const [what, code] of [
      ['serialization failures', '40001'],
      ['deadlocks', '40P01'],
    ] as const) {
      it(`${what} in a row, and only what succeeded is counted`, async (t) => {
        const sharder = await startSharder(engine);
        const other = await outsider(t, sharder);
        // A sequence does not roll back, so it counts the attempts.
        await other.run(`
          create sequence attempt;
          create function fail_at_first() returns trigger language plpgsql as $$
          begin
            if nextval('attempt') <= 5 then
              raise exception 'not yet' using errcode = '${code}';
            end if;
            return null;
          end $$;
          create trigger fail_at_first before insert on shard
            for each statement execute function fail_at_first()`);
        const before = await version(sharder);
        const answers = await assignAll(sharder, names(20));
        assert.ok(answers.every(({ reason }) => reason === 'assigned'));
        const rows = await other.rows<{ last_value: string }>('select last_value from attempt');
        assert.equal(Number(rows[0]?.last_value), 6);
        assert.equal(await version(sharder), before + 1);
        assert.equal(await rowCount(sharder), 20);
      });
    }
  });

  describe('fresh, when PostgreSQL cannot tell us', needsPostgres, () => {
    it('a user who is moved while the listening connection is cut is not answered as before', async (t) => {
      const sharder = await startSharder(engine);
      const other = await outsider(t, sharder);
      await assignAll(sharder, ['iana', 'ivan']);
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      await cutListener(other);
      await other.run(`update shard set bucket = 'hub-3' where name = 'iana'`);
      // She is asked for only when the replica hears again and trusts its cache as before.
      const isCached = async (name: string) => {
        const { cacheHits } = sharder.status;
        await assign(sharder, name);
        return sharder.status.cacheHits > cacheHits;
      };
      await eventually(async () => {
        assert.equal(await isCached('ivan'), false);
      });
      await eventually(async () => {
        assert.equal(await isCached('ivan'), true);
      });
      assert.equal(await bucketOf(sharder, 'iana'), 'hub-3');
      await other.run(`update shard set bucket = 'hub-2' where name = 'iana'`);
      await eventually(async () => {
        assert.equal(await bucketOf(sharder, 'iana'), 'hub-2');
      });
    });

    it('while it cannot listen an old answer is marked as stale, and the first after that is fresh', async (t) => {
      const sharder = await startSharder(engine);
      const other = await outsider(t, sharder);
      const admin = new pg.Client({
        connectionString: sharder.database.location.replace(/[^/]+$/, 'postgres'),
      });
      await admin.connect();
      t.after(() => admin.end());
      const name = sharder.database.location.replace(/.*\//, '');

      assert.equal(await bucketOf(sharder, 'iana'), 'hub-0');
      const down = new Promise((resolve) => sharder.once('down', resolve));
      const up = new Promise<void>((resolve) => sharder.once('up', resolve));
      await admin.query(`alter database ${name} allow_connections false`);
      await cutListener(other);
      await down;
      await other.run(`update shard set bucket = 'hub-3' where name = 'iana'`);
      const stale = await assign(sharder, 'iana');
      assert.deepEqual([stale.bucket.name, stale.isStale], ['hub-0', true]);
      await assert.rejects(assign(sharder, 'new'), isRefused('database_unavailable'));

      await admin.query(`alter database ${name} allow_connections true`);
      await up;
      const fresh = await assign(sharder, 'iana');
      assert.deepEqual([fresh.bucket.name, fresh.isStale], ['hub-3', false]);
      assert.equal((await assign(sharder, 'new')).reason, 'assigned');
    });
  });
}
