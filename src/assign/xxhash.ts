// The hash of a text: XXH64 with seed 0 over its UTF-8 (Y. Collet; the specification is
// doc/xxhash_spec.md at github.com/Cyan4973/xxHash). Every language has it.

import { U64 } from './u64.js';

const PRIME_1 = new U64(0x9e3779b1, 0x85ebca87);
const PRIME_2 = new U64(0xc2b2ae3d, 0x27d4eb4f);
const PRIME_3 = new U64(0x165667b1, 0x9e3779f9);
const PRIME_4 = new U64(0x85ebca77, 0xc2b2ae63);
const PRIME_5 = new U64(0x27d4eb2f, 0x165667c5);
const MINUS_PRIME_1 = new U64(~PRIME_1.hi, -PRIME_1.lo);

/** Hashes one text after the other, in memory of its own. */
export class XxHash64 {
  #bytes = Buffer.allocUnsafe(512);
  readonly #lanes = [new U64(), new U64(), new U64(), new U64()] as const;
  readonly #word = new U64();

  /** Writes the hash of `text` to `hash`, and returns it. A lone surrogate counts as U+FFFD. */
  digest(text: string, hash: U64): U64 {
    const length = this.#encode(text);
    let at = 0;
    if (length < 32) {
      hash.set(PRIME_5);
    } else {
      at = length - (length % 32);
      this.#digestStripes(at, hash);
    }
    hash.add(this.#small(length));
    for (; at + 8 <= length; at += 8) {
      hash.xor(this.#read64(at).multiply(PRIME_2).rotateLeft(31).multiply(PRIME_1));
      hash.rotateLeft(27).multiply(PRIME_1).add(PRIME_4);
    }
    if (at + 4 <= length) {
      hash.xor(this.#small(this.#read32(at)).multiply(PRIME_1));
      hash.rotateLeft(23).multiply(PRIME_2).add(PRIME_3);
      at += 4;
    }
    for (; at < length; at++) {
      hash.xor(this.#small(this.#bytes[at] ?? 0).multiply(PRIME_5));
      hash.rotateLeft(11).multiply(PRIME_1);
    }
    return hash.xorShift(33).multiply(PRIME_2).xorShift(29).multiply(PRIME_3).xorShift(32);
  }

  // The first `end` bytes, 32 at a time, in four lanes.
  #digestStripes(end: number, hash: U64): void {
    const [a, b, c, d] = this.#lanes;
    a.set(PRIME_1).add(PRIME_2);
    b.set(PRIME_2);
    c.set(ZERO);
    d.set(MINUS_PRIME_1);
    for (let at = 0; at < end;) {
      for (const lane of this.#lanes) {
        lane.add(this.#read64(at).multiply(PRIME_2)).rotateLeft(31).multiply(PRIME_1);
        at += 8;
      }
    }
    const word = this.#word;
    hash.set(word.set(a).rotateLeft(1)).add(word.set(b).rotateLeft(7));
    hash.add(word.set(c).rotateLeft(12)).add(word.set(d).rotateLeft(18));
    for (const lane of this.#lanes) {
      hash.xor(lane.multiply(PRIME_2).rotateLeft(31).multiply(PRIME_1));
      hash.multiply(PRIME_1).add(PRIME_4);
    }
  }

  // Puts the text's UTF-8 into the buffer, and returns its length. Nearly all is ASCII and short: that
  // a loop copies faster than Node's own encoder is called.
  #encode(text: string): number {
    const { length } = text;
    if (length * 3 > this.#bytes.length) this.#bytes = Buffer.allocUnsafe(length * 3);
    const bytes = this.#bytes;
    if (length > 64) return bytes.write(text);
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f) return bytes.write(text);
      bytes[i] = unit;
    }
    return length;
  }

  #small(lo: number): U64 {
    const word = this.#word;
    word.hi = 0;
    word.lo = lo;
    return word;
  }

  #read32(at: number): number {
    const bytes = this.#bytes;
    return (
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)
    );
  }

  #read64(at: number): U64 {
    const word = this.#word;
    word.lo = this.#read32(at);
    word.hi = this.#read32(at + 4);
    return word;
  }
}

const ZERO = new U64();
