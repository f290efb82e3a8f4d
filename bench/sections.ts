// The sections of the report: which figures each measures, and what a reader must know of them.

import { nginxPath } from '../test/nginx.js';
import { runAdopt, runCommand, type CommandRun } from './commands.js';
import { EDGE_USERS, measureWay, WAYS, withEdge } from './edge.js';
import type { Engine } from './engines.js';
import {
  measureGrowth,
  measureKnown,
  measureNew,
  measureOther,
  measureStart,
  type Bench,
  type Growth,
  type Settings,
} from './measure.js';
import { addHashKinds, HASHES, measureHashes } from './hash.js';
import type { Paper } from './paper.js';
import { applyBesideUsers, DRAINED, measurePlan, PLANS } from './plans.js';
import { measureRouter, SHARDS } from './run.js';
import { Table } from './tables.js';
import { measureHeartbeats, measureTakeover } from './workers.js';
import { measureExport, measureImport, type TransferRun } from './transfer.js';
import {
  APPLY_HEADINGS,
  applyRow,
  COMMAND_HEADINGS,
  commandRow,
  EDGE_CACHED,
  EDGE_HEADINGS,
  EDGE_SIGNED,
  edgeRow,
  GROWTH_HEADINGS,
  growthRow,
  HEARTBEAT_HEADINGS,
  heartbeatRow,
  HELP,
  IMPORT,
  KNOWN,
  NEW,
  PLAN_HEADINGS,
  planRow,
  RATE_HEADINGS,
  rateRow,
  ROUTER_HEADINGS,
  routerRow,
  START_HEADINGS,
  startRow,
  TAKEOVER_HEADINGS,
  takeoverRow,
  TRANSFER_HEADINGS,
  transferRow,
  type Figures,
} from './report.js';

/** Measures, prints, and adds to `figures`. */
export type Section = (bench: Bench, paper: Paper, figures: Figures) => Promise<void>;

const CONNECTIONS = [64, 256] as const;
const CACHED = 10_000;

const http: Section = async (bench, paper) => {
  await paper.add(`## HTTP alone
The bare server is \`node:http\` that reads the user's header and sends the bytes that the service
sends; Express does the same in one route. The bare server against itself shows the noise.`);
  const rows: string[][] = [];
  const servers = [
    ['bare', bench.bare],
    ['leanest Express', bench.express],
  ] as const;
  for (const [what, server] of servers) {
    for (const connections of CONNECTIONS) {
      const runs = await paper.measure(`${what}, ${connections} connections`, () =>
        measureOther(bench, server, connections),
      );
      if (runs) rows.push(rateRow({ what, engine: '', objects: undefined, connections, runs }));
    }
  }
  await paper.addTable(RATE_HEADINGS, rows);
};

const known: Section = async (bench, paper, figures) => {
  await paper.add(`## Known users
Names drawn at random from 10,000 (or all, where there are fewer), whose answers are all in the
cache; then drawn from all in the table, of whom the cache holds 200,000.`);
  const [connections] = CONNECTIONS;
  const { objects: sizes, runs: counts } = bench.settings;
  const rows: string[][] = [];
  const measure = async (
    what: string,
    engine: Engine,
    objects: number,
    among: number,
    count: number,
  ): Promise<void> => {
    const runs = await paper.measure(`${what}, ${engine.name}, ${objects} objects`, () =>
      measureKnown(bench, engine, { objects, among, connections, count }),
    );
    if (!runs) return;
    const figure = { what, engine: engine.name, objects, connections, runs };
    figures.rates.push(figure);
    rows.push(rateRow(figure));
  };
  for (const engine of bench.engines) {
    for (const objects of sizes) {
      await measure(KNOWN, engine, objects, Math.min(objects, CACHED), counts.judged);
      if (objects > CACHED) {
        await measure(`${KNOWN}, drawn from all`, engine, objects, objects, counts.reported);
      }
    }
  }
  await paper.addTable(RATE_HEADINGS, rows);
};

const fresh: Section = async (bench, paper, figures) => {
  await paper.add(`## New users
Another name in every request; all that were answered are counted in the database afterwards. The
table has as many objects as stated when a run begins. Names in order (user-00000001 …) always go
to the end of the index, as sign-ups numbered by a directory do; random names go anywhere, so that
each touches another page of it, which has to be read, and on PostgreSQL is written to the log whole
after each checkpoint. The targets are judged on names in order.`);
  const rows: string[][] = [];
  for (const engine of bench.engines) {
    for (const { what, naming, objects, connections, count } of freshCases(bench.settings)) {
      const title = `${what}, ${engine.name}, ${objects} objects, ${connections} connections`;
      const runs = await paper.measure(title, () =>
        measureNew(bench, engine, { objects, naming, connections, count }),
      );
      if (!runs) continue;
      const figure = { what, engine: engine.name, objects, connections, runs };
      figures.rates.push(figure);
      rows.push(rateRow(figure));
    }
  }
  await paper.addTable(RATE_HEADINGS, rows);
};

function freshCases({ objects: sizes, runs, isBrief }: Settings) {
  const judged = { what: NEW, naming: 'ordered', count: runs.judged } as const;
  const reported = {
    what: 'new user, random names',
    naming: 'random',
    count: runs.reported,
  } as const;
  const all = [judged, reported].flatMap((names) =>
    sizes.flatMap((objects) =>
      CONNECTIONS.map((connections) => ({ ...names, objects, connections })),
    ),
  );
  return all.filter(
    ({ naming, objects, connections }) =>
      naming === 'ordered' ||
      !isBrief ||
      (objects === Math.max(...sizes) && connections === CONNECTIONS[0]),
  );
}

const growth: Section = async (bench, paper, figures) => {
  const { objects, runs: count } = bench.settings.growth;
  const connections = CONNECTIONS[1];
  await paper.add(`## Growth
From an empty table to ${objects.toLocaleString('en')} new users in one run, names in order,
${connections} connections: new users per second in each tenth. The service was warmed up with
objects of another kind before, else the last tenth would look good beside a slow first.`);
  for (const engine of bench.engines) {
    const runs: Growth[] = [];
    for (let i = 1; i <= count; i++) {
      const title = `from an empty table to ${objects}, ${engine.name}, ${i} of ${count}`;
      const run = await paper.measure(title, () => measureGrowth(bench, engine, connections));
      if (run) runs.push(run);
    }
    if (runs.length > 0) figures.growths.push({ engine: engine.name, objects, runs });
  }
  await paper.addTable(GROWTH_HEADINGS, figures.growths.map(growthRow));
};

const edge: Section = async (bench, paper, figures) => {
  const [connections] = CONNECTIONS;
  if (nginxPath === undefined) {
    await paper.add(`## The edge
nginx is not installed, and left out.`);
    return;
  }
  await paper.add(`## The edge
Requests through nginx with the files of nginx/, for ${EDGE_USERS} users in five buckets, each request
with a password and the cookie that the Sharder issued. Plain is the same nginx that finds no bucket
and has one upstream; each run is taken just after one of plain, which against itself shows the noise.
One process of nginx is measured, on the servers' core. The load, the Sharder and another nginx, which
answers for all buckets, share the load's core: where each request asks the Sharder, that core may be
what limits. Names are drawn at random, so that a user's answer is used often before it is too old.`);
  const ways = [
    ['plain', WAYS.plain],
    ['asking each time (auth_request, no cache)', WAYS.uncached],
    [EDGE_CACHED, WAYS.cached],
    [EDGE_SIGNED, WAYS.signed],
  ] as const;
  await paper.measure('the edge', () =>
    withEdge(bench, async (edge) => {
      for (const [what, way] of ways) {
        const runs = await paper.measure(`through nginx, ${what}`, () =>
          measureWay(bench, edge, way, connections),
        );
        if (runs) figures.edges.push({ what, connections, runs });
      }
    }),
  );
  await paper.addTable(EDGE_HEADINGS, figures.edges.map(edgeRow));
};

const hash: Section = async (bench, paper) => {
  await paper.add(`## Hash
Keys of kinds with the policy hash, another one in every request, beside known users whose answers are in the
cache. The pattern takes the key from a header.`);
  const [connections] = CONNECTIONS;
  const rows: string[][] = [];
  for (const engine of bench.engines) {
    await bench.tables.lend(engine, 'ordered', CACHED, async (table) => {
      await addHashKinds(table);
      for (const route of ['auth', 'shard'] as const) {
        const all = await paper.measure(`hash, /${route}, ${engine.name}`, () =>
          measureHashes(bench, table, route, connections),
        );
        all?.forEach((runs, i) => {
          const what = `/${route}: ${HASHES[i]?.what ?? ''}`;
          rows.push(rateRow({ what, engine: engine.name, objects: CACHED, connections, runs }));
        });
      }
    });
  }
  await paper.addTable(RATE_HEADINGS, rows);
};

const start: Section = async (bench, paper, figures) => {
  await paper.add(`## Start
Seconds from the start of the process to its first answer, for a user who is in the table.`);
  for (const engine of bench.engines) {
    for (const objects of bench.settings.objects) {
      const seconds = await paper.measure(`start, ${engine.name}, ${objects} objects`, () =>
        measureStart(bench, engine, objects),
      );
      if (seconds) figures.starts.push({ engine: engine.name, objects, seconds });
    }
  }
  await paper.addTable(START_HEADINGS, figures.starts.map(startRow));
};

const commands: Section = async (bench, paper, figures) => {
  const { listed, adopted, runs: counts } = bench.settings.commands;
  await paper.add(`## Commands
Seconds from the start of a command to its end, and the most memory that it needed at once. Adopted
is a database of the Python sharder with five buckets.`);
  const add = async (what: string, engine: string, run: () => Promise<CommandRun>) => {
    const runs = await paper.measure(`${what} ${engine}`, async () => {
      const all: CommandRun[] = [];
      while (all.length < counts) all.push(await run());
      return all;
    });
    if (runs) figures.commands.push({ what, engine, runs });
  };
  await add(HELP, '', () => runCommand(['--help']));
  for (const engine of bench.engines) {
    const objects = listed.toLocaleString('en');
    await bench.tables.lend(engine, 'ordered', listed, async ({ url }) => {
      await add(`sharder object list, ${objects} objects`, engine.name, () =>
        runCommand(['object', 'list'], url),
      );
    });
  }
  for (const engine of bench.engines) {
    await add(`sharder adopt, ${adopted.toLocaleString('en')} users`, engine.name, () =>
      runAdopt(engine, adopted),
    );
  }
  await paper.addTable(COMMAND_HEADINGS, figures.commands.map(commandRow));
};

const transfer: Section = async (bench, paper, figures) => {
  const { rows, runs: count } = bench.settings.transfer;
  await paper.add(`## Import and export
Of CSV, each run just after the engine has done the same by itself: prepared inserts in one durable
transaction on SQLite, COPY on PostgreSQL, into the same empty table with its indexes and triggers; for
an export, a SELECT whose rows are thrown away, or COPY. Locked is how long new users wait for the one
transaction of an import, the longest of all runs; known users do not. Memory is the most at once.`);
  const add = async (what: string, engine: Engine, run: () => Promise<TransferRun>) => {
    const runs = await paper.measure(`${what}, ${engine.name}, ${rows} rows`, async () => {
      const all: TransferRun[] = [];
      while (all.length < count) all.push(await run());
      return all;
    });
    if (runs) figures.transfers.push({ what, engine: engine.name, rows, runs });
  };
  for (const engine of bench.engines) {
    await add(IMPORT, engine, () => measureImport(engine, rows, 'ordered'));
    await add('import, names in no order', engine, () => measureImport(engine, rows, 'random'));
    await bench.tables.lend(engine, 'ordered', rows, async ({ url }) => {
      await add('export', engine, () => measureExport(engine, url));
    });
  }
  await paper.addTable(TRANSFER_HEADINGS, figures.transfers.map(transferRow));
};

const plans: Section = async (bench, paper, figures) => {
  const { objects, buckets, runs: count } = bench.settings.plans;
  const [connections] = CONNECTIONS;
  await paper.add(`## Plans
Of ${objects.toLocaleString('en')} objects over ${buckets} buckets: the command that makes a plan, from its
start to its end, and the most memory that it needed at once. The rebalance is after more than half of the
buckets were given twice the weight. Then a running service applies the drain of ${DRAINED} buckets as fast as
it can, beside ${connections} connections of known users, and takes it back beside as many of new ones:
moves per second, the users' rates, and the longest stop of the event loop, and the same without a plan just
before.`);
  for (const engine of bench.engines) {
    const table = await Table.create(engine, 'ordered', objects, buckets);
    for (const plan of PLANS) {
      const what = `sharder plan ${plan.what}`;
      const runs = await paper.measure(`${what}, ${engine.name}, ${objects} objects`, () =>
        measurePlan(table, plan, count),
      );
      if (runs) figures.plans.push({ what, engine: engine.name, objects, runs });
    }
    const runs = await paper.measure(`a drain is applied, ${engine.name}`, () =>
      applyBesideUsers(bench, table, connections),
    );
    for (const users of ['known', 'new'] as const) {
      if (!runs) continue;
      figures.applications.push({ users, engine: engine.name, objects, runs: runs[users] });
    }
    await table.remove();
  }
  await paper.addTable(PLAN_HEADINGS, figures.plans.map(planRow));
  await paper.addTable(APPLY_HEADINGS, figures.applications.map(applyRow));
};

const workers: Section = async (bench, paper, figures) => {
  const { objects, workers: count, idle } = bench.settings.workers;
  await paper.add(`## Workers
${objects.toLocaleString('en')} objects are registered with ${count} workers, which are ShardServers of one process
on the load's core; then one of them falls silent: seconds from the end of its lease until others have begun all
that it had. And ${idle.toLocaleString('en')} workers without objects, each renewing a lease of 30 seconds every ten:
what that costs the service, as a share of one core, what an idle service costs left out.`);
  for (const engine of bench.engines) {
    const takeover = await paper.measure(`a worker dies, ${engine.name}`, () =>
      measureTakeover(bench, engine),
    );
    if (takeover) figures.takeovers.push({ engine: engine.name, run: takeover });
    const heartbeats = await paper.measure(`heartbeats, ${engine.name}`, () =>
      measureHeartbeats(bench, engine),
    );
    if (heartbeats) figures.heartbeats.push({ engine: engine.name, run: heartbeats });
  }
  await paper.addTable(TAKEOVER_HEADINGS, figures.takeovers.map(takeoverRow));
  await paper.addTable(HEARTBEAT_HEADINGS, figures.heartbeats.map(heartbeatRow));
};

const run: Section = async (bench, paper, figures) => {
  if (nginxPath === undefined) {
    await paper.add(`## A router before shards
nginx is not installed, and left out.`);
    return;
  }
  await paper.add(`## A router before shards
Requests under /users/NAME/ through the router of \`sharder run\` to ${SHARDS} shards, of which one nginx on the
load's core is all; each run just after one through the library that it uses, which looks at no key and has one
server, and one through the nginx of \`sharder run --nginx\`, one process that hashes the key by itself.`);
  for (const connections of CONNECTIONS) {
    const runs = await paper.measure(`a router, ${connections} connections`, () =>
      measureRouter(bench, connections),
    );
    if (runs) figures.routers.push({ connections, runs });
  }
  await paper.addTable(ROUTER_HEADINGS, figures.routers.map(routerRow));
};

/** By the names that `--only` takes, in the order in which they are measured. */
export const SECTIONS: ReadonlyMap<string, Section> = new Map([
  ['http', http],
  ['start', start],
  ['known', known],
  ['hash', hash],
  ['new', fresh],
  ['growth', growth],
  ['edge', edge],
  ['commands', commands],
  ['transfer', transfer],
  ['plans', plans],
  ['workers', workers],
  ['run', run],
]);
