import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkOptions, type RunOptions } from '../../src/run/options.js';

const RIGHT: RunOptions = { shards: 3, urlPattern: '/(a)', port: 8080, command: ['node', 'x.js'] };

describe('the options of a run', () => {
  it('name the copies', () => {
    assert.deepEqual(checkOptions(RIGHT).names, ['server-0', 'server-1', 'server-2']);
    assert.deepEqual(checkOptions({ ...RIGHT, name: 'web', shards: 1 }).names, ['web-0']);
  });

  const wrong: readonly [given: Partial<RunOptions>, says: RegExp][] = [
    [{ shards: 0 }, /^shards: 0 must be a whole number from 1 to 256$/],
    [{ shards: 1.5 }, /^shards: 1\.5 must be/],
    [{ shards: 257 }, /^shards: 257 must be/],
    [{ port: 65_536 }, /^port: 65536 must be a port: 1 to 65535, or 0/],
    [{ name: 'a b' }, /^name: "a b" must be 1 to 50 of a-z 0-9 -/],
    [{ name: '-a' }, /^name: "-a" must be/],
    [{ name: 'a'.repeat(51) }, /^name: "a+" must be/],
    [{ health: 'healthz' }, /^health: "healthz" must be a path, such as \/healthz$/],
    [{ health: '/a b' }, /^health: /],
    [{ urlPattern: '(' }, /^url-pattern: "\(" is no regular expression/],
    [{ urlPattern: '/a' }, /^url-pattern: "\/a" has no group/],
    [{ command: [] }, /^there is no program to run: give it after --$/],
  ];
  for (const [given, says] of wrong) {
    it(`are refused: ${JSON.stringify(given).slice(0, 60)}`, () => {
      assert.throws(() => checkOptions({ ...RIGHT, ...given }), {
        code: 'settings',
        message: says,
      });
    });
  }
});
