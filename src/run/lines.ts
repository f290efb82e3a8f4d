// Whole lines out of the pieces that a program's output comes in. Pure.

// A line that does not end is broken, so that nothing is kept without bound.
const LONGEST = 64 * 1024;

export class Lines {
  readonly #prefix: string;
  #rest = '';

  /** `prefix` comes before each line. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** The lines that are complete now, each with its prefix; empty while there are none. */
  push(text: string): string {
    const all = this.#rest + text;
    const end = all.lastIndexOf('\n');
    this.#rest = all.slice(end + 1);
    const whole = end === -1 ? '' : this.#prefixed(all.slice(0, end));
    return this.#rest.length < LONGEST ? whole : whole + this.end();
  }

  /** What was left without an end, as a line. */
  end(): string {
    const rest = this.#rest;
    this.#rest = '';
    return rest === '' ? '' : this.#prefixed(rest);
  }

  #prefixed(text: string): string {
    return `${this.#prefix}${text.replaceAll('\n', `\n${this.#prefix}`)}\n`;
  }
}
