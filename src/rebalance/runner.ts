// Makes the moves of plans: in batches, at a pace, until they are done or somebody stops them. What was
// made is in the database; so whoever comes after a crash goes on where it was.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../store/database.js';
import { inTime } from '../store/in-time.js';
import { abandonedPlans, releasePlan, type Runner } from '../store/plan-lease.js';
import type { Plan } from '../store/plans.js';
import { makeMoves, type Allowance, type BatchDone } from './batch.js';
import { Pace } from './pace.js';
import { DEFAULT_RATE } from './steps.js';

// Of a plan that may go as fast as it can: some milliseconds in a transaction, and assignments go on in
// between. On SQLite they hold the event loop; on PostgreSQL a batch waits for many answers.
const BATCH_SIZE = { sqlite: 250, postgres: 1_000 } as const;
// A batch has the moves of so long, so that a slow plan does not write more often than needed.
const BATCH_MS = 100;
// Where a bucket has a rate of its own, so many times as many moves are looked at as may be made, but these
// at least. Those behind are reached later: buckets that a plan begins with, the fullest and the emptiest,
// take part in it to its end, so it ends no later.
const AHEAD = { times: 10, least: 500 } as const;
// Users have as much time as a batch has taken, but no more than so long.
const GIVE_WAY_MS = 25;
// So often a service looks for plans that nobody runs; no runner waits longer for a bucket.
const LOOK_MS = 1_000;
// Whoever has not come again for so long has died.
const RUNNER_SECONDS = 10;
// So long an answer of the database is waited for.
const ANSWER_MS = 8_000;

export interface RunOptions {
  /** Ends it after the batch that runs; the plan stays running, and anybody may go on. */
  readonly signal?: AbortSignal;
  /** Whoever calls again with the same one is the same. */
  readonly runner?: string;
  /** Told after every batch that was made here. */
  readonly onProgress?: ((plan: Plan) => void) | undefined;
}

/**
 * Makes the moves of a plan that is running, and resolves with how it is when they are made, or when
 * somebody has paused or cancelled it, or runs it already. Rejects as `Database.write` does.
 */
export async function runPlan(
  database: Database,
  plan: Plan,
  { signal, onProgress, runner: id = randomUUID() }: RunOptions = {},
): Promise<Plan> {
  const runner: Runner = { id, seconds: RUNNER_SECONDS };
  let now = plan;
  const most = BATCH_SIZE[database.engineName];
  let speed = new Speed(now, most);
  while (!signal?.aborted) {
    const { allowance } = speed;
    const began = performance.now();
    const done = await inTime(
      database.write((trx) => makeMoves(trx, plan, runner, allowance), plan.kind),
      ANSWER_MS,
    );
    const tookMs = performance.now() - began;
    now = done.plan;
    if (done.isMine) onProgress?.(now);
    if (done.isOver) return now;
    speed.spend(done);
    const waitMs = Math.max(speed.waitMs(done), Math.min(tookMs, GIVE_WAY_MS));
    await sleep(waitMs, undefined, signal && { signal }).catch(() => undefined);
    if (!speed.isOf(now)) speed = new Speed(now, most);
  }
  await inTime(
    database.write((trx) => releasePlan(trx, plan.id, id)),
    ANSWER_MS,
  );
  return now;
}

// The rates of a plan, and how many moves they allow at a time.
class Speed {
  readonly #rate: number;
  readonly #bucketRate: number | null;
  readonly #most: number;
  readonly #all: Pace;
  readonly #buckets = new Map<string, Pace>();

  /** `most` at a time. */
  constructor({ rate, bucket_rate }: Plan, most: number) {
    this.#most = most;
    this.#rate = rate ?? DEFAULT_RATE;
    this.#bucketRate = bucket_rate;
    this.#all = new Pace(this.#rate, performance.now());
  }

  isOf({ rate, bucket_rate }: Plan): boolean {
    return rate === this.#rate && bucket_rate === this.#bucketRate;
  }

  get allowance(): Allowance {
    const now = performance.now();
    const moves = Math.min(this.#most, Math.max(1, this.#all.due(now)));
    const isPaced = this.#bucketRate !== null;
    return {
      moves,
      looks: isPaced ? Math.max(AHEAD.least, AHEAD.times * moves) : moves,
      of: (bucket) => this.#of(bucket, now)?.due(now) ?? Infinity,
    };
  }

  spend({ made, used }: BatchDone): void {
    this.#all.spend(made);
    for (const [bucket, moves] of used) this.#buckets.get(bucket)?.spend(moves);
  }

  // Until the next batch: one that was held back waits for the first bucket whose turn it is.
  waitMs({ isHeldBack }: BatchDone): number {
    if (isHeldBack) {
      const turns = [...this.#buckets.values()].map((pace) => pace.waitMs(1));
      return Math.max(BATCH_MS, Math.min(LOOK_MS, ...turns.filter((ms) => ms > 0)));
    }
    return this.#all.waitMs(Math.min(this.#most, Math.ceil((this.#rate * BATCH_MS) / 1_000)));
  }

  #of(bucket: string, now: number): Pace | undefined {
    if (this.#bucketRate === null) return undefined;
    const pace = this.#buckets.get(bucket) ?? new Pace(this.#bucketRate, now);
    this.#buckets.set(bucket, pace);
    return pace;
  }
}

export interface RunnerEvents {
  /** A plan is run here from now on, or is no longer. */
  readonly onStart?: (plan: Plan) => void;
  readonly onEnd?: (plan: Plan) => void;
  /** A plan, or the look for plans, has failed; it is tried again. */
  readonly onError: (error: unknown) => void;
}

/** Runs whatever plan is running and nobody runs, as long as the service lives. */
export class PlanRunner {
  readonly #database: Database;
  readonly #events: RunnerEvents;
  readonly #id = randomUUID();
  readonly #stop = new AbortController();
  readonly #running = new Map<number, Promise<void>>();
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(database: Database, events: RunnerEvents) {
    this.#database = database;
    this.#events = events;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.look();
    }, LOOK_MS).unref();
    this.look();
  }

  /** Looks for plans now, unless it does so already. */
  look(): void {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
  }

  /** Resolves when no batch runs any more; the plans stay running, for whoever comes next. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#looking;
    await Promise.all(this.#running.values());
  }

  async #look(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    try {
      const looking = this.#database.read((knex) => abandonedPlans(knex, this.#id));
      for (const plan of await inTime(looking, ANSWER_MS)) {
        if (this.#running.has(plan.id)) continue;
        this.#running.set(
          plan.id,
          this.#run(plan).finally(() => this.#running.delete(plan.id)),
        );
      }
    } catch (error) {
      this.#events.onError(error);
    }
  }

  async #run(plan: Plan): Promise<void> {
    const { signal } = this.#stop;
    const batches = { count: 0 };
    const onProgress = (): void => {
      if (batches.count++ === 0) this.#events.onStart?.(plan);
    };
    try {
      const ended = await runPlan(this.#database, plan, { signal, runner: this.#id, onProgress });
      if (batches.count > 0) this.#events.onEnd?.(ended);
    } catch (error) {
      this.#events.onError(error);
    }
  }
}
