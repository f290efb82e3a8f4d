// A kind of the policy `hash`, ready to answer: its buckets, and the rows that win over the hash.

import type { HashTable, HashTableBucket } from '../store/hash-table.js';
import type { KindSettings } from '../store/kind-settings.js';
import type { Answer, Answers } from './answer.js';
import { Modulo, Rendezvous } from './hash.js';

/**
 * There are no new keys, so a bucket's state means another thing than elsewhere: a cordoned one keeps its
 * keys; those of a draining one, and only they, go by rendezvous to the others. Under `modulo` a draining
 * one counts among the n all the same, so that n stays.
 */
export class HashKind {
  readonly settings: KindSettings;
  readonly #buckets = new Map<string, Answer>();
  readonly #pins: ReadonlyMap<string, Answer> | undefined;
  readonly #rendezvous: Rendezvous;
  readonly #modulo: Modulo | undefined;
  readonly #closed: ReadonlySet<string>;

  constructor(kind: string, { settings, buckets, pins }: HashTable, answers: Answers) {
    this.settings = settings;
    const answerIn = ({ name, url }: HashTableBucket) => answers.of(kind, { bucket: name, url });
    for (const bucket of buckets) this.#buckets.set(bucket.name, answerIn(bucket).hashed);
    const pinned = new Map(buckets.map((bucket) => [bucket.name, answerIn(bucket).pinned]));
    this.#pins = pins && mapValues(pins, (bucket) => pinned.get(bucket));

    const isDraining = ({ state }: HashTableBucket): boolean => state === 'draining';
    this.#closed = new Set(buckets.filter(isDraining).map(({ name }) => name));
    this.#rendezvous = new Rendezvous(buckets.filter((bucket) => !isDraining(bucket)));
    this.#modulo =
      settings.hash === 'modulo' ? new Modulo(buckets.map(({ name }) => name)) : undefined;
  }

  /** Whether it knows all rows; otherwise each key must be looked up first. */
  get knowsPins(): boolean {
    return this.#pins !== undefined;
  }

  /** The answer for a key in its normal form, a row of it apart that is not known; undefined: no bucket. */
  answer(key: string): Answer | undefined {
    return this.#pins?.get(key) ?? this.byHash(key);
  }

  /** The answer for a key that has no row. */
  byHash(key: string): Answer | undefined {
    let bucket = this.#modulo?.bucketOf(key);
    if (bucket === undefined || this.#closed.has(bucket)) bucket = this.#rendezvous.bucketOf(key);
    return bucket === undefined ? undefined : this.#buckets.get(bucket);
  }
}

function mapValues<V, W>(
  map: ReadonlyMap<string, V>,
  to: (value: V) => W | undefined,
): ReadonlyMap<string, W> {
  const mapped = new Map<string, W>();
  for (const [key, value] of map) {
    const there = to(value);
    if (there !== undefined) mapped.set(key, there);
  }
  return mapped;
}
