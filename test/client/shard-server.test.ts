// A worker that is told which objects are its, over the watch stream or by calls, and never has one that
// another has.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import { CallVerifier } from '../../src/client/index.js';
import { engines } from '../engines.js';
import { eventually } from '../load.js';
import { pass } from '../workers/time.js';
import { KIND, prepare, told, type Ledger } from './prepare.js';

for (const engine of engines) {
  describe(`ShardServer, on ${engine.name}`, engine.options, () => {
    it('gets what is registered, gives half of it to one that joins, and has it back when that stops', async (t) => {
      const { worker, register, ledger } = await prepare(engine, t);
      await register(10);
      const specs: unknown[] = [];
      worker('a', {
        add: (id, spec, epoch) => {
          specs.push(spec);
          ledger.add('a', id, epoch);
        },
      });
      await ledger.is({ a: 10 });
      assert.deepEqual(specs.sort((x, y) => (x as { i: number }).i - (y as { i: number }).i), Array.from({ length: 10 }, (_, i) => ({ i }))); // prettier-ignore
      const b = worker('b');
      await ledger.is({ a: 5, b: 5 });
      await b.stop();
      await ledger.is({ a: 10, b: 0 });
    });

    it('an object that comes while it runs is begun at once, and one that is removed is stopped', async (t) => {
      const { worker, client, ledger } = await prepare(engine, t);
      const a = worker('a');
      await told(a, 'held');
      await client.setSpec({ kind: KIND, name: 'late' });
      await ledger.is({ a: 1 });
      await client.removeSpec({ kind: KIND, name: 'late' });
      await ledger.is({ a: 0 });
    });

    it('what fails to begin or to stop is tried again, and meanwhile nobody else has it', async (t) => {
      const { worker, register, ledger, errors } = await prepare(engine, t);
      await register(2);
      let failures = 2;
      const sometimes = (work: () => void) => {
        if (failures-- > 0) throw new Error('not now');
        work();
      };
      const a = worker('a', {
        add: (id, _spec, epoch) => {
          sometimes(() => {
            ledger.add('a', id, epoch);
          });
        },
        drop: (id) => {
          if (ledger.owners.get(id) !== 'a') return;
          sometimes(() => {
            ledger.drop('a', id);
          });
        },
      });
      await ledger.is({ a: 2 });
      failures = 1;
      worker('b');
      await ledger.is({ a: 1, b: 1 });
      assert.equal(errors.some((each) => String(each).includes('not now')), true); // prettier-ignore
      assert.deepEqual(a.objects.length, 1);
    });

    it('one that cannot renew its lease drops everything by its own clock, before anybody else begins it', async (t) => {
      const { url, worker, register, ledger } = await prepare(engine, t);
      const proxy = await cuttable(url);
      await register(4);
      const a = worker('a', { url: proxy.url });
      await ledger.is({ a: 4 });
      const lost = told(a, 'lost');
      proxy.cut();
      await lost;
      assert.equal(a.isHeld, false);
      worker('b');
      await ledger.is({ a: 0, b: 4 });
      proxy.mend();
      await told(a, 'held');
      await ledger.is({ a: 2, b: 2 });
    });

    it('one that never begins, and one that never stops, keep no other waiting', async (t) => {
      const { worker, register, client, ledger } = await prepare(engine, t);
      let onEnd = (): void => undefined;
      const end = new Promise<void>((resolve) => (onEnd = resolve));
      await register(10);
      worker('a', {
        add: async (id, _spec, epoch) => {
          if (id === 'job-0') await end;
          ledger.add('a', id, epoch);
        },
        drop: async (id) => {
          if (id === 'job-1') await end;
          if (ledger.owners.get(id) === 'a') ledger.drop('a', id);
        },
      });
      await ledger.is({ a: 9 });
      await client.setSpec({ kind: KIND, name: 'late' });
      await ledger.is({ a: 10 });
      await client.removeSpec({ kind: KIND, name: 'job-1' });
      worker('b');
      await ledger.is({ a: 5, b: 5 });
      assert.deepEqual([ledger.owners.has('job-0'), ledger.owners.get('job-1')], [false, 'a']);
      onEnd();
      while (!ledger.owners.has('job-0') || ledger.owners.has('job-1'))
        await once(ledger, 'changed');
      await ledger.is({ a: 5, b: 5 });
    });

    it('one that could be neither begun nor stopped is not taken for begun', async (t) => {
      const { worker, register, ledger } = await prepare(engine, t);
      await register(1);
      const failing = ['add', 'drop', 'drop'];
      const fail = (what: string) => {
        if (failing[0] === what) throw new Error(`${failing.shift() ?? ''}: not now`);
      };
      worker('a', {
        add: (id, _spec, epoch) => {
          fail('add');
          ledger.add('a', id, epoch);
        },
        drop: () => {
          fail('drop');
        },
      });
      await ledger.is({ a: 1 });
    });

    it('one that could not be stopped is not begun anew', async (t) => {
      const { worker, client, register, ledger, errors } = await prepare(engine, t);
      await register(1);
      let failures = 1;
      worker('a', {
        drop: (id) => {
          if (failures-- > 0) throw new Error('not now');
          ledger.drop('a', id);
        },
      });
      await ledger.is({ a: 1 });
      const epoch = ledger.epochs.get('job-0') ?? 0;
      await client.setSpec({ kind: KIND, name: 'job-0', spec: 'another' });
      while (ledger.epochs.get('job-0') === epoch) await once(ledger, 'changed');
      assert.equal(errors.some((each) => String(each).includes('is begun')), false, String(errors)); // prettier-ignore
    });

    it('one that gave its lease up by its own clock, and is back before that has ended, begins everything again', async (t) => {
      const { url, database, worker, register, ledger } = await prepare(engine, t);
      const proxy = await cuttable(url);
      await register(4);
      const a = worker('a', { url: proxy.url });
      await ledger.is({ a: 4 });
      const lost = told(a, 'lost');
      proxy.cut();
      await pass(database, -60);
      await lost;
      await ledger.is({ a: 0 });
      const held = told(a, 'held');
      proxy.mend();
      await held;
      await ledger.is({ a: 4 });
    });

    it('one that stops while the service does not answer gives its lease back as soon as it does', async (t) => {
      const { url, client, worker, register, ledger } = await prepare(engine, t);
      const proxy = await cuttable(url);
      await register(4);
      const a = worker('a', { url: proxy.url, ttl: 60 });
      worker('b');
      await eventually('a has said all that it had to say', async () => {
        const { items } = await client.listSpecs({ kind: KIND, state: 'owned' });
        return items.length === 4 && ledger.count('b') === 2;
      });
      proxy.cut();
      const stopped = a.stop();
      await ledger.is({ a: 0 });
      await proxy.loses();
      proxy.mend();
      await stopped;
      await ledger.is({ b: 4 });
      assert.equal((await client.listLeases({ kind: KIND })).items.length, 1);
    });

    it('a program in any language is called: add-shard, drop-shard, and a 2xx is the acknowledgement', async (t) => {
      const { worker, register, client, ledger } = await prepare(engine, t);
      const called = await callable(ledger, 'a');
      const holder = 'a-program';
      const { epoch, secret = '' } = await client.claimLease({
        ...{ kind: KIND, bucket: 'a', holder, ttl: 60 },
        ...{ url: called.url, calls: true },
      });
      called.calls.lease = { epoch, secret };
      await register(4);
      await ledger.is({ a: 4 });
      worker('b');
      await ledger.is({ a: 2, b: 2 });
      assert.equal(called.refused > 0, true); // and asked again
      await client.releaseLease({ kind: KIND, bucket: 'a', holder, epoch });
    });
  });
}

/** A proxy in between, whose network can be cut: what was sent is not answered. */
async function cuttable(target: string) {
  const network = { isCut: false };
  const server = createServer((req, res) => {
    if (network.isCut) {
      server.emit('lost');
      return;
    }
    void (async () => {
      const body = ['GET', 'DELETE'].includes(req.method ?? '') ? undefined : await text(req);
      const headers = { authorization: req.headers.authorization ?? '', 'content-type': 'application/json' }; // prettier-ignore
      const answer = await fetch(`${target}${req.url}`, { method: req.method ?? 'GET', headers, ...(body && { body }) }); // prettier-ignore
      res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
      const pump = answer.body?.getReader();
      for (;;) {
        const chunk = await pump?.read();
        if (network.isCut) return;
        if (!chunk || chunk.done) break;
        res.write(chunk.value);
      }
      res.end();
    })().catch(() => res.destroy());
  });
  const url = await listening(server);
  return {
    url,
    /** Resolves when it has lost a question. */
    loses: () => once(server, 'lost'),
    cut: () => {
      network.isCut = true;
    },
    mend: () => {
      network.isCut = false;
      server.closeAllConnections();
    },
  };
}

async function text(req: AsyncIterable<Buffer>): Promise<string> {
  let all = '';
  for await (const chunk of req) all += chunk.toString();
  return all;
}

/** A worker that is called, and that refuses at first. */
async function callable(ledger: Ledger, bucket: string) {
  const calls = new CallVerifier();
  const state = { url: '', refused: 0, calls };
  const server = createServer((req, res) => {
    void buffer(req).then((body) => {
      const { method, url, headers } = req;
      if (calls.refusal({ method, url, headers, body }) !== undefined) {
        res.writeHead(401).end();
        return;
      }
      const { id, epoch } = JSON.parse(body.toString()) as { id: string; epoch: number };
      if (state.refused < 1) {
        state.refused++;
        res.writeHead(503).end();
        return;
      }
      const owns = ledger.owners.get(id) === bucket;
      if (req.url === '/sm/admin/add-shard' && !owns) ledger.add(bucket, id, epoch);
      if (req.url === '/sm/admin/drop-shard' && owns) ledger.drop(bucket, id);
      res.writeHead(204).end();
    });
  });
  state.url = await listening(server);
  return state;
}

const servers = new Set<Server>();
after(() => {
  for (const each of servers) each.close().closeAllConnections();
});

async function listening(server: Server): Promise<string> {
  servers.add(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
