// What bash leaves to others: taking a line apart into words, and quoting what is put into it.

/** A line up to the cursor, taken apart. */
export interface Line {
  /** As the program would be given them; the last one is being typed. */
  readonly words: readonly string[];
  /** Whether the last one is where output goes, or input comes from. */
  readonly isRedirected: boolean;
  /** The quote that is open. */
  readonly quote: Quote;
  /** So much of the last word stays as it is: readline replaces what comes after. */
  readonly kept: number;
}

export type Quote = '' | "'" | '"';

/** `breaks` is COMP_WORDBREAKS: where readline begins a word that to the shell is the middle of one. */
export function parseLine(line: string, breaks: string): Line {
  const words: string[] = [];
  let word = '';
  let isWord = false; // '' is a word, and nothing is none
  let quote: Quote = '';
  let kept = 0;
  let isRedirected = false;
  const end = (): void => {
    if (isWord && !isRedirected) words.push(word);
    if (isWord) isRedirected = false;
    word = '';
    isWord = false;
    kept = 0;
  };
  for (let i = 0; i < line.length; i++) {
    const character = line.charAt(i);
    if (quote !== '') {
      if (character === quote) {
        quote = '';
        kept = word.length;
      } else {
        const isEscape = quote === '"' && character === '\\' && /^[\\"$`]/.test(line.slice(i + 1));
        word += isEscape ? line.charAt(++i) : character;
      }
    } else if (/\s/.test(character)) {
      end();
    } else if (character === '<' || character === '>') {
      if (/^\d*$/.test(word)) isWord = false; // 2>
      end();
      isRedirected = true;
    } else {
      isWord = true;
      if (character === "'" || character === '"') {
        quote = character;
        kept = word.length;
      } else {
        word += character === '\\' ? line.charAt(++i) : character;
        if (breaks.includes(character)) kept = word.length;
      }
    }
  }
  return { words: isRedirected ? words : [...words, word], isRedirected, quote, kept };
}

/** `text` as it is written in such a quote, which readline closes. */
export function quoted(text: string, quote: Quote): string {
  if (quote === '') return text.replaceAll(/[^\w./:=@%+,-]/g, String.raw`\$&`);
  const inside =
    quote === "'"
      ? text.replaceAll("'", String.raw`'\''`)
      : // Where a line is typed, `!` asks for an earlier one, within double quotes too.
        text.replaceAll(/[\\"$`]/g, String.raw`\$&`).replaceAll('!', `"'!'"`);
  // What begins with the quote that is open takes its place, and what ends with one is taken for closed.
  const first = inside.startsWith(quote) ? quote : '';
  return `${first}${inside}${inside.endsWith(quote) ? quote : ''}`;
}
