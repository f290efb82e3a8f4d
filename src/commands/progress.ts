// How far a long command is: one line on a terminal's stderr, once it has taken longer than a second, and
// nothing of it is left at the end.

const SILENT_MS = 1_000;
const EVERY_MS = 200;

/** How far something is. */
export interface Position {
  /** What is counted: `rows read`. */
  readonly what: string;
  readonly count: number;
  /** From 0 to 1; undefined where nobody knows how much there is. */
  readonly fraction?: number | undefined;
  readonly elapsedMs: number;
}

const BAR_LENGTHS = { least: 10, most: 30 } as const;

/** The line for a terminal with so many columns, as much of it as fits without a line break. */
export function drawProgress(position: Position, columns: number): string {
  const { what, count, elapsedMs } = position;
  const counts = `${whole(count)} ${what}`;
  const rate = `${whole(Math.round(count / (elapsedMs / 1000)))} per second`;
  const fits = (line: string) => line.length < columns; // in the last column some terminals break
  if (position.fraction === undefined) {
    const line = `${counts}, ${rate}`;
    return fits(line) ? line : fits(counts) ? counts : '';
  }
  const fraction = Math.min(Math.max(position.fraction, 0), 1);
  const percent = `${Math.floor(fraction * 100)}%`.padStart(4);
  const left = fraction > 0 ? [`${clock((elapsedMs / fraction) * (1 - fraction))} left`] : [];
  for (const after of [[counts, rate, ...left], [counts, ...left], left]) {
    const text = after.length > 0 ? ` ${after.join(', ')}` : '';
    const room = columns - 1 - `${percent} []${text}`.length;
    if (room < BAR_LENGTHS.least) continue;
    const length = Math.min(room, BAR_LENGTHS.most);
    const bar = '#'.repeat(Math.floor(fraction * length)).padEnd(length, '-');
    return `${percent} [${bar}]${text}`;
  }
  return fits(percent) ? percent : '';
}

function whole(count: number): string {
  return count.toLocaleString('en');
}

// 0:07, 12:34, 1:02:03
function clock(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  const hours = Math.floor(seconds / 3600);
  const [first = 0, ...rest] = hours > 0 ? [hours, ...parts] : parts;
  return [first, ...rest.map((part) => String(part).padStart(2, '0'))].join(':');
}

/** Whether somebody sees what goes to stderr, and lines can be written over. */
export function isOnTerminal(): boolean {
  return process.stderr.isTTY && process.env.TERM !== 'dumb';
}

/** Text as it stands on one line of the terminal's stderr, in place of what was there. */
export function overwrite(text: string): string {
  return `\r${text.slice(0, columns() - 1)}\u001b[K`;
}

// Some terminals do not say how wide they are.
function columns(): number {
  return process.stderr.columns > 0 ? process.stderr.columns : 80;
}

export class Progress {
  /** Whether nobody sees it. */
  readonly isQuiet: boolean;
  readonly #what: string;
  readonly #started = performance.now();
  #since = this.#started;
  #fraction: ((count: number) => number) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #shownAt = 0;
  #isShown = false;

  /**
   * `what` is counted: `rows read`. `isQuiet`: never show it, where it would be in the way of what
   * somebody reads or types there.
   */
  constructor(what: string, { isQuiet = false } = {}) {
    this.#what = what;
    this.isQuiet = isQuiet || !isOnTerminal();
  }

  /** From now on it is known that there are `total`; `done`: how many of them are done, if others are counted. */
  outOf(total: number, done?: () => number): void {
    this.#fraction = total > 0 ? (count) => (done?.() ?? count) / total : undefined;
  }

  /** So many so far; 0 where the counting begins. */
  at(count: number): void {
    const now = performance.now();
    if (count === 0) this.#since = now;
    if (this.isQuiet || count === 0 || now - this.#shownAt < EVERY_MS) return;
    this.#shownAt = now;
    const elapsedMs = now - this.#since;
    const position = { what: this.#what, count, fraction: this.#fraction?.(count), elapsedMs };
    this.say(drawProgress(position, columns()));
  }

  /** Shows `text` in place of what was shown before. */
  say(text: string): void {
    if (this.isQuiet || performance.now() - this.#started < SILENT_MS) return;
    this.#isShown = true;
    process.stderr.write(overwrite(text));
  }

  /** Asks by itself how many they are, or what to say, until the end. */
  follow(look: () => number | string): void {
    if (this.isQuiet) return;
    this.#timer = setInterval(() => {
      const seen = look();
      if (typeof seen === 'number') this.at(seen);
      else this.say(seen);
    }, EVERY_MS).unref();
  }

  /** Takes away what was shown. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#isShown) process.stderr.write(overwrite(''));
    this.#isShown = false;
  }
}
