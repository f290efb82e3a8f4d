// GET /go, /go/{kind}?next=/path: 302 to the user's bucket, and to no other site.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { SharderError } from '../../src/errors.js';
import { destination } from '../../src/http/go.js';
import { hubs } from '../engines.js';
import { assignedNames, start, type Running } from './start.js';
import { exchange, get } from './wire.js';

describe('/go', () => {
  let service: Running;
  const go = (query: string) => exchange(service.port, get(`/go${query}`, 'REMOTE_USER: iana'));
  before(async () => {
    service = await start({
      buckets: { 'hub-0': { url: 'https://hub-0.example:8443/base' } },
      kinds: ['homedir'],
    });
  });

  it("redirects with 302, the bucket's headers and the cookie", async () => {
    const response = await go('');
    assert.equal(response?.status, 302);
    assert.equal(response.headers.get('location'), 'https://hub-0.example:8443/base/');
    assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
    assert.equal(response.headers.get('x-shard-url'), 'https://hub-0.example:8443/base');
    assert.equal(response.headers.get('x-shard-reason'), 'assigned');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    assert.match(response.headers.get('set-cookie') ?? '', /^hub=hub-0;/);
  });

  const led: readonly [query: string, path: string][] = [
    ['/', '/'],
    ['/hub', '/'],
    ['?next=/', '/'],
    ['?next=/lab', '/lab'],
    ['?next=/user/iana/lab/tree/a%20b.ipynb', '/user/iana/lab/tree/a%20b.ipynb'],
    ['?next=%2Flab%3Freset%3D1%26x%3D2%23top', '/lab?reset=1&x=2#top'],
    ['?next=/lab?reset=1', '/lab?reset=1'],
    ['?next=/https://evil.example/', '/https://evil.example/'],
    ['?next=/@evil.example', '/@evil.example'],
    ['?next=/a//b', '/a//b'],
    ['?next=/%25%32%66evil.example', '/%2fevil.example'],
    ['?next=/%C5%BElu%C5%A5', '/%C5%BElu%C5%A5'],
    ['?x=1&next=/lab', '/lab'],
    ['?next[]=/lab', '/'],
  ];
  for (const [query, path] of led) {
    it(`/go${query} leads to ${path}`, async () => {
      const response = await go(query);
      assert.equal(response?.status, 302);
      assert.equal(response.headers.get('location'), `https://hub-0.example:8443/base${path}`);
    });
  }

  const refused = [
    '',
    'lab',
    '.evil.example',
    '@evil.example',
    ':80@evil.example',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/lab\\..\\x',
    'https://evil.example',
    'https:evil.example',
    'https:/evil.example',
    'javascript:alert(1)',
    '/\t/evil.example',
    '\t//evil.example',
    '/\n/evil.example',
    '/lab\r\nSet-Cookie: hub=x',
    ' //evil.example',
    '/\0',
    '/..//evil.example',
    '/../../other-base',
    '/%2e%2e/other-base',
    '/.%2E/',
  ];
  for (const next of refused) {
    it(`refuses the next ${JSON.stringify(next)}`, async () => {
      const response = await go(`?next=${encodeURIComponent(next)}`);
      assert.equal(response?.status, 400);
      assert.equal(response.headers.has('location'), false);
      assert.match(response.body, /^next /);
    });
  }

  it('refuses a next that comes twice, and one that is not encoded right', async () => {
    for (const query of ['?next=/a&next=/b', '?next=/a&next=//evil.example', '?next=%zz'])
      assert.equal((await go(query))?.status, 400, query);
  });

  it('answers HEAD too', async () => {
    const response = await service.ask('/go?next=/lab', 'iana', { method: 'HEAD' });
    assert.equal(response.status, 302);
    assert.equal(response.headers.get('location'), 'https://hub-0.example:8443/base/lab');
  });

  it('refuses other methods with 405, and stores nothing', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PROPFIND']) {
      const response = await service.ask('/go', `by-${method}`, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get('allow'), 'GET, HEAD');
    }
    assert.deepEqual(
      (await assignedNames(service)).filter((name) => name.startsWith('by-')),
      [],
    );
  });

  it('says 404 to a kind that is not there, and to a deeper path', async () => {
    for (const path of ['/nosuch', '/%00', '/__proto__', '/hub/deeper', '/hub/x/y'])
      assert.equal((await go(path))?.status, 404, path);
    assert.equal((await go('/%zz'))?.status, 400);
    assert.equal((await exchange(service.port, get('/GO', 'REMOTE_USER: iana')))?.status, 404);
  });

  it('says 404 and how to help it where the bucket has no URL', async () => {
    const response = await go('/homedir');
    assert.equal(response?.status, 404);
    assert.match(response.body, /^bucket homedir-0 of kind homedir has no URL: give it one/);
  });

  for (const url of ['nonsense', 'javascript:alert(1)', 'http://', '//evil.example', '']) {
    it(`takes the URL ${JSON.stringify(url)}, which somebody wrote into the table, for none`, async () => {
      const odd = await start({ buckets: hubs(1) });
      await odd.sharder.database.knex('bucket').update({ url });
      const response = await odd.ask('/go', 'iana');
      assert.equal(response.status, 404);
      assert.equal(response.headers.get('location'), null);
    });
  }
});

describe('where next leads', () => {
  const urls = ['http://hub.example', 'https://hub.example:8443/base/path', 'http://[::1]:8000/a'];
  // Long runs of what URL parsers stumble over.
  const next = fc.oneof(
    fc.string({ unit: fc.constantFrom(...Array.from('/\\.:@?#%2fe \t\nab')) }),
    fc.string({ unit: 'grapheme' }),
    fc.webPath(),
  );

  it("is inside the bucket's own URL, or refused, whatever it is", () => {
    fc.assert(
      fc.property(fc.constantFrom(...urls), next, fc.boolean(), (url, text, isRooted) => {
        const path = isRooted ? `/${text}` : text;
        let led;
        try {
          led = destination({ kind: 'hub', name: 'hub-0', url }, path);
        } catch (error) {
          assert.ok(error instanceof SharderError && error.code === 'bad_request', String(error));
          return;
        }
        assert.ok(led.startsWith(`${url}/`), led);
        // As the browser will see it.
        assert.equal(new URL(led, 'http://sharder.example').origin, new URL(url).origin);
      }),
      { numRuns: 5_000 },
    );
  });
});
