// Figures as people read them: Markdown tables, and the targets against what was measured.

import type { CommandRun } from './commands.js';
import type { EdgeRun } from './edge.js';
import type { Growth, Run } from './measure.js';
import type { ApplyRun, PlanRun } from './plans.js';
import type { RouterRun } from './run.js';
import type { TransferRun } from './transfer.js';
import type { HeartbeatRun, TakeoverRun } from './workers.js';

/** A line of the table of rates. */
export interface Figure {
  readonly what: string;
  readonly engine: string;
  /** Undefined for a server without a table. */
  readonly objects: number | undefined;
  readonly connections: number;
  readonly runs: readonly Run[];
}

export interface GrowthFigure {
  readonly engine: string;
  readonly objects: number;
  readonly runs: readonly Growth[];
}

export interface EdgeFigure {
  readonly what: string;
  readonly connections: number;
  readonly runs: readonly EdgeRun[];
}

export interface StartFigure {
  readonly engine: string;
  readonly objects: number;
  readonly seconds: readonly number[];
}

export interface CommandFigure {
  readonly what: string;
  /** Empty for a command that needs no database. */
  readonly engine: string;
  readonly runs: readonly CommandRun[];
}

export interface TransferFigure {
  readonly what: string;
  readonly engine: string;
  readonly rows: number;
  readonly runs: readonly TransferRun[];
}

export interface PlanFigure {
  readonly what: string;
  readonly engine: string;
  readonly objects: number;
  readonly runs: readonly PlanRun[];
}

export interface ApplyFigure {
  /** Who asks meanwhile. */
  readonly users: string;
  readonly engine: string;
  readonly objects: number;
  readonly runs: readonly ApplyRun[];
}

export interface TakeoverFigure {
  readonly engine: string;
  readonly run: TakeoverRun;
}

export interface HeartbeatFigure {
  readonly engine: string;
  readonly run: HeartbeatRun;
}

export interface RouterFigure {
  readonly connections: number;
  readonly runs: readonly RouterRun[];
}

/** All that was measured. */
export interface Figures {
  readonly rates: Figure[];
  readonly growths: GrowthFigure[];
  readonly edges: EdgeFigure[];
  readonly starts: StartFigure[];
  readonly commands: CommandFigure[];
  readonly transfers: TransferFigure[];
  readonly plans: PlanFigure[];
  readonly applications: ApplyFigure[];
  readonly takeovers: TakeoverFigure[];
  readonly heartbeats: HeartbeatFigure[];
  readonly routers: RouterFigure[];
}

/** What the figures are called that a target is judged on. */
export const KNOWN = 'known user';
export const NEW = 'new user, names in order';
export const EDGE_CACHED = 'with cached answers';
export const EDGE_SIGNED = 'with signed cookies';
export const HELP = 'sharder --help';
export const IMPORT = 'import, names in order';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

/** The median of what each pair of runs gives. */
function ratio({ runs }: Figure): number {
  return median(runs.map(({ rate, bareRate }) => rate / bareRate));
}

function lastToFirst({ runs }: GrowthFigure): number {
  return median(runs.map(({ tenths }) => (tenths.at(-1) ?? NaN) / (tenths[0] ?? NaN)));
}

const toPlain = ({ rate, plainRate }: EdgeRun): number => rate / plainRate;

const whole = (n: number): string => Math.round(n).toLocaleString('en');
const fixed = (n: number, digits = 2): string => n.toFixed(digits);
const megabytes = (runs: readonly { rssBytes: number }[]): number =>
  Math.max(...runs.map(({ rssBytes }) => rssBytes)) / 1e6;
const longestStop = (runs: readonly { stopMs: number }[]): number =>
  Math.max(...runs.map(({ stopMs }) => stopMs));

export const RATE_HEADINGS = [
  'what',
  'engine',
  'objects',
  'connections',
  'requests/s',
  'bare',
  '× bare',
  'lowest … highest',
  'p50 ms',
  'p99 ms',
  'longest stop ms',
  'memory MB',
] as const;

export function rateRow(figure: Figure): string[] {
  const { what, engine, objects, connections, runs } = figure;
  const ratios = runs.map(({ rate, bareRate }) => rate / bareRate);
  return [
    what,
    engine,
    objects === undefined ? '' : whole(objects),
    whole(connections),
    whole(median(runs.map(({ rate }) => rate))),
    whole(median(runs.map(({ bareRate }) => bareRate))),
    fixed(ratio(figure)),
    `${fixed(Math.min(...ratios))} … ${fixed(Math.max(...ratios))}`,
    fixed(median(runs.map(({ p50Ms }) => p50Ms)), 1),
    fixed(median(runs.map(({ p99Ms }) => p99Ms)), 1),
    fixed(longestStop(runs), 1),
    whole(megabytes(runs)),
  ];
}

const TENTHS = Array.from({ length: 10 }, (_, i) => i);

export const GROWTH_HEADINGS = [
  'engine',
  ...TENTHS.map((tenth) => `tenth ${tenth + 1}`),
  'last : first',
  'bare',
  'longest stop ms',
  'memory MB',
] as const;

export function growthRow(figure: GrowthFigure): string[] {
  const { engine, runs } = figure;
  return [
    engine,
    ...TENTHS.map((i) => whole(median(runs.map(({ tenths }) => tenths[i] ?? NaN)))),
    fixed(lastToFirst(figure)),
    whole(median(runs.map(({ bareRate }) => bareRate))),
    fixed(longestStop(runs), 1),
    whole(megabytes(runs)),
  ];
}

export const EDGE_HEADINGS = [
  'through nginx',
  'connections',
  'requests/s',
  'plain',
  '× plain',
  'lowest … highest',
  'p50 ms',
  'p99 ms',
  'Sharder asked, per request',
] as const;

export function edgeRow({ what, connections, runs }: EdgeFigure): string[] {
  const ratios = runs.map(toPlain);
  return [
    what,
    whole(connections),
    whole(median(runs.map(({ rate }) => rate))),
    whole(median(runs.map(({ plainRate }) => plainRate))),
    fixed(median(ratios)),
    `${fixed(Math.min(...ratios))} … ${fixed(Math.max(...ratios))}`,
    fixed(median(runs.map(({ p50Ms }) => p50Ms)), 1),
    fixed(median(runs.map(({ p99Ms }) => p99Ms)), 1),
    fixed(median(runs.map(({ asked }) => asked)), 4),
  ];
}

export const START_HEADINGS = ['engine', 'objects', 'seconds', 'slowest'] as const;

export function startRow({ engine, objects, seconds }: StartFigure): string[] {
  return [engine, whole(objects), fixed(median(seconds)), fixed(Math.max(...seconds))];
}

export const COMMAND_HEADINGS = ['what', 'engine', 'seconds', 'slowest', 'memory MB'] as const;

export function commandRow({ what, engine, runs }: CommandFigure): string[] {
  const seconds = runs.map((run) => run.seconds);
  const slowest = Math.max(...seconds);
  return [what, engine, fixed(median(seconds)), fixed(slowest), whole(megabytes(runs))];
}

export const TRANSFER_HEADINGS = [
  'what',
  'engine',
  'rows',
  'seconds',
  "the engine's own",
  'its rate × own',
  'lowest … highest',
  'locked s',
  'memory MB',
] as const;

const toOwn = ({ seconds, ownSeconds }: TransferRun): number => ownSeconds / seconds;

export function transferRow({ what, engine, rows, runs }: TransferFigure): string[] {
  const ratios = runs.map(toOwn);
  const locked = runs.flatMap(({ lockedSeconds }) => lockedSeconds ?? []);
  return [
    what,
    engine,
    whole(rows),
    fixed(median(runs.map(({ seconds }) => seconds))),
    fixed(median(runs.map(({ ownSeconds }) => ownSeconds))),
    fixed(median(ratios)),
    `${fixed(Math.min(...ratios))} … ${fixed(Math.max(...ratios))}`,
    locked.length === 0 ? '' : fixed(Math.max(...locked)),
    whole(megabytes(runs)),
  ];
}

export const PLAN_HEADINGS = [
  'what',
  'engine',
  'objects',
  'moves',
  'seconds',
  'slowest',
  'memory MB',
] as const;

export function planRow({ what, engine, objects, runs }: PlanFigure): string[] {
  const seconds = runs.map((run) => run.seconds);
  return [
    what,
    engine,
    whole(objects),
    whole(median(runs.map(({ moves }) => moves))),
    fixed(median(seconds)),
    fixed(Math.max(...seconds)),
    whole(megabytes(runs)),
  ];
}

export const APPLY_HEADINGS = [
  'users meanwhile',
  'engine',
  'objects',
  'moves',
  'moves/s',
  'users/s meanwhile',
  'without',
  '× without',
  'longest stop ms',
  'without a plan',
  'memory MB',
] as const;

export function applyRow({ users, engine, objects, runs }: ApplyFigure): string[] {
  return [
    users,
    engine,
    whole(objects),
    whole(median(runs.map(({ moves }) => moves))),
    whole(median(runs.map(({ movesRate }) => movesRate))),
    whole(median(runs.map(({ rate }) => rate))),
    whole(median(runs.map(({ aloneRate }) => aloneRate))),
    fixed(median(runs.map(({ rate, aloneRate }) => rate / aloneRate))),
    fixed(longestStop(runs), 1),
    fixed(Math.max(...runs.map(({ aloneStopMs }) => aloneStopMs)), 1),
    whole(megabytes(runs)),
  ];
}

export const TAKEOVER_HEADINGS = [
  'engine',
  'objects',
  'workers',
  'registered/s',
  'all owned after s',
  'of the dead one',
  'owned again after its lease s',
  'of it grace s',
  'longest stop ms',
  'memory MB',
] as const;

export function takeoverRow({ engine, run }: TakeoverFigure): string[] {
  return [
    engine,
    whole(run.objects),
    whole(run.workers),
    whole(run.registeredRate),
    fixed(run.ownedSeconds),
    whole(run.orphans),
    fixed(run.againSeconds),
    fixed(run.graceSeconds, 0),
    fixed(run.stopMs, 1),
    whole(run.rssBytes / 1e6),
  ];
}

export const HEARTBEAT_HEADINGS = [
  'engine',
  'workers',
  'renewals/s',
  'of one core',
  'p99 ms',
  'longest stop ms',
] as const;

export function heartbeatRow({ engine, run }: HeartbeatFigure): string[] {
  return [
    engine,
    whole(run.workers),
    whole(run.rate),
    `${fixed(run.coreShare * 100, 1)} %`,
    fixed(run.p99Ms, 1),
    fixed(run.stopMs, 1),
  ];
}

export const ROUTER_HEADINGS = [
  'connections',
  'requests/s',
  'plain library',
  '× plain',
  'lowest … highest',
  'nginx by its own hash',
  '× nginx',
  'p50 ms',
  'p99 ms',
  'memory MB',
] as const;

export function routerRow({ connections, runs }: RouterFigure): string[] {
  const toPlain = runs.map(({ rate, plainRate }) => rate / plainRate);
  return [
    String(connections),
    whole(median(runs.map(({ rate }) => rate))),
    whole(median(runs.map(({ plainRate }) => plainRate))),
    fixed(median(toPlain)),
    `${fixed(Math.min(...toPlain))} … ${fixed(Math.max(...toPlain))}`,
    whole(median(runs.map(({ nginxRate }) => nginxRate))),
    fixed(median(runs.map(({ rate, nginxRate }) => rate / nginxRate))),
    fixed(median(runs.map(({ p50Ms }) => p50Ms)), 1),
    fixed(median(runs.map(({ p99Ms }) => p99Ms)), 1),
    whole(megabytes(runs)),
  ];
}

export const TARGET_HEADINGS = ['what', 'measured', 'target', ''] as const;

/** A row for each target that these figures tell something of. */
export function targetRows({
  rates,
  growths,
  edges,
  starts,
  commands,
  transfers,
  plans,
  applications,
  takeovers,
}: Figures): string[][] {
  const measured = rates.filter(({ objects }) => objects !== undefined);
  const sizes = measured.map(({ objects = 0 }) => objects);
  const [small, large] = [Math.min(...sizes), Math.max(...sizes)];
  const judged = measured.filter(({ what }) => what === KNOWN || what === NEW);
  const rows: string[][] = [];

  const nameOf = ({ what, engine, connections }: Figure): string =>
    what === KNOWN ? `known user, ${engine}` : `new user, ${engine}, ${connections} connections`;
  for (const figure of judged.filter(({ objects }) => objects === small)) {
    rows.push(atLeast(`${nameOf(figure)}, against bare`, ratio(figure), rateTarget(figure)));
  }
  for (const growth of growths) {
    const { engine, objects } = growth;
    const what = `from an empty table to ${whole(objects)}, ${engine}: last tenth against first`;
    rows.push(atLeast(what, lastToFirst(growth), 0.9));
  }
  for (const figure of judged.filter(({ objects }) => objects === large && large > small)) {
    const base = judged.find(
      (other) => other.objects === small && nameOf(other) === nameOf(figure),
    );
    if (!base) continue;
    const what = `${nameOf(figure)}: ${whole(large)} objects against ${whole(small)}`;
    rows.push(atLeast(what, ratio(figure) / ratio(base), 0.9));
  }
  if (measured.length > 0) {
    const most = Math.max(
      ...measured.filter(({ objects }) => objects === large).map(({ runs }) => megabytes(runs)),
    );
    rows.push(atMost(`memory at ${whole(large)} objects`, most, 200, 'MB', 0));
  }
  for (const { what, runs } of edges) {
    if (what !== EDGE_CACHED && what !== EDGE_SIGNED) continue;
    rows.push(atLeast(`through nginx ${what}, against plain`, median(runs.map(toPlain)), 0.8));
  }
  for (const { engine, objects, seconds } of starts) {
    const what = `start to first answer, ${engine}, ${whole(objects)} objects`;
    rows.push(atMost(what, median(seconds), 0.5, 's', 2));
  }
  for (const { what, runs } of commands.filter((figure) => figure.what === HELP)) {
    rows.push(atMost(what, median(runs.map(({ seconds }) => seconds)), 0.3, 's', 2));
  }
  for (const figure of transfers) {
    const what = `${figure.what} of ${whole(figure.rows)} rows, ${figure.engine}`;
    if (figure.what === IMPORT) {
      rows.push(atLeast(`${what}, against its own load`, median(figure.runs.map(toOwn)), 0.3));
    }
    rows.push(atMost(`memory of ${what}`, megabytes(figure.runs), 200, 'MB', 0));
  }
  for (const { what, engine, objects, runs } of plans) {
    const name = `${what}, ${engine}, ${whole(objects)} objects`;
    rows.push(atMost(name, median(runs.map(({ seconds }) => seconds)), 2, 's', 2));
    rows.push(atMost(`memory of ${name}`, megabytes(runs), 200, 'MB', 0));
  }
  for (const { users, engine, runs } of applications) {
    const what = `moves per second while ${users} users ask, ${engine}`;
    rows.push(atLeast(what, median(runs.map(({ movesRate }) => movesRate)), 5_000, whole));
  }
  for (const { engine, run } of takeovers) {
    const what = `${whole(run.objects)} objects on ${whole(run.workers)} workers, one dies: owned again after its grace, ${engine}`;
    rows.push(atMost(what, run.againSeconds - run.graceSeconds, 5, 's', 2));
  }
  return rows;
}

// In each row of the design's table the lower number of connections has the lower target.
function rateTarget({ what, engine, connections }: Figure): number {
  if (what === KNOWN) return 0.85;
  if (engine === 'SQLite') return connections < 256 ? 0.5 : 0.6;
  return connections < 256 ? 0.22 : 0.35;
}

function atLeast(what: string, value: number, target: number, show = fixed): string[] {
  return [what, show(value), `≥ ${show(target)}`, value >= target ? 'met' : '**MISSED**'];
}

function atMost(
  what: string,
  value: number,
  target: number,
  unit: string,
  digits: number,
): string[] {
  const isMet = value <= target;
  return [
    what,
    `${fixed(value, digits)} ${unit}`,
    `≤ ${target} ${unit}`,
    isMet ? 'met' : '**MISSED**',
  ];
}
