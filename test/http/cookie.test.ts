// The cookie, named after the kind, whose value begins with the bucket's name; with a secret it is
// signed, and holds for one user, bucket, kind and time only.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cookies, type CookieSettings } from '../../src/http/cookie.js';
import { BUCKET_PATTERN, KIND_PATTERN } from '../../src/names.js';
import { setKind } from '../../src/store/kinds.js';
import { hubs } from '../engines.js';
import { start } from './start.js';
import { exchange, get } from './wire.js';

const SECRET = 'a secret of at least thirty-two characters';
const OLD_SECRET = 'the secret that was in use until yesterday';

function cookies(settings: Partial<CookieSettings> = {}): Cookies {
  return new Cookies({ secure: 'auto', sameSite: 'lax', secrets: [SECRET], ...settings });
}

/** What a browser sends back of a Set-Cookie. */
function valueOf(setCookie: string): string {
  return setCookie.slice(setCookie.indexOf('=') + 1).split(';', 1)[0] ?? '';
}

describe('the unsigned cookie', () => {
  const secure: readonly [
    setting: boolean | 'auto',
    forwardedProto: string | undefined,
    isSecure: boolean,
  ][] = [
    ['auto', undefined, false],
    ['auto', 'http', false],
    ['auto', 'https', true],
    ['auto', 'HTTPS', true],
    ['auto', 'https, http', true],
    ['auto', 'http, https', false],
    ['auto', 'httpsx', false],
    ['auto', '', false],
    [true, undefined, true],
    [true, 'http', true],
    [false, 'https', false],
  ];
  for (const [setting, proto, isSecure] of secure) {
    it(`is ${isSecure ? '' : 'not '}Secure when that is ${setting} and the proxy says ${proto ?? 'nothing'}`, async () => {
      const service = await start({
        cookie: { secure: setting },
        buckets: { 'hub-0': { url: 'http://hub-0.example' } },
      });
      const headers = ['REMOTE_USER: iana'];
      if (proto !== undefined) headers.push(`X-Forwarded-Proto: ${proto}`);
      for (const path of ['/shard', '/auth', '/go']) {
        const response = await exchange(service.port, get(path, ...headers));
        assert.equal(
          response?.headers.get('set-cookie'),
          isSecure
            ? '__Host-hub=hub-0; Path=/; HttpOnly; SameSite=Lax; Secure'
            : 'hub=hub-0; Path=/; HttpOnly; SameSite=Lax',
        );
      }
    });
  }

  it('has no prefix where a domain is set, which the prefix forbids', () => {
    const everywhere = cookies({ secrets: [], domain: 'uni.example' });
    assert.match(everywhere.issue('hub', 'iana', 'hub-0', true), /^hub=hub-0; .*; Secure$/);
  });

  it('carries the attributes that are set', async () => {
    const service = await start({
      cookie: { sameSite: 'none', secure: true, domain: 'uni.example', maxAge: 3600 },
      buckets: hubs(1),
    });
    assert.equal(
      (await service.ask('/shard', 'iana')).headers.get('set-cookie'),
      'hub=hub-0; Path=/; Max-Age=3600; Domain=uni.example; HttpOnly; SameSite=None; Secure',
    );
    const strict = await start({ cookie: { sameSite: 'strict' }, buckets: hubs(1) });
    assert.equal(
      (await strict.ask('/shard', 'iana')).headers.get('set-cookie'),
      'hub=hub-0; Path=/; HttpOnly; SameSite=Strict',
    );
  });

  it('comes with answers alone', async () => {
    const service = await start();
    for (const [path, user] of [
      ['/shard', ''],
      ['/shard/nosuch', 'iana'],
      ['/nothing', 'iana'],
    ]) {
      const response = await service.ask(path ?? '', user);
      assert.equal(response.headers.get('set-cookie'), null);
    }
  });

  it('cannot carry more than the name, whatever somebody called a bucket in the table', async () => {
    const service = await start({ buckets: hubs(1) });
    const name = 'a; Domain=evil.example\r\nX-Evil: ž';
    await service.sharder.database.knex('bucket').update({ name });
    const response = await exchange(service.port, get('/auth', 'REMOTE_USER: iana'));
    assert.equal(response?.status, 200);
    assert.equal(response.headers.has('x-evil'), false);
    assert.equal(
      response.headers.get('set-cookie'),
      `hub=${encodeURIComponent(name)}; Path=/; HttpOnly; SameSite=Lax`,
    );
  });

  it('proves nothing', () => {
    const unsigned = cookies({ secrets: [] });
    assert.equal(unsigned.isSigned, false);
    const value = valueOf(unsigned.issue('hub', 'iana', 'hub-0', false));
    assert.equal(value, 'hub-0');
    assert.equal(unsigned.verify('hub', 'iana', value), undefined);
    assert.equal(unsigned.verify('hub', 'iana', `hub-0.9999999999.${'A'.repeat(43)}`), undefined);
  });
});

describe('a kind whose setting says no cookie', () => {
  const buckets = { 'hub-0': { url: 'http://hub-0.example' } };
  for (const [what, cookie] of [
    ['unsigned', {}],
    ['signed', { secrets: [SECRET] }],
  ] as const) {
    it(`has none from /shard, /auth and /go, as soon as it is set, and no count is lost (${what})`, async () => {
      const service = await start({ cookie, buckets, kinds: ['homedir'] });
      const { database } = service.sharder;
      const set = (cookie: boolean) =>
        database.write((trx) => setKind(trx, 'hub', { cookie }, { actor: 'test' }));
      const ask = async (path: string, headers = {}) => {
        const response = await service.ask(path, 'iana', { headers });
        assert.ok(response.status < 400);
        assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
        return response.headers.has('set-cookie');
      };
      const all = async () => [
        await ask('/shard'),
        await ask('/shard', { 'X-Forwarded-Proto': 'https' }),
        await ask('/shard', { Accept: 'application/json' }),
        await ask('/auth'),
        await ask('/go'),
      ];
      assert.deepEqual(await all(), [true, true, true, true, true]);
      await set(false);
      assert.deepEqual(await all(), [false, false, false, false, false]);
      const other = await service.ask('/shard/homedir', 'iana');
      assert.ok(other.headers.has('set-cookie'));
      await set(true);
      assert.deepEqual(await all(), [true, true, true, true, true]);
      const metrics = await (await service.ask('/metrics')).text();
      const count = (reason: string) =>
        new RegExp(`^sharder_assignments_total{kind="hub",reason="${reason}"} (\\d+)$`, 'm').exec(
          metrics,
        )?.[1];
      assert.deepEqual([count('assigned'), count('existing')], ['1', '14']);
    });
  }
});

describe('the signed cookie', () => {
  const NOW = 1_700_000_000;
  const signed = cookies({ secrets: [SECRET, OLD_SECRET] });
  const issued = valueOf(signed.issue('hub', 'iana', 'hub-0', false, NOW));
  const verify = (value: string, { kind = 'hub', user = 'iana', now = NOW } = {}) =>
    signed.verify(kind, user, value, now);

  it('is bucket, expiry and signature, and proves the bucket to whom it was given', () => {
    assert.match(issued, /^hub-0\.1700086400\.[A-Za-z0-9_-]{43}$/);
    assert.equal(verify(issued), 'hub-0');
  });

  it('is what /shard, /auth and /go set, with the attributes of the unsigned one', async () => {
    const buckets = { 'hub-0': { url: 'http://hub-0.example' } };
    const service = await start({ cookie: { secrets: [SECRET], maxAge: 60 }, buckets });
    for (const path of ['/shard', '/auth', '/go']) {
      const setCookie = (await service.ask(path, 'žofie')).headers.get('set-cookie') ?? '';
      assert.match(setCookie, /^hub=[^;]+; Path=\/; Max-Age=60; HttpOnly; SameSite=Lax$/);
      assert.equal(cookies().verify('hub', 'žofie', valueOf(setCookie)), 'hub-0');
    }
  });

  it('expires after a day, or with max_age', () => {
    assert.equal(verify(issued, { now: NOW + 86_399 }), 'hub-0');
    assert.equal(verify(issued, { now: NOW + 86_400 }), undefined);
    const short = cookies({ maxAge: 60 });
    const value = valueOf(short.issue('hub', 'iana', 'hub-0', false, NOW));
    assert.equal(short.verify('hub', 'iana', value, NOW + 59), 'hub-0');
    assert.equal(short.verify('hub', 'iana', value, NOW + 60), undefined);
  });

  const [name = '', expiry = '', signature = ''] = issued.split('.');
  const bad: readonly [what: string, value: string, whose?: { kind?: string; user?: string }][] = [
    ['nothing', ''],
    ['the bucket alone', 'hub-0'],
    ['another bucket', `hub-1.${expiry}.${signature}`],
    ['a later expiry', `${name}.${Number(expiry) + 1}.${signature}`],
    ['an expiry with a zero before it', `${name}.0${expiry}.${signature}`],
    ['an expiry past all numbers', `${name}.${'9'.repeat(400)}.${signature}`],
    ['no expiry', `${name}..${signature}`],
    ['a signature of zeros', `${name}.${expiry}.${'A'.repeat(43)}`],
    ['a signature cut short', issued.slice(0, -1)],
    ['a signature with more behind it', `${issued}A`],
    ['base64 padding', `${issued}=`],
    ['itself twice', issued + issued],
    ['itself twice with a dot', `${issued}.${issued}`],
    ['something before it', `x.${issued}`],
    ['a line end behind it', `${issued}\n`],
    ["another user's", issued, { user: 'root' }],
    ["another case's", issued, { user: 'Iana' }],
    ["another kind's", issued, { kind: 'homedir' }],
    [
      "another secret's",
      valueOf(cookies({ secrets: ['x'.repeat(32)] }).issue('hub', 'iana', 'hub-0', false, NOW)),
    ],
  ];
  for (const [what, value, whose] of bad) {
    it(`proves nothing with ${what}`, () => {
      assert.equal(verify(value, whose), undefined);
    });
  }

  it('keeps kind, user and bucket apart: no two share a signature by moving a border', () => {
    const value = valueOf(signed.issue('hub', 'iana', 'a.b', false, NOW));
    assert.equal(verify(value), 'a.b');
    assert.equal(verify(value.replace(/^a\./, '')), undefined);
    assert.equal(signed.verify('hu', 'b\niana', value, NOW), undefined);
    assert.equal(signed.verify('hub', 'iana\na', value.replace(/^a\.b/, 'b'), NOW), undefined);
  });

  it('is signed by the first secret, and proved by any', () => {
    const old = cookies({ secrets: [OLD_SECRET] });
    const fresh = cookies({ secrets: [SECRET] });
    const before = valueOf(old.issue('hub', 'iana', 'hub-0', false, NOW));
    assert.equal(verify(before), 'hub-0');
    assert.equal(fresh.verify('hub', 'iana', before, NOW), undefined);
    assert.equal(fresh.verify('hub', 'iana', issued, NOW), 'hub-0');
    assert.equal(old.verify('hub', 'iana', issued, NOW), undefined);
  });

  const kind = fc.stringMatching(KIND_PATTERN);
  const bucket = fc.stringMatching(BUCKET_PATTERN);
  const user = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 64 });

  it('proves any bucket, dots and all, to any user', () => {
    fc.assert(
      fc.property(kind, user, bucket, (k, u, b) => {
        const setCookie = signed.issue(k, u, b, true, NOW);
        assert.ok(setCookie.startsWith(`__Host-${k}=${b}.`));
        assert.equal(signed.verify(k, u, valueOf(setCookie), NOW), b);
      }),
    );
  });

  it('never proves another bucket after any one character was changed, lost or added', () => {
    const dotted = fc.string({ unit: fc.constantFrom('.', '0', '1', 'a'), minLength: 1 });
    const change = fc.record({
      at: fc.nat(),
      // Characters that stand in a value are the likely ones to fool somebody.
      by: fc.constantFrom('', '.', '0', '1', '9', 'A', 'a', '-', '_', ' ', '\n'),
      replaces: fc.boolean(),
    });
    fc.assert(
      fc.property(kind, user, fc.oneof(bucket, dotted), change, (k, u, b, { at, by, replaces }) => {
        const value = valueOf(signed.issue(k, u, b, false, NOW));
        const i = at % value.length;
        const changed = value.slice(0, i) + by + value.slice(i + (replaces ? 1 : 0));
        assert.ok([b, undefined].includes(signed.verify(k, u, changed, NOW)));
        // The last character has two bits that no byte holds; any other change breaks it.
        if (changed !== value && i < value.length - 1)
          assert.equal(signed.verify(k, u, changed, NOW), undefined);
      }),
      { numRuns: 1_000 },
    );
  });
});
