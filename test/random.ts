// Chance that can be had once more: SHARDER_TEST_SEED=… is the seed of every test that has one.

import { randomInt } from 'node:crypto';

export const seed = Number(process.env.SHARDER_TEST_SEED ?? randomInt(2 ** 32));

/** A generator of random numbers (mulberry32, T. Ettinger), the same for the same seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(all: readonly T[]): T {
    const one = all[Math.floor(this.next() * all.length)];
    if (one === undefined) throw new Error('there is nothing to pick');
    return one;
  }
}
