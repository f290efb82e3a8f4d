// A batch of a plan's moves: which are still as planned, and may be made now.

import type { Knex } from 'knex';
import { listBuckets, type Bucket } from '../store/buckets.js';
import { lockKind } from '../store/kinds.js';
import { takePlan, type Runner } from '../store/plan-lease.js';
import { markMoves, readWaiting, writeMade, type PlannedMove } from '../store/plan-moves.js';
import { getPlan, setState, updatePlan, type Plan } from '../store/plans.js';

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
  /** How many that wait it looks at to find these: more, where some wait for their buckets' turn. */
  readonly looks: number;
  /** In how many moves a bucket may take part. */
  readonly of: (bucket: string) => number;
}

/** What a batch has done. */
export interface BatchDone {
  /** As it is afterwards. */
  readonly plan: Plan;
  /** Whether it was made: nobody else runs the plan, and it is running. */
  readonly isMine: boolean;
  /** Whether there is no other batch for this runner. */
  readonly isOver: boolean;
  /** Whether moves were left that wait for nothing but their buckets' turn. */
  readonly isHeldBack: boolean;
  /** In how many moves each bucket took part. */
  readonly used: ReadonlyMap<string, number>;
  readonly made: number;
}

const NOT_MINE = { isMine: false, isOver: true, isHeldBack: false, used: new Map(), made: 0 };

/**
 * Makes the next moves of a plan that is running, in one transaction under the kind's lock: those that
 * still are as planned; the others are skipped, with why. Whoever calls is its runner from then on, if
 * no other is. With its last move the plan is done. Throws `unknown_plan`.
 */
export async function makeMoves(
  trx: Knex.Transaction,
  { id, kind }: Pick<Plan, 'id' | 'kind'>,
  runner: Runner,
  allowance: Allowance,
): Promise<BatchDone> {
  const { version } = await lockKind(trx, kind);
  const plan = await takePlan(trx, id, runner);
  if (!plan) return { plan: await getPlan(trx, id), ...NOT_MINE };
  const buckets = await listBuckets(trx, kind);
  const waiting = await readWaiting(trx, plan, allowance.looks);
  const decision = decide(waiting, buckets, allowance, plan.goal === 'undo');
  const by = { actor: plan.started_by ?? plan.actor, reason: plan.reason };

  const { length: made } = await writeMade(trx, plan, version, by, decision.made);
  const why: Record<string, number> = { ...plan.why_skipped };
  let skips = 0;
  for (const [drift, seqs] of decision.skipped) {
    await markMoves(trx, id, seqs, 'skipped', drift);
    why[drift] = (why[drift] ?? 0) + seqs.length;
    skips += seqs.length;
  }

  const counts = { made: plan.made + made, skipped: plan.skipped + skips };
  const columns = { ...counts, why_skipped: JSON.stringify(why) };
  const isLast = waiting.length === 0 || counts.made + counts.skipped >= plan.moves;
  const now = isLast
    ? await setState(trx, plan, 'done', 'plan done', { actor: by.actor }, columns)
    : await updatePlan(trx, id, columns);
  const isHeldBack = made < allowance.moves && made + skips < waiting.length;
  return { plan: now, isMine: true, isOver: isLast, isHeldBack, used: decision.used, made };
}

interface Decision {
  readonly made: readonly PlannedMove[];
  readonly skipped: ReadonlyMap<Drift, readonly number[]>;
  readonly used: ReadonlyMap<string, number>;
}

// What neither is made nor skipped waits for its buckets' turn. An undo may put an object back where no
// new one may go: it has been there.
function decide(
  moves: readonly PlannedMove[],
  buckets: readonly Bucket[],
  allowance: Allowance,
  isUndo: boolean,
): Decision {
  const members = new Map(buckets.map((bucket) => [bucket.name, bucket.members]));
  const targets = new Map(buckets.map((bucket) => [bucket.name, bucket]));
  const made: PlannedMove[] = [];
  const skipped = new Map<Drift, number[]>();
  const used = new Map<string, number>();
  const use = (bucket: string) => used.get(bucket) ?? 0;
  for (const move of moves) {
    if (made.length >= allowance.moves) break;
    const { from_bucket: from, to_bucket: to } = move;
    const target = targets.get(to);
    const drift = driftOfObject(move) ?? driftOfBucket(target, members.get(to) ?? 0, isUndo);
    if (drift) {
      const seqs = skipped.get(drift) ?? [];
      seqs.push(move.seq);
      skipped.set(drift, seqs);
      continue;
    }
    if (use(from) >= allowance.of(from) || use(to) >= allowance.of(to)) continue;
    used.set(from, use(from) + 1).set(to, use(to) + 1);
    members.set(from, (members.get(from) ?? 0) - 1).set(to, (members.get(to) ?? 0) + 1);
    made.push(move);
  }
  return { made, skipped, used };
}

function driftOfObject({ id, bucket, from_bucket, pinned }: PlannedMove): Drift | undefined {
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
