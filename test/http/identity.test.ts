// Trusted: only a peer of trusted_proxies names a user, by one header, and whatever is odd about it
// is refused rather than guessed at. The same on /shard, /auth and /go.

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { before, describe, it } from 'node:test';
import { SharderError } from '../../src/errors.js';
import { declareKinds } from '../../src/index.js';
import { createIdentify } from '../../src/http/identity.js';
import { hubs } from '../engines.js';
import { assignedNames, start, type Running } from './start.js';
import { exchange, get } from './wire.js';

const withUrl = { 'hub-0': { url: 'http://hub-0.example' } };
const utf8 = (text: string) => Buffer.from(text);
const bytes = (...values: number[]) => Buffer.from([...utf8('REMOTE_USER: a'), ...values]);

interface Situation {
  readonly title: string;
  readonly headers: readonly (string | Buffer)[];
  /** On /shard and /go. */
  readonly status: number;
  /** On /auth. */
  readonly auth: number;
}

const NOBODY = { status: 401, auth: 401 };
const REFUSED = { status: 400, auth: 403 };

// Refused by Node's parser, before there is a route.
const UNREADABLE = { status: 400, auth: 400 };

const situations: readonly Situation[] = [
  { title: 'no header', headers: [], ...NOBODY },
  { title: 'other headers only', headers: ['X-Remote-User: iana', 'USER: iana'], ...NOBODY },
  { title: 'a name in the query', headers: ['Authorization: Basic aWFuYTp4'], ...NOBODY },
  {
    title: 'the header twice',
    headers: ['REMOTE_USER: iana', 'REMOTE_USER: root'],
    ...REFUSED,
  },
  {
    title: 'the header twice with the same name',
    headers: ['REMOTE_USER: iana', 'REMOTE_USER: iana'],
    ...REFUSED,
  },
  {
    title: 'the header twice in different case',
    headers: ['REMOTE_USER: iana', 'remote_user: root'],
    ...REFUSED,
  },
  {
    title: 'the header twice, once empty',
    headers: ['REMOTE_USER:', 'REMOTE_USER: iana'],
    ...REFUSED,
  },
  {
    title: 'the header twice with two thousand others between',
    headers: [
      'REMOTE_USER: root',
      ...Array.from({ length: 2_000 }, () => 'a:b'),
      'REMOTE_USER: iana',
    ],
    ...REFUSED,
  },
  ...['Remote-User', 'REMOTE-USER', 'remote-user'].flatMap((alias) => [
    { title: `${alias} instead`, headers: [`${alias}: iana`], ...REFUSED },
    {
      title: `${alias} beside it`,
      headers: ['REMOTE_USER: iana', `${alias}: iana`],
      ...REFUSED,
    },
    {
      title: `${alias} before it`,
      headers: [`${alias}: root`, 'REMOTE_USER: iana'],
      ...REFUSED,
    },
    {
      title: `an empty ${alias} beside it`,
      headers: ['REMOTE_USER: iana', `${alias}:`],
      ...REFUSED,
    },
  ]),
  { title: 'an empty name', headers: ['REMOTE_USER:'], ...REFUSED },
  { title: 'a name of spaces', headers: ['REMOTE_USER:   '], ...REFUSED },
  { title: 'a tab inside', headers: ['REMOTE_USER: a\tb'], ...REFUSED },
  { title: 'a C1 control character', headers: [bytes(0xc2, 0x85, 0x62)], ...REFUSED },
  { title: 'a no-break space at the end', headers: [bytes(0xc2, 0xa0)], ...REFUSED },
  { title: '257 bytes', headers: [`REMOTE_USER: ${'a'.repeat(257)}`], ...REFUSED },
  {
    title: '129 letters of 2 bytes',
    headers: [utf8(`REMOTE_USER: ${'ж'.repeat(129)}`)],
    ...REFUSED,
  },
  { title: 'a Latin-1 byte', headers: [bytes(0xe9)], ...REFUSED },
  { title: 'a cut UTF-8 sequence', headers: [bytes(0xe2, 0x82)], ...REFUSED },
  { title: 'an overlong slash', headers: [bytes(0xc0, 0xaf)], ...REFUSED },
  { title: 'an overlong NUL', headers: [bytes(0xc0, 0x80)], ...REFUSED },
  { title: 'a surrogate in UTF-8', headers: [bytes(0xed, 0xa0, 0x80)], ...REFUSED },
  { title: 'a code point past Unicode', headers: [bytes(0xf4, 0x90, 0x80, 0x80)], ...REFUSED },
  { title: 'a NUL byte', headers: [bytes(0)], ...UNREADABLE },
  { title: 'a bell', headers: [bytes(7)], ...UNREADABLE },
  { title: 'DEL', headers: [bytes(0x7f)], ...UNREADABLE },
  { title: 'a bare carriage return', headers: ['REMOTE_USER: a\rb'], ...UNREADABLE },
  { title: 'a folded line', headers: ['REMOTE_USER: a\r\n b'], ...UNREADABLE },
  { title: 'a space before the colon', headers: ['REMOTE_USER : iana'], ...UNREADABLE },
];

describe('identity', () => {
  let service: Running;
  before(async () => {
    service = await start({ buckets: withUrl });
  });

  for (const { title, headers, status, auth } of situations) {
    it(`${title}: ${status}, on /auth ${auth}, and nothing is stored`, async () => {
      const stored = await assignedNames(service);
      const statuses = await Promise.all(
        ['/shard', '/go', '/auth'].map(async (path) => {
          const response = await exchange(service.port, get(`${path}?user=iana`, ...headers));
          return response?.status;
        }),
      );
      assert.deepEqual(statuses, [status, status, auth]);
      assert.deepEqual(await assignedNames(service), stored);
    });
  }
});

describe('names', () => {
  const names = [
    'iana',
    'IANA',
    'iana@uni.example',
    'i.a-n_a+1',
    'Iana Example',
    'iana,root',
    '"iana"',
    'iana%20x',
    "o'hara",
    '../../etc/passwd',
    'жанна',
    'žofie',
    '李小龙',
    '👩‍🔬',
    'a\u00a0b',
    'x'.repeat(256),
    'ж'.repeat(128),
  ];

  it('are what the UTF-8 of the header says, each an object of its own', async () => {
    const service = await start({ buckets: hubs(1) });
    const anyName = { hub: { names: 'any', buckets: [] } } as const;
    await declareKinds(service.sharder.database, anyName, 'test');
    for (const name of names) {
      const response = await exchange(service.port, get('/shard', utf8(`REMOTE_USER: ${name}`)));
      assert.equal(response?.status, 200, name);
      assert.equal(response.headers.get('x-shard-reason'), 'assigned', name);
    }
    assert.deepEqual(await assignedNames(service), names);
  });

  it('are the same whichever way they are asked for', async () => {
    const service = await start({ buckets: withUrl });
    const reasons = [];
    for (const path of ['/shard', '/auth', '/go', '/auth/hub/deeper']) {
      const response = await service.ask(path, 'žofie');
      reasons.push(response.headers.get('x-shard-reason'));
    }
    assert.deepEqual(reasons, ['assigned', 'existing', 'existing', 'existing']);
    assert.deepEqual(await assignedNames(service), ['žofie']);
  });

  it('have the white space around them taken off, as HTTP has it', async () => {
    const service = await start();
    await exchange(service.port, get('/shard', 'REMOTE_USER: \t iana \t '));
    assert.deepEqual(await assignedNames(service), ['iana']);
  });
});

describe('another header that names the user', () => {
  it('counts alone, and so do its aliases', async () => {
    const service = await start({ userHeader: 'X-Forwarded-User', buckets: hubs(1) });
    const status = async (...headers: string[]) =>
      (await exchange(service.port, get('/shard', ...headers)))?.status;
    assert.equal(await status('X-Forwarded-User: iana'), 200);
    assert.equal(await status('x-forwarded-user: iana'), 200);
    assert.equal(await status('X-Forwarded-User: iana', 'REMOTE_USER: root'), 200);
    assert.equal(await status('REMOTE_USER: root'), 401);
    assert.equal(await status('X_Forwarded_User: root'), 400);
    assert.equal(await status('X-Forwarded-User: iana', 'X-Forwarded_User: root'), 400);
    assert.equal(await status('X-Forwarded-User: iana', 'X-Forwarded-User: root'), 400);
    assert.deepEqual(await assignedNames(service), ['iana']);
  });

  it('is named in the message that says it is missing', async () => {
    const service = await start({ userHeader: 'X-Forwarded-User' });
    assert.match(await (await service.ask('/shard')).text(), /^no X-Forwarded-User header came/);
  });
});

describe('a peer', () => {
  it('that is not trusted gets 403, whatever it says, and nothing is stored', async () => {
    const service = await start({ trustedProxies: ['192.0.2.1'] });
    for (const path of ['/shard', '/auth', '/go', '/shard/hub', '/auth/hub/x', '/go/hub']) {
      for (const headers of [[], ['REMOTE_USER: iana'], ['X-Forwarded-For: 192.0.2.1']]) {
        assert.equal((await exchange(service.port, get(path, ...headers)))?.status, 403, path);
      }
    }
    assert.deepEqual(await assignedNames(service), []);
  });

  it('that is not trusted is not asked who it is where no user is named', async () => {
    const service = await start({ trustedProxies: ['192.0.2.1'] });
    for (const path of ['/healthz', '/readyz', '/metrics'])
      assert.equal((await service.ask(path)).status, 200, path);
  });

  it('is trusted over HTTP when a range has it', async () => {
    for (const trustedProxies of [['loopback'], ['127.0.0.0/8'], ['10.0.0.0/8', '127.0.0.1']]) {
      const service = await start({ trustedProxies });
      assert.equal((await service.ask('/shard', 'iana')).status, 200);
    }
  });

  const trust: readonly [proxies: string[], address: string | undefined, isTrusted: boolean][] = [
    [['loopback'], '127.0.0.1', true],
    [['loopback'], '127.9.9.9', true],
    [['loopback'], '::1', true],
    [['loopback'], '::ffff:127.0.0.1', true],
    [['loopback'], '10.0.0.1', false],
    [['loopback'], '::ffff:10.0.0.1', false],
    [['loopback'], undefined, false],
    [['linklocal'], '169.254.1.1', true],
    [['linklocal'], 'fe80::1', true],
    [['linklocal'], '127.0.0.1', false],
    [['uniquelocal'], '10.1.2.3', true],
    [['uniquelocal'], '172.31.0.1', true],
    [['uniquelocal'], '172.32.0.1', false],
    [['uniquelocal'], '192.168.0.1', true],
    [['uniquelocal'], 'fd00::1', true],
    [['uniquelocal'], '::ffff:192.168.0.1', true],
    [['uniquelocal'], '127.0.0.1', false],
    [['10.1.0.0/16'], '10.1.255.255', true],
    [['10.1.0.0/16'], '10.2.0.0', false],
    [['2001:db8::/32'], '2001:db8:1::1', true],
    [['2001:db8::/32'], '2001:db9::1', false],
    [['192.0.2.1', 'loopback'], '192.0.2.1', true],
    [[], '127.0.0.1', false],
  ];
  for (const [proxies, remoteAddress, isTrusted] of trust) {
    it(`at ${remoteAddress ?? 'no address'} ${isTrusted ? 'may' : 'may not'} name a user to one that trusts [${proxies.join(', ')}]`, () => {
      const identify = createIdentify({ userHeader: 'REMOTE_USER', trustedProxies: proxies });
      // A peer in these networks cannot be had on one machine.
      const request = {
        socket: { remoteAddress },
        rawHeaders: ['REMOTE_USER', 'iana'],
      } as unknown as IncomingMessage;
      if (isTrusted) assert.equal(identify(request), 'iana');
      else
        assert.throws(
          () => identify(request),
          (error) => error instanceof SharderError && error.code === 'untrusted_peer',
        );
    });
  }
});
