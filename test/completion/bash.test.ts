// Lines and words as bash has them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseLine, quoted, type Quote } from '../../src/completion/bash.js';
import { BUCKET_PATTERN } from '../../src/names.js';

const BREAKS = ' \t\n"\'><=;|&(:';

describe('a line of bash', () => {
  const lines: readonly [line: string, words: string[], quote: Quote, stays: string][] = [
    ['sharder', ['sharder'], '', ''],
    ['sharder ', ['sharder', ''], '', ''],
    ['sharder  object mo', ['sharder', 'object', 'mo'], '', ''],
    [String.raw`s 'a b' "c \"d\"" e\ f g`, ['s', 'a b', 'c "d"', 'e f', 'g'], '', ''],
    [`s ''`, ['s', ''], '', ''],
    [`s 'a b`, ['s', 'a b'], "'", ''],
    [`s "a'b`, ['s', `a'b`], '"', ''],
    ['s --kind=hu', ['s', '--kind=hu'], '', '--kind='],
    [`s --kind='hu`, ['s', '--kind=hu'], "'", '--kind='],
    ['s http://x', ['s', 'http://x'], '', 'http:'],
    [String.raw`s a\&b`, ['s', 'a&b'], '', ''],
    [`s 'a'b`, ['s', 'ab'], '', 'a'],
    ['s 2>log x', ['s', 'x'], '', ''],
  ];
  for (const [line, words, quote, stays] of lines) {
    it(`comes apart as it would be run: ${line}`, () => {
      const parsed = parseLine(line, BREAKS);
      assert.deepEqual(parsed, { words, isRedirected: false, quote, kept: stays.length });
    });
  }

  it('that ends where output goes asks for a file', () => {
    for (const line of ['s export >us', 's export > us', 's import < ', 's x 2>>l'])
      assert.equal(parseLine(line, BREAKS).isRedirected, true, line);
  });
});

describe('a word that is quoted', () => {
  const bucket = fc.stringMatching(BUCKET_PATTERN, { maxLength: 12 });

  it('is the same word to bash, whatever the quote, and comes apart again', () => {
    const all = fc.sample(bucket, { numRuns: 300, seed: 3 });
    const written = all.flatMap((name) =>
      (['', "'", '"'] as const).map((quote) => {
        const text = quoted(name, quote);
        // readline has the quote that was typed before it, but not twice, and closes it, but not twice.
        const [first, last] = [text.startsWith(quote), text.endsWith(quote)];
        return `${first ? '' : quote}${text}${last ? '' : quote}`;
      }),
    );
    const printed = execFileSync('bash', ['-c', `printf '%s\\n' ${written.join(' ')}`], {
      encoding: 'utf8',
    });
    const expected = all.flatMap((name) => [name, name, name]);
    assert.deepEqual(printed.trimEnd().split('\n'), expected);
    assert.deepEqual(parseLine(written.join(' '), BREAKS).words, expected);
  });
});
