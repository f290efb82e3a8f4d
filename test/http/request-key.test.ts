// The key of a request: where the kind says, as it came, from a trusted peer alone, and refused rather than
// guessed at. The same on /shard, /auth and /go.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Rendezvous } from '../../src/assign/hash.js';
import { declareKinds } from '../../src/index.js';
import type { RequestKey } from '../../src/store/kind-settings.js';
import { start, type Running } from './start.js';
import { exchange, get } from './wire.js';

const SERVERS = Array.from({ length: 50 }, (_, i) => `server-${i}`);
const hash = new Rendezvous(SERVERS.map((name) => ({ name, weight: 1 })));

const PATTERN = '^/users/([^/]*)';
const KINDS: Readonly<Record<string, RequestKey>> = {
  uri: { header: 'X-Original-URI', pattern: PATTERN },
  path: { header: 'X-Forwarded-Uri' },
  tenant: { header: 'X-Tenant' },
  part: { header: 'X-Tenant', pattern: '^([^.]+)\\.' },
  query: { query: 'tenant' },
  first: { query: 'tenant', pattern: '^(..)' },
  session: { cookie: 'session' },
};

let service: Running;
before(async () => {
  service = await start({ trustedProxies: ['127.0.0.1'] });
  const buckets = SERVERS.map((name) => ({ name, url: `http://${name}.example` }));
  const kinds = Object.entries(KINDS).map(([kind, key]) => {
    return [kind, { policy: 'hash', key, buckets }] as const;
  });
  const user = { policy: 'hash', buckets };
  await declareKinds(service.sharder.database, { user, ...Object.fromEntries(kinds) }, 'test');
});

interface Situation {
  readonly title: string;
  readonly kind: string;
  /** Behind the kind in the path. */
  readonly rest?: string;
  readonly headers?: readonly (string | Buffer)[];
  /** What is hashed. */
  readonly key: string;
}

// On any of the three routes.
const found: readonly Situation[] = [
  {
    title: 'the first group, in the path of a header',
    kind: 'uri',
    headers: ['X-Original-URI: /users/alice/x?tenant=a'],
    key: 'alice',
  },
  {
    title: 'the whole path where the pattern does not match',
    kind: 'uri',
    headers: ['X-Original-URI: /about?users=/users/alice'],
    key: '/about',
  },
  {
    title: 'the path of a whole URL',
    kind: 'uri',
    headers: ['X-Original-URI: https://example.org/users/alice/x'],
    key: 'alice',
  },
  {
    title: 'percent-encoding as it came',
    kind: 'uri',
    headers: ['X-Original-URI: /users/%61lice/x'],
    key: '%61lice',
  },
  {
    title: 'the path without the query where there is no pattern',
    kind: 'path',
    headers: ['X-Forwarded-Uri: /a/b?c'],
    key: '/a/b',
  },
  { title: 'a header', kind: 'tenant', headers: ['X-Tenant: a?b/c'], key: 'a?b/c' },
  {
    title: 'UTF-8 in a header',
    kind: 'tenant',
    headers: [Buffer.from('X-Tenant: Zoé')],
    key: 'Zoé',
  },
  { title: 'part of a header', kind: 'part', headers: ['X-Tenant: acme.eu'], key: 'acme' },
  {
    title: 'a header where the pattern does not match',
    kind: 'part',
    headers: ['X-Tenant: acme'],
    key: 'acme',
  },
  { title: 'a parameter', kind: 'query', rest: '?a=b&tenant=acme&c', key: 'acme' },
  { title: 'a parameter as it came', kind: 'query', rest: '?tenant=a%20b+c=d', key: 'a%20b+c=d' },
  { title: 'part of a parameter', kind: 'first', rest: '?tenant=acme', key: 'ac' },
  {
    title: 'a cookie among others',
    kind: 'session',
    headers: ['Cookie: xsession=1; session=a=b; b=session=2'],
    key: 'a=b',
  },
  {
    title: 'the user, where the kind says nothing',
    kind: 'user',
    headers: ['REMOTE_USER: iana'],
    key: 'iana',
  },
];

const refused: readonly Omit<Situation, 'key'>[] = [
  { title: 'no header', kind: 'uri', headers: ['REMOTE_USER: iana'] },
  { title: 'the header twice', kind: 'uri', headers: ['X-Original-URI: /a', 'X-Original-URI: /a'] },
  {
    title: 'what could be taken for the header',
    kind: 'uri',
    headers: ['X-Original-URI: /a', 'X_Original_URI: /b'],
  },
  { title: 'an empty header', kind: 'uri', headers: ['X-Original-URI:'] },
  {
    title: 'a header that is not UTF-8',
    kind: 'tenant',
    headers: [Buffer.from([...Buffer.from('X-Tenant: a'), 0xff])],
  },
  { title: 'a key that is too long', kind: 'tenant', headers: [`X-Tenant: ${'a'.repeat(8_193)}`] },
  { title: 'no parameter', kind: 'query', rest: '?tenants=a&xtenant=b' },
  { title: 'a parameter without a value', kind: 'query', rest: '?tenant=' },
  { title: 'a parameter twice', kind: 'query', rest: '?tenant=a&tenant=a' },
  { title: 'no cookie', kind: 'session', headers: ['Cookie: sessions=1'] },
  { title: 'a cookie twice', kind: 'session', headers: ['Cookie: session=1; session=2'] },
  {
    title: 'a cookie twice, in two headers',
    kind: 'session',
    headers: ['Cookie: session=1', 'Cookie: session=2'],
  },
  { title: 'an empty cookie', kind: 'session', headers: ['Cookie: session='] },
];

function send(
  route: string,
  { kind, rest = '', headers = [] }: Omit<Situation, 'key'>,
  from?: string,
) {
  return exchange(service.port, get(`/${route}/${kind}${rest}`, ...headers), from);
}

for (const route of ['shard', 'auth', 'go']) {
  describe(`the key of a request to /${route}`, () => {
    for (const situation of found) {
      it(`is ${situation.title}`, async () => {
        const answer = await send(route, situation);
        assert.equal(answer?.status, route === 'go' ? 302 : 200, answer?.body);
        assert.equal(answer.headers.get('x-shard-bucket'), hash.bucketOf(situation.key));
        assert.equal(answer.headers.get('x-shard-reason'), 'hashed');
        // Another request has another key, and the cookie would be for both.
        assert.equal(answer.headers.has('set-cookie'), situation.kind === 'user');
      });
    }

    for (const situation of refused) {
      it(`is refused where there is ${situation.title}`, async () => {
        const answer = await send(route, situation);
        assert.equal(answer?.status, route === 'auth' ? 403 : 400, answer?.body);
        assert.equal(answer.headers.has('x-shard-bucket'), false);
      });
    }

    it('is believed of a trusted peer alone', async () => {
      for (const situation of found) {
        assert.equal((await send(route, situation, '127.0.0.2'))?.status, 403, situation.title);
      }
    });
  });
}

describe('the parameter that is the key of a request', () => {
  it('is, on /auth, that of the request which the proxy asks about', async () => {
    for (const header of ['X-Original-URI', 'X-Forwarded-Uri']) {
      const headers = [`${header}: /a?tenant=acme`];
      const answer = await send('auth', { title: '', kind: 'query', rest: '?tenant=x', headers });
      assert.equal(answer?.headers.get('x-shard-bucket'), hash.bucketOf('acme'));
      const none = await send('auth', {
        ...{ title: '', kind: 'query', rest: '?tenant=x' },
        headers: [`${header}: /a`],
      });
      assert.equal(none?.body, 'there is no parameter tenant in the query\n');
      // An application that asks means its own.
      const own = await send('shard', { title: '', kind: 'query', rest: '?tenant=x', headers });
      assert.equal(own?.headers.get('x-shard-bucket'), hash.bucketOf('x'));
    }
  });

  it('is refused where two headers name two requests', async () => {
    const both = (other: string) =>
      send('auth', {
        ...{ title: '', kind: 'query' },
        headers: ['X-Original-URI: /a?tenant=acme', `X-Forwarded-Uri: ${other}`],
      });
    assert.equal((await both('/a?tenant=acme'))?.status, 200);
    const answer = await both('/a?tenant=other');
    assert.equal(answer?.status, 403);
    assert.match(answer.body, /came and differ: the proxy in front must set one/);
  });
});

describe('an answer by a key', () => {
  it('names it in JSON, and says why it is refused', async () => {
    const headers = { Accept: 'application/json', 'X-Original-URI': '/users/alice/x' };
    const known = await service.ask('/shard/uri', undefined, { headers });
    const bucket = hash.bucketOf('alice');
    const url = `http://${bucket}.example`;
    const answer = { kind: 'uri', name: 'alice', bucket, url, reason: 'hashed' };
    assert.deepEqual(await known.json(), answer);
    const missing = await service.ask('/shard/uri', 'iana', {
      headers: { Accept: headers.Accept },
    });
    assert.deepEqual(await missing.json(), {
      error: {
        code: 'bad_key',
        message: 'no X-Original-URI header came: the proxy in front must set it',
      },
    });
  });
});
