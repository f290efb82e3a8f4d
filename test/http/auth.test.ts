// Any method /auth, /auth/{kind}, /auth/{kind}/anything: for a proxy's forward-auth. Exactly 200 with
// an empty body lets the request through.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { start, type Running } from './start.js';
import { exchange, get, Wire } from './wire.js';

describe('/auth', () => {
  let service: Running;
  before(async () => {
    const buckets = { 'hub-0': { url: 'http://hub-0.example:8000' } };
    service = await start({ buckets, kinds: ['homedir'] });
  });

  for (const method of [
    ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    ...['PROPFIND', 'MKCOL', 'SEARCH', 'TRACE'],
  ]) {
    it(`answers ${method} with 200, no body, the bucket's headers and the cookie`, async () => {
      const head = `${method} /auth HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\n\r\n`;
      const response = await exchange(service.port, head);
      assert.equal(response?.status, 200);
      assert.equal(response.headers.get('content-length'), '0');
      assert.equal(response.headers.get('content-type'), undefined);
      assert.equal(response.headers.get('cache-control'), 'no-store');
      assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
      assert.equal(response.headers.get('x-shard-url'), 'http://hub-0.example:8000');
      assert.match(response.headers.get('x-shard-reason') ?? '', /^(assigned|existing)$/);
      assert.match(response.headers.get('set-cookie') ?? '', /^hub=hub-0;/);
    });
  }

  for (const body of ['Content-Length: 60', 'Transfer-Encoding: chunked']) {
    it(`takes no later request for a body that was announced (${body}) and does not come`, async () => {
      const wire = await Wire.connect(service.port);
      wire.send(`GET /auth HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\n${body}\r\n\r\n`);
      const response = await wire.next();
      assert.equal(response?.status, 200);
      assert.equal(response.headers.get('connection'), 'close');
      assert.equal(await wire.next(), undefined); // the other end has closed it
    });
  }

  it('keeps the connection where the body is said to be empty', async () => {
    const wire = await Wire.connect(service.port);
    for (let i = 0; i < 2; i++) {
      wire.send(
        'POST /auth HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\nContent-Length: 0\r\n\r\n',
      );
      const response = await wire.next();
      assert.equal(response?.status, 200);
      assert.equal(response.headers.get('connection'), 'keep-alive');
    }
    wire.destroy();
  });

  it('is the same whatever is accepted', async () => {
    const response = await service.ask('/auth', 'iana', {
      headers: { Accept: 'application/json' },
    });
    assert.equal(response.status, 200);
    assert.equal(await response.text(), '');
  });

  const paths: readonly [path: string, bucket: string][] = [
    ['/auth/', 'hub-0'],
    ['/auth?x=y', 'hub-0'],
    ['/auth/hub', 'hub-0'],
    ['/auth/hub/', 'hub-0'],
    ['/auth/hub/anything', 'hub-0'],
    ['/auth/hub/user/iana/lab/tree/a%20b?x=y&z=%2F', 'hub-0'],
    ['/auth/hub/../homedir', 'hub-0'],
    ['/auth/hub//deeper', 'hub-0'],
    ['/auth//user/iana', 'hub-0'],
    ['/auth/homedir', 'homedir-0'],
    ['/auth/homedir/hub?kind=hub', 'homedir-0'],
  ];
  for (const [path, bucket] of paths) {
    it(`answers ${bucket} on ${path}`, async () => {
      const response = await exchange(service.port, get(path, 'REMOTE_USER: iana'));
      assert.equal(response?.status, 200);
      assert.equal(response.headers.get('x-shard-bucket'), bucket);
    });
  }

  for (const path of ['/auth/nosuch', '/auth/nosuch/deeper', '/auth/%68ub', '/authx', '/AUTH'])
    it(`says 404 to ${path}`, async () => {
      const response = await exchange(service.port, get(path, 'REMOTE_USER: iana'));
      assert.equal(response?.status, 404);
    });

  const bodies: readonly [title: string, headers: string, body: string][] = [
    ['in chunks', 'Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
    ['that is announced before', 'Expect: 100-continue\r\nContent-Length: 5', 'hello'],
    [
      'that looks like a request',
      'Content-Length: 41',
      get('/shard', 'REMOTE_USER: root').toString(),
    ],
  ];
  for (const [title, headers, body] of bodies) {
    it(`takes a body ${title}, and nothing after it`, async () => {
      const wire = await Wire.connect(service.port);
      const head = `PUT /auth HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\n${headers}\r\n\r\n`;
      wire.send(head + body + head);
      assert.equal((await wire.next())?.status, 200);
      assert.equal(await wire.next(), undefined);
    });
  }

  it('never answers 400 to what names a user, since a proxy knows 401 and 403 only', async () => {
    const cases: readonly [headers: string[], status: number][] = [
      [[], 401],
      [['REMOTE_USER: a', 'REMOTE_USER: b'], 403],
      [['Remote-User: a'], 403],
      [[`REMOTE_USER: ${'a'.repeat(300)}`], 403],
      [['REMOTE_USER: \xff'], 403],
    ];
    for (const [headers, status] of cases) {
      const response = await exchange(service.port, get('/auth/hub/x', ...headers));
      assert.equal(response?.status, status);
      assert.equal(response.headers.has('x-shard-bucket'), false);
    }
  });
});
