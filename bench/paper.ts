// What the bench prints, piece by piece, and writes to RESULTS.md in the end.

import { writeFileSync } from 'node:fs';
import { format } from 'prettier';

export class Paper {
  /** How many figures could not be measured. */
  failures = 0;
  readonly #ending: AbortSignal;
  #text = '';

  /** `ending`: once everything is being stopped, a failure says nothing of its figure. */
  constructor(ending: AbortSignal) {
    this.#ending = ending;
  }

  /** Prints Markdown. */
  async add(markdown: string): Promise<void> {
    const pretty = await format(markdown, {
      parser: 'markdown',
      printWidth: 100,
      proseWrap: 'always',
    });
    process.stdout.write(`${pretty}\n`);
    this.#text += `${pretty}\n`;
  }

  /** Prints a table under its headings, unless it is empty. */
  async addTable(headings: readonly string[], rows: readonly (readonly string[])[]): Promise<void> {
    if (rows.length > 0) await this.add(markdownTable(headings, rows));
  }

  /** Measures one figure. If that fails, says so in its place, and the figure does not count. */
  async measure<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    process.stderr.write(`${what} …\n`);
    try {
      return await work();
    } catch (error) {
      if (this.#ending.aborted) throw error;
      this.failures++;
      await this.add(`**Does not count:** ${what}: ${(error as Error).message}`);
      return undefined;
    }
  }

  write(): void {
    writeFileSync(new URL('RESULTS.md', import.meta.url), `${this.#text.trimEnd()}\n`);
  }
}

// Words to the left, numbers to the right. Prettier makes the columns straight.
function markdownTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumber = headings.map((_, i) => rows.every((row) => /^[\d., …]+$/.test(row[i] ?? '')));
  const rule = isNumber.map((right) => (right ? '---:' : '---'));
  return [headings, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
