// The tables `plan` and `plan_move`, as they are read, and the states of a plan.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import type { BucketState } from './buckets.js';
import { recordChange, type By } from './changes.js';
import { toIso } from './objects.js';

/**
 * planning → planned → running ⇄ paused → done; cancelled from any of them but the last. One that stays
 * `planning` was broken off.
 */
export type PlanState = 'planning' | 'planned' | 'running' | 'paused' | 'cancelled' | 'done';

/** What a plan makes of a bucket. */
export interface Outcome {
  readonly bucket: string;
  /** How many objects it held when the plan was made, and will hold. */
  readonly before: number;
  readonly after: number;
}

/** What is said of a plan beside its moves. */
export interface PlanDetail {
  /** Of a rebalance: percent. */
  readonly threshold?: number;
  /** Those to drain, or to spread onto. */
  readonly buckets?: readonly string[];
  /** The plan that an undo undoes. */
  readonly undoes?: number;
  readonly outcomes: readonly Outcome[];
  /** How many moves are missing for the goal because objects are pinned, or nobody has room. */
  readonly pinned: number;
  readonly without_room: number;
  /** Of a drain that was applied: what its buckets' states were. */
  readonly states?: Readonly<Record<string, BucketState>>;
}

export interface Plan {
  readonly id: number;
  readonly kind: string;
  readonly goal: 'rebalance' | 'drain' | 'spread' | 'undo';
  readonly state: PlanState;
  readonly detail: PlanDetail;
  /** Who made it. */
  readonly actor: string;
  readonly reason: string | null;
  /** Who applied it. */
  readonly started_by: string | null;
  /** ISO 8601, UTC. */
  readonly created_at: string;
  readonly started_at: string | null;
  readonly ended_at: string | null;
  /** How many moves it has, how many were made, and how many were skipped. */
  readonly moves: number;
  readonly made: number;
  readonly skipped: number;
  /** Moves per second at most, and per bucket; null: before it is applied, and for no limit. */
  readonly rate: number | null;
  readonly bucket_rate: number | null;
}

interface Stored extends Omit<Plan, 'id' | 'detail' | 'created_at' | 'started_at' | 'ended_at'> {
  readonly id: number | string;
  readonly detail: string | PlanDetail;
  readonly created_at: string | Date;
  readonly started_at: string | Date | null;
  readonly ended_at: string | Date | null;
}

const COLUMNS = [
  'id',
  'kind',
  'goal',
  'state',
  'detail',
  'actor',
  'reason',
  'started_by',
  'created_at',
  'started_at',
  'ended_at',
  'moves',
  'made',
  'skipped',
  'rate',
  'bucket_rate',
] as const;

function toPlan({ id, detail, created_at, started_at, ended_at, ...row }: Stored): Plan {
  return {
    id: Number(id),
    ...row,
    detail: typeof detail === 'string' ? (JSON.parse(detail) as PlanDetail) : detail,
    created_at: toIso(created_at),
    started_at: started_at && toIso(started_at),
    ended_at: ended_at && toIso(ended_at),
  };
}

/** Throws `unknown_plan`. */
export async function getPlan(knex: Knex, id: number): Promise<Plan> {
  const row = await knex('plan')
    .where({ id })
    .first<Stored | undefined>(...COLUMNS);
  if (!row) throw new SharderError('unknown_plan', `there is no plan ${id}: \`sharder plan list\``);
  return toPlan(row);
}

/** The plans with an id below `after`, newest first. */
export async function listPlans(
  knex: Knex,
  filter: { readonly kind?: string | undefined; readonly state?: PlanState | undefined },
  limit: number,
  after = Number.MAX_SAFE_INTEGER,
): Promise<Plan[]> {
  const equal = Object.entries(filter).filter(([, value]) => value !== undefined);
  const rows: Stored[] = await knex('plan')
    .where(Object.fromEntries(equal))
    .where('id', '<', after)
    .orderBy('id', 'desc')
    .limit(limit)
    .select(...COLUMNS);
  return rows.map(toPlan);
}

/** One move of a plan. */
export interface Move {
  /** Its place in the plan, from 0. */
  readonly seq: number;
  readonly name: string;
  readonly from_bucket: string;
  readonly to_bucket: string;
  readonly state: 'waiting' | 'made' | 'skipped';
  /** Why it was skipped. */
  readonly why: string | null;
}

/** The moves of a plan behind a place, in order. */
export async function listMoves(
  knex: Knex,
  plan: number,
  state: Move['state'] | undefined,
  limit: number,
  after = -1,
): Promise<Move[]> {
  const moves = knex('plan_move').where({ plan }).where('seq', '>', after);
  if (state) void moves.where({ state });
  return moves
    .orderBy('seq')
    .limit(limit)
    .select<Move[]>('seq', 'name', 'from_bucket', 'to_bucket', 'state', 'why');
}

/** How many moves of a plan were skipped, by why. */
export async function countSkipped(knex: Knex, plan: number): Promise<Record<string, number>> {
  const rows = await knex('plan_move')
    .where({ plan, state: 'skipped' })
    .groupBy('why')
    .orderBy('why')
    .select<{ why: string; moves: number | string }[]>('why', knex.raw('count(*) as moves'));
  return Object.fromEntries(rows.map(({ why, moves }) => [why, Number(moves)]));
}

/** Adds a plan whose moves are still to be added, and resolves with its id. */
export async function insertPlan(
  trx: Knex.Transaction,
  plan: Pick<Plan, 'kind' | 'goal' | 'detail'>,
  { actor, reason }: By,
): Promise<number> {
  const { kind, goal } = plan;
  const [row] = await trx('plan')
    .insert({ kind, goal, state: 'planning', detail: JSON.stringify(plan.detail), actor, reason })
    .returning<{ id: number | string }[]>('id');
  return Number(row?.id);
}

/** All its moves are there. */
export async function finishPlanning(
  trx: Knex.Transaction,
  id: number,
  moves: number,
  by: By,
): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  return setState(trx, plan, 'planned', `plan ${plan.goal}`, by, { moves });
}

/** A plan, under its kind's lock. Throws `unknown_plan`. */
export async function lockPlan(trx: Knex.Transaction, id: number): Promise<Plan> {
  // Its first statement writes, so that SQLite never has to begin anew. A kind that is gone has no lock.
  const kind = trx('plan').where({ id }).select('kind');
  await trx('kind').where('name', kind).increment('version');
  return getPlan(trx, id);
}

/** Sets the state and more, under the kind's lock, with a line of history. */
export async function setState(
  trx: Knex.Transaction,
  plan: Plan,
  state: PlanState,
  action: string,
  by: By,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Plan> {
  const { id, kind } = plan;
  const isOver = state === 'cancelled' || state === 'done';
  await trx('plan')
    .where({ id })
    .update({
      state,
      runner: null,
      runner_until: null,
      ...more,
      ...(isOver && { ended_at: new Date().toISOString() }),
    });
  const now = await getPlan(trx, id);
  const { moves, made, skipped } = now;
  await recordChange(trx, { ...by, action, kind, plan: id, detail: { moves, made, skipped } });
  return now;
}

/** Throws `plan_state`, and says what can be done, unless the plan has one of these states. */
export function checkState(plan: Plan, verb: string, states: readonly PlanState[]): void {
  if (states.includes(plan.state)) return;
  throw new SharderError(
    'plan_state',
    `plan ${plan.id} is ${plan.state}, and cannot be ${verb}: ${NEXT[plan.state](plan.id)}`,
  );
}

const NEXT: Readonly<Record<PlanState, (id: number) => string>> = {
  planning: () => 'its moves are not all there; plan again, if it stays so',
  planned: (id) => `apply it (\`sharder plan apply ${id}\`), or cancel it`,
  running: (id) => `pause it (\`sharder plan pause ${id}\`), or cancel it`,
  paused: (id) => `resume it (\`sharder plan resume ${id}\`), or cancel it`,
  cancelled: (id) => `plan again; what it has moved can be undone (\`sharder plan undo ${id}\`)`,
  done: (id) => `it can be undone (\`sharder plan undo ${id}\`)`,
};
