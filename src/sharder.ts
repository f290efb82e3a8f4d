// Which bucket does this object live in? The verbs that everyone calls.

import { EventEmitter } from 'node:events';
import { Answers, type Answer } from './assign/answer.js';
import { Batch } from './assign/batch.js';
import { Cache, type Moment } from './assign/cache.js';
import type { HashKind } from './assign/hash-kind.js';
import { HashKinds } from './assign/hash-kinds.js';
import { pickBuckets } from './assign/pick.js';
import { SharderError } from './errors.js';
import { KIND_PATTERN, MAX_KEY_BYTES } from './names.js';
import { normalizeName } from './normalize.js';
import type { Database } from './store/database.js';
import { checkNewName, type HeldKind, type KindSettings } from './store/kind-settings.js';
import { unknownKind } from './store/kinds.js';
import {
  NotAssigned,
  type AssignedRow,
  type BucketRow,
  type Engine,
  type ObjectKey,
} from './store/engine.js';

export interface SharderOptions {
  /** How many answers are kept in memory for each kind, about 150 bytes each. */
  readonly cacheSize?: number;
  /** How many callers may wait for the database at once; the next is refused as `overloaded`. */
  readonly queueLimit?: number;
}

export interface SharderEvents {
  /** The database can no longer be used, and why. */
  down: [why: unknown];
  /** The database can be used again. */
  up: [];
  /** An assign transaction has ended well: so many names of this kind, so long. */
  batch: [kind: string, names: number, seconds: number];
}

export const DEFAULT_CACHE_SIZE = 200_000;
export const DEFAULT_QUEUE_LIMIT = 10_000;

// How many names go into one query or transaction at most.
const BATCH_SIZE = 1_000;

/**
 * Assigns objects to buckets, each once and for ever, and tells where they are. One per process and
 * database; any number of processes may share a PostgreSQL database.
 */
export class Sharder extends EventEmitter<SharderEvents> {
  readonly database: Database;
  readonly #engine: Engine;
  readonly #cache: Cache;
  readonly #queueLimit: number;
  readonly #answers = new Answers();
  readonly #hashKinds: HashKinds;
  readonly #lookups: Batch<BucketRow | undefined>;
  readonly #assigns = new Map<string, Batch<AssignedRow>>();
  #waiting = 0;
  #cacheHits = 0;
  #cacheMisses = 0;

  private constructor(database: Database, options: SharderOptions) {
    super();
    this.database = database;
    this.#cache = new Cache(options.cacheSize ?? DEFAULT_CACHE_SIZE);
    this.#queueLimit = options.queueLimit ?? DEFAULT_QUEUE_LIMIT;
    this.#lookups = new Batch((keys) => this.#lookUp(keys.map(parseKey)), {
      maxSize: BATCH_SIZE,
      joinRunning: false, // what it reads may be older than the question
    });
    this.#engine = database.createEngine({
      dropped: (key) => {
        this.#cache.drop(key);
        this.#hashKinds.drop(key.kind);
      },
      down: (why) => this.emit('down', why),
      up: () => this.emit('up'),
      assigned: (kind, names, seconds) => this.emit('batch', kind, names, seconds),
    });
    this.#hashKinds = new HashKinds(this.#engine, this.#answers);
  }

  /** Starts to assign on an open database; on PostgreSQL resolves once it hears of changes. */
  static async start(database: Database, options: SharderOptions = {}): Promise<Sharder> {
    const sharder = new Sharder(database, options);
    await sharder.#engine.start();
    return sharder;
  }

  /**
   * The object's bucket; if it has none, the emptiest active one, from now on. An object that is
   * known is answered at once, without a promise. The name is made normal as the kind's settings say.
   * Under the policy `hash` the bucket is computed, and nothing is stored.
   *
   * Throws or rejects with `bad_name`, `unknown_kind`, `no_room`, `overloaded`, or a `database_…`
   * code. The object is then where it was, or, if the connection broke during the commit, where the
   * next call says.
   */
  assign(kind: string, name: string): Answer | Promise<Answer> {
    const generation = this.#engine.generation();
    const cached = this.#cache.get(kind, name, generation);
    if (cached) {
      this.#cacheHits++;
      return cached;
    }
    const hashKind = this.#hashKinds.get(kind, generation);
    if (hashKind?.knowsPins) {
      this.#cacheHits++;
      return this.#byHash(hashKind, kind, name);
    }
    // Only normal names are kept. So what was found needed none of this.
    if (!KIND_PATTERN.test(kind)) throw unknownKind(kind);
    const normal = this.normalize(kind, name);
    const known = normal === name ? undefined : this.#cache.get(kind, normal, generation);
    if (known) {
      this.#cacheHits++;
      return known;
    }
    this.#cacheMisses++;
    const isHashed = hashKind !== undefined || this.settings(kind).policy === 'hash';
    const atOnce = isHashed ? undefined : this.#findNow(kind, normal, generation);
    return (
      atOnce ??
      this.#wait(
        async () =>
          (isHashed ? await this.#findHashed(kind, name) : undefined) ??
          (await this.#assign(kind, name, normal)),
        kind,
        normal,
      )
    );
  }

  /**
   * The object's bucket, or undefined if it has none; so also where there is no such kind. Never
   * creates. Rejects with `bad_name`, `overloaded` or a `database_…` code, or, under the policy `hash`,
   * with `no_room` where there is no bucket.
   */
  async find(kind: string, name: string): Promise<Answer | undefined> {
    if (!KIND_PATTERN.test(kind)) return undefined;
    const generation = this.#engine.generation();
    const normal = this.normalize(kind, name);
    if (this.settings(kind).policy === 'hash') {
      const hashed = await this.#wait(() => this.#findHashed(kind, name), kind, normal);
      if (hashed) return hashed;
    }
    const known =
      this.#cache.get(kind, normal, generation) ?? this.#findNow(kind, normal, generation);
    if (known || 'atOnce' in this.#engine.lookup) return known;
    return this.#wait(() => this.#findSoon(kind, normal), kind, normal);
  }

  /** The name under which the object is stored, or the key that is hashed. Throws `bad_name`. */
  normalize(kind: string, name: string): string {
    return toKey(name, this.settings(kind));
  }

  /**
   * The settings of a kind as they were heard last, the defaults of one that is not there; the same
   * object as long as nothing changes.
   */
  settings(kind: string): HeldKind {
    return this.#engine.settings(kind);
  }

  /** The bucket that is in memory for an object, as the next request is answered; null: none is. */
  peek(kind: string, name: string): string | null {
    const generation = this.#engine.generation();
    const hashKind = this.#hashKinds.get(kind, generation);
    const known =
      this.#cache.get(kind, name, generation) ??
      (hashKind?.knowsPins ? hashKind.answer(name) : undefined);
    return known?.bucket.name ?? null;
  }

  /**
   * What to answer for somebody who proves to be in `bucket` by other means, a signed cookie, while
   * the database is down.
   */
  staleAnswer(kind: string, bucket: string): Answer {
    const answers =
      this.#answers.last(kind, bucket) ?? this.#answers.of(kind, { bucket, url: null });
    return answers.stale.existing;
  }

  /** Resolves when the database answers; rejects with why it does not. */
  check(): Promise<void> {
    return this.#engine.check();
  }

  /** For the metrics. */
  get status() {
    return {
      isUp: this.#engine.isUp,
      waiting: this.#waiting,
      cacheHits: this.#cacheHits,
      cacheMisses: this.#cacheMisses,
      cached: this.#cache.size,
    };
  }

  // By a hash kind that knows all its rows, as in every request of one.
  #byHash(hashKind: HashKind, kind: string, name: string): Answer {
    const key = toKey(name, hashKind.settings);
    const answer = hashKind.answer(key);
    if (!answer) throw noBucket(kind);
    // Of a kind that is hashed, every name without a row is new.
    if (answer.reason !== 'pinned') checkNewName(key, hashKind.settings);
    return answer;
  }

  // Undefined where the kind has another policy by now.
  async #findHashed(kind: string, name: string): Promise<Answer | undefined> {
    const generation = this.#engine.generation();
    const hashKind = this.#hashKinds.get(kind, generation) ?? (await this.#hashKinds.read(kind));
    if (!hashKind || hashKind.knowsPins) return hashKind && this.#byHash(hashKind, kind, name);
    const key = toKey(name, hashKind.settings);
    const pinned =
      this.#findNow(kind, key, generation) ??
      ('batched' in this.#engine.lookup ? await this.#findSoon(kind, key) : undefined);
    if (pinned) return pinned;
    checkNewName(key, hashKind.settings);
    const answer = hashKind.byHash(key);
    if (!answer) throw noBucket(kind);
    return answer;
  }

  // Where a lookup takes microseconds it is made here and now.
  #findNow(kind: string, name: string, generation: number): Answer | undefined {
    const { lookup } = this.#engine;
    if (!('atOnce' in lookup)) return undefined;
    let row: BucketRow | undefined;
    try {
      row = lookup.atOnce(kind, name);
    } catch (error) {
      return this.#whatWasKnown(error, kind, name);
    }
    return row && this.#remember(kind, name, row, this.#cache.moment(generation));
  }

  async #findSoon(kind: string, name: string): Promise<Answer | undefined> {
    const row = await this.#lookups.add(`${kind}/${name}`).promise;
    return row && this.#known(kind, row);
  }

  // The engine is told the name as it came: it may know of newer settings.
  async #assign(kind: string, name: string, normal: string): Promise<Answer> {
    if ('batched' in this.#engine.lookup) {
      const known = await this.#findSoon(kind, normal);
      if (known) return known;
    }
    const batch = this.#assignsOf(kind);
    try {
      const { promise, joined } = batch.add(name);
      const row = await promise;
      // Of all who waited for the same name, the first has caused the assignment.
      return this.#answers.of(kind, row)[row.isNew && !joined ? 'assigned' : 'existing'];
    } catch (error) {
      const hashed = error instanceof NotAssigned ? await this.#findHashed(kind, name) : undefined;
      if (hashed) return hashed;
      throw error;
    } finally {
      // Whatever kinds clients think of, none leaves anything behind.
      if (batch.isIdle) this.#assigns.delete(kind);
    }
  }

  // Every wait for the database goes through here: counted, and answered with what was known before
  // if the database fails.
  async #wait<T>(ask: () => Promise<T>, kind: string, name: string): Promise<T | Answer> {
    if (this.#waiting >= this.#queueLimit) {
      throw new SharderError(
        'overloaded',
        `${this.#waiting} requests are waiting for the database already; try again`,
      );
    }
    this.#waiting++;
    try {
      return await ask();
    } catch (error) {
      return this.#whatWasKnown(error, kind, name);
    } finally {
      this.#waiting--;
    }
  }

  #whatWasKnown(error: unknown, kind: string, name: string): Answer {
    if (error instanceof SharderError && error.code.startsWith('database_')) {
      const hashKind = this.#hashKinds.getStale(kind);
      const known =
        this.#cache.getStale(kind, name) ??
        (hashKind?.knowsPins ? hashKind.answer(name) : undefined);
      const answers = known && this.#answers.last(kind, known.bucket.name);
      if (answers) return answers.stale[known.reason];
    }
    throw error;
  }

  // One query for all the names that have gathered.
  async #lookUp(keys: readonly ObjectKey[]): Promise<(BucketRow | undefined)[]> {
    const { lookup } = this.#engine;
    if (!('batched' in lookup)) return [];
    const moment = this.#cache.moment(this.#engine.generation());
    const rows = await lookup.batched(keys);
    keys.forEach(({ kind, name }, i) => {
      const row = rows[i];
      if (row) this.#remember(kind, name, row, moment);
    });
    return rows;
  }

  #assignsOf(kind: string): Batch<AssignedRow> {
    let batch = this.#assigns.get(kind);
    if (!batch) {
      batch = new Batch<AssignedRow>((names) => this.#assignAll(kind, names), {
        maxSize: BATCH_SIZE,
        joinRunning: true,
      });
      this.#assigns.set(kind, batch);
    }
    return batch;
  }

  // One transaction for all the names of a kind that have gathered.
  async #assignAll(
    kind: string,
    names: readonly string[],
  ): Promise<(AssignedRow | SharderError)[]> {
    const moment = this.#cache.moment(this.#engine.generation());
    const rows = await this.#engine.assign(kind, names, pickBuckets);
    return rows.map((row) => {
      if (!row) return noRoom(kind);
      if (row instanceof SharderError) return row;
      this.#remember(kind, row.name, row, moment);
      return row;
    });
  }

  #remember(kind: string, name: string, row: BucketRow, moment: Moment): Answer {
    const answer = this.#known(kind, row);
    this.#cache.set(kind, name, answer, moment);
    return answer;
  }

  #known(kind: string, row: BucketRow): Answer {
    const isPin = this.settings(kind).policy === 'hash';
    return this.#answers.of(kind, row)[isPin ? 'pinned' : 'existing'];
  }
}

// What is stored has a shorter limit than what is computed of a request.
function toKey(name: string, { normalize, key }: KindSettings): string {
  return normalizeName(name, normalize, key === 'user' ? undefined : MAX_KEY_BYTES);
}

/** The error for a key of a kind that has no bucket. */
export function noBucket(kind: string): SharderError {
  return new SharderError(
    'no_room',
    `no bucket of kind ${kind} takes keys: add one (sharder bucket add), or take back one that is draining (sharder bucket uncordon)`,
  );
}

/** The error for a new object that fits nowhere. */
export function noRoom(kind: string): SharderError {
  return new SharderError(
    'no_room',
    `no active bucket of kind ${kind} has room for a new object: add one (sharder bucket add), or raise a capacity`,
  );
}

function parseKey(key: string): ObjectKey {
  const slash = key.indexOf('/');
  return { kind: key.slice(0, slash), name: key.slice(slash + 1) };
}
