// A key's pattern for nginx, whose engine (PCRE) goes back and tries again where RE2 reads on. What both
// read in the same way is passed on as it is; what they do not, or what would have PCRE try too often, is
// refused with the reason.

const MAX_LENGTH = 1_000;

/** So many places of a pattern may let PCRE choose: n of them cost it (length of the text)^n steps. */
const MAX_CHOICES = 2;

// Letters after a back-slash that mean the same to both.
const SETS = 'dDwWsS';
const ASSERTIONS = 'AzbB';
const CHARACTERS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' };
const POSIX =
  /^\[:\^?(alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]/;
const QUANTIFIER = /^(?:[*+?]|\{\d{1,4}(?:,\d{0,4})?\})\??/;

/**
 * The pattern as PCRE is to be given it: names of groups, which nginx would make its own variables of, are
 * taken out. `pattern` is one that RE2 takes. Throws an Error that says what PCRE would read otherwise, or
 * what could hold nginx up.
 */
export function toNginxPattern(pattern: string): string {
  if (/[\x00-\x1f\x7f]/.test(pattern)) {
    throw new Error('a control character: write it as \\n, \\t or \\x7f');
  }
  if (/[^\x20-\x7e]/.test(pattern)) {
    throw new Error('a letter beyond ASCII, of which a URL has none: write it percent-encoded');
  }
  if (pattern.length > MAX_LENGTH) {
    throw new Error(`${pattern.length} characters: at most ${MAX_LENGTH} are allowed`);
  }
  const reader = new Reader(pattern);
  reader.read();
  const isAnchored = /^(\^|\\A)/.test(pattern) && !reader.hasTopAlternatives;
  if (choices(reader.parts) + (isAnchored ? 0 : 1) > MAX_CHOICES) {
    throw new Error(
      'it lets nginx try too many ways to match: begin it with ^, have each * or + followed by a character that it does not match itself, as in [^/]*/, and leave out what follows the group',
    );
  }
  return reader.text;
}

/** What a quantifier repeats or an assertion stands for, in the order of the pattern. */
interface Part {
  /** The ASCII characters that it may match; undefined: it is no single character. */
  readonly set: ReadonlySet<string> | undefined;
  /** How often: once, or so often as the text and what follows allow. */
  readonly isVariable: boolean;
}

// A `*` before a character that it cannot match itself has one way to end. So has the last one.
function choices(parts: readonly Part[]): number {
  return parts.filter(({ set, isVariable }, i) => {
    const next = parts[i + 1];
    if (!isVariable || next === undefined) return false;
    if (set === undefined || next.set === undefined || next.isVariable) return true;
    return [...next.set].some((character) => set.has(character));
  }).length;
}

// One character of ASCII by its number, which both read alike: of others nginx refuses the file, or takes
// a byte where RE2 takes a letter.
const HEX = /^\\x(?:[0-7][0-9A-Fa-f]|\{[0-7][0-9A-Fa-f]\})/;

class Reader {
  /** The pattern, with the names of its groups taken out. */
  text = '';
  readonly parts: Part[] = [];
  hasTopAlternatives = false;
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  read(): void {
    this.#alternatives(0);
  }

  /** Up to the end of a group: whether it has a choice in it, by `|` or by a quantifier. */
  #alternatives(depth: number): boolean {
    let hasChoice = false;
    for (;;) {
      const rest = this.#pattern.slice(this.#at);
      if (rest === '' || (rest.startsWith(')') && depth > 0)) return hasChoice;
      if (rest.startsWith('|')) {
        this.#take('|');
        this.parts.push({ set: undefined, isVariable: true });
        hasChoice = true;
        if (depth === 0) this.hasTopAlternatives = true;
      } else {
        hasChoice = this.#piece(rest, depth) || hasChoice;
      }
    }
  }

  // Something with the quantifier that it may have: whether that, or what is in it, is a choice.
  #piece(rest: string, depth: number): boolean {
    const isGroup = rest.startsWith('(');
    const first = this.parts.length;
    const hasChoice = isGroup ? this.#group(rest, depth) : false;
    const set = isGroup ? undefined : this.#atom(rest);
    const quantifier = QUANTIFIER.exec(this.#pattern.slice(this.#at))?.[0] ?? '';
    if (!isGroup && set !== 'nothing') this.parts.push({ set, isVariable: isVariable(quantifier) });
    if (quantifier === '') return hasChoice;
    this.#take(quantifier);
    if (set === 'nothing') throw new Error(`${quantifier} has nothing to repeat`);
    if (isGroup) {
      const isOptional = quantifier.startsWith('?');
      if (hasChoice && !isOptional) {
        throw new Error(`a group with a choice in it is repeated by ${quantifier}`);
      }
      if (!isOptional) this.parts.length = first;
      this.parts.push({ set: undefined, isVariable: isVariable(quantifier) });
    }
    return hasChoice || isVariable(quantifier);
  }

  #group(rest: string, depth: number): boolean {
    const open = /^\((?:\?P?<\w+>|\?(?:[is]*(?:-[is]+)?)[:)])?/.exec(rest)?.[0] ?? '(';
    if (open === '(' && rest.startsWith('(?')) {
      throw new Error(
        `${rest.slice(0, 4)}: of what begins with (? only (?: (?i (?s and names may stand there`,
      );
    }
    this.#at += open.length;
    this.text += open.endsWith('>') ? '(' : open; // a name would be a variable of nginx
    if (open.endsWith(')')) return false; // flags, and no group
    const hasChoice = this.#alternatives(depth + 1);
    this.#take(')');
    return hasChoice;
  }

  // The characters that it may match; undefined: more than can be told; `nothing`: it takes up none.
  #atom(rest: string): ReadonlySet<string> | undefined | 'nothing' {
    const [first = '', second = ''] = rest;
    if (first === '^' || first === '$') {
      this.#take(first);
      this.parts.push({ set: undefined, isVariable: false });
      return 'nothing';
    }
    if (first === '[') return matching(this.#class(rest));
    if (first === '\\') return this.#escape(second, rest);
    if (first === '{' || first === '}') throw new Error(`${first}: write \\${first}`);
    this.#take(first);
    return first === '.' ? matching('[^\\n]') : matching(escaped(first));
  }

  #escape(letter: string, rest: string): ReadonlySet<string> | undefined | 'nothing' {
    const hex = HEX.exec(rest)?.[0];
    if (hex !== undefined) {
      this.#take(hex);
      return matching(escaped(String.fromCharCode(parseInt(hex.replaceAll(/[\\x{}]/g, ''), 16))));
    }
    if (
      /^[A-Za-z0-9]/.test(letter) &&
      !(SETS + ASSERTIONS).includes(letter) &&
      !(letter in CHARACTERS)
    ) {
      throw new Error(`\\${letter}: nginx may read it in another way`);
    }
    this.#take(`\\${letter}`);
    if (ASSERTIONS.includes(letter)) {
      this.parts.push({ set: undefined, isVariable: false });
      return 'nothing';
    }
    return matching(SETS.includes(letter) ? `\\${letter}` : escaped(CHARACTERS[letter] ?? letter));
  }

  // A class, taken as it stands; what it may match, as a class of JavaScript's.
  #class(rest: string): string {
    const open = /^\[\^?\]?/.exec(rest)?.[0] ?? '[';
    let at = open.length;
    let isPlain = true;
    while (rest[at] !== ']') {
      if (at >= rest.length) throw new Error('a [ without its ]');
      const posix = POSIX.exec(rest.slice(at))?.[0];
      if (posix !== undefined) isPlain = false;
      else if (/^\[[.:=]/.test(rest.slice(at))) throw new Error('[ in a class: write \\[');
      const isEscape = rest[at] === '\\';
      const letter = rest[at + 1] ?? '';
      const hex = isEscape ? HEX.exec(rest.slice(at))?.[0] : undefined;
      if (
        isEscape &&
        hex === undefined &&
        /[A-Za-z0-9]/.test(letter) &&
        !SETS.includes(letter) &&
        !(letter in CHARACTERS)
      ) {
        throw new Error(`\\${letter} in a class: nginx may read it in another way`);
      }
      at += (posix ?? hex)?.length ?? (isEscape ? 2 : 1);
    }
    const text = rest.slice(0, at + 1);
    this.#take(text);
    if (!isPlain) return '[^]';
    return text.replace(/^(\[\^?)\]/, '$1\\]').replaceAll(/\\x\{(\w+)\}/g, '\\x$1');
  }

  #take(text: string): void {
    this.text += text;
    this.#at += text.length;
  }
}

// `{3}` leaves no choice.
function isVariable(quantifier: string): boolean {
  return quantifier !== '' && !/^\{\d+\}/.test(quantifier);
}

const ASCII = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));

// By JavaScript's own reading of a single character or class, for which all three are the same. As if it
// were for capital and small letters alike, which a flag may have said.
function matching(source: string): ReadonlySet<string> | undefined {
  try {
    const pattern = new RegExp(`^(?:${source})$`, 'is');
    return new Set(ASCII.filter((character) => pattern.test(character)));
  } catch {
    return undefined;
  }
}

function escaped(character: string): string {
  return character.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
