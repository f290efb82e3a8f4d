// What can be done to a plan that was made: apply it, pause it, go on, cancel it. Each is one
// transaction under the kind's lock; who makes the moves is in runner.ts.

import type { Knex } from 'knex';
import { getBucket, listBuckets, updateBucket, type BucketState } from '../store/buckets.js';
import type { By } from '../store/changes.js';
import { checkState, lockPlan, setState, type Plan } from '../store/plans.js';

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
 * Has a plan applied from now on. A drain closes its buckets to new objects: they are draining. An undo of
 * a drain makes them what they were before. Throws `unknown_plan` or `plan_state`.
 */
export async function startPlan(
  trx: Knex.Transaction,
  id: number,
  { rate, bucketRate }: Rates,
  by: By,
): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'applied', ['planned']);
  const states = plan.goal === 'drain' ? await close(trx, plan, by) : undefined;
  if (plan.goal === 'undo') await reopen(trx, plan, by);
  return setState(trx, plan, 'running', 'plan apply', by, {
    rate,
    bucket_rate: bucketRate,
    started_by: by.actor,
    started_at: new Date().toISOString(),
    ...(by.reason !== undefined && { reason: by.reason }),
    ...(states && { detail: JSON.stringify({ ...plan.detail, states }) }),
  });
}

/** Stops it after the batch that runs. Throws `unknown_plan` or `plan_state`. */
export async function pausePlan(trx: Knex.Transaction, id: number, by: By): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'paused', ['running']);
  return setState(trx, plan, 'paused', 'plan pause', by);
}

/**
 * Goes on where it was paused, at these rates if any are given; one that runs goes on at these. Throws
 * as `pausePlan`.
 */
export async function resumePlan(
  trx: Knex.Transaction,
  id: number,
  { rate, bucketRate }: { readonly [K in keyof Rates]?: Rates[K] | undefined },
  by: By,
): Promise<Plan> {
  const plan = await lockPlan(trx, id);
  checkState(plan, 'resumed', ['paused', 'running']);
  const isSo =
    plan.state === 'running' &&
    (rate ?? plan.rate) === plan.rate &&
    (bucketRate === undefined || bucketRate === plan.bucket_rate);
  if (isSo) return plan;
  return setState(trx, plan, 'running', 'plan resume', by, {
    ...(rate !== undefined && { rate }),
    ...(bucketRate !== undefined && { bucket_rate: bucketRate }),
  });
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

async function close(
  trx: Knex.Transaction,
  { id, kind, detail: { buckets = [] } }: Plan,
  by: By,
): Promise<Record<string, BucketState>> {
  const states: Record<string, BucketState> = {};
  for (const name of buckets) {
    const bucket = await getBucket(trx, kind, name);
    states[name] = bucket.state;
    const state = { state: 'draining', state_reason: drainedBy(id) } as const;
    if (bucket.state !== 'draining') await updateBucket(trx, bucket, state, 'bucket drain', by);
  }
  return states;
}

async function reopen(
  trx: Knex.Transaction,
  { kind, detail: { states = {}, undoes = 0 } }: Plan,
  by: By,
): Promise<void> {
  const there = await listBuckets(trx, kind);
  for (const [name, state] of Object.entries(states)) {
    const now = there.find((bucket) => bucket.name === name);
    if (now?.state === 'draining' && now.state_reason === drainedBy(undoes)) {
      await updateBucket(trx, now, { state, state_reason: null }, 'bucket undrain', by);
    }
  }
}

function drainedBy(plan: number): string {
  return `plan ${plan}`;
}
