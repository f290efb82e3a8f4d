// GET /shard, /shard/{kind}: the user's bucket as a line of text, or as JSON for who asks for it.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { setKind } from '../../src/store/kinds.js';
import { hubs } from '../engines.js';
import { assignedNames, start, type Running } from './start.js';
import { exchange, get, Wire } from './wire.js';

const BROWSER =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';

describe('/shard', () => {
  let service: Running;
  before(async () => {
    service = await start({ buckets: hubs(1), kinds: ['homedir'] });
  });

  it('answers the bucket and a line end as plain text', async () => {
    const response = await service.ask('/shard', 'iana');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/plain; charset=utf-8');
    assert.equal(response.headers.get('content-length'), '6');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
    assert.equal(response.headers.get('x-shard-url'), null);
    assert.equal(response.headers.get('x-shard-stale'), null);
    assert.equal(await response.text(), 'hub-0\n');
  });

  it('says assigned the first time and existing from then on', async () => {
    const reasons = [];
    for (let i = 0; i < 3; i++) {
      const response = await service.ask('/shard', 'jude');
      reasons.push(response.headers.get('x-shard-reason'));
    }
    assert.deepEqual(reasons, ['assigned', 'existing', 'existing']);
  });

  it('gives kind, name, bucket, url and reason as JSON', async () => {
    const ask = () => service.ask('/shard', 'žofie', { headers: { Accept: 'application/json' } });
    const response = await ask();
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
    const answer = { kind: 'hub', name: 'žofie', bucket: 'hub-0', url: null };
    assert.deepEqual(await response.json(), { ...answer, reason: 'assigned' });
    assert.deepEqual(await (await ask()).json(), { ...answer, reason: 'existing' });
  });

  it('names the object as it is stored, where the kind makes names normal', async () => {
    const other = await start({ buckets: hubs(2) });
    await other.sharder.database.write((trx) =>
      setKind(trx, 'hub', { normalize: 'lower-local' }, { actor: 'test' }),
    );
    const ask = async (user: string) => {
      const response = await other.ask('/shard', user, { headers: { Accept: 'application/json' } });
      return response.json();
    };
    const answer = { kind: 'hub', name: 'iana', bucket: 'hub-0', url: null };
    assert.deepEqual(await ask('IANA@Example.ORG'), { ...answer, reason: 'assigned' });
    assert.deepEqual(await ask('Iana'), { ...answer, reason: 'existing' });
    assert.deepEqual(await assignedNames(other), ['iana']);
    for (const [path, status] of [
      ['/shard', 400],
      ['/auth', 403],
      ['/go', 400],
    ] as const) {
      assert.equal((await other.ask(path, '@example.org')).status, status);
    }
  });

  const accepts: readonly [accept: string | undefined, isJson: boolean][] = [
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['text/plain', false],
    [BROWSER, false],
    ['image/png', false],
    ['application/xml', false],
    ['application/json;q=0', false],
    ['application/json;q=0.5, text/plain', false],
    ['text/plain;q=0.9, application/json;q=0.8', false],
    ['application/;;q=,,,/', false],
    ['application/json', true],
    ['application/json; charset=utf-8', true],
    ['application/json;q=0.9', true],
    ['application/json;q=0.9, text/plain;q=0.5', true],
    ['application/json, text/plain, */*', true],
    ['application/json, text/*;q=0.5', true],
    ['application/*', true],
    ['text/html, application/json', true],
  ];
  for (const [accept, isJson] of accepts) {
    it(`answers ${isJson ? 'JSON' : 'text'} to Accept: ${accept ?? '(none)'}`, async () => {
      const headers = accept === undefined ? [] : [`Accept: ${accept}`];
      const response = await exchange(service.port, get('/shard', 'REMOTE_USER: kim', ...headers));
      assert.equal(response?.status, 200);
      const type = isJson ? 'application/json; charset=utf-8' : 'text/plain; charset=utf-8';
      assert.equal(response.headers.get('content-type'), type);
      if (isJson) assert.equal((JSON.parse(response.body) as { bucket: string }).bucket, 'hub-0');
      else assert.equal(response.body, 'hub-0\n');
    });
  }

  it('answers HEAD like GET, without the body, and the connection goes on', async () => {
    const wire = await Wire.connect(service.port);
    wire.send('HEAD /shard HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: kim\r\n\r\n');
    const head = await wire.next({ isHead: true });
    wire.send(get('/shard', 'REMOTE_USER: kim'));
    const body = await wire.next();
    assert.equal(head?.status, 200);
    for (const name of ['content-type', 'content-length', 'x-shard-bucket', 'set-cookie'])
      assert.equal(head.headers.get(name), body?.headers.get(name));
    assert.equal(body?.body, 'hub-0\n');
    wire.destroy();
  });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    it(`refuses ${method} with 405 and what it takes, and stores nothing`, async () => {
      const response = await service.ask('/shard', `by-${method}`, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get('allow'), 'GET, HEAD');
      assert.equal(await response.text(), `/shard takes GET and HEAD, not ${method}\n`);
      assert.ok(!(await assignedNames(service)).includes(`by-${method}`));
    });
  }

  it('answers for another kind, with its cookie', async () => {
    const response = await service.ask('/shard/homedir', 'iana');
    assert.equal(await response.text(), 'homedir-0\n');
    assert.match(response.headers.get('set-cookie') ?? '', /^homedir=homedir-0;/);
    assert.equal((await service.ask('/shard/hub', 'iana')).headers.get('x-shard-bucket'), 'hub-0');
  });

  const kinds = [
    'nosuch',
    'HUB',
    'hub%2F',
    '%68ub',
    '%zz',
    '..',
    '%00',
    '__proto__',
    'constructor',
  ];
  for (const kind of kinds) {
    it(`says 404 to the kind ${kind}`, async () => {
      const response = await exchange(service.port, get(`/shard/${kind}`, 'REMOTE_USER: iana'));
      assert.equal(response?.status, 404);
      assert.match(response.body, /^there is no kind /);
    });
  }

  const paths: readonly [path: string, status: number][] = [
    ['/shard/', 200],
    ['/shard?', 200],
    ['/shard?kind=homedir', 200],
    ['/shard/hub?x=/shard/', 200],
    ['/shard/hub/', 404],
    ['/shard/hub/more', 404],
    ['/shard//', 404],
    ['/shard//hub', 404],
    ['//shard', 404],
    ['/Shard', 404],
    ['/shards', 404],
    ['/shard/../shard', 404],
    ['/shard%2fhub', 404],
    ['/%73hard', 404],
    ['/shard;x=1', 404],
  ];
  for (const [path, status] of paths) {
    it(`says ${status} to ${path}`, async () => {
      const response = await exchange(service.port, get(path, 'REMOTE_USER: iana'));
      assert.equal(response?.status, status);
      if (status === 200) assert.equal(response.body, 'hub-0\n');
    });
  }

  it("takes a request target with the service's own address in it, as RFC 9112 has it", async () => {
    const response = await exchange(
      service.port,
      get('http://sharder.example/shard', 'REMOTE_USER: iana'),
    );
    assert.equal(response?.status, 200);
    assert.equal(response.body, 'hub-0\n');
  });
});

describe('the URL of a bucket', () => {
  it('comes in a header, and in JSON', async () => {
    const service = await start({ buckets: { 'hub-0': { url: 'https://hub-0.example/base/' } } });
    const response = await service.ask('/shard', 'iana', {
      headers: { Accept: 'application/json' },
    });
    assert.equal(response.headers.get('x-shard-url'), 'https://hub-0.example/base');
    const { url } = (await response.json()) as { url: string };
    assert.equal(url, 'https://hub-0.example/base');
  });

  it('cannot add a header, whatever somebody wrote into the table', async () => {
    const service = await start({ buckets: hubs(1) });
    const url = 'http://x.example/\r\nX-Evil: 1\r\n\r\nžluť';
    await service.sharder.database.knex('bucket').update({ url });
    const response = await exchange(service.port, get('/shard', 'REMOTE_USER: iana'));
    assert.equal(response?.status, 200);
    assert.equal(response.body, 'hub-0\n');
    assert.equal(response.headers.has('x-evil'), false);
  });
});

describe('when no bucket has room', () => {
  it('/shard, /auth and /go say 503 and when to come again, and nothing is stored', async () => {
    const service = await start({ buckets: { 'hub-0': { capacity: 1 } } });
    await service.ask('/shard', 'first');
    for (const path of ['/shard', '/auth', '/go']) {
      const response = await service.ask(path, 'second');
      assert.equal(response.status, 503);
      assert.equal(response.headers.get('retry-after'), '60');
      assert.equal(response.headers.get('set-cookie'), null);
      assert.match(await response.text(), /^no active bucket of kind hub has room/);
    }
    assert.deepEqual(await assignedNames(service), ['first']);
  });
});

describe('an error', () => {
  it('is one plain line, or JSON with a code when asked for', async () => {
    const service = await start();
    const plain = await service.ask('/shard/nosuch', 'iana', { headers: { Accept: BROWSER } });
    assert.equal(plain.headers.get('content-type'), 'text/plain; charset=utf-8');
    const message = (await plain.text()).replace(/\n$/, '');
    assert.doesNotMatch(message, /\n/);

    const Accept = 'application/json, text/plain, */*';
    const json = await service.ask('/shard/nosuch', 'iana', { headers: { Accept } });
    assert.equal(json.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.equal(json.headers.get('cache-control'), 'no-store');
    assert.deepEqual(await json.json(), { error: { code: 'unknown_kind', message } });
  });
});
