// The measurements. Each run of a server is taken in turn with one of the bare server, so that the
// machine's noise hits both.

import { setTimeout as sleep } from 'node:timers/promises';
import { KIND, WARM_KIND, type Engine, type Naming } from './engines.js';
import { putLoad, type Names } from './load.js';
import type { Cores } from './machine.js';
import { ask } from './reply.js';
import { Server } from './server.js';
import type { Table, Tables } from './tables.js';

/** How long, how often and how much. */
export interface Settings {
  readonly seconds: number;
  readonly warmSeconds: number;
  /** Of what a target is judged on, and of what is reported beside it. */
  readonly runs: { readonly judged: number; readonly reported: number };
  /** Whether random names are tried only on the largest table with the fewest connections. */
  readonly isBrief: boolean;
  /** How many objects the tables have; the smallest first. */
  readonly objects: readonly number[];
  /** From an empty table to so many objects, so often. */
  readonly growth: { readonly objects: number; readonly runs: number };
  readonly starts: number;
  /** How many objects are listed, how many users adopted, and how often. */
  readonly commands: { readonly listed: number; readonly adopted: number; readonly runs: number };
  /** How many rows are imported and exported, and how often. */
  readonly transfer: { readonly rows: number; readonly runs: number };
  /** Of how many objects over how many buckets plans are made, and how often. */
  readonly plans: { readonly objects: number; readonly buckets: number; readonly runs: number };
  /** How many objects follow how many workers, and how many other workers only renew their leases. */
  readonly workers: {
    readonly objects: number;
    readonly workers: number;
    readonly idle: number;
    readonly seconds: number;
  };
}

export interface Bench {
  readonly settings: Settings;
  readonly cores: Cores;
  readonly hasWrk: boolean;
  readonly engines: readonly [Engine, ...Engine[]];
  readonly tables: Tables;
  readonly bare: Server;
  readonly express: Server;
  /** What is to be done when the bench ends, at Ctrl-C too. */
  readonly onEnd: (cleanup: () => unknown) => void;
}

/** One run, and the run of the bare server just before it. */
export interface Run {
  readonly rate: number;
  readonly bareRate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly stopMs: number;
  readonly rssBytes: number;
}

interface Case {
  readonly connections: number;
  readonly names: Names;
  /** Of the service; default: /shard. */
  readonly path?: string;
}

/** Loads the bare server and then `server`; with how many names the latter may have seen. */
export async function runInTurn(
  bench: Bench,
  server: Server,
  { connections, names, path }: Case,
): Promise<{ run: Run; requests: number; issued: number }> {
  const bare = await load(bench, bench.bare, { connections, names });
  await server.look();
  const ours = await load(bench, server, {
    connections,
    names,
    ...(path !== undefined && { path }),
  });
  const { stopMs, rssBytes } = await server.look();
  const { requests, seconds, issued, p50Ms, p99Ms } = ours;
  const rate = requests / seconds;
  const bareRate = bare.requests / bare.seconds;
  return { run: { rate, bareRate, p50Ms, p99Ms, stopMs, rssBytes }, requests, issued };
}

/** Puts load on a server as `putLoad` does; by default for as long as a run takes. */
export function load(
  { cores, hasWrk, settings }: Bench,
  server: Server,
  { connections, names, path = '/shard', until }: Case & { until?: () => Promise<unknown> },
) {
  const end = until ?? (() => sleep(settings.seconds * 1000));
  return putLoad(cores.load, hasWrk, { url: server.url + path, connections, names }, end);
}

/** A server without a table: the bare one itself, or Express. */
export async function measureOther(
  bench: Bench,
  server: Server,
  connections: number,
): Promise<Run[]> {
  const names = { how: 'known', count: 10_000 } as const;
  const runs: Run[] = [];
  for (let i = 0; i < bench.settings.runs.reported; i++) {
    runs.push((await runInTurn(bench, server, { connections, names })).run);
  }
  return runs;
}

/** Users who have their bucket already, drawn from the first `among`. */
export function measureKnown(
  bench: Bench,
  engine: Engine,
  {
    objects,
    among,
    connections,
    count,
  }: {
    objects: number;
    among: number;
    connections: number;
    count: number;
  },
): Promise<Run[]> {
  const names = { how: 'known', count: among } as const;
  return bench.tables.lend(engine, 'ordered', objects, async (table) => {
    const before = await table.members();
    const runs = await withService(bench, table, async (service) => {
      const runs: Run[] = [];
      await load(bench, service, { connections, names, until: () => warming(bench) });
      for (let i = 0; i < count; i++) {
        runs.push((await runInTurn(bench, service, { connections, names })).run);
      }
      return runs;
    });
    const after = await table.members();
    if (after !== before) throw new Error(`known users left ${after - before} new objects behind`);
    return runs;
  });
}

/** Users who get their bucket now: another one in every request. */
export async function measureNew(
  bench: Bench,
  engine: Engine,
  {
    objects,
    naming,
    connections,
    count,
  }: {
    objects: number;
    naming: Naming;
    connections: number;
    count: number;
  },
): Promise<Run[]> {
  const runs: Run[] = [];
  for (let i = 0; i < count; i++) {
    const run = await bench.tables.lend(engine, naming, objects, async (table) => {
      const before = await table.members();
      const names: Names =
        naming === 'ordered' ? { how: 'ordered', first: table.next } : { how: 'random' };
      const { run, requests, issued } = await withService(bench, table, async (service) => {
        await warmUp(bench, service, connections);
        return runInTurn(bench, service, { connections, names });
      });
      table.next += issued;
      await checkStored(table, before, requests, issued);
      return run;
    });
    runs.push(run);
  }
  return runs;
}

/** One growth from an empty table. */
export interface Growth {
  /** New users per second in each tenth. */
  readonly tenths: readonly number[];
  readonly bareRate: number;
  readonly stopMs: number;
  readonly rssBytes: number;
}

/** From an empty table to so many new users in one run. */
export function measureGrowth(bench: Bench, engine: Engine, connections: number): Promise<Growth> {
  const { objects } = bench.settings.growth;
  const names = { how: 'ordered', first: 1 } as const;
  return bench.tables.lend(engine, 'ordered', 0, async (table) => {
    const { requests, issued, ...growth } = await withService(bench, table, async (service) => {
      // Else the first tenth would be slow, and the last look good beside it.
      await warmUp(bench, service, connections);
      const bare = await load(bench, bench.bare, { connections, names });
      await service.look();
      const samples: Sample[] = [];
      const grown = table.watch((atMs, members) => {
        samples.push({ atMs, members });
        return members < objects;
      });
      const { requests, issued } = await load(bench, service, {
        connections,
        names,
        until: () => grown,
      });
      await grown;
      const { stopMs, rssBytes } = await service.look();
      const bareRate = bare.requests / bare.seconds;
      return { tenths: tenthsOf(samples, objects), bareRate, stopMs, rssBytes, requests, issued };
    });
    await checkStored(table, 0, requests, issued);
    return growth;
  });
}

interface Sample {
  readonly atMs: number;
  readonly members: number;
}

/** New users per second in each tenth of the way to `objects`. */
function tenthsOf(samples: readonly Sample[], objects: number): number[] {
  const times = Array.from({ length: 11 }, (_, tenth) => timeOf(samples, (objects * tenth) / 10));
  return times.slice(1).map((time, i) => objects / 10 / ((time - (times[i] ?? 0)) / 1000));
}

// When there were so many, between the last sample with no more and the next.
function timeOf(samples: readonly Sample[], members: number): number {
  const at = samples.findLastIndex((sample) => sample.members <= members);
  const [last, next] = [samples[at], samples[at + 1]];
  if (!last) return 0;
  if (!next) return last.atMs;
  const part = (members - last.members) / (next.members - last.members);
  return last.atMs + part * (next.atMs - last.atMs);
}

/** Seconds from the start of the process to its first answer, for a user who is in the table. */
export async function measureStart(
  bench: Bench,
  engine: Engine,
  objects: number,
): Promise<number[]> {
  const seconds: number[] = [];
  for (let i = 0; i < bench.settings.starts; i++) {
    await bench.tables.lend(engine, 'ordered', objects, async ({ url }) => {
      const started = performance.now();
      const service = await Server.service(undefined, url, { isProbed: false });
      await ask(service.url, 'user-00000001');
      seconds.push((performance.now() - started) / 1000);
      await service.stop();
    });
  }
  return seconds;
}

/** Lends the service on a table, and ends it. */
export async function withService<T>(
  { cores }: Bench,
  table: Table,
  work: (service: Server) => Promise<T>,
): Promise<T> {
  const service = await Server.service(cores.server, table.url);
  try {
    return await work(service);
  } finally {
    await service.stop();
  }
}

/** On another kind, so that the table has as many objects of ours as it is said to have. */
export function warmUp(bench: Bench, service: Server, connections: number): Promise<unknown> {
  const path = `/shard/${WARM_KIND}`;
  return load(bench, service, {
    connections,
    names: { how: 'random' },
    path,
    until: () => warming(bench),
  });
}

/** As long as a server is warmed up. */
export function warming({ settings }: Bench): Promise<void> {
  return sleep(settings.warmSeconds * 1000);
}

// What was answered must be there, and no more than was asked for.
async function checkStored(
  table: Table,
  before: number,
  requests: number,
  issued: number,
): Promise<void> {
  const stored = (await table.members()) - before;
  if (stored < requests || stored > issued) {
    throw new Error(
      `${requests} new users of kind ${KIND} were answered, ${issued} asked, and ${stored} are stored`,
    );
  }
}
