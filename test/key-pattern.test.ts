// The key in a path: the patterns of the tutorials mean what they mean in JavaScript, and no pattern takes
// longer than its path.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { KeyPattern, pathOf } from '../src/key-pattern.js';
import { SharderError } from '../src/errors.js';

// Metaparticle's tutorials for JavaScript and for Go, once the string is read.
const JAVASCRIPT = '\\/users\\/(.*)[^\\/]';
const GO = '^\\/users\\/([^\\/]*)\\/.*';

describe('the key in a path', () => {
  const table: [pattern: string, path: string, key: string][] = [
    [GO, '/users/alice/profile', 'alice'],
    [GO, '/users/alice/', 'alice'],
    [GO, '/users/alice/a/b?c=d', 'alice'],
    // No match: the whole path. So one user is on two shards, if the pattern asks for a slash at the end.
    [GO, '/users/alice', '/users/alice'],
    [GO, '/users/alice?to=/', '/users/alice'],
    [GO, '/app/users/alice/', '/app/users/alice/'], // ^ is the beginning
    [GO, '/', '/'],
    [GO, '/users//x', '/users//x'], // the group is empty
    // What it says is not what its author meant: (.*) takes all but the last character.
    [JAVASCRIPT, '/users/alice', 'alic'],
    [JAVASCRIPT, '/users/alice/', 'alic'],
    [JAVASCRIPT, '/users/alice/notes', 'alice/note'],
    [JAVASCRIPT, '/app/users/bob/1', 'bob/'], // without ^, anywhere
    [JAVASCRIPT, '/users/a', '/users/a'], // the group is empty
    [JAVASCRIPT, '/users/', '/users/'],
    ['/(a)|/(b)', '/b', '/b'], // the first group has no part in it
    ['(?i)^/USERS/(\\w+)', '/users/alice', 'alice'],
    ['^/(?P<tenant>[^/]+)', '/acme/x', 'acme'],
    ['^/users/([^/]*)', '/users/%C3%A9/x', '%C3%A9'], // as it came
    ['^/users/([^/]*)', '/users/a%2Fb/x', 'a%2Fb'],
    ['^/users/([^/]*)', 'https://example.org/users/alice/x?y', 'alice'],
    ['^/users/([^/]*)', '', ''],
  ];
  for (const [pattern, path, key] of table) {
    it(`${pattern} finds ${JSON.stringify(key)} in ${JSON.stringify(path)}`, () => {
      assert.equal(new KeyPattern(pattern).keyOf(path), key);
    });
  }

  it('is what JavaScript finds, for the patterns of the tutorials and any path', () => {
    const piece = fc.constantFrom('/users/', '/', 'alice', 'b', '.', '%2F', 'é', '\n', '-');
    const paths = fc.array(piece, { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`);
    for (const pattern of [JAVASCRIPT, GO, '^/([^/]+)/(.*)$', 'a(l?)i|b']) {
      const key = new KeyPattern(pattern);
      fc.assert(
        fc.property(paths, (path) => {
          const group = new RegExp(pattern).exec(path)?.[1] ?? '';
          assert.equal(key.keyOf(path), group === '' ? path : group);
        }),
      );
    }
  });

  it('is found however the pattern could go back', () => {
    const path = `/${'a'.repeat(8_000)}!`;
    for (const pattern of ['^/(a+)+$', '^/(a|a)*$', '^/(a|aa)+$', '(.*)(.*)(.*)(.*)(.*)x']) {
      assert.equal(new KeyPattern(pattern).keyOf(path), path);
    }
  });
});

describe('a path', () => {
  for (const [uri, path] of [
    ['/a/b?c=d', '/a/b'],
    ['/a?b?c', '/a'],
    ['http://example.org', '/'],
    ['http://example.org?a', '/'],
    ['HTTPS://example.org:8080/a/b?c', '/a/b'],
    ['//a/b', '//a/b'],
    ['*', '*'],
    ['a/b?c', 'a/b'],
  ] as const) {
    it(`of ${uri} is ${path}`, () => {
      assert.equal(pathOf(uri), path);
    });
  }
});

describe('a pattern is refused that', () => {
  const table: [what: string, pattern: string, message: RegExp][] = [
    [
      'looks ahead',
      '^/(?=users)(.*)',
      /"\^\/\(\?=users\)\(\.\*\)" is no regular expr.* neither ahead/,
    ],
    ['looks ahead for what is not there', '(?!x)(.)', /neither ahead nor behind/],
    ['looks behind', '(?<=/)(.)', /neither ahead nor behind/],
    ['refers back to a group', '(a)\\1', /nor refer back to a group/],
    ['does not let go', '(?>a+)(b)', /no bound on their time/],
    ['is not closed', '^/users/([^/]*', /missing closing \): `/],
    ['repeats too often', '(a{1001})', /invalid repeat count: `\{1001\}`/],
    ['is too large', '(a{1000})(b{1000})', /is too large: repeat less/],
    ['is too long', `(${'a'.repeat(1_000)})`, /has 1002 characters; at most 1000/],
    ['has no group', '^/users/[^/]*', /has no group: put what is the key in parentheses/],
    ['has no group that is kept', '^/users/(?:[^/]*)', /has no group/],
  ];
  for (const [what, pattern, message] of table) {
    it(what, () => {
      assert.throws(
        () => new KeyPattern(pattern),
        (error: unknown) =>
          error instanceof SharderError &&
          error.code === 'bad_request' &&
          message.test(error.message),
      );
    });
  }
});
