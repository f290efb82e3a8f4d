// How long a program that has ended is left alone before it is started again. Pure.

const FIRST_MS = 250;
const LONGEST_MS = 30_000;

// Whoever has run for so long has not ended because of how it was started.
const WELL_MS = 10_000;

export class BackOff {
  #nextMs = FIRST_MS;

  /** How long to wait, after it has run for `ranMs`: twice as long each time, unless it ran well. */
  after(ranMs: number): number {
    const waitMs = ranMs >= WELL_MS ? FIRST_MS : this.#nextMs;
    this.#nextMs = Math.min(waitMs * 2, LONGEST_MS);
    return waitMs;
  }
}
