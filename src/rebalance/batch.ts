// A batch of a plan's moves: which are still as planned, and may be made now.

import type { Knex } from 'knex';
import { listBuckets, type Bucket } from '../store/buckets.js';
import { lockKind } from '../store/kinds.js';
import {
  markMoves,
  readWaiting,
  takePlan,
  writeMade,
  type Runner,
  type WaitingMove,
} from '../store/plan-moves.js';
import { getPlan, setState, type Plan } from '../store/plans.js';

/** Why a move is not made: what is otherwise than when it was planned. */
export type Drift =
  | 'gone' // there is no object of that name any more
  | 'moved' // it is in another bucket
  | 'pinned'
  | 'bucket removed'
  | 'bucket closed' // it is cordoned or draining
  | 'bucket full';

/** What a batch may do. */
export interface Allowance {
  readonly moves: number;
  /** For each bucket that may take part in so many moves only, fewer than `moves`. */
  readonly of: (bucket: string) => number;
}

/** What a batch has done. */
export interface Batch {
  /** As it is afterwards. */
  readonly plan: Plan;
  /** Whether it was made: nobody else runs the plan, and it is running. */
  readonly isMine: boolean;
  /** Whether there is no other batch for this runner. */
  readonly isOver: boolean;
  /** In how many moves each bucket took part. */
  readonly used: ReadonlyMap<string, number>;
  readonly made: number;
}

/**
 * Makes the next moves of a plan that is running, in one transaction under the kind's lock: those that
 * still are as planned; the others are skipped, with why. Whoever calls is its runner from then on, if
 * no other is. At the end of the moves the plan is done. Throws `unknown_plan`.
 */
export async function makeMoves(
  trx: Knex.Transaction,
  { id, kind }: Pick<Plan, 'id' | 'kind'>,
  runner: Runner,
  allowance: Allowance,
): Promise<Batch> {
  const { version } = await lockKind(trx, kind);
  if (!(await takePlan(trx, id, runner))) {
    const plan = await getPlan(trx, id);
    return { plan, isMine: false, isOver: true, used: new Map(), made: 0 };
  }
  const plan = await getPlan(trx, id);
  const buckets = await listBuckets(trx, kind);
  const stopped = buckets.map(({ name }) => name).filter((name) => allowance.of(name) < 1);
  const read = await readWaiting(trx, plan, stopped, allowance.moves);
  const { made, skipped, used } = decide(read, buckets, allowance, plan.goal === 'undo');
  const by = { actor: plan.started_by ?? plan.actor, reason: plan.reason };

  await writeMade(trx, plan, version, by, made);
  for (const [why, seqs] of skipped) await markMoves(trx, id, seqs, 'skipped', why);
  const skips = [...skipped.values()].reduce((sum, seqs) => sum + seqs.length, 0);
  await trx('plan')
    .where({ id })
    .update({ made: plan.made + made.length, skipped: plan.skipped + skips });

  const isAll = made.length + skips === read.length && stopped.length === 0;
  const isLast = isAll && read.length < allowance.moves;
  const now = isLast
    ? await setState(trx, await getPlan(trx, id), 'done', 'plan done', { actor: by.actor })
    : await getPlan(trx, id);
  return { plan: now, isMine: true, isOver: isLast, used, made: made.length };
}

interface Decision {
  readonly made: readonly WaitingMove[];
  readonly skipped: ReadonlyMap<Drift, readonly number[]>;
  readonly used: ReadonlyMap<string, number>;
}

// What neither is made nor skipped waits for its buckets' turn. An undo may put an object back where no
// new one may go: it has been there.
function decide(
  moves: readonly WaitingMove[],
  buckets: readonly Bucket[],
  allowance: Allowance,
  isUndo: boolean,
): Decision {
  const members = new Map(buckets.map((bucket) => [bucket.name, bucket.members]));
  const targets = new Map(buckets.map((bucket) => [bucket.name, bucket]));
  const made: WaitingMove[] = [];
  const skipped = new Map<Drift, number[]>();
  const used = new Map<string, number>();
  const use = (bucket: string) => used.get(bucket) ?? 0;
  for (const move of moves) {
    const { from_bucket: from, to_bucket: to } = move;
    const target = targets.get(to);
    const drift = driftOfObject(move) ?? driftOfBucket(target, members.get(to) ?? 0, isUndo);
    if (drift) {
      skipped.set(drift, [...(skipped.get(drift) ?? []), move.seq]);
      continue;
    }
    if (use(from) >= allowance.of(from) || use(to) >= allowance.of(to)) continue;
    used.set(from, use(from) + 1).set(to, use(to) + 1);
    members.set(from, (members.get(from) ?? 0) - 1).set(to, (members.get(to) ?? 0) + 1);
    made.push(move);
  }
  return { made, skipped, used };
}

function driftOfObject({ id, bucket, from_bucket, pinned }: WaitingMove): Drift | undefined {
  if (id === null) return 'gone';
  if (bucket !== from_bucket) return 'moved';
  return pinned ? 'pinned' : undefined;
}

function driftOfBucket(
  bucket: Bucket | undefined,
  members: number,
  isUndo: boolean,
): Drift | undefined {
  if (!bucket) return 'bucket removed';
  const isOpen = bucket.state === 'active' || (isUndo && bucket.state === 'cordoned');
  if (!isOpen) return 'bucket closed';
  return bucket.capacity !== null && members >= bucket.capacity ? 'bucket full' : undefined;
}
