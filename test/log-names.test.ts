// What stands in the log for a name.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLogNames, LOG_NAME, withoutName } from '../src/log-names.js';

const KEY = 'a key of at least thirty-two characters';

describe('what stands for a name', () => {
  it('is the name, or nothing, or 96 bits of a keyed hash, as openssl makes it', () => {
    assert.equal(createLogNames('plain').of('hub', 'iana'), 'iana');
    assert.equal(createLogNames('none').of('hub', 'iana'), undefined);
    const hex = createHmac('sha256', KEY).update('["hub","iana"]').digest('hex');
    assert.equal(createLogNames('hash', KEY).of('hub', 'iana'), `u:${hex.slice(0, 24)}`);
  });

  it('is another for another kind, name or key, and the same for the same', () => {
    const of = (key: string, kind: string, name: string) =>
      createLogNames('hash', key).of(kind, name);
    const all = [
      of(KEY, 'hub', 'iana'),
      of(KEY, 'hu', 'biana'),
      of(KEY, 'hub","iana', ''),
      of(KEY, 'hub', 'Iana'),
      of(KEY, 'homedir', 'iana'),
      of(`${KEY}!`, 'hub', 'iana'),
    ];
    assert.equal(new Set(all).size, all.length);
    assert.equal(of(KEY, 'hub', 'iana'), all[0]);
    for (const each of all) assert.match(each ?? '', LOG_NAME);
  });

  it('cannot be a hash without a key', () => {
    assert.throws(() => createLogNames('hash'), /SHARDER_LOG_KEY.*openssl rand -hex 32/);
  });
});

describe('a text without a name', () => {
  for (const [text, name, clean] of [
    ['no object "iana" here', 'iana', 'no object "u:1" here'],
    ['iana, iana: and (iana)', 'iana', 'u:1, u:1: and (u:1)'],
    ['no banana, no ianas', 'iana', 'no banana, no ianas'],
    ['/user/%69an%61/lab?x=1 is not there', 'iana', 'u:1 is not there'],
    ['/user/zo%c3%AB%20b/lab', 'zoë b', 'u:1'],
    ['the header was zoÃ«', 'zoë', 'the header was u:1'],
    ['there is "a\\"b"', 'a"b', 'there is "u:1"'],
    ['a.b is not axb', 'a.b', 'u:1 is not axb'],
    ['100%', 'iana', '100%'],
    ['nobody', '', 'nobody'],
  ] as const) {
    it(`${JSON.stringify(name)} in ${JSON.stringify(text)}`, () => {
      assert.equal(withoutName(text, name, 'u:1'), clean);
    });
  }

  it('has it nowhere, whatever characters it is of', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 3 }), (name) => {
        fc.pre(/^[^%\s\p{Cs}]+$/u.test(name) && !'said ["*"] twice'.includes(name));
        const text = `said [${name}] "${JSON.stringify(name).slice(1, -1)}" ${encodeURIComponent(name)} twice`;
        assert.ok(!withoutName(text, name, '*').includes(name));
      }),
    );
  });
});
