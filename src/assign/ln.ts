// The natural logarithm out of additions, multiplications and divisions alone, which IEEE 754 defines to
// the last bit. What Math.log returns is left to each engine, and may be another in its next release.

import type { U64 } from './u64.js';

// ln 2 in two parts. The first has 38 bits, so that its product with an exponent is exact.
const LN2_HIGH = 190530846196 / 2 ** 38;
const LN2_LOW = 1.6465949582897082e-12;

const SQRT_HALF = 0.7071067811865476;

// 2^-0 to 2^-53.
const POWERS: readonly number[] = Array.from({ length: 54 }, (_, bits) => 1 / 2 ** bits);

/**
 * ln u for the u between 0 and 1 that a hash stands for: (2k + 1) / 2^53, where k is its upper 52 bits.
 *
 * With u = m × 2^e and m from √½ to √2, f = m - 1 and s = f / (2 + f), ln m is 2 artanh s, whose series
 * is written as f - s × (f - R), so that what is rounded is small. The error is less than 2^-53 where
 * neighbours are 2^-52 / u apart: of two hashes the higher never has the lower logarithm.
 */
export function lnOf({ hi, lo }: U64): number {
  const upper = hi >>> 0;
  const lower = lo >>> 12;
  let exponent = upper === 0 ? 33 - Math.clz32(lower) : 53 - Math.clz32(upper);
  let m = (upper * 0x200000 + lower * 2 + 1) * (POWERS[exponent] ?? 0);
  if (m < SQRT_HALF) {
    m *= 2;
    exponent--;
  }
  exponent -= 53;

  const f = m - 1;
  const s = f / (2 + f);
  const z = s * s;
  let series = 2 / 21;
  for (let odd = 19; odd >= 3; odd -= 2) series = series * z + 2 / odd;
  const correction = s * (f - series * z);
  return exponent * LN2_HIGH + (f - (correction - exponent * LN2_LOW));
}
