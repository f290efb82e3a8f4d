// A lease has one holder, an epoch that grows, and a place that is nobody else's.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../../src/index.js';
import type { KindChanges } from '../../src/store/kind-settings.js';
import { createKind } from '../../src/store/kinds.js';
import { listLeases, readClock, renewLease } from '../../src/store/leases.js';
import { runRound } from '../../src/workers/controller.js';
import type { Granted } from '../../src/workers/granted.js';
import { claimLease, releaseLease } from '../../src/workers/leases.js';
import { engines, open, type TestEngine } from '../engines.js';
import { pass } from './time.js';

const KIND = 'queue';

/** A leased kind, and a clock that can be put forward. */
async function start(engine: TestEngine, settings: KindChanges = {}) {
  const url = await engine.createDatabase();
  const database = await open(url);
  const leased = { leased: true, grace: 30, reshard_interval: 0, ...settings };
  await database.write((trx) => createKind(trx, KIND, { settings: leased }, { actor: 'test' }));
  return {
    url,
    database,
    claim: (bucket: string, epoch?: number, holder = bucket) =>
      claimLease(database, KIND, bucket, { holder, epoch, ttl: 10 }),
    release: ({ bucket, holder, epoch }: Granted) =>
      database.write((trx) => releaseLease(trx, KIND, bucket, { holder, epoch })),
    tidy: () => database.write((trx) => runRound(trx, KIND)),
  };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (why: unknown) => why,
  );
  assert.equal(error instanceof SharderError, true, String(error));
  return (error as SharderError).code;
}

const places = ({ index, count }: Granted) => [index, count];

for (const engine of engines) {
  describe(`leases, on ${engine.name}`, engine.options, () => {
    it('the story of the coordinator: 0 of 1, 0 and 1 of 2, one leaves, comes back, then three', async () => {
      const { claim, release } = await start(engine);
      const a = await claim('a');
      assert.deepEqual(places(a), [0, 1]);
      const b = await claim('b');
      assert.deepEqual(places(b), [1, 2]);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 2]);
      await release(b);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 1]);
      const again = await claim('b');
      assert.deepEqual(places(again), [1, 2]);
      assert.equal(again.epoch > b.epoch, true);
      assert.deepEqual(places(await claim('c')), [2, 3]);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 3]);
    });

    it('the last takes the place of the one that left, and the others keep theirs', async () => {
      const { claim, release } = await start(engine);
      const [a, b, c, d] = [await claim('a'), await claim('b'), await claim('c'), await claim('d')];
      await release(b);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 3]);
      assert.deepEqual(places(await claim('c', c.epoch)), [2, 3]);
      assert.deepEqual(places(await claim('d', d.epoch)), [1, 3]);
    });

    it('is renewed by its epoch; with an older one, or once it has ended, it is lost', async () => {
      const { database, claim } = await start(engine);
      const first = await claim('a');
      const renewed = await claim('a', first.epoch);
      assert.deepEqual([renewed.epoch, renewed.is_new], [first.epoch, false]);
      assert.equal(renewed.expires_at >= first.expires_at, true);
      await pass(database, 11);
      assert.equal(await codeOf(claim('a', first.epoch)), 'lease_lost');
      const second = await claim('a');
      assert.equal(second.epoch > first.epoch, true);
      assert.equal(await codeOf(claim('a', first.epoch)), 'lease_lost');
      assert.equal(await codeOf(claim('a', second.epoch + 1)), 'lease_lost');
      assert.equal((await claim('a', second.epoch)).epoch, second.epoch);
    });

    it('has one holder: another gets it when it has ended, or was given back', async () => {
      const { database, claim, release } = await start(engine);
      const mine = await claim('a', undefined, 'me');
      assert.equal(await codeOf(claim('a', undefined, 'you')), 'lease_held');
      assert.equal(await codeOf(claim('a', mine.epoch, 'you')), 'lease_lost');
      await pass(database, 11);
      const yours = await claim('a', undefined, 'you');
      assert.equal(yours.epoch > mine.epoch, true);
      assert.equal(await codeOf(release(mine)), 'lease_lost');
      await release(yours);
      assert.equal((await claim('a', undefined, 'me')).epoch > yours.epoch, true);
    });

    it('a holder that has started again takes its lease at once, and the one before has lost it', async () => {
      const { claim } = await start(engine);
      const before = await claim('a');
      const after = await claim('a');
      assert.deepEqual([after.is_new, after.index], [true, 0]);
      assert.equal(await codeOf(claim('a', before.epoch)), 'lease_lost');
    });

    it('a hundred claims of one bucket at once have one winner', async () => {
      const { url } = await start(engine);
      const databases = [await open(url), await open(url)];
      const outcomes = await Promise.allSettled(
        Array.from({ length: 100 }, (_, i) => {
          const database = databases[i % 2];
          if (!database) throw new Error();
          return claimLease(database, KIND, 'a', { holder: `h${i}`, ttl: 30 });
        }),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    });

    it('the place of one that has died is kept for the grace, so that a quick restart keeps it', async () => {
      const { database, claim, tidy } = await start(engine);
      const a = await claim('a');
      await claim('b');
      await pass(database, 8);
      const renewed = await claim('a', a.epoch);
      await pass(database, 9); // b has ended, a has not
      await tidy();
      assert.deepEqual(places(await claim('a', renewed.epoch)), [0, 2]);
      assert.deepEqual(places(await claim('b')), [1, 2]);
    });

    it('after the grace the place is free, and the bucket that the worker brought is gone', async () => {
      const { database, claim } = await start(engine);
      await claim('a');
      await pass(database, 35);
      const b = await claim('b');
      assert.deepEqual(places(b), [1, 2]);
      await pass(database, 6);
      // b's own renewal sees that a is gone
      assert.deepEqual(places(await claim('b', b.epoch)), [0, 1]);
      const buckets = await database.knex('bucket').where({ kind: KIND }).pluck('name');
      assert.deepEqual(buckets, ['b']);
      const lapsed = await database.knex('change').where({ action: 'lease lapse' });
      assert.equal(lapsed.length, 1);
    });

    it('places change no more often than the reshard interval says; the first waits for nothing', async () => {
      const { database, claim } = await start(engine, { reshard_interval: 60 });
      const a = await claim('a');
      assert.deepEqual(places(a), [0, 1]);
      const b = await claim('b');
      assert.deepEqual(places(b), [null, 1]);
      assert.equal(b.renew_in <= 10 / 3, true);
      await pass(database, 9);
      const still = await claim('b', b.epoch);
      assert.deepEqual(places(still), [null, 1]);
      await claim('a', a.epoch);
      for (let i = 0; i < 6; i++) {
        await pass(database, 9);
        await claim('a', a.epoch);
        await claim('b', b.epoch);
      }
      assert.deepEqual(places(await claim('b', b.epoch)), [1, 2]);
    });

    it('a hundred workers that come at once, and half of them go, have the places 0 to n - 1', async () => {
      const { database, claim, release } = await start(engine);
      const granted = await Promise.all(Array.from({ length: 100 }, (_, i) => claim(`w${i}`)));
      const gone = granted.filter((_, i) => i % 2 === 0);
      await Promise.all(gone.map(release));
      const left = granted.filter((_, i) => i % 2 === 1);
      // Some are told of another place, and say with the next claim that they go by it.
      for (let i = 0; i < 2; i++) for (const each of left) await claim(each.bucket, each.epoch);
      const leases = await listLeases(database.knex, KIND);
      assert.deepEqual(
        leases.map(({ index }) => index),
        Array.from({ length: 50 }, (_, i) => i),
      );
      const before = new Map(granted.map(({ bucket, index }) => [bucket, index ?? 0]));
      // Each went only if it had to.
      const kept = leases.filter(({ bucket, index }) => before.get(bucket) === index);
      assert.equal(kept.length > 0, true);
    });

    it('a place that somebody may still go by is nobody else is given', async () => {
      const { database, claim, release } = await start(engine);
      const [a, b, c] = [await claim('a'), await claim('b'), await claim('c')];
      const knows = (index: number | null) =>
        claimLease(database, KIND, 'c', { holder: 'c', epoch: c.epoch, ttl: 10, index });
      await release(b); // c is to go from 2 to 1
      const d = await claim('d');
      assert.deepEqual(places(d), [null, 2]);
      // An answer that was lost: c goes by 2 as it did.
      assert.deepEqual(places(await knows(2)), [1, 2]);
      assert.deepEqual(places(await claim('d', d.epoch)), [null, 2]);
      assert.deepEqual(places(await knows(1)), [1, 3]);
      assert.deepEqual(places(await claim('d', d.epoch)), [2, 3]);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 3]);
    });

    it('also where a claim of the same holder comes late, and takes its lease anew', async () => {
      const { claim, release } = await start(engine);
      const [, b] = [await claim('a'), await claim('b'), await claim('c')];
      await release(b); // c is to go from 2 to 1
      const again = await claim('c');
      assert.deepEqual([again.is_new, again.index], [true, 1]);
      const d = await claim('d');
      assert.deepEqual(places(d), [null, 2]);
      await claim('c', again.epoch);
      assert.deepEqual(places(await claim('d', d.epoch)), [2, 3]);
    });

    it('where more than half of the workers are silent at once nothing changes, until enough are back', async () => {
      const { database, claim } = await start(engine, { grace: 5, breaker: 50 });
      const [a] = [await claim('a'), await claim('b'), await claim('c')];
      await pass(database, 8);
      await claim('a', a.epoch);
      await pass(database, 9); // b and c have ended, and their grace is over
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 3]);
      const halted = await database.knex('change').where({ action: 'workers halt' });
      assert.equal(halted.length, 1);
      const b = await claim('b');
      // Whoever is not back yet has the grace once more.
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 3]);
      await pass(database, 6);
      await claim('b', b.epoch);
      assert.deepEqual(places(await claim('a', a.epoch)), [0, 2]);
      const again = await database.knex('change').where({ action: 'workers go on' });
      assert.equal(again.length, 1);
    });

    it('whose renewal is being written when it ends is held: it does not lapse, and nobody takes it', async () => {
      const { database, claim, tidy } = await start(engine, { grace: 0 });
      const { epoch } = await claim('a');
      await pass(database, 9.6);
      let onWritten = (): void => undefined;
      const written = new Promise<void>((resolve) => (onWritten = resolve));
      const renewal = database.write(async (trx) => {
        const now = await readClock(trx);
        await renewLease(trx, KIND, 'a', { holder: 'a', epoch }, { ttl: 10 }, now);
        onWritten();
        await sleep(900); // a service that is slow, between two statements
      });
      await written;
      await sleep(500);
      const others = [tidy(), codeOf(claim('a', undefined, 'b'))] as const;
      await renewal;
      assert.equal((await Promise.all(others))[1], 'lease_held');
      assert.equal((await claim('a', epoch)).epoch, epoch);
    });

    it('is refused where the kind is not leased', async () => {
      const { claim } = await start(engine, { leased: false });
      assert.equal(await codeOf(claim('a')), 'bad_request');
    });

    it('of a bucket with settings sets them', async () => {
      const { database } = await start(engine);
      const says = { url: 'http://10.0.0.1:8080', weight: 2, capacity: 5, group: 'gpu', load: 0.5, data: { a: 1 } }; // prettier-ignore
      const { epoch } = await claimLease(database, KIND, 'a', { holder: 'h', ttl: 10, ...says });
      const [lease] = await listLeases(database.knex, KIND);
      assert.deepEqual([lease?.url, lease?.group, lease?.load, lease?.data], ['http://10.0.0.1:8080', 'gpu', 0.5, { a: 1 }]); // prettier-ignore
      await claimLease(database, KIND, 'a', { holder: 'h', epoch, ttl: 10, weight: 3, load: 0.7 });
      const bucket = await database
        .knex('bucket')
        .where({ name: 'a' })
        .first<object>('weight', 'url');
      assert.deepEqual({ ...bucket }, { weight: 3, url: 'http://10.0.0.1:8080' });
    });
  });
}
