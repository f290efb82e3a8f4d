// Why an object is where it is, or where it would go.

import { pickBuckets } from './assign/pick.js';
import { findByHash } from './by-hash.js';
import { SharderError } from './errors.js';
import type { Database } from './store/database.js';
import { isOpen, listBuckets, type Bucket } from './store/buckets.js';
import { getKind } from './store/kinds.js';
import { objectHistory, type ChangeRow } from './store/history.js';
import { findObjects, type Assignment } from './store/objects.js';

/** A bucket as the pick sees it. */
export interface Score {
  readonly bucket: string;
  readonly members: number;
  readonly weight: number;
  /** (members + 1) / weight: a new object goes to the lowest, ties by name. Null: takes none. */
  readonly score: number | null;
  /** Why it takes no new object: cordoned, draining or full; null where it takes them. */
  readonly closed: string | null;
}

export interface Explanation {
  readonly kind: string;
  readonly name: string;
  /** Null of a name that has no bucket. */
  readonly object: Assignment | null;
  /**
   * The change that put it where it is; null where that was its first assignment, or, of one that was
   * assigned before `pruned_before`, perhaps a change whose line was pruned.
   */
  readonly change: ChangeRow | null;
  /** Earlier lines of the history were pruned; null where none was. */
  readonly pruned_before: string | null;
  readonly policy: string;
  /**
   * Where a new object would go; by the policy hash, where the key is if no row of it says else. Null
   * where no bucket has room.
   */
  readonly next: string | null;
  /** All buckets of the kind, those first that a new object would rather go to. */
  readonly scores: readonly Score[];
}

/** Throws `bad_name` or `unknown_kind`. Never creates. */
export async function explainObject(
  database: Database,
  kind: string,
  name: string,
): Promise<Explanation> {
  const [object] = await findObjects(database, name, kind);
  const { changes, pruned_before } = await objectHistory(database, kind, name);
  const buckets = await database.read((knex) => listBuckets(knex, kind));
  const { policy, settings } = await database.read((knex) => getKind(knex, kind));
  const isHashed = policy === 'hash';
  return {
    kind,
    name: object?.name ?? name,
    object: object ?? null,
    change: (object && changes.findLast((change) => hasPlaced(change, object))) ?? null,
    pruned_before,
    policy,
    next: isHashed
      ? await hashedBucket(database, kind, name)
      : (pickBuckets(buckets.filter(isOpen), 1, settings)[0] ?? null),
    scores: isHashed ? buckets.map(toHashScore) : buckets.map(toScore).sort(byScore),
  };
}

function hasPlaced({ from_bucket, to_bucket }: ChangeRow, { bucket }: Assignment): boolean {
  return to_bucket === bucket && from_bucket !== null && from_bucket !== to_bucket;
}

async function hashedBucket(
  database: Database,
  kind: string,
  name: string,
): Promise<string | null> {
  try {
    const isWithoutRow = true;
    const answer = await database.read((knex) => findByHash(knex, kind, name, { isWithoutRow }));
    return answer?.bucket.name ?? null;
  } catch (error) {
    if (error instanceof SharderError && error.code === 'no_room') return null;
    throw error;
  }
}

// There are no new keys, so none but a draining bucket is closed.
function toHashScore({ name, members, weight, state }: Bucket): Score {
  const closed = state === 'draining' ? state : null;
  return { bucket: name, members, weight, score: null, closed };
}

function toScore(bucket: Bucket): Score {
  const { name, members, weight, state } = bucket;
  const isFull = state === 'active' && !isOpen(bucket);
  return {
    bucket: name,
    members,
    weight,
    score: isOpen(bucket) ? (members + 1) / weight : null,
    closed: isOpen(bucket) ? null : isFull ? 'full' : state,
  };
}

// As the pick does it; those that take none come last.
function byScore(a: Score, b: Score): number {
  const difference = (a.score ?? Infinity) - (b.score ?? Infinity);
  if (difference !== 0 && !Number.isNaN(difference)) return difference;
  return a.bucket < b.bucket ? -1 : 1;
}
