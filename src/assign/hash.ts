// The policy `hash`: which bucket a key belongs to, computed and stored nowhere. Pure functions, that
// answer the same on every machine and in every release; test/assign/hash-vectors.json has examples.

import { lnOf } from './ln.js';
import { compareNatural } from './natural.js';
import { U64 } from './u64.js';
import { XxHash64 } from './xxhash.js';

/** A bucket as the hash sees it. */
export interface HashBucket {
  readonly name: string;
  /** ≥ 1; a bucket of weight 2 has twice as many keys as one of weight 1. */
  readonly weight: number;
}

interface Drawn extends HashBucket {
  readonly digest: U64;
}

// The constants of MurmurHash3's fmix64 (A. Appleby).
const FMIX_1 = new U64(0xff51afd7, 0xed558ccd);
const FMIX_2 = new U64(0xc4ceb9fe, 0x1a85ec53);

/**
 * Weighted rendezvous hashing: every bucket draws a score for the key, and the highest has it. So a
 * bucket that comes takes its share from all others, one that goes leaves its keys to all others, and no
 * other key moves. (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998; the
 * scores by Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.)
 *
 *     hash  = fmix64(XXH64(key) ^ XXH64(bucket))
 *     score = weight / -ln u, u being (2 × (hash >> 12) + 1) / 2^53
 *
 * Equal scores go by the hash, equal hashes by the name. Of buckets with one weight the highest hash is
 * the highest score, so no logarithm is needed.
 */
export class Rendezvous {
  readonly #buckets: readonly Drawn[];
  readonly #isWeighted: boolean;
  readonly #hasher = new XxHash64();
  readonly #key = new U64();
  readonly #hash = new U64();

  /** In any order; no two of a name. */
  constructor(buckets: readonly HashBucket[]) {
    // Of those with equal hashes the first by name is met first.
    this.#buckets = [...buckets]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((bucket) => ({ ...bucket, digest: this.#hasher.digest(bucket.name, new U64()) }));
    this.#isWeighted = new Set(buckets.map(({ weight }) => weight)).size > 1;
  }

  /** The bucket of a key, any text; undefined where there is none. Takes O(buckets). */
  bucketOf(key: string): string | undefined {
    this.#hasher.digest(key, this.#key);
    const hash = this.#hash;
    let winner: string | undefined;
    let best = -Infinity;
    let high = 0;
    let low = 0;
    for (const { name, weight, digest } of this.#buckets) {
      hash.set(digest).xor(this.#key);
      hash.xorShift(33).multiply(FMIX_1).xorShift(33).multiply(FMIX_2).xorShift(33);
      const hi = hash.hi >>> 0;
      const lo = hash.lo >>> 0;
      const score = this.#isWeighted ? weight / -lnOf(hash) : 0;
      if (score < best) continue;
      if (score === best && (hi < high || (hi === high && lo <= low))) continue;
      winner = name;
      best = score;
      high = hi;
      low = lo;
    }
    return winner;
  }
}

/**
 * XXH64(key) mod n, where n is how many buckets there are: the number of the key's bucket, counted from
 * 0, in the natural order of their names (server-2 before server-10). For those who need just this; with
 * one bucket more or less nearly all keys move. Undefined where there is none.
 */
export function modulo(key: string, buckets: readonly string[]): string | undefined {
  return new Modulo(buckets).bucketOf(key);
}

/** `modulo` for many keys. */
export class Modulo {
  readonly #buckets: readonly string[];
  readonly #hasher = new XxHash64();
  readonly #key = new U64();

  constructor(buckets: readonly string[]) {
    this.#buckets = [...buckets].sort(compareNatural);
  }

  bucketOf(key: string): string | undefined {
    if (this.#buckets.length === 0) return undefined;
    return this.#buckets[this.#hasher.digest(key, this.#key).modulo(this.#buckets.length)];
  }
}
