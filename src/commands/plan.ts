// sharder plan …: plans are made, shown, applied, stopped and undone.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Flags } from '../config.js';
import type { InputOf, OutputOf } from '../operations/operation.js';
import * as operations from '../operations/plans.js';
import { runPlan } from '../rebalance/runner.js';
import { abandonedPlans } from '../store/plan-lease.js';
import { change, didOf, print, type ChangeOptions } from './change.js';
import { pages, printPages } from './lists.js';
import { Progress } from './progress.js';
import { withService, type Here, type Perform } from './service.js';
import { printable, table } from './table.js';

const PAGE_SIZE = 1_000;
const LOOK_MS = 500;

type Plan = OutputOf<typeof operations.showPlan>;
type Made = OutputOf<typeof operations.createPlan>;

export interface PlanOptions extends ChangeOptions {
  readonly kind: string;
}

export async function planRebalance(
  options: PlanOptions & { readonly threshold?: number },
): Promise<void> {
  const { kind, threshold } = options;
  await plan({ kind, goal: 'rebalance', threshold }, options);
}

export async function planDrain(buckets: string[], options: PlanOptions): Promise<void> {
  await plan({ kind: options.kind, goal: 'drain', buckets }, options);
}

export async function planSpread(buckets: string[], options: PlanOptions): Promise<void> {
  await plan({ kind: options.kind, goal: 'spread', buckets }, options);
}

async function plan(
  input: Omit<InputOf<typeof operations.createPlan>, 'reason' | 'dry_run'>,
  options: ChangeOptions,
): Promise<void> {
  const progress = new Progress('moves written');
  const onProgress = (done: number, total: number): void => {
    progress.outOf(total);
    progress.at(done);
  };
  const planning = change(
    operations.createPlan,
    input,
    options,
    (made, did) => {
      progress.end();
      const what = `${did('plan')} ${aboutPlan(made)}: ${movesOf(made.moves)}`;
      const next =
        made.plan === null
          ? 'nothing was stored'
          : `nothing has moved yet: \`sharder plan apply ${made.plan}\``;
      return [what, ...outcomes(made), next];
    },
    {
      onProgress,
      words: { before: 'nothing was moved; a plan that stays `planning` can be cancelled' },
    },
  );
  await planning.finally(() => {
    progress.end();
  });
}

type About = Pick<Made, 'plan' | 'goal' | 'kind' | 'threshold' | 'buckets' | 'undoes'>;

function aboutPlan({ plan, goal, kind, threshold, buckets, undoes }: About): string {
  const number = plan === null ? '' : `${plan}, `;
  const what =
    goal === 'rebalance'
      ? `rebalance kind ${kind} to ${threshold ?? 0} % above the even share`
      : goal === 'undo'
        ? `undo plan ${undoes ?? 0} of kind ${kind}`
        : `${goal} ${goal === 'spread' ? 'onto ' : ''}${buckets.join(', ')} of kind ${kind}`;
  return `${number}${what}`;
}

function movesOf(count: number): string {
  return count === 1 ? '1 object moves' : `${count} objects move`;
}

function outcomes({ outcomes }: Pick<Made, 'outcomes'>): string[] {
  const rows = outcomes.map(({ bucket, before, after }) => {
    const difference = after - before;
    return [bucket, before, after, difference > 0 ? `+${difference}` : difference];
  });
  return table(['BUCKET', 'BEFORE', 'AFTER', 'CHANGE'], rows).trimEnd().split('\n');
}

export async function listPlans({
  json = false,
  kind,
  state,
  ...flags
}: Flags & {
  readonly json?: boolean;
  readonly kind?: string;
  readonly state?: Plan['state'];
}): Promise<void> {
  await withService(flags, (perform) => {
    const all = pages((after) =>
      perform(operations.listPlans, { kind, state, after, limit: PAGE_SIZE }),
    );
    const headings = ['PLAN', 'KIND', 'WHAT', 'STATE', 'MOVES', 'MADE', 'SKIPPED', 'PLANNED', 'BY'];
    return printPages(all, json, headings, (plan) => [
      plan.plan,
      plan.kind,
      [plan.goal, ...plan.buckets].join(' '),
      plan.state,
      plan.moves,
      plan.made,
      plan.skipped,
      plan.created_at,
      plan.actor,
    ]);
  });
}

export async function showPlan(
  id: number,
  { json = false, ...flags }: Flags & { readonly json?: boolean },
): Promise<void> {
  const plan = await withService(flags, (perform) => perform(operations.showPlan, { plan: id }));
  process.stdout.write(json ? `${JSON.stringify(plan)}\n` : describe(plan));
}

function describe(plan: Plan): string {
  const by = plan.reason === null ? plan.actor : `${plan.actor}: ${plan.reason}`;
  const why = Object.entries(plan.why_skipped)
    .toSorted()
    .map(([what, count]) => `${count} ${what}`);
  const lines = [
    `plan ${aboutPlan(plan)}`,
    `planned ${plan.created_at} by ${by}`,
    ...(plan.started_at === null
      ? []
      : [
          `applied ${plan.started_at} by ${plan.started_by ?? '-'}, ${plan.rate ?? 0} moves a second`,
        ]),
    `${plan.state}: ${plan.made} of ${plan.moves} moves made${why.length > 0 ? `, ${plan.skipped} skipped (${why.join(', ')})` : ''}`,
    ...(plan.pinned > 0 ? [`${plan.pinned} stay against the goal, for they are pinned`] : []),
    ...(plan.without_room > 0
      ? [`${plan.without_room} stay against the goal, for no bucket has room`]
      : []),
    ...(plan.state === 'done' && plan.left > 0
      ? [
          `${plan.buckets.join(', ')} still hold ${plan.left}, with what was skipped or has come since: another plan drains what it can`,
        ]
      : []),
  ];
  return `${[...lines.map(printable), ...outcomes(plan)].join('\n')}\n`;
}

export async function listMoves(
  id: number,
  {
    json = false,
    state,
    ...flags
  }: Flags & { readonly json?: boolean; readonly state?: 'waiting' | 'made' | 'skipped' },
): Promise<void> {
  await withService(flags, (perform) => {
    const all = pages((after) =>
      perform(operations.listMoves, { plan: id, state, after, limit: PAGE_SIZE }),
    );
    return printPages(all, json, ['SEQ', 'OBJECT', 'FROM', 'TO', 'STATE'], (move) => [
      move.seq,
      move.name,
      move.from_bucket,
      move.to_bucket,
      move.why === null ? move.state : `${move.state}: ${move.why}`,
    ]);
  });
}

const STOP = { pause: operations.pausePlan, cancel: operations.cancelPlan } as const;

export async function stopPlan(
  verb: keyof typeof STOP,
  id: number,
  options: ChangeOptions,
): Promise<void> {
  await change(
    STOP[verb],
    { plan: id },
    options,
    ({ made, moves }, did) => `${did(verb)} plan ${id}: ${made} of ${moves} moves were made`,
  );
}

export interface MoveOptions extends ChangeOptions {
  readonly rate?: number;
  readonly bucketRate?: number;
  readonly wait: boolean;
}

const MOVE = {
  apply: operations.applyPlan,
  resume: operations.resumePlan,
  undo: operations.undoPlan,
} as const;

/** Has a plan's moves made, and waits until they are: here, or by the service of --url. */
export async function movePlan(
  verb: keyof typeof MOVE,
  id: number,
  options: MoveOptions,
): Promise<void> {
  const { rate, bucketRate: bucket_rate, reason, dryRun: dry_run = false, json = false } = options;
  const isRemote = options.service !== undefined || (process.env.SHARDER_URL ?? '') !== '';
  const words = {
    before: `nothing was moved; the same command does it`,
    done: isRemote
      ? `the service goes on with it: \`sharder plan list\` tells, \`sharder plan pause\` stops it`
      : `\`sharder plan show ${id}\` tells how far it is`,
  };
  await withService(
    options,
    async (perform, here) => {
      const input = { plan: id, rate, bucket_rate, reason, dry_run };
      const started = await perform(MOVE[verb], input);
      if (dry_run || !options.wait) {
        const isUndone = verb === 'undo' && started.plan !== null;
        const what = isUndone ? `plan ${id} by plan ${started.plan}` : `plan ${id}`;
        print(started, `${didOf(dry_run)(verb)} ${what}: ${movesOf(started.moves)}`, json);
        return;
      }
      const now = await follow(started.plan ?? id, perform, here);
      if (json) process.stdout.write(`${JSON.stringify({ ...started, ...now })}\n`);
      else process.stdout.write(describe(now));
      if (now.state === 'done') return;
      const next =
        now.state === 'cancelled'
          ? `\`sharder plan undo ${now.plan}\` moves back what it has moved`
          : `\`sharder plan resume ${now.plan}\` goes on`;
      process.stderr.write(`plan ${now.plan} is ${now.state}: ${next}\n`);
      process.exitCode = 1;
    },
    { words },
  );
}

// Until it no longer runs. Where no service is asked it is run here, unless one on the same database
// does so already; a signal pauses it.
async function follow(id: number, perform: Perform, here: Here | undefined): Promise<Plan> {
  const progress = new Progress('moves made');
  const show = ({ made, skipped, moves }: Pick<Plan, 'made' | 'skipped' | 'moves'>): void => {
    progress.outOf(moves, () => made + skipped);
    progress.at(made);
  };
  const stop = new AbortController();
  here?.stop.instead(() => {
    stop.abort();
  });
  try {
    for (;;) {
      if (here && !stop.signal.aborted) {
        const plans = await here.database.read((knex) => abandonedPlans(knex));
        const plan = plans.find((each) => each.id === id);
        if (plan) await runPlan(here.database, plan, { signal: stop.signal, onProgress: show });
      }
      const plan = await perform(operations.showPlan, { plan: id });
      show(plan);
      if (plan.state !== 'running') return plan;
      if (stop.signal.aborted) await perform(operations.pausePlan, { plan: id });
      else await sleep(LOOK_MS);
    }
  } finally {
    progress.end();
  }
}
