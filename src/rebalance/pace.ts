// How many moves are due. Pure: the time is given, in milliseconds that only grow.

// What was not used is kept for so long.
const KEPT_MS = 200;

/** A token bucket: it fills at a rate. */
export class Pace {
  readonly #perMs: number;
  readonly #most: number;
  #tokens = 1;
  #at: number;

  /** `rate` is per second. */
  constructor(rate: number, now: number) {
    this.#perMs = rate / 1_000;
    this.#most = Math.max(1, this.#perMs * KEPT_MS);
    this.#at = now;
  }

  /** How many are due now. */
  due(now: number): number {
    this.#tokens = Math.min(this.#most, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
    return Math.floor(this.#tokens);
  }

  /** So many were made. */
  spend(count: number): void {
    this.#tokens -= count;
  }

  /** In how many milliseconds so many are due. */
  waitMs(count: number): number {
    return Math.max(0, Math.ceil((Math.min(count, this.#most) - this.#tokens) / this.#perMs));
  }
}
