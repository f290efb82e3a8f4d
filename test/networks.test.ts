// Lists of networks: what is one, and which addresses are in them.

import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { checkNetwork, createMatchNetwork } from '../src/networks.js';

describe('a network of the settings', () => {
  const wrong = [
    ...['', ' ', 'localhost', 'example.org', '10', '10.1', '10.1.0', '167772161', '0x7f.0.0.1'],
    ...['010.0.0.1', '10.0.0.01', '10.0.0.0/08', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '/8'],
    ...['10.0.0.0/8/8', '10.0.0.0/255.0.0.0', '10.0.0.0/0x8', '10.0.0.0/8.0', '10.0.0.0/1e1'],
    ...['10.0.0.256', '10.0.0.0 /8', ' 10.0.0.0/8', '10.0.0.0/8 ', '10.0.0.0/٨', 'loopback/8'],
    ...['::1/129', '::1/0128', '::1%lo', 'fe80::1%eth0/64', '[::1]', '::g', '1::2::3', ':::'],
    ...['10.1.9.9/16', '10.0.0.1/31', 'fd00::1/8', '::ffff:10.1.0.0/112'],
    ...['::ffff:10.0.0.0/8', '::ffff:10.0.0.0/95', '::ffff:010.0.0.1', 'constructor', '*', 'any'],
  ];
  for (const text of wrong) {
    it(`${JSON.stringify(text)} is refused`, () => {
      assert.throws(() => {
        checkNetwork(text);
      }, /must be an address|must not have a zone|is IPv4 in IPv6 form|is an address inside a range/);
    });
  }

  it('any text that begins with no address is refused', () => {
    const texts = fc.string().filter((text) => isIP(text.replace(/\/.*$/, '')) === 0);
    const names = ['loopback', 'linklocal', 'uniquelocal'];
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(!names.includes(text));
        assert.throws(() => {
          checkNetwork(text);
        });
      }),
    );
  });

  const inside: readonly [network: string, address: string, isIn: boolean][] = [
    ['10.1.0.0/16', '10.1.2.3', true],
    ['10.1.0.0/16', '10.2.0.1', false],
    ['10.1.0.0/16', '::ffff:10.1.2.3', true],
    ['10.1.0.0/16', '::ffff:a01:203', true],
    ['10.1.0.0/16', '0:0:0:0:0:ffff:a01:203', true],
    ['10.1.0.0/16', '::10.1.2.3', false],
    ['10.1.0.0/16', '64:ff9b::a01:203', false],
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['127.0.0.1', '::1', false],
    ['127.0.0.1', '0.0.0.0', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '::1', true],
    ['::/0', '127.0.0.1', false],
    ['::/0', '::ffff:127.0.0.1', false],
    ['fd00::/8', 'fd12::1', true],
    ['fd00::/8', 'fe80::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['loopback', '127.255.0.1', true],
    ['loopback', '::1', true],
    ['linklocal', '169.254.169.254', true],
    ['uniquelocal', '169.254.169.254', false],
    ['uniquelocal', '192.168.0.1', true],
    ['uniquelocal', '172.32.0.1', false],
    ['10.0.0.0/8', '10.0.0.01', false],
    ['10.0.0.0/8', 'localhost', false],
    ['10.0.0.0/8', '', false],
  ];
  for (const [network, address, isIn] of inside) {
    it(`${network} ${isIn ? 'has' : 'does not have'} ${JSON.stringify(address)}`, () => {
      assert.equal(createMatchNetwork([network])(address), isIn);
    });
  }

  it('an empty list contains nothing', () => {
    const contains = createMatchNetwork([]);
    for (const address of ['127.0.0.1', '::1', '0.0.0.0']) assert.equal(contains(address), false);
  });
});
