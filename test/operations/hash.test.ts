// What can be done to a kind that is hashed, and what is refused, with the word what to do.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { declareKinds, type Database, type SharderError } from '../../src/index.js';
import * as buckets from '../../src/operations/buckets.js';
import * as kinds from '../../src/operations/kinds.js';
import * as leases from '../../src/operations/leases.js';
import * as objects from '../../src/operations/objects.js';
import type { Context, InputOf, Operation, OutputOf } from '../../src/operations/operation.js';
import { perform } from '../../src/operations/perform.js';
import * as pins from '../../src/operations/pins.js';
import * as plans from '../../src/operations/plans.js';
import { Sharder } from '../../src/sharder.js';
import { engines, open } from '../engines.js';

const kind = 'tenant';
const one = { kind, name: 'alice' };

for (const engine of engines) {
  describe(`operations on a kind that is hashed, on ${engine.name}`, engine.options, () => {
    let database: Database;
    let context: Context;
    before(async () => {
      database = await open(await engine.createDatabase());
      const servers = ['server-0', 'server-1', 'server-2'].map((name) => ({ name }));
      const settings = { policy: 'hash', normalize: 'lower', buckets: servers } as const;
      await declareKinds(database, { tenant: settings }, 'test');
      const sharder = await Sharder.start(database);
      context = {
        ...{ database, declared: {}, actor: 'test' },
        assign: (kind, name) => sharder.assign(kind, name),
      };
    });

    const act = <P extends Operation>(operation: P, input: InputOf<P>): Promise<OutputOf<P>> =>
      perform(operation, input, context);
    async function refusal(doing: Promise<unknown>, code: SharderError['code']): Promise<string> {
      let message = '';
      await assert.rejects(doing, (error: SharderError) => {
        assert.equal(error.code, code, error.stack);
        message = error.message;
        return true;
      });
      return message;
    }

    it('an assignment stores nothing, and says so', async () => {
      const told = { action: 'object assign', ...one, bucket: 'server-2', reason: 'hashed' };
      const nothing = { changed: false, dry_run: false };
      assert.deepEqual(await act(objects.assignObject, one), { ...told, ...nothing });
      const dry = await act(objects.assignObject, { ...one, dry_run: true });
      assert.deepEqual(dry, { ...told, changed: false, dry_run: true });
      assert.deepEqual(await database.knex('shard'), []);
      assert.match(
        await refusal(act(objects.findObject, one), 'unknown_object'),
        /^nothing is stored of "alice" of kind tenant: by the hash it is in bucket server-2; .*object pin/,
      );
    });

    it('a key is explained by the hash', async () => {
      const { object, next, policy, scores } = await act(objects.explainObject, one);
      assert.deepEqual([object, next, policy], [null, 'server-2', 'hash']);
      assert.deepEqual(
        scores.map(({ score, closed }) => [score, closed]),
        Array(3).fill([null, null]),
      );
    });

    it('a key is pinned where it is, then elsewhere, and unpinned', async () => {
      const name = 'Alice';
      const pin = { action: 'object pin', kind, name, dry_run: false };
      const here = await act(pins.pinObject, { kind, name });
      assert.deepEqual(here, { ...pin, bucket: 'server-2', changed: true });
      const there = await act(pins.pinObject, { kind, name, bucket: 'server-0' });
      assert.deepEqual(there, { ...pin, bucket: 'server-0', changed: true });
      const again = await act(pins.pinObject, { kind, name, bucket: 'server-0' });
      assert.deepEqual(again, { ...pin, bucket: 'server-0', changed: false });
      const found = await act(objects.findObject, one);
      assert.deepEqual([found.name, found.bucket, found.pinned], ['alice', 'server-0', true]);
      const { object, next } = await act(objects.explainObject, one);
      assert.deepEqual([object?.bucket, next], ['server-0', 'server-2']);
      const dry = await act(objects.assignObject, { ...one, dry_run: true });
      assert.deepEqual([dry.bucket, dry.reason], ['server-0', 'pinned']);

      const unpin = await act(pins.unpinObject, { kind, name });
      assert.deepEqual([unpin.bucket, unpin.changed], ['server-2', true]);
      assert.equal((await act(pins.unpinObject, { kind, name })).changed, false);
      const { assigned, changes } = await act(objects.showHistory, one);
      assert.equal(assigned, null);
      assert.deepEqual(
        changes.map(({ action, from_bucket, to_bucket }) => [action, from_bucket, to_bucket]),
        [
          ['object pin', null, 'server-2'],
          ['object pin', 'server-2', 'server-0'],
          ['object unpin', 'server-0', null],
        ],
      );
    });

    it('a key is not pinned to a bucket that is not there or drains, nor one that is too long', async () => {
      const to = (bucket: string, name = 'bob') => act(pins.pinObject, { kind, name, bucket });
      assert.match(await refusal(to('server-9'), 'unknown_bucket'), /has no bucket "server-9"/);
      assert.match(await refusal(to('server-0', 'b'.repeat(257)), 'bad_name'), /at most 256/);
      await act(buckets.drainBucket, { kind, bucket: 'server-0' });
      assert.match(await refusal(to('server-0'), 'closed'), /is draining: choose another$/);
      await act(buckets.uncordonBucket, { kind, bucket: 'server-0' });
      await act(kinds.createKind, { kind: 'hub' });
      const elsewhere = act(pins.pinObject, { kind: 'hub', name: 'bob', bucket: 'server-0' });
      assert.match(
        await refusal(elsewhere, 'bad_request'),
        /^bucket: kind hub has the policy empt/,
      );
    });

    it('a bucket is drained, with the word who stays, and goes when it has no pins', async () => {
      await act(buckets.addBucket, { kind, bucket: 'server-3' });
      await act(pins.pinObject, { ...one, bucket: 'server-3' });
      const drained = await act(buckets.drainBucket, { kind, bucket: 'server-3', reason: 'old' });
      assert.deepEqual(drained.notes, ['1 stay, for they are pinned: move them, or unpin them']);
      assert.deepEqual(drained.detail, {
        state: { from: 'active', to: 'draining' },
        state_reason: { from: null, to: 'old' },
      });
      const removing = act(buckets.removeBucket, { kind, bucket: 'server-3' });
      assert.match(
        await refusal(removing, 'not_empty'),
        /^1 key is pinned to bucket server-3 of kind tenant: .*--bucket server-3 --kind tenant/,
      );
      await act(pins.unpinObject, one);
      const { notes } = await act(buckets.removeBucket, { kind, bucket: 'server-3' });
      assert.deepEqual(notes, ['its keys, and no others, go to the others']);
      const { items } = await act(buckets.listBuckets, { kind });
      assert.deepEqual(
        items.map(({ over_full }) => over_full),
        [false, false, false],
      );
    });

    it('who drains all buckets is told, and who adds one by modulo', async () => {
      await act(kinds.createKind, { kind: 'few', policy: 'hash', hash: 'modulo' });
      const added = await act(buckets.addBucket, { kind: 'few', bucket: 'only' });
      assert.deepEqual(added.notes, ['by modulo, nearly all keys move']);
      const { notes } = await act(buckets.drainBucket, { kind: 'few', bucket: 'only' });
      assert.match(notes?.join() ?? '', /^no bucket of kind few takes keys: add one/);
    });

    it('what is senseless is refused', async () => {
      for (const goal of ['rebalance', 'drain', 'spread'] as const) {
        const plan = act(plans.createPlan, { kind, goal, buckets: ['server-0'] });
        assert.match(
          await refusal(plan, 'bad_request'),
          /^kind tenant has the policy hash: .*nothing can be planned; .*`sharder bucket drain NAME --/,
        );
      }
      const claim = act(leases.claimLease, { kind, bucket: 'server-0', holder: 'x' });
      await refusal(claim, 'bad_request');
      await refusal(act(kinds.setKind, { kind, leased: true }), 'bad_request');
      await refusal(act(kinds.setKind, { kind, key: { header: 'a b' } }), 'bad_request');
      await act(kinds.createKind, { kind: 'home' });
      await act(buckets.addBucket, { kind: 'home', bucket: 'home-0' });
      const draining = act(buckets.drainBucket, { kind: 'home', bucket: 'home-0' });
      assert.match(
        await refusal(draining, 'bad_request'),
        /a plan moves them \(`sharder plan drain home-0 --kind home`\)$/,
      );
      const keyed = act(kinds.setKind, { kind: 'home', key: { header: 'X-Tenant' } });
      assert.match(await refusal(keyed, 'bad_request'), /^key: kind home has the policy emptiest/);
    });

    it('the key and the policy are set with what they were, and the policy back with a word', async () => {
      const key = { header: 'X-Original-URI', pattern: '^/users/([^/]*)' };
      const { detail } = await act(kinds.setKind, { kind, key, hash: 'modulo' });
      assert.deepEqual(detail, {
        hash: { from: 'rendezvous', to: 'modulo' },
        key: { from: 'user', to: key },
      });
      assert.equal((await act(kinds.setKind, { kind, key: { ...key } })).changed, false);
      assert.deepEqual((await act(kinds.showKind, { kind })).key, key);
      const back = { kind, policy: 'emptiest' } as const;
      assert.match(
        await refusal(act(kinds.setKind, back), 'bad_request'),
        /or set the key to user/,
      );
      const { notes } = await act(kinds.setKind, { ...back, key: 'user' });
      assert.match(notes?.join() ?? '', /^keys without a row are new/);
    });
  });
}
