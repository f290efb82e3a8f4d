// More new users than the database can take: the queue has an end, known users do not notice, and
// memory stays bounded.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openDatabase } from '../src/index.js';
import { engines, hubs, temporaryDirectory } from './engines.js';
import { assertKept, eventually, Load, names, type Reply } from './load.js';
import { Service } from './service.js';

const QUEUE_LIMIT = 50;
// Requests of a flood that are sent at a time, and on one connection.
const WAVE = 2_000;
const PIPELINED = 20;

const cwd = temporaryDirectory();
writeFileSync(
  join(cwd, 'sharder.yml'),
  JSON.stringify({ queue_limit: QUEUE_LIMIT, kinds: { hub: { buckets: Object.keys(hubs(5)) } } }),
);

for (const engine of engines) {
  describe(`overload on ${engine.name}`, engine.options, () => {
    it('past the queue limit new users get 503 with Retry-After at once, those in the queue their answer', async (t) => {
      const database = await engine.createDatabase();
      const service = await Service.start(database, { cwd });
      const load = new Load(4 * QUEUE_LIMIT);
      t.after(async () => {
        load.close();
        await service.stop();
      });
      const known = [...names('known', 100)];
      for (const name of known) await load.ask(service.url, name);

      const replies: Promise<Reply>[] = [];
      await whileLocked(database, async () => {
        for (const name of names('new', 3 * QUEUE_LIMIT)) {
          replies.push(load.ask(service.url, name));
        }
        await eventually('the others are refused', () => {
          return load.refusals.length === 2 * QUEUE_LIMIT;
        });
        const { answers } = load.counts;
        for (const name of known) await load.ask(service.url, name);
        assert.equal(load.counts.answers, answers + known.length, 'known users are answered');
      });

      const statuses = (await Promise.all(replies)).map(({ status }) => status);
      assert.equal(statuses.filter((status) => status === 200).length, QUEUE_LIMIT);
      for (const { status, retryAfter, text } of load.refusals) {
        assert.equal(status, 503);
        assert.equal(retryAfter, '1');
        assert.match(text, /^50 requests are waiting for the database already/);
      }
      assert.equal(load.counts.stale, 0);
      await assertKept(database, load.answers);
    });

    const hasProc = existsSync('/proc/self/status');
    const needsProc = { skip: !hasProc && 'there is no /proc here' };
    it(
      '40,000 requests of clients that do not wait for an answer take less than 64 MiB',
      needsProc,
      async (t) => {
        const database = await engine.createDatabase();
        const service = await Service.start(database, { cwd });
        t.after(() => service.stop('SIGKILL'));
        // A first flood, so that what the process needs for itself is not counted.
        await flood(service, 10_000);
        const before = residentKiB(service);
        let after = 0;
        await whileLocked(database, async () => {
          await flood(service, 40_000);
          after = residentKiB(service);
        });
        const grownMiB = (after - before) / 1024;
        assert.ok(grownMiB < 64, `the service has grown by ${grownMiB.toFixed()} MiB`);
      },
    );
  });
}

/** Runs `work` while an outside transaction holds the lock that every assignment needs. */
async function whileLocked(url: string, work: () => Promise<void>): Promise<void> {
  const database = await openDatabase(url, { migrate: false });
  try {
    await database.write(async (trx) => {
      // The service's own limit for a transaction that does nothing; this one waits for the flood.
      if (database.engineName === 'postgres')
        await trx.raw('set local idle_in_transaction_session_timeout = 0');
      await trx('kind').where({ name: 'hub' }).increment('version');
      await work();
    });
  } finally {
    await database.close();
  }
}

let floods = 0;

// Requests for new users whose clients go away without their answer as soon as the service has read
// them.
async function flood(service: Service, count: number): Promise<void> {
  const { hostname, port } = new URL(service.url);
  const prefix = `flood-${++floods}`;
  const requests = (first: number, count: number) =>
    Array.from(
      { length: count },
      (_, i) => `GET /shard HTTP/1.1\r\nHost: x\r\nREMOTE_USER: ${prefix}-${first + i}\r\n\r\n`,
    ).join('');
  const before = await asked(service);
  for (let sent = 0; sent < count; sent += WAVE) {
    const sockets = Array.from({ length: WAVE / PIPELINED }, (_, i) => {
      const socket = connect(Number(port), hostname).resume();
      socket.on('error', () => undefined);
      socket.write(requests(sent + i * PIPELINED, PIPELINED));
      return socket;
    });
    const read = before + sent + WAVE;
    await eventually('it has read them all', async () => (await asked(service)) >= read);
    for (const socket of sockets) socket.destroy();
  }
}

async function asked(service: Service): Promise<number> {
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  return Number(/^sharder_cache_misses_total (\d+)$/m.exec(metrics)?.[1]);
}

function residentKiB(service: Service): number {
  const status = readFileSync(`/proc/${service.process.pid ?? 0}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}
