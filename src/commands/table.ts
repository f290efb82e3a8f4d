// Rows as a table for people: columns as wide as their widest cell, numbers to the right. A long one
// comes in pages, and a column grows where a later page needs it to.

import { styleText } from 'node:util';

export type Cell = string | number | null;

// What a terminal would act on instead of showing it.
const CONTROL = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

export class Table {
  readonly #headings: readonly string[];
  readonly #widths: number[];
  #isNumber: readonly boolean[] | undefined;

  constructor(headings: readonly string[]) {
    this.#headings = headings;
    this.#widths = headings.map((heading) => heading.length);
  }

  /** A line per row, the first page's under a line of headings; null shows as `-`. */
  page(rows: readonly (readonly Cell[])[]): string {
    const lines = rows.map((row) => row.map(show));
    for (const line of lines) {
      line.forEach((cell, i) => {
        this.#widths[i] = Math.max(this.#widths[i] ?? 0, cell.length);
      });
    }
    const isFirst = this.#isNumber === undefined;
    this.#isNumber ??= this.#headings.map((_, i) => rows.some((row) => typeof row[i] === 'number'));
    const text = lines.map((line) => `${this.#pad(line)}\n`).join('');
    return isFirst ? `${styleText('bold', this.#pad(this.#headings))}\n${text}` : text;
  }

  #pad(line: readonly string[]): string {
    const cells = line.map((cell, i) => {
      const width = this.#widths[i] ?? 0;
      return this.#isNumber?.[i] ? cell.padStart(width) : cell.padEnd(width);
    });
    return cells.join('  ').trimEnd();
  }
}

/** A table of one page. */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return new Table(headings).page(rows);
}

function show(cell: Cell): string {
  return printable(String(cell ?? '-'));
}

/** Text in which what a terminal would act on is written as its code. */
export function printable(text: string): string {
  return text.replaceAll(
    CONTROL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
