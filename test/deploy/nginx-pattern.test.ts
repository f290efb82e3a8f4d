// A key's pattern in nginx, whose engine is another than ours: what is let through finds the same key in
// both, and nothing in it is nginx's own language.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { KeyPattern } from '../../src/key-pattern.js';
import { exactly, keyMaps, pathKeyMaps, quoted } from '../../src/deploy/nginx-key.js';
import { toNginxPattern } from '../../src/deploy/nginx-pattern.js';
import { exchange, get } from '../http/wire.js';
import { needsNginx, Nginx } from '../nginx.js';

const running: Nginx[] = [];
after(async () => {
  for (const nginx of running) await nginx.stop();
});

/** An nginx that answers with these variables, a line each. */
async function startTelling(maps: string, variables: readonly string[]): Promise<Nginx> {
  const nginx = await Nginx.start({
    sharders: [],
    upstreams: '',
    edit: {
      'nginx.conf': (text) =>
        text.replace(
          'include edge.conf;',
          () => 'variables_hash_max_size 8192; include edge.conf;',
        ),
      'edge.conf': (text) =>
        `${maps}\nserver { listen ${/listen ([^;]+);/.exec(text)?.[1] ?? ''}; location / { return 200 "${variables.join('\\n')}"; } }`,
    },
  });
  running.push(nginx);
  return nginx;
}

async function told(nginx: Nginx, path: string): Promise<string[]> {
  const response = await exchange(nginx.port, get(path));
  assert.equal(response?.status, 200, path);
  return response.body.split('\n');
}

const TUTORIAL_GO = '^\\/users\\/([^\\/]*)\\/.*';
const TUTORIAL_JAVASCRIPT = '\\/users\\/(.*)[^\\/]';

describe('a pattern for nginx', () => {
  for (const pattern of [
    ...[TUTORIAL_GO, TUTORIAL_JAVASCRIPT, '^/t/([a-z0-9-]{1,40})/', '^/(?:v1|v2)/([^/]+)'],
    ...['(?i)^/tenant/([^/]+)', '^/a"b/([^"]*)"', '^/(\\{[^}]*\\})', '^/([[:alpha:]_]+)/'],
    ...[
      '[?]id=([0-9]+)',
      '^/([^]/]*)]',
      '^/\\$\\{host\\}/(\\x24[a-z]+)',
      '^/([\\x21-\\x{2e}\\]]+)/',
      '^(?:/[a-z]{2})?/([^/]*)/',
    ],
  ]) {
    it(`is passed on as it is: ${pattern}`, () => {
      assert.equal(toNginxPattern(pattern), pattern);
      new KeyPattern(pattern);
    });
  }

  it('has no names for its groups, of which nginx would make variables', () => {
    assert.equal(toNginxPattern('^/(?P<host>[^/]*)/(?<args>.)'), '^/([^/]*)/(.)');
  });

  for (const [what, pattern] of [
    ['ends in more ways than one', '^(a+)+$'],
    ['ends in more ways than one', '^(?:a|aa)*b(c)'],
    ['ends in more ways than one', '(a*)a*b*a*c'],
    ['ends in more ways than one', '^(.*.*.*.*)?x'],
    ['has more in a repeated group than its characters', '(a?){30}a'],
    ['means something else to PCRE', 'a{,5}(b)'],
    ['means something else to PCRE', '(\\v)'],
    ['means something else to PCRE', '[[.a.]](b)'],
    ['means something else to PCRE', '(\\pL)'],
    ['means something else to PCRE', '\\Qa)\\E(b)'],
    ['means something else to PCRE', '(?U)^/(a+)'],
    ['is not in ASCII', '^/(é*)/'],
    ['is not in ASCII', '^/([\\x80-\\xff]*)/'],
    ['is not in ASCII', '^/([^\\x{2028}]*)/'],
    ['is not in ASCII', '^/([a\\x{80}])/'],
    ['means something else to PCRE', '^/([\\x{0041}])/'],
    ['has a line end', '^/(a)\n'],
    ['has a back-slash before a line end', '^/(a)\\\n'],
    ['is too long for a word of nginx', `^/(${'a'.repeat(1_000)})`],
  ] as const) {
    it(`is refused where it ${what}: ${JSON.stringify(pattern).slice(0, 40)}`, () => {
      assert.throws(() => toNginxPattern(pattern));
    });
  }

  it('finds the key that RE2 finds, whatever the two are', needsNginx, async () => {
    const atom = fc.constantFrom(
      ...['a', 'b', '/', '\\/', '.', '[^/]', '[ab]', '\\w', '\\d', '[^a]', 'ab', '[[:alpha:]]'],
      ...['\\x61', '[a-c1]', '(?:ab)', '\\.', '\\b', '[]a]'],
    );
    const quantified = fc
      .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '*?', '+?'))
      .map((parts) => parts.join(''));
    const sequence = fc
      .array(quantified, { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join(''));
    const choice = fc
      .array(sequence, { minLength: 1, maxLength: 2 })
      .map((parts) => parts.join('|'));
    const pattern = fc
      .tuple(fc.constantFrom('', '^', '^/', '(?i)'), sequence, choice, sequence)
      .chain(([start, before, group, behind]) =>
        fc.constantFrom(
          `${start}(${group})${behind}`,
          `${start}${before}(${group})`,
          `${start}${before}(${group})?${behind}$`,
          `${start}(?P<host>${group})${behind}|(b)`,
        ),
      );
    const patterns = [
      ...[TUTORIAL_GO, TUTORIAL_JAVASCRIPT, '^/a"b/([^"]*)"', '^/\\$\\{host\\}/(\\x24[a-z]+)'],
      ...fc.sample(pattern, { numRuns: 600, seed: 11 }).filter((each) => {
        try {
          new KeyPattern(each);
          return toNginxPattern(each) !== '';
        } catch {
          return false;
        }
      }),
    ].slice(0, 200);
    assert.ok(patterns.length > 100, `${patterns.length}`);
    const maps = patterns.map((each, i) => pathKeyMaps(`p${i}`, each)).join('');
    const nginx = await startTelling(
      maps,
      patterns.map((_, i) => `$p${i}_key`),
    );
    const path = fc
      .array(fc.constantFrom('a', 'b', 'A', '/', '1', 'ab', '/ab', '.', '%61', 'users/'), {
        maxLength: 12,
      })
      .map((parts) => `/${parts.join('')}`);
    const paths = [
      ...['/users/alice/photos?x=/users/bob/', '/users/alice', '/users//', '/users/a/b/', '/?a'],
      ...['/a"b/c"d', '/${host}/$abc/'],
      ...fc.sample(path, { numRuns: 60, seed: 5 }),
    ];
    let matched = 0;
    for (const each of paths) {
      const keys = await told(nginx, each);
      for (const [i, pattern] of patterns.entries()) {
        const key = new KeyPattern(pattern).keyOf(each);
        assert.equal(keys[i], key, `${pattern} in ${each}`);
        if (key !== each) matched++;
      }
    }
    assert.ok(matched > 500, `${matched}`);
  });

  it('that can choose most often ends all the same, on the longest path', needsNginx, async () => {
    const nginx = await startTelling(pathKeyMaps('p', '(a+)[^c]*c'), ['$p_key']);
    const path = `/${'a'.repeat(7_000)}`;
    assert.deepEqual(await told(nginx, path), [path]);
    assert.deepEqual(await told(nginx, '/ac'), ['a']);
  });
});

describe('a word for nginx', () => {
  const odd = ['a"b', 'a\\', '\\"', '$host', '${host}', '{', '}', ';', "'", '#', '~a', 'é', ' a '];

  it('is that word, whatever is in it, and no other in capitals', needsNginx, async () => {
    const lines = odd.map((text, i) => `    ${exactly(text)} ${i};\n`);
    // Its text comes in a header, percent-encoded where a path has no place for it.
    const nginx = await startTelling(
      `map $http_text $number {\n    default none;\n${lines.join('')}}`,
      ['$number'],
    );
    const ask = async (text: string) => {
      const line = Buffer.concat([Buffer.from('Text: '), Buffer.from(text)]);
      return (await exchange(nginx.port, get('/', line)))?.body;
    };
    for (const [i, text] of odd.entries()) {
      if (text.trim() === text) assert.equal(await ask(text), String(i), text);
    }
    for (const other of ['A"B', 'localhost', 'a', '~A', '$HOST'])
      assert.equal(await ask(other), 'none', other);
  });

  it('is refused with a line end, by which somebody could write a line of their own', () => {
    for (const text of ['a\nb', 'a\r', '\0', 'a\x7f']) {
      assert.throws(() => quoted(text));
      assert.throws(() => keyMaps('p', `^/(${text})`, '$request_uri'));
    }
  });
});
