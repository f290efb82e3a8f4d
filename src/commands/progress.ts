// How far a long command is, on a terminal's stderr, once it has taken longer than a second.

const SILENT_MS = 1_000;
const EVERY_MS = 200;

export class Progress {
  readonly #what: string;
  readonly #isQuiet: boolean;
  readonly #started = performance.now();
  #shownAt = 0;
  #isShown = false;

  /** `what`: read, exported. `isQuiet`: never show it, where it would be in the way of the output. */
  constructor(what: string, { isQuiet = false } = {}) {
    this.#what = what;
    this.#isQuiet = isQuiet || !process.stderr.isTTY;
  }

  /** So many rows so far. */
  rows(count: number): void {
    const now = performance.now();
    if (now - this.#shownAt < EVERY_MS) return;
    this.#shownAt = now;
    const perSecond = Math.round(count / ((now - this.#started) / 1000));
    this.say(`${whole(count)} rows ${this.#what}, ${whole(perSecond)} per second`);
  }

  /** Shows `text` in place of what was shown before. */
  say(text: string): void {
    if (this.#isQuiet || performance.now() - this.#started < SILENT_MS) return;
    this.#isShown = true;
    process.stderr.write(`\r${text}\u001b[K`);
  }

  /** Takes away what was shown. */
  end(): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K');
    this.#isShown = false;
  }
}

function whole(count: number): string {
  return count.toLocaleString('en');
}
