// Workers: how long the objects of one that dies are unattended, and what heartbeats cost.

import { setTimeout as sleep } from 'node:timers/promises';
import { SharderClient, ShardServer } from '../src/client/index.js';
import { declareKinds, openDatabase, type Database } from '../src/index.js';
import type { Engine } from './engines.js';
import type { Bench } from './measure.js';
import { Server } from './server.js';

const KIND = 'job';
const TOKEN = 'a-token-of-the-bench-and-of-nobody-else';
const GRACE_S = 5;
const TTL_S = 10;
const AT_ONCE = 1_000;
const VICTIM = 'victim';

export interface TakeoverRun {
  readonly objects: number;
  readonly workers: number;
  readonly registeredRate: number;
  /** From the first that was registered until all were begun. */
  readonly ownedSeconds: number;
  /** How many the dead worker had. */
  readonly orphans: number;
  /** From the end of its lease. */
  readonly againSeconds: number;
  readonly graceSeconds: number;
  readonly stopMs: number;
  readonly rssBytes: number;
}

export interface HeartbeatRun {
  readonly workers: number;
  /** Renewals per second. */
  readonly rate: number;
  /** Of one core, what an idle service needs left out. */
  readonly coreShare: number;
  readonly p99Ms: number;
  readonly stopMs: number;
}

/** A service, a client of it and its database, with a leased kind. */
async function withWorkers<T>(
  { cores }: Bench,
  engine: Engine,
  work: (service: Server, client: SharderClient, database: Database) => Promise<T>,
): Promise<T> {
  const url = await engine.create();
  const database = await openDatabase(url);
  await declareKinds(database, { [KIND]: { leased: true, grace: GRACE_S, buckets: [] } }, 'bench');
  const service = await Server.service(cores.server, url, { token: TOKEN });
  try {
    return await work(service, new SharderClient({ url: service.url, token: TOKEN }), database);
  } finally {
    await service.stop();
    await database.close();
    await engine.remove(url);
  }
}

/** Has a worker die among others, each with its part of the objects. */
export function measureTakeover(bench: Bench, engine: Engine): Promise<TakeoverRun> {
  const { objects, workers: count } = bench.settings.workers;
  return withWorkers(bench, engine, async (service, client, database) => {
    const fleet = Array.from(
      { length: count - 1 },
      (_, i) =>
        new ShardServer({
          ...{ url: service.url, token: TOKEN, kind: KIND, bucket: `worker-${i}`, ttl: TTL_S },
          add: () => undefined,
          drop: () => undefined,
        }),
    );
    try {
      await Promise.all(fleet.map((worker) => start(worker)));
      const one = { kind: KIND, bucket: VICTIM, holder: VICTIM };
      const { epoch } = await client.claimLease({ ...one, ttl: 3_600 });

      const began = performance.now();
      for (let from = 0; from < objects; from += AT_ONCE) {
        const names = Array.from({ length: AT_ONCE }, (_, i) => ({ name: `job-${from + i}` }));
        await client.setSpecs({ kind: KIND, objects: names });
      }
      const registered = performance.now();
      await acknowledgeAll(client, one, epoch);
      await untilOwned(database, objects);
      const owned = performance.now();
      const { members: orphans } = await client.showBucket({ kind: KIND, bucket: VICTIM });

      await service.look();
      const { expires_at } = await client.claimLease({ ...one, epoch, ttl: 1 });
      await untilOwned(database, objects, VICTIM);
      const againSeconds = (Date.now() - Date.parse(expires_at)) / 1_000;
      return {
        ...(await service.look()),
        ...{ objects, workers: count, orphans, againSeconds, graceSeconds: GRACE_S },
        registeredRate: objects / ((registered - began) / 1_000),
        ownedSeconds: (owned - began) / 1_000,
      };
    } finally {
      await Promise.all(fleet.map((worker) => worker.stop()));
    }
  });
}

function start(worker: ShardServer): Promise<void> {
  return new Promise((resolve) => {
    worker.once('held', () => {
      resolve();
    });
    worker.start();
  });
}

// The one that will die is a worker that says everything with its own mouth, and then nothing any more.
async function acknowledgeAll(
  client: SharderClient,
  { kind, bucket, holder }: { kind: string; bucket: string; holder: string },
  epoch: number,
): Promise<void> {
  for (;;) {
    const { items } = await client.listOwned({ kind, bucket, pending: true, limit: AT_ONCE });
    if (items.length === 0) return;
    const those = (state: string) =>
      items
        .filter((each) => each.state === state)
        .map((each) => ({ name: each.name, epoch: each.epoch ?? 0 }));
    const said = { added: those('adding'), dropped: those('dropping') };
    await client.acknowledge({ kind, bucket, holder, epoch, ...said });
  }
}

async function untilOwned({ knex }: Database, objects: number, gone?: string): Promise<void> {
  for (;;) {
    const [row] = await knex('spec')
      .where({ kind: KIND, state: 'owned' })
      .count<{ n: number | string }[]>({ n: '*' });
    const left = await knex('bucket')
      .where({ name: gone ?? '' })
      .pluck<string[]>('name');
    if (Number(row?.n) === objects && left.length === 0) return;
    await sleep(50);
  }
}

const HEARTBEAT_S = 10;

/** Has many workers renew their leases for a while. */
export function measureHeartbeats(bench: Bench, engine: Engine): Promise<HeartbeatRun> {
  const { idle: count, seconds } = bench.settings.workers;
  return withWorkers(bench, engine, async (service, client) => {
    const epochs: number[] = [];
    const claim = async (i: number): Promise<number> => {
      const bucket = `worker-${i}`;
      const one = { kind: KIND, bucket, holder: bucket, ttl: HEARTBEAT_S * 3 };
      const epoch = epochs[i];
      const sent = performance.now();
      epochs[i] = (await client.claimLease({ ...one, epoch })).epoch;
      return performance.now() - sent;
    };
    for (let i = 0; i < count; i++) await claim(i);
    await Promise.all(epochs.map((_, i) => claim(i)));
    const idle = await watch(service, () => sleep(3_000));

    const took: Promise<number>[] = [];
    const busy = await watch(service, async () => {
      const began = performance.now();
      const rate = count / HEARTBEAT_S;
      for (let sent = 0; sent < rate * seconds; sent++) {
        await sleep(Math.max(0, began + (sent / rate) * 1_000 - performance.now()));
        took.push(claim(sent % count));
      }
      await Promise.all(took);
    });
    const sorted = (await Promise.all(took)).sort((a, b) => a - b);
    const p99Ms = sorted[Math.floor(sorted.length * 0.99)] ?? NaN;
    const rate = count / HEARTBEAT_S;
    const coreShare = busy.coreShare - idle.coreShare;
    return { workers: count, rate, coreShare, p99Ms, stopMs: busy.stopMs };
  });
}

// How much of a core the service takes meanwhile, and for how long its event loop stops at most.
async function watch(
  service: Server,
  work: () => Promise<unknown>,
): Promise<{ coreShare: number; stopMs: number }> {
  const before = await service.look();
  const began = performance.now();
  await work();
  const { cpuSeconds, stopMs } = await service.look();
  const seconds = (performance.now() - began) / 1_000;
  return { coreShare: (cpuSeconds - before.cpuSeconds) / seconds, stopMs };
}
