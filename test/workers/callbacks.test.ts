// Workers that are called: what one refuses keeps nothing else from it.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { createKind } from '../../src/store/kinds.js';
import { readSpecs } from '../../src/store/specs.js';
import { CallTargets } from '../../src/workers/call-target.js';
import { Callbacks } from '../../src/workers/callbacks.js';
import { claimLease } from '../../src/workers/leases.js';
import { registerObjects } from '../../src/workers/register.js';
import { engines, open, type TestEngine } from '../engines.js';
import { eventually } from '../load.js';
import { pass } from './time.js';

const KIND = 'queue';
const BY = { actor: 'test' };
const NETWORKS = ['127.0.0.1'];
const targets = new CallTargets(NETWORKS);

/** A worker that is called, and refuses what `refuses` says. */
async function start(
  engine: TestEngine,
  t: TestContext,
  count: number,
  refuses: (name: string) => boolean,
) {
  const calls: string[] = [];
  const bodies: unknown[] = [];
  const called = new EventEmitter<{ call: [name: string] }>();
  const server = createServer((req, res) => {
    void json(req).then((body) => {
      const { id } = body as { id: string };
      bodies.push(body);
      calls.push(id);
      res.writeHead(refuses(id) ? 503 : 204).end();
      called.emit('call', id);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const database = await open(await engine.createDatabase());
  const settings = { leased: true, reshard_interval: 0 };
  const names = Array.from({ length: count }, (_, i) => `job-${String(i).padStart(2, '0')}`);
  await database.write((trx) => createKind(trx, KIND, { settings }, BY));
  await claimLease(database, KIND, 'a', { holder: 'a', ttl: 60, url, calls: true }, { targets });
  const wishes = names.map((name) => ({ name }));
  await database.write((trx) => registerObjects(trx, KIND, wishes, BY));
  const refusals: unknown[] = [];
  const events = { onRefused: (_worker: unknown, why: unknown) => refusals.push(why) };
  const callbacks = new Callbacks(database, () => true, events, { networks: NETWORKS });
  callbacks.start();
  t.after(async () => {
    await callbacks.stop();
    server.close().closeAllConnections();
  });
  return {
    ...{ database, bodies, calls, called, refusals, names },
    ownedAre: async (expected: readonly string[]) => {
      await eventually(`${expected.length} are begun`, async () => {
        const specs = [...(await readSpecs(database.knex, KIND, names)).values()];
        const owned = specs.filter(({ state }) => state === 'owned');
        return owned.length === expected.length;
      });
      const specs = [...(await readSpecs(database.knex, KIND, names)).values()];
      const owned = specs.filter(({ state }) => state === 'owned').map(({ name }) => name);
      assert.deepEqual(owned.sort(), [...expected].sort());
    },
  };
}

for (const engine of engines) {
  describe(`workers that are called, on ${engine.name}`, engine.options, () => {
    it('no two are called at the same URL, of which each would be told what is the other’s', async (t) => {
      const { database } = await start(engine, t, 1, () => false);
      const [url = ''] = await database.knex('bucket').pluck<string[]>('url');
      const claim = (bucket: string) =>
        claimLease(
          database,
          KIND,
          bucket,
          { holder: bucket, ttl: 60, url, calls: true },
          { targets },
        );
      await assert.rejects(claim('b'), {
        code: 'lease_held',
        message: /^bucket a is leased until .* to a worker that is called at http.* too/,
      });
      await claim('a');
      await pass(database, 61);
      await claim('b');
    });

    it('each is told for whom it is', async (t) => {
      const { bodies, ownedAre, names } = await start(engine, t, 1, () => false);
      await ownedAre(names);
      const { epoch, ...told } = bodies[0] as { epoch: number };
      const meant = { kind: KIND, bucket: 'a' };
      assert.deepEqual(told, { id: 'job-00', spec: null, ...meant });
      assert.equal(epoch > 0, true);
    });

    it('more than a page that one refuses for ever hides none of its others', async (t) => {
      const isRefused = (name: string) => name < 'job-20';
      const { calls, names, ownedAre } = await start(engine, t, 50, isRefused);
      await ownedAre(names.filter((name) => !isRefused(name)));
      const again = names.filter((name) => calls.filter((each) => each === name).length > 4);
      assert.deepEqual(again, []); // it is left in peace in between
    });

    it('what it refuses among others is told again, and comes when it takes it', async (t) => {
      let isWell = false;
      const isRefused = (name: string) => name.endsWith('0') && !isWell;
      const { calls, called, names, ownedAre, refusals } = await start(engine, t, 40, isRefused);
      await ownedAre(names.filter((name) => !isRefused(name)));
      while (calls.filter((name) => name === 'job-00').length < 2) await once(called, 'call');
      assert.match(String(refusals[0]), /add-shard of "job-.0": it answered 503/);
      isWell = true;
      await ownedAre(names);
    });

    it('one that takes nothing at all is asked again from where it was left, and round', async (t) => {
      let isWell = false;
      const { calls, called, names, ownedAre } = await start(engine, t, 20, () => !isWell);
      while (!calls.includes('job-16')) await once(called, 'call'); // after the first page
      while (calls.filter((name) => name === 'job-00').length < 2) await once(called, 'call');
      isWell = true;
      await ownedAre(names);
    });
  });
}
