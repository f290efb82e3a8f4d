// The hash answers what another language answers, spreads keys as it should, and moves no more of them
// than it must.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Modulo, modulo, Rendezvous, type HashBucket } from '../../src/assign/hash.js';
import { lnOf } from '../../src/assign/ln.js';
import { U64 } from '../../src/assign/u64.js';
import { XxHash64 } from '../../src/assign/xxhash.js';

interface Vectors {
  readonly xxh64: Readonly<Record<string, string>>;
  readonly ln: Readonly<Record<string, number>>;
  readonly kinds: Readonly<Record<string, Spread>>;
}
interface Spread {
  readonly buckets: Readonly<Record<string, number>>;
  readonly rendezvous: Readonly<Record<string, string>>;
  readonly modulo: Readonly<Record<string, string>>;
}

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const text = readFileSync(file('hash-vectors.json'), 'utf8');
const vectors = JSON.parse(text) as Vectors;

function toU64(hex: string): U64 {
  return new U64(parseInt(hex.slice(0, 8), 16), parseInt(hex.slice(8), 16));
}

function toBig({ hi, lo }: U64): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

const bit64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const toRegister = (value: bigint): U64 => toU64(value.toString(16).padStart(16, '0'));

describe('64 bits in two halves', () => {
  it('are added, multiplied, rotated, shifted and divided as one number', () => {
    const cut = (value: bigint): bigint => BigInt.asUintN(64, value);
    fc.assert(
      fc.property(
        ...[bit64, bit64],
        ...[fc.integer({ min: 1, max: 31 }), fc.integer({ min: 1, max: 63 })],
        fc.integer({ min: 1, max: 2 ** 26 }),
        (a, b, turn, shift, n) => {
          const [x, y] = [() => toRegister(a), toRegister(b)];
          assert.equal(toBig(x().add(y)), cut(a + b));
          assert.equal(toBig(x().multiply(y)), cut(a * b));
          assert.equal(toBig(x().xor(y)), a ^ b);
          const [left, right] = [BigInt(turn), BigInt(64 - turn)];
          assert.equal(toBig(x().rotateLeft(turn)), cut((a << left) | (a >> right)));
          assert.equal(toBig(x().xorShift(shift)), a ^ (a >> BigInt(shift)));
          assert.equal(x().modulo(n), Number(a % BigInt(n)));
          assert.equal(String(x()), a.toString(16).padStart(16, '0'));
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('the test vectors', () => {
  it('are what the reference in Python prints', (t) => {
    let printed: string;
    try {
      printed = execFileSync('python3', ['-B', file('hash_reference.py')], { encoding: 'utf8' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      t.skip('python3 is not installed');
      return;
    }
    assert.deepEqual(JSON.parse(printed), JSON.parse(text));
  });

  it('hold for the hash of a text, and for the logarithm to its last bit', () => {
    const hasher = new XxHash64();
    for (const [key, hash] of Object.entries(vectors.xxh64)) {
      assert.equal(String(hasher.digest(key, new U64())), hash, key);
    }
    for (const [hash, ln] of Object.entries(vectors.ln)) assert.equal(lnOf(toU64(hash)), ln, hash);
  });

  it('hold for the buckets of keys', () => {
    for (const { buckets, ...keys } of Object.values(vectors.kinds)) {
      const hash = new Rendezvous(
        Object.entries(buckets).map(([name, weight]) => ({ name, weight })),
      );
      for (const [key, bucket] of Object.entries(keys.rendezvous)) {
        assert.equal(hash.bucketOf(key), bucket, key);
      }
      for (const [key, bucket] of Object.entries(keys.modulo)) {
        assert.equal(modulo(key, Object.keys(buckets)), bucket, key);
      }
    }
  });
});

describe('the logarithm', () => {
  it('is that of Math.log but for the last bits', () => {
    fc.assert(
      fc.property(bit64, (hash) => {
        const u = (2 * Number(hash >> 12n) + 1) / 2 ** 53;
        const ln = lnOf(toRegister(hash));
        assert.ok(Math.abs(ln - Math.log(u)) <= 2 ** -51 * Math.max(Math.abs(ln), 2 ** -2));
        assert.ok(ln < 0);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never falls where the hash rises, so that equal weights go by the hash alone', () => {
    const step = fc.integer({ min: 1, max: 3 }).map((step) => BigInt(step) << 12n);
    // About the places where the exponent changes, and anywhere.
    const edge = fc.tuple(
      fc.constantFrom(2n ** 63n, 13043817825332782212n),
      fc.bigInt(-9999n, 9999n),
    );
    const hash = fc.oneof(
      bit64,
      edge.map(([at, by]) => at + (by << 12n)),
    );
    fc.assert(
      fc.property(hash, step, (hash, step) => {
        const next = BigInt.asUintN(64, hash + step);
        fc.pre(next > hash);
        assert.ok(lnOf(toRegister(next)) > lnOf(toRegister(hash)));
      }),
      { numRuns: 5_000 },
    );
  });
});

const bucket = fc.record({
  name: fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }),
  weight: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 1_000_000 })),
});
const buckets = fc.uniqueArray(bucket, { selector: ({ name }) => name, maxLength: 8 });
const keys = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 40 });

function places(buckets: readonly HashBucket[], keys: readonly string[]): (string | undefined)[] {
  const hash = new Rendezvous(buckets);
  return keys.map((key) => hash.bucketOf(key));
}

describe('rendezvous hashing, for any buckets and keys', () => {
  it('does not depend on the order of the buckets, or on what was asked before', () => {
    fc.assert(
      fc.property(buckets, keys, (buckets, keys) => {
        const there = places(buckets, keys);
        assert.deepEqual(places([...buckets].reverse(), keys), there);
        assert.deepEqual(places(buckets, [...keys].reverse()), [...there].reverse());
      }),
    );
  });

  it('moves keys to a bucket that comes, and from one that goes, and no others', () => {
    fc.assert(
      fc.property(buckets, bucket, keys, (buckets, extra, keys) => {
        fc.pre(!buckets.some(({ name }) => name === extra.name));
        const before = places(buckets, keys);
        places([...buckets, extra], keys).forEach((place, i) => {
          assert.ok(place === before[i] || place === extra.name);
        });
      }),
    );
  });

  it('moves keys to a bucket that becomes heavier, and no others', () => {
    fc.assert(
      fc.property(buckets, fc.nat(), keys, (buckets, which, keys) => {
        fc.pre(buckets.length > 0);
        const heavy = buckets[which % buckets.length];
        const after = buckets.map((each) =>
          each === heavy ? { ...each, weight: each.weight * 3 } : each,
        );
        const before = places(buckets, keys);
        places(after, keys).forEach((place, i) => {
          assert.ok(place === before[i] || place === heavy?.name);
        });
      }),
    );
  });

  it('goes by what the weights are to each other', () => {
    fc.assert(
      fc.property(buckets, keys, (buckets, keys) => {
        const double = buckets.map(({ name, weight }) => ({ name, weight: 2 * weight }));
        assert.deepEqual(places(double, keys), places(buckets, keys));
      }),
    );
  });

  it('knows no bucket where there is none', () => {
    assert.equal(new Rendezvous([]).bucketOf('iana'), undefined);
    assert.equal(modulo('iana', []), undefined);
  });
});

const KEYS = 1_000_000;

// Where each of a million keys is, by the bucket's number.
function spread(buckets: readonly HashBucket[]): Uint8Array {
  const hash = new Rendezvous(buckets);
  const numbers = new Map(buckets.map(({ name }, i) => [name, i]));
  return Uint8Array.from(
    { length: KEYS },
    (_, i) => numbers.get(hash.bucketOf(`user-${i}`) ?? '') ?? 255,
  );
}

function named(weights: readonly number[]): HashBucket[] {
  return weights.map((weight, i) => ({ name: `server-${i}`, weight }));
}

function counts(places: Uint8Array, buckets: number): number[] {
  const counts = new Array<number>(buckets).fill(0);
  for (const place of places) counts[place] = (counts[place] ?? 0) + 1;
  return counts;
}

// A count of keys of which each is there with this probability.
function assertWithin(count: number, probability: number, what: string): void {
  const deviation = Math.sqrt(KEYS * probability * (1 - probability));
  const away = (count - KEYS * probability) / deviation;
  assert.ok(Math.abs(away) <= 3, `${what}: ${count} keys, ${away.toFixed(2)} standard deviations`);
}

describe('a million keys', () => {
  const nine = spread(named(Array<number>(9).fill(1)));
  const ten = spread(named(Array<number>(10).fill(1)));

  it('are spread evenly, within three standard deviations', () => {
    counts(ten, 10).forEach((count, i) => {
      assertWithin(count, 1 / 10, `server-${i}`);
    });
  });

  it('move to a tenth bucket, a tenth of them, and otherwise stay', () => {
    let moved = 0;
    for (let i = 0; i < KEYS; i++) {
      if (nine[i] === ten[i]) continue;
      moved++;
      if (ten[i] !== 9) assert.fail(`key user-${i} moved from ${nine[i]} to ${ten[i]}`);
    }
    assertWithin(moved, 1 / 10, 'moved');
  });

  it('of a bucket that goes are spread over the others evenly', () => {
    const left = counts(
      ten.map((place, i) => (place === 9 ? (nine[i] ?? 255) : 255)).filter((place) => place < 255),
      9,
    );
    left.forEach((count, i) => {
      assertWithin(count, 1 / 90, `server-${i}`);
    });
  });

  it('are spread in proportion to the weights, within three standard deviations', () => {
    const weights = [1, 2, 3, 5, 10, 0.5].map((weight) => weight * 2);
    const sum = weights.reduce((all, each) => all + each, 0);
    counts(spread(named(weights)), weights.length).forEach((count, i) => {
      assertWithin(count, (weights[i] ?? 0) / sum, `server-${i}`);
    });
  });

  it('are spread evenly by modulo', () => {
    const hash = new Modulo(named(Array<number>(7).fill(1)).map(({ name }) => name));
    const places = Uint8Array.from({ length: KEYS }, (_, i) =>
      Number(hash.bucketOf(`user-${i}`)?.slice('server-'.length)),
    );
    counts(places, 7).forEach((count, i) => {
      assertWithin(count, 1 / 7, `server-${i}`);
    });
  });
});

describe('modulo', () => {
  it('counts the buckets in their natural order, however they come', () => {
    const names = ['server-10', 'server-2', 'server-1', 'server-02', 'a', 'server', 'server-2b'];
    const order = ['a', 'server', 'server-1', 'server-02', 'server-2', 'server-2b', 'server-10'];
    const hasher = new XxHash64();
    for (let i = 0; i < 100; i++) {
      const number = hasher.digest(`key-${i}`, new U64()).modulo(names.length);
      assert.equal(modulo(`key-${i}`, names), order[number]);
    }
  });
});
