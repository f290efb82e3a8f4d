// Plans: what it takes to make one, and what users feel while a service applies it.

import { runCommand, type CommandRun } from './commands.js';
import { KIND } from './engines.js';
import type { Names } from './load.js';
import { load, warming, warmUp, withService, type Bench } from './measure.js';
import type { Server } from './server.js';
import type { Table } from './tables.js';

export interface PlanRun extends CommandRun {
  readonly moves: number;
}

/** How many buckets are drained, or are new. */
export const DRAINED = 20;

interface PlanCase {
  readonly what: string;
  readonly args: readonly string[];
  /** SQL before it, and afterwards. */
  readonly before: string;
  readonly after: string;
}

const named = (prefix: string): string[] =>
  Array.from({ length: DRAINED }, (_, i) => `${prefix}-${i}`);
const NEW = named('new');
const DRAIN = ['drain', ...named(KIND)];

export const PLANS: readonly PlanCase[] = [
  {
    what: 'rebalance',
    args: ['rebalance'],
    before: `update bucket set weight = 2 where kind = '${KIND}' and name like '${KIND}-1%'`,
    after: `update bucket set weight = 1 where kind = '${KIND}'`,
  },
  {
    what: `spread onto ${DRAINED} new buckets`,
    args: ['spread', ...NEW],
    before: NEW.map((name) => `insert into bucket (kind, name) values ('${KIND}', '${name}')`).join(
      ';',
    ),
    after: `delete from bucket where kind = '${KIND}' and name like 'new-%'`,
  },
  { what: `drain of ${DRAINED} buckets`, args: DRAIN, before: 'select 1', after: 'select 1' },
];

const LAST = 'from plan order by id desc limit 1';

/** Makes the plan so often. */
export async function measurePlan(
  table: Table,
  { args, before, after }: PlanCase,
  count: number,
): Promise<PlanRun[]> {
  await table.run(before);
  const runs: PlanRun[] = [];
  while (runs.length < count) {
    const run = await runCommand(['plan', ...args], table.url);
    runs.push({ ...run, moves: await table.read(`select moves ${LAST}`) });
  }
  await table.run(after);
  return runs;
}

/** One plan that was applied while users asked, and how it was for them just before. */
export interface ApplyRun {
  readonly moves: number;
  /** Per second. */
  readonly movesRate: number;
  readonly rate: number;
  readonly aloneRate: number;
  readonly stopMs: number;
  readonly aloneStopMs: number;
  readonly rssBytes: number;
}

const CACHED = 10_000;
const FASTEST = 1_000_000;
// Moves per second until the users are there.
const SLOWEST = 10;

/** Has a service apply a drain beside known users, and take it back beside new ones. */
export function applyBesideUsers(
  bench: Bench,
  table: Table,
  connections: number,
): Promise<{ readonly known: ApplyRun[]; readonly new: ApplyRun[] }> {
  return withService(bench, table, async (service) => {
    const known: ApplyRun[] = [];
    const fresh: ApplyRun[] = [];
    const slowly = ['--no-wait', '--rate', String(SLOWEST)];
    const names = { how: 'known', count: CACHED } as const;
    await load(bench, service, { connections, names, until: () => warming(bench) });
    await warmUp(bench, service, connections);
    while (known.length < bench.settings.plans.runs) {
      await runCommand(['plan', ...DRAIN], table.url);
      const plan = await table.read(`select id ${LAST}`);
      known.push(
        await beside(bench, table, service, connections, () => names, [
          ...['apply', String(plan)],
          ...slowly,
        ]),
      );
      fresh.push(
        await beside(
          bench,
          table,
          service,
          connections,
          () => ({ how: 'ordered', first: table.next }),
          ['undo', String(plan), ...slowly],
        ),
      );
    }
    return { known, new: fresh };
  });
}

async function beside(
  bench: Bench,
  table: Table,
  service: Server,
  connections: number,
  names: () => Names,
  start: readonly string[],
): Promise<ApplyRun> {
  await service.look();
  const alone = await load(bench, service, { connections, names: names() });
  table.next += alone.issued;
  const { stopMs: aloneStopMs } = await service.look();

  await runCommand(['plan', ...start], table.url);
  const made = `select made + skipped ${LAST}`;
  await table.watch((_atMs, count) => count === 0, made);
  const moves = await table.read(`select moves ${LAST}`);
  let [first, last] = [0, 0];
  let before = 0;
  const done = async (): Promise<void> => {
    before = await table.read(made);
    await table.run(`update plan set rate = ${FASTEST} where state = 'running'`);
    first = performance.now();
    await table.watch((atMs, count) => {
      last = atMs;
      return count < moves;
    }, made);
  };
  await service.look();
  const meanwhile = await load(bench, service, { connections, names: names(), until: done });
  table.next += meanwhile.issued;
  return {
    moves,
    movesRate: (moves - before) / ((last - first) / 1_000),
    rate: meanwhile.requests / meanwhile.seconds,
    aloneRate: alone.requests / alone.seconds,
    aloneStopMs,
    ...(await service.look()),
  };
}
