// The tables `plan` and `plan_move`, as they are read, and a plan's way from state to state.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import type { Bucket } from './buckets.js';
import { recordChange, type By } from './changes.js';
import { toIso } from './objects.js';
import { checkState, type PlanState } from './plan-state.js';

/** What a plan makes of a bucket. */
export interface Outcome {
  readonly bucket: string;
  /** How many objects it held when the plan was made, and will hold. */
  readonly before: number;
  readonly after: number;
}

/** A bucket's state, and why it is so. */
export type StateOf = Pick<Bucket, 'state' | 'state_reason'>;

export interface StateChange {
  readonly from: StateOf;
  readonly to: StateOf;
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
  /** Of one that was applied: the buckets whose state that has changed. */
  readonly states?: Readonly<Record<string, StateChange>>;
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
  /** How many were skipped, by why. */
  readonly why_skipped: Readonly<Record<string, number>>;
  /** Moves per second at most, and per bucket; null: before it is applied, and for no limit. */
  readonly rate: number | null;
  readonly bucket_rate: number | null;
}

type Converted = 'id' | 'detail' | 'why_skipped' | 'created_at' | 'started_at' | 'ended_at';

/** A row of the table. */
export interface StoredPlan extends Omit<Plan, Converted> {
  readonly id: number | string;
  readonly detail: string | PlanDetail;
  readonly why_skipped: string | Plan['why_skipped'];
  readonly created_at: string | Date;
  readonly started_at: string | Date | null;
  readonly ended_at: string | Date | null;
}

export const PLAN_COLUMNS = [
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
  'why_skipped',
  'rate',
  'bucket_rate',
] as const;

export function toPlan(stored: StoredPlan): Plan {
  const { id, detail, why_skipped, created_at, started_at, ended_at, ...row } = stored;
  return {
    id: Number(id),
    ...row,
    detail: fromJson(detail),
    why_skipped: fromJson(why_skipped),
    created_at: toIso(created_at),
    started_at: started_at && toIso(started_at),
    ended_at: ended_at && toIso(ended_at),
  };
}

// PostgreSQL's driver has read it.
function fromJson<T>(value: string | T): T {
  return typeof value === 'string' ? (JSON.parse(value) as T) : value;
}

/** Throws `unknown_plan`. */
export async function getPlan(knex: Knex, id: number): Promise<Plan> {
  const row = await knex('plan')
    .where({ id })
    .first<StoredPlan | undefined>(...PLAN_COLUMNS);
  if (!row) throw unknownPlan(id);
  return toPlan(row);
}

function unknownPlan(id: number): SharderError {
  return new SharderError('unknown_plan', `there is no plan ${id}: \`sharder plan list\``);
}

/** The plans with an id below `after`, newest first. */
export async function listPlans(
  knex: Knex,
  {
    kinds,
    ...filter
  }: {
    readonly kind?: string | undefined;
    /** Only of these kinds. */
    readonly kinds?: readonly string[] | undefined;
    readonly state?: PlanState | undefined;
  },
  limit: number,
  after = Number.MAX_SAFE_INTEGER,
): Promise<Plan[]> {
  const equal = Object.entries(filter).filter(([, value]) => value !== undefined);
  const plans = knex('plan').where(Object.fromEntries(equal)).where('id', '<', after);
  if (kinds) void plans.whereIn('kind', [...kinds]);
  const rows: StoredPlan[] = await plans
    .orderBy('id', 'desc')
    .limit(limit)
    .select(...PLAN_COLUMNS);
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

/**
 * A plan whose moves are being written has so many by now, and stays so for the transaction. Throws
 * `unknown_plan`, or `plan_state` when somebody has cancelled it.
 */
export async function holdPlanning(
  trx: Knex.Transaction,
  id: number,
  moves: number,
): Promise<void> {
  const held = await trx('plan').where({ id, state: 'planning' }).update({ moves });
  if (held === 0) checkPlanning(await getPlan(trx, id));
}

function checkPlanning(plan: Plan): void {
  checkState(plan, 'planned', ['planning']);
}

/** All its moves are there. Throws as `holdPlanning`. */
export async function finishPlanning(
  trx: Knex.Transaction,
  id: number,
  { moves, detail }: Pick<Plan, 'moves' | 'detail'>,
  by: By,
): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkPlanning(plan);
  const more = { moves, detail: JSON.stringify(detail) };
  return setState(trx, plan, 'planned', `plan ${plan.goal}`, by, more);
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
  const now = await updatePlan(trx, id, {
    state,
    runner: null,
    runner_until: null,
    ...more,
    ...(isOver && { ended_at: new Date().toISOString() }),
  });
  const { moves, made, skipped } = now;
  await recordChange(trx, { ...by, action, kind, plan: id, detail: { moves, made, skipped } });
  return now;
}

/** Sets columns of a plan that is there, under the kind's lock. */
export async function updatePlan(
  trx: Knex.Transaction,
  id: number,
  columns: Readonly<Record<string, unknown>>,
): Promise<Plan> {
  const rows = await trx('plan')
    .where({ id })
    .update(columns)
    .returning<StoredPlan[]>([...PLAN_COLUMNS]);
  const [now] = rows.map(toPlan);
  if (!now) throw unknownPlan(id);
  return now;
}
