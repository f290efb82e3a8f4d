// Unsigned 64-bit integers as two halves, for hashing: BigInt would take twenty times as long.

/** A 64-bit register. Each operation changes it, and takes it modulo 2^64. */
export class U64 {
  /** The upper and the lower 32 bits, as signed integers. */
  hi: number;
  lo: number;

  constructor(hi = 0, lo = 0) {
    this.hi = hi | 0;
    this.lo = lo | 0;
  }

  set({ hi, lo }: U64): this {
    this.hi = hi;
    this.lo = lo;
    return this;
  }

  add({ hi, lo }: U64): this {
    const sum = (this.lo >>> 0) + (lo >>> 0);
    this.hi = (this.hi + hi + (sum > 0xffffffff ? 1 : 0)) | 0;
    this.lo = sum | 0;
    return this;
  }

  xor({ hi, lo }: U64): this {
    this.hi ^= hi;
    this.lo ^= lo;
    return this;
  }

  // The upper half of the product of the lower halves by sixteen bits at a time, so that each step is
  // exact in 32 bits.
  multiply({ hi, lo }: U64): this {
    const a0 = this.lo & 0xffff;
    const a1 = this.lo >>> 16;
    const b0 = lo & 0xffff;
    const b1 = lo >>> 16;
    const middle = (Math.imul(a0, b1) >>> 0) + (Math.imul(a0, b0) >>> 16);
    const carry = (Math.imul(a1, b0) >>> 0) + (middle & 0xffff);
    const upper = Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16);
    this.hi = (upper + Math.imul(this.hi, lo) + Math.imul(this.lo, hi)) | 0;
    this.lo = Math.imul(this.lo, lo);
    return this;
  }

  /** By 1 to 31 bits. */
  rotateLeft(bits: number): this {
    const { hi, lo } = this;
    this.hi = (hi << bits) | (lo >>> (32 - bits));
    this.lo = (lo << bits) | (hi >>> (32 - bits));
    return this;
  }

  /** `x ^= x >> bits`, by 1 to 63. */
  xorShift(bits: number): this {
    const { hi } = this;
    if (bits >= 32) {
      this.lo ^= hi >>> (bits - 32);
    } else {
      this.lo ^= (this.lo >>> bits) | (hi << (32 - bits));
      this.hi ^= hi >>> bits;
    }
    return this;
  }

  /** The remainder of a division by a whole number of at most 2^26. */
  modulo(n: number): number {
    return (((this.hi >>> 0) % n) * (0x1_0000_0000 % n) + (this.lo >>> 0)) % n;
  }

  toString(): string {
    const half = (bits: number) => (bits >>> 0).toString(16).padStart(8, '0');
    return half(this.hi) + half(this.lo);
  }
}
