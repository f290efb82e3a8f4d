// What a caller is told: the bucket, and how it was found.

import type { BucketRow } from '../store/engine.js';

/** A bucket as it is answered. */
export interface Bucket {
  readonly kind: string;
  readonly name: string;
  /** Where it is reached, or null where it has no URL. */
  readonly url: string | null;
}

/**
 * `existing`: the object had its bucket already. `assigned`: this call has placed it. Of a kind whose
 * policy is `hash`: `hashed`, or `pinned` where a row of the key wins over the hash.
 */
export const REASONS = ['existing', 'assigned', 'hashed', 'pinned'] as const;
export type Reason = (typeof REASONS)[number];

/** One object per bucket and kind of answer: compare by identity, never change it. */
export interface Answer {
  readonly bucket: Bucket;
  readonly reason: Reason;
  /** True when the database was down and this is what was known before. */
  readonly isStale: boolean;
}

/** The answers that a bucket can be in. */
export type BucketAnswers = Readonly<Record<Reason, Answer>> & {
  readonly stale: Readonly<Record<Reason, Answer>>;
};

/** Hands out the same objects for the same bucket, so that a cache entry is no more than a pointer. */
export class Answers {
  readonly #kinds = new Map<string, Map<string, BucketAnswers>>();

  /** The answers for a bucket as it was just read. */
  of(kind: string, { bucket: name, url }: BucketRow): BucketAnswers {
    const known = this.last(kind, name);
    if (known?.existing.bucket.url === url) return known;

    const bucket = { kind, name, url };
    const answers = { ...answersIn(bucket, false), stale: answersIn(bucket, true) };
    const buckets = this.#kinds.get(kind) ?? new Map<string, BucketAnswers>();
    this.#kinds.set(kind, buckets.set(name, answers));
    return answers;
  }

  /** The answers for a bucket as it was read last. */
  last(kind: string, name: string): BucketAnswers | undefined {
    return this.#kinds.get(kind)?.get(name);
  }
}

function answersIn(bucket: Bucket, isStale: boolean): Record<Reason, Answer> {
  const answers = REASONS.map((reason) => [reason, { bucket, reason, isStale }]);
  return Object.fromEntries(answers) as Record<Reason, Answer>;
}
