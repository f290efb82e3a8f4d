// Which names a kind takes for the same one.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SharderError } from '../src/errors.js';
import { checkObjectName } from '../src/names.js';
import { normalizeName, NORMALIZERS, tryNormalize } from '../src/normalize.js';

const how = fc.constantFrom(...NORMALIZERS);
// Names of whatever text, most of them with an @ or two.
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: fc.constantFrom('a', 'B', '@', ' ', '.', 'Σ', 'İ', 'ß', 'Ⱥ'), maxLength: 12 }),
);
const name = text.filter((each) => {
  try {
    checkObjectName(each);
    return true;
  } catch {
    return false;
  }
});

describe('normalizeName', () => {
  const normal: readonly [name: string, lower: string, lowerLocal: string][] = [
    ['iana', 'iana', 'iana'],
    ['IANA', 'iana', 'iana'],
    ['iana@example.org', 'iana@example.org', 'iana'],
    ['IANA@Example.ORG', 'iana@example.org', 'iana'],
    ['Iana@', 'iana@', 'iana'],
    ['Iana@one@two', 'iana@one@two', 'iana'],
    ['Žofie', 'žofie', 'žofie'],
    ['STRASSE', 'strasse', 'strasse'],
    ['straße', 'straße', 'straße'],
    // Of no language: in Turkish the lower case of I has no dot.
    ['IRMAK', 'irmak', 'irmak'],
    ['ΟΔΟΣ', 'οδος', 'οδος'],
    ['i a@b\u2028c', 'i a@b\u2028c', 'i a'],
  ];
  for (const [given, lower, lowerLocal] of normal) {
    it(`makes ${JSON.stringify(given)} ${lower}, or ${lowerLocal}`, () => {
      assert.equal(normalizeName(given, 'none'), given);
      assert.equal(normalizeName(given, 'lower'), lower);
      assert.equal(normalizeName(given, 'lower-local'), lowerLocal);
    });
  }

  it('refuses a name without a normal form, and says what became of it', () => {
    const bad: readonly [name: string, how: 'lower' | 'lower-local', why: RegExp][] = [
      ['@example.org', 'lower-local', /^"@example.org" becomes "" \(normalize: lower-local\), and/],
      ['iana @example.org', 'lower-local', /becomes "iana ".*ends with white space$/],
      // Its lower case has a byte more.
      ['Ⱥ'.repeat(128), 'lower', /384 bytes; at most 256/],
      // What would be cut off is no excuse.
      [`iana@${'x'.repeat(252)}`, 'lower-local', /257 bytes; at most 256/],
      ['', 'lower', /empty/],
    ];
    for (const [given, to, why] of bad) {
      assert.throws(
        () => normalizeName(given, to),
        (error: SharderError) => {
          assert.equal(error.code, 'bad_name');
          assert.match(error.message, why);
          return true;
        },
      );
    }
  });

  it('makes of a normal form the same', () => {
    fc.assert(
      fc.property(name, how, (given, to) => {
        const normal = tryNormalize(given, to);
        fc.pre(typeof normal === 'string');
        assert.equal(normalizeName(normal, to), normal);
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives names that differ in ASCII case alone one form, and so those that differ after the @', () => {
    const ascii = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/);
    fc.assert(
      fc.property(ascii, ascii, ascii, (local, one, two) => {
        const form = normalizeName(local, 'lower');
        assert.equal(normalizeName(local.toUpperCase(), 'lower'), form);
        for (const each of [local, `${local}@${one}`, `${local.toUpperCase()}@${two}`]) {
          assert.equal(normalizeName(each, 'lower-local'), form);
        }
      }),
    );
  });

  it('gives what can name an object, or throws bad_name', () => {
    fc.assert(
      fc.property(text, how, (given, to) => {
        try {
          checkObjectName(normalizeName(given, to));
        } catch (error) {
          assert.ok(error instanceof SharderError && error.code === 'bad_name', String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
