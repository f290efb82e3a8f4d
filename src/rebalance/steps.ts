// What can be done to a plan that was made: apply it, pause it, go on, cancel it. Each is one
// transaction under the kind's lock; who makes the moves is in runner.ts.

import type { Knex } from 'knex';
import { refuseFollowers } from '../store/specs.js';
import { listBuckets, updateBucket } from '../store/buckets.js';
import type { By } from '../store/changes.js';
import { checkState } from '../store/plan-state.js';
import {
  getPlan,
  lockPlan,
  setState,
  type Plan,
  type StateChange,
  type StateOf,
} from '../store/plans.js';

/** How fast a plan is applied. */
export interface Rates {
  /** Moves per second at most. */
  readonly rate: number;
  /** Per second and bucket at most, from it and to it; null: no limit but `rate`. */
  readonly bucketRate: number | null;
}

/** So that a plan which nobody has thought about does no harm. */
export const DEFAULT_RATE = 100;

/**
 * Has a plan applied from now on. A drain closes its buckets to new objects: they are draining. An undo
 * makes them what they were before. Throws `unknown_plan` or `plan_state`.
 */
export async function startPlan(
  trx: Knex.Transaction,
  id: number,
  { rate, bucketRate }: Rates,
  by: By,
): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'applied', ['planned']);
  await refuseFollowers(trx, plan.kind);
  const states = await setStates(trx, plan, by);
  return setState(trx, plan, 'running', 'plan apply', by, {
    rate,
    bucket_rate: bucketRate,
    started_by: by.actor,
    started_at: new Date().toISOString(),
    ...(by.reason !== undefined && { reason: by.reason }),
    detail: JSON.stringify({ ...plan.detail, states }),
  });
}

/** Stops it after the batch that runs. Throws `unknown_plan` or `plan_state`. */
export async function pausePlan(trx: Knex.Transaction, id: number, by: By): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'paused', ['running']);
  return setState(trx, plan, 'paused', 'plan pause', by);
}

/**
 * Goes on where it was paused, at these rates if any are given; one that runs goes on at these. `changed` is
 * false where all was so. Throws as `pausePlan`.
 */
export async function resumePlan(
  trx: Knex.Transaction,
  id: number,
  { rate, bucketRate }: { readonly [K in keyof Rates]?: Rates[K] | undefined },
  by: By,
): Promise<{ readonly plan: Plan; readonly changed: boolean }> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'resumed', ['paused', 'running']);
  await refuseFollowers(trx, plan.kind);
  const isSo =
    plan.state === 'running' &&
    (rate ?? plan.rate) === plan.rate &&
    (bucketRate === undefined || bucketRate === plan.bucket_rate);
  if (isSo) return { plan, changed: false };
  const now = await setState(trx, plan, 'running', 'plan resume', by, {
    ...(rate !== undefined && { rate }),
    ...(bucketRate !== undefined && { bucket_rate: bucketRate }),
  });
  return { plan: now, changed: true };
}

/**
 * Makes no more of its moves; those that were made stay. Buckets that it drains stay draining. Throws
 * `unknown_plan` or `plan_state`.
 */
export async function cancelPlan(trx: Knex.Transaction, id: number, by: By): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'cancelled', ['planning', 'planned', 'running', 'paused']);
  return setState(trx, plan, 'cancelled', 'plan cancel', by);
}

// Buckets that are no more, and those that somebody has set otherwise since, are left as they are.
async function setStates(
  trx: Knex.Transaction,
  plan: Plan,
  by: By,
): Promise<Record<string, StateChange>> {
  const states: Record<string, StateChange> = {};
  const wanted = await wantedStates(trx, plan);
  for (const bucket of await listBuckets(trx, plan.kind)) {
    const to = wanted(bucket.name, bucket);
    if (!to || isSame(bucket, to)) continue;
    const { state, state_reason } = bucket;
    states[bucket.name] = { from: { state, state_reason }, to };
    const action = to.state === 'draining' ? 'bucket drain' : 'bucket undrain';
    await updateBucket(trx, bucket, to, action, by);
  }
  return states;
}

// What a bucket is to be that is `now` so; undefined: as it is.
async function wantedStates(
  trx: Knex.Transaction,
  { id, goal, detail: { buckets = [], undoes = 0 } }: Plan,
): Promise<(bucket: string, now: StateOf) => StateOf | undefined> {
  if (goal === 'drain') {
    const drained = { state: 'draining', state_reason: `plan ${id}` } as const;
    return (bucket, { state }) =>
      buckets.includes(bucket) && state !== 'draining' ? drained : undefined;
  }
  if (goal !== 'undo') return () => undefined;
  const { states = {} } = (await getPlan(trx, undoes)).detail;
  const set = new Map(Object.entries(states)); // a bucket may be called `constructor`
  return (bucket, now) => {
    const change = set.get(bucket);
    return change && isSame(now, change.to) ? change.from : undefined;
  };
}

function isSame(one: StateOf, other: StateOf): boolean {
  return one.state === other.state && one.state_reason === other.state_reason;
}
