// What assignment asks of a database: sqlite.ts and postgres.ts each answer by hand, on the driver
// that knex opened.

import { SharderError } from '../errors.js';
import type { HashTable } from './hash-table.js';
import type { HeldKind, KindSettings } from './kind-settings.js';

/** A bucket as an answer needs it. `url` is null where the bucket has none. */
export interface BucketRow {
  readonly bucket: string;
  readonly url: string | null;
}

/** An object, by name. */
export interface ObjectKey {
  readonly kind: string;
  readonly name: string;
}

/** What became of one name: it was there already, or it was placed now. */
export interface AssignedRow extends BucketRow {
  /** The name as it is stored. */
  readonly name: string;
  readonly isNew: boolean;
}

/** An active bucket, as the pick needs it. */
export interface Candidate {
  readonly name: string;
  /** ≥ 1; a bucket of weight 2 takes twice as many objects as one of weight 1. */
  readonly weight: number;
  /** How many objects it may hold, or null for no limit. */
  readonly capacity: number | null;
  readonly members: number;
}

/**
 * Chooses buckets for `count` new objects, in order, as the kind's settings say; fewer when the room
 * runs out.
 */
export type PickBuckets = (
  candidates: readonly Candidate[],
  count: number,
  settings: KindSettings,
) => string[];

/** What an engine tells of what it hears. */
export interface EngineEvents {
  /** Somebody changed this object: its answer no longer holds. */
  readonly dropped: (key: ObjectKey) => void;
  /** The database can no longer be used, or can again. */
  readonly down: (why: unknown) => void;
  readonly up: () => void;
  /** An assign transaction ended well: so many names, so long. */
  readonly assigned: (kind: string, names: number, seconds: number) => void;
}

/** One lookup for one object, at once; or one query for many. Neither creates anything. */
export type Lookup =
  | { readonly atOnce: (kind: string, name: string) => BucketRow | undefined }
  | { readonly batched: (keys: readonly ObjectKey[]) => Promise<(BucketRow | undefined)[]> };

/**
 * What the buckets of a kind's keys are computed from, as it is now; undefined where there is no such kind
 * of the policy `hash`.
 */
export type HashTables =
  | { readonly atOnce: (kind: string) => HashTable | undefined }
  | { readonly soon: (kind: string) => Promise<HashTable | undefined> };

/** The error for an object that follows workers, and has none yet. */
export function waitsForWorker(kind: string, name: string): SharderError {
  return new SharderError(
    'no_room',
    `object ${JSON.stringify(name)} of kind ${kind} waits for a worker that will do (\`sharder spec show\`)`,
  );
}

/** `find` and `assign` on one database, and whether what was found still holds. */
export interface Engine {
  /** Connects; until it has resolved nothing else may be called. */
  start(): Promise<void>;

  readonly lookup: Lookup;

  readonly hashTables: HashTables;

  /** False while the database cannot be used. It is tried again by itself. */
  readonly isUp: boolean;

  /**
   * A number that changes when answers which were found earlier are no longer to be trusted, or
   * `DEAF` while the engine cannot hear of changes: then none is.
   */
  generation(): number;

  /**
   * The settings of a kind as they were heard last, the defaults of one that is not there; the same
   * object as long as nothing changes.
   */
  settings(kind: string): HeldKind;

  /** This process has written by another connection: the next `generation` must tell. */
  lookAgain(): void;

  /**
   * One transaction under the kind's lock: makes the names normal, by the settings that the lock has
   * read, looks them up once more, places those that are still new, and commits durably before it
   * answers. Of several names that are one, the first is new. Null stands for a name for which there
   * was no room, an error for one that has no normal form or that no new object may have. Rejects with `unknown_kind`,
   * `database_unavailable`, `database_busy` or `database_full`, or, for a kind of the policy `hash`, with
   * `NotAssigned`; then nothing was stored, unless the connection broke during the commit.
   */
  assign(
    kind: string,
    names: readonly string[],
    pick: PickBuckets,
  ): Promise<readonly (AssignedRow | SharderError | null)[]>;

  /** Resolves when the database answers; rejects with why it does not. */
  check(): Promise<void>;

  close(): Promise<void>;
}

/** Thrown where a kind turned out under its lock to have the policy `hash`: nothing of it is stored. */
export class NotAssigned extends SharderError {
  constructor(kind: string) {
    super('changed', `kind ${kind} has come to have the policy hash: ask again`);
  }
}

/** The generation of an engine that cannot hear of changes. */
export const DEAF = -1;
