// Makes a plan: what the planner works out of the buckets, with the objects that move. Nothing is moved.

import { setImmediate as turn } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import { listBuckets, unknownBucket } from '../store/buckets.js';
import type { By } from '../store/changes.js';
import type { Database } from '../store/database.js';
import { getKind } from '../store/kinds.js';
import { refuseHashed } from '../store/policy.js';
import { refuseFollowers } from '../store/specs.js';
import {
  countPinned,
  deleteLostMoves,
  insertMoves,
  movableObjects,
  readBackwards,
  type NewMove,
} from '../store/plan-moves.js';
import { checkState } from '../store/plan-state.js';
import {
  finishPlanning,
  getPlan,
  holdPlanning,
  insertPlan,
  type Plan,
  type PlanDetail,
} from '../store/plans.js';
import { draft, waysOf, type Draft, type Goal, type PlanBucket } from './planner.js';

/** What is asked for; the threshold of a rebalance is by default the kind's. */
export type Wanted =
  | { readonly goal: 'rebalance'; readonly threshold?: number | undefined }
  | { readonly goal: 'drain' | 'spread'; readonly buckets: readonly string[] };

export interface MakeOptions {
  /** Only works it out: no plan is stored, and none has an id. */
  readonly isDry?: boolean;
  /** Told how many moves were written, of so many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A plan that was worked out, and was not stored. */
export type UnstoredPlan = Pick<Plan, 'kind' | 'goal' | 'detail' | 'moves'>;

// So many moves are written at once, and objects of a bucket read: a few milliseconds on SQLite, which holds
// the event loop meanwhile.
const PAGE_SIZE = { sqlite: 1_000, postgres: 5_000 } as const;
// So many ways are worked out at once.
const CHUNK_SIZE = 5_000;
// So many objects are held at most, of all buckets, but these of each.
const HELD = { most: 200_000, least: 50 } as const;

/**
 * Works a plan out, and stores it with its moves. Of a bucket's objects those go first that came last:
 * whoever has been there for long stays. Everybody may work on meanwhile; what drifts is found when the
 * plan is applied. Throws `unknown_kind`, `unknown_bucket` or `bad_request`; and `plan_state` when it is
 * cancelled before all its moves are written.
 */
export async function makePlan(
  database: Database,
  kind: string,
  wanted: Wanted,
  by: By,
  { isDry = false, onProgress }: MakeOptions = {},
): Promise<Plan | UnstoredPlan> {
  const { settings } = await database.read((knex) => getKind(knex, kind));
  await database.read((knex) => refuseHashed(knex, kind));
  await database.read((knex) => refuseFollowers(knex, kind));
  const all = await database.read((knex) => listBuckets(knex, kind));
  const pins = await database.read((knex) => countPinned(knex, kind));
  const buckets = all.map((each) => ({ ...each, pinned: pins.get(each.name) ?? 0 }));
  const goal =
    wanted.goal === 'rebalance'
      ? { goal: wanted.goal, threshold: wanted.threshold ?? settings.threshold }
      : wanted;
  checkGoal(goal, kind, buckets);
  const drafted = draft(goal, buckets);
  const detail: PlanDetail = {
    ...(goal.goal === 'rebalance' ? { threshold: goal.threshold } : { buckets: goal.buckets }),
    outcomes: await outcomesOf(drafted, buckets),
    pinned: drafted.pinned,
    without_room: drafted.without_room,
  };
  const plan = { kind, goal: goal.goal, detail };
  if (isDry) return { ...plan, moves: drafted.count };

  const id = await database.write((trx) => insertPlan(trx, plan, by));
  const moves = await writeMoves(database, id, movesOf(database, kind, drafted), (done) =>
    onProgress?.(done, drafted.count),
  );
  return database.write((trx) => finishPlanning(trx, id, { moves, detail }, by));
}

// Resolves with how many there are. Throws `plan_state` or `unknown_plan` when the plan was cancelled
// meanwhile, or has gone with its kind.
async function writeMoves(
  database: Database,
  plan: number,
  pages: AsyncIterable<NewMove[]>,
  told: (done: number) => void,
): Promise<number> {
  await deleteLostMoves(database);
  let moves = 0;
  for await (const page of pages) {
    const before = moves;
    await database.write(async (trx) => {
      await holdPlanning(trx, plan, before);
      await insertMoves(trx, plan, page);
    });
    moves += page.length;
    told(moves);
  }
  return moves;
}

/**
 * Makes the plan that takes another one's moves back, the last first: of what is still where that put
 * it. Throws `unknown_plan`, or `plan_state` while it is not over; and as `makePlan`.
 */
export async function makeUndo(
  database: Database,
  id: number,
  by: By,
  { isDry = false, onProgress }: MakeOptions = {},
): Promise<Plan | UnstoredPlan> {
  const plan = await database.read((knex) => getPlan(knex, id));
  checkState(plan, 'undone', ['cancelled', 'done']);
  await database.read((knex) => refuseHashed(knex, plan.kind));
  const buckets = await database.read((knex) => listBuckets(knex, plan.kind));
  const members = new Members(buckets);
  const pages = returnsOf(database, plan, members);
  const what = { undoes: id, pinned: 0, without_room: 0 };
  const undo = { kind: plan.kind, goal: 'undo', detail: { ...what, outcomes: [] } } as const;
  const told = (done: number): void => onProgress?.(done, plan.made);
  if (isDry) {
    let moves = 0;
    for await (const page of pages) told((moves += page.length));
    return { ...undo, detail: { ...what, outcomes: members.outcomes }, moves };
  }
  const undoing = await database.write((trx) => insertPlan(trx, undo, by));
  const moves = await writeMoves(database, undoing, pages, told);
  const detail = { ...what, outcomes: members.outcomes };
  return database.write((trx) => finishPlanning(trx, undoing, { moves, detail }, by));
}

// The moves of a plan that can be taken back, the last first, in pages; they are counted as they go by.
async function* returnsOf(
  database: Database,
  plan: Plan,
  members: Members,
): AsyncGenerator<NewMove[]> {
  const size = PAGE_SIZE[database.engineName];
  let seq = 0;
  for (let before: number | undefined; ;) {
    const last = before;
    const moves = await database.readPage((knex) => readBackwards(knex, plan, size, last));
    const page = moves
      .filter(({ state, bucket, to_bucket }) => state === 'made' && bucket === to_bucket)
      .map(({ name, from_bucket: to, to_bucket: from }): NewMove => {
        members.move(from, to);
        return [seq++, name, from, to];
      });
    if (page.length > 0) yield page;
    if (moves.length < size) return;
    before = moves.at(-1)?.seq;
  }
}

function checkGoal(goal: Goal, kind: string, buckets: readonly PlanBucket[]): void {
  if (goal.goal === 'rebalance') return;
  const names = buckets.map(({ name }) => name);
  if (goal.buckets.length === 0) {
    throw new SharderError('bad_request', `${goal.goal}: name at least one bucket`);
  }
  for (const name of goal.buckets) {
    const bucket = buckets.find((each) => each.name === name);
    if (!bucket) throw unknownBucket(kind, name, names);
    if (goal.goal === 'spread' && bucket.state !== 'active') {
      throw new SharderError(
        'closed',
        `bucket ${name} of kind ${kind} is ${bucket.state}, and takes none: uncordon it first (\`sharder bucket uncordon ${name}\`)`,
      );
    }
  }
}

// The moves in their order, in pages, so that the table grows at its end. Fewer where objects have gone
// meanwhile.
async function* movesOf(
  database: Database,
  kind: string,
  drafted: Draft,
): AsyncGenerator<NewMove[]> {
  const held = Math.floor(HELD.most / drafted.givers.length);
  const pageSize = PAGE_SIZE[database.engineName];
  const size = Math.min(pageSize, Math.max(HELD.least, held));
  const leaving = new Map(
    drafted.givers.map(({ name }) => [name, new Leaving(database, kind, name, size)]),
  );
  let seq = 0;
  for (const ways of waysOf(drafted, pageSize)) {
    const page: NewMove[] = [];
    for (const { from, to } of ways) {
      const objects = leaving.get(from);
      if (objects?.isUsedUp) await objects.read();
      const name = objects?.next();
      if (name !== undefined) page.push([seq, name, from, to]);
      seq++;
    }
    yield page;
  }
}

/** The objects of a bucket that may leave it, those first that came last. */
class Leaving {
  readonly #read: (before: number | undefined) => ReturnType<typeof movableObjects>;
  #page: Awaited<ReturnType<typeof movableObjects>> = [];
  #at = 0;
  #isOver = false;

  constructor(database: Database, kind: string, bucket: string, size: number) {
    this.#read = async (before) => {
      const page = await database.readPage((knex) =>
        movableObjects(knex, kind, bucket, size, before),
      );
      this.#isOver = page.length < size;
      return page;
    };
  }

  /** Whether those that were read have been taken, and there may be more. */
  get isUsedUp(): boolean {
    return this.#at === this.#page.length && !this.#isOver;
  }

  async read(): Promise<void> {
    const last = this.#page.at(-1)?.id;
    this.#page = await this.#read(last === undefined ? undefined : Number(last));
    this.#at = 0;
  }

  /** The name of the next; undefined where there is none. */
  next(): string | undefined {
    return this.#page[this.#at++]?.name;
  }
}

// In turns, so that the event loop goes on.
async function outcomesOf(
  drafted: Draft,
  buckets: readonly PlanBucket[],
): Promise<PlanDetail['outcomes']> {
  const members = new Members(buckets);
  for (const chunk of waysOf(drafted, CHUNK_SIZE)) {
    for (const { from, to } of chunk) members.move(from, to);
    await turn();
  }
  return members.outcomes;
}

/** How many objects each bucket holds, and will hold. */
class Members {
  readonly #before: ReadonlyMap<string, number>;
  readonly #after: Map<string, number>;

  constructor(buckets: readonly Pick<PlanBucket, 'name' | 'members'>[]) {
    this.#before = new Map(buckets.map(({ name, members }) => [name, members]));
    this.#after = new Map(this.#before);
  }

  /** Nothing moves to a bucket that is no more. */
  move(from: string, to: string): void {
    const [giver, taker] = [this.#after.get(from), this.#after.get(to)];
    if (giver === undefined || taker === undefined) return;
    this.#after.set(from, giver - 1).set(to, taker + 1);
  }

  get outcomes(): PlanDetail['outcomes'] {
    return [...this.#before].map(([bucket, before]) => {
      return { bucket, before, after: this.#after.get(bucket) ?? before };
    });
  }
}
