// What no well-behaved client sends: each has its refusal or its closed connection, none is answered
// with a 5xx, none hangs, and the service answers the next good request.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { hubs } from '../engines.js';
import { assignedNames, start, type Running } from './start.js';
import { exchange, get, Wire } from './wire.js';

const IANA = 'REMOTE_USER: iana';
const CLOSED = undefined;

/** A request of these lines. */
const lines = (...all: string[]) => [...all, '', ''].join('\r\n');
const auth = (...headers: string[]) =>
  lines('POST /auth HTTP/1.1', 'Host: localhost', IANA, ...headers);

const cases: readonly [title: string, request: string | Buffer, status: number | undefined][] = [
  // Request lines
  ['a word', lines('hello'), 400],
  [
    'a line end before the request',
    `\r\n\r\n${lines('GET /shard HTTP/1.1', 'Host: localhost', IANA)}`,
    200,
  ],
  ['a TLS greeting', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
  ['an SSH greeting', 'SSH-2.0-OpenSSH_9.2\r\n', 400],
  ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['HTTP/3.0 in the request line', lines('GET /shard HTTP/3.0', 'Host: localhost', IANA), 400],
  ['no version, which names nobody', lines('GET /shard'), 401],
  ['HTTP/1.0', lines('GET /shard HTTP/1.0', IANA), 200],
  ['a space in the path', lines('GET /sha rd HTTP/1.1', 'Host: localhost', IANA), 400],
  ['a NUL in the path', lines('GET /sha\0rd HTTP/1.1', 'Host: localhost', IANA), 400],
  ['a Latin-1 byte in the path', lines('GET /shard/\xe9 HTTP/1.1', 'Host: localhost', IANA), 400],
  ['lines that end in LF alone', `GET /shard HTTP/1.1\nHost: localhost\n${IANA}\n\n`, 400],

  // Methods
  ['a method in small letters', lines('get /shard HTTP/1.1', 'Host: localhost', IANA), 400],
  ['a method that nobody knows', lines('BREW /shard HTTP/1.1', 'Host: localhost', IANA), 400],
  ['a method of 10,000 letters', lines(`${'A'.repeat(10_000)} / HTTP/1.1`, 'Host: localhost'), 400],
  ['TRACE', lines('TRACE /shard HTTP/1.1', 'Host: localhost', IANA), 405],
  ['CONNECT', lines('CONNECT uni.example:443 HTTP/1.1', 'Host: localhost', IANA), CLOSED],
  ['OPTIONS *', lines('OPTIONS * HTTP/1.1', 'Host: localhost'), 404],
  ['POST /healthz', lines('POST /healthz HTTP/1.1', 'Host: localhost'), 405],
  ['DELETE /metrics', lines('DELETE /metrics HTTP/1.1', 'Host: localhost'), 405],

  // Paths
  ['a path of 15,000 bytes', get(`/${'a'.repeat(15_000)}`, IANA), 404],
  ['a path of 20,000 bytes', get(`/${'a'.repeat(20_000)}`, IANA), 431],
  ['a query of 15,000 bytes', get(`/shard?${'&a'.repeat(7_500)}`, IANA), 200],
  ['bad percent-encoding in a kind', get('/go/%zz', IANA), 400],
  ['bad percent-encoding elsewhere', get('/%E0%A4%A', IANA), 404],
  ['bad percent-encoding in a query', get('/go?next=%zz', IANA), 400],
  ['an encoded NUL', get('/go/%00', IANA), 404],
  ['an address whose host is none: nothing here reads the host', get('http://[/shard', IANA), 200],
  ['an address of another scheme', get('ftp://x/healthz', IANA), 200],
  ['dots', get('/../../../etc/passwd', IANA), 404],
  ['a prototype in the query', get('/healthz?__proto__[x]=1&constructor=2', IANA), 200],

  // Headers
  ['no Host', lines('GET /shard HTTP/1.1', IANA), 400],
  // Nothing here depends on the Host.
  ['two Hosts', lines('GET /shard HTTP/1.1', 'Host: localhost', 'Host: y', IANA), 200],
  ['a header of 20,000 bytes', get('/shard', `X: ${'a'.repeat(20_000)}`, IANA), 431],
  ['a header name of 20,000 bytes', get('/shard', `${'a'.repeat(20_000)}: x`, IANA), 431],
  ['20,000 headers', get('/shard', ...Array.from({ length: 20_000 }, () => 'a:b'), IANA), 431],
  ['a header without a name', get('/shard', ': x', IANA), 400],
  ['a header without a colon', get('/shard', 'REMOTE_USER', IANA), 400],
  ['a NUL in a header', get('/shard', 'REMOTE_USER: ia\0na'), 400],
  ['an Expect that nobody can meet', get('/shard', IANA, 'Expect: cake'), 417],
  [
    'an upgrade to a web socket',
    get('/shard', IANA, 'Connection: Upgrade', 'Upgrade: websocket'),
    200,
  ],
  ['an Accept of rubbish', get('/shard', IANA, 'Accept: application/;;q=,,,/'), 200],
  ['a Cookie of rubbish', get('/shard', IANA, 'Cookie: hub=%zz; =; ;;j:{'), 200],
  ['an If-None-Match', get('/healthz', 'If-None-Match: *'), 304],
  ['a Range', get('/shard', IANA, 'Range: bytes=0-1'), 200],

  // Bodies
  [
    'a length and chunks',
    `${auth('Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    400,
  ],
  ['two lengths', `${auth('Content-Length: 5', 'Content-Length: 6')}hello`, 400],
  ['a length below zero', auth('Content-Length: -5'), 400],
  ['a length that is no number', auth('Content-Length: 0x5'), 400],
  ['a length past all numbers', auth(`Content-Length: ${'9'.repeat(30)}`), 400],
];

describe('bad input', () => {
  let service: Running;
  before(async () => {
    service = await start({ buckets: { 'hub-0': { url: 'http://hub-0.example' } } });
  });

  for (const [title, request, status] of cases) {
    it(`${title}: ${status ?? 'the connection is closed'}`, async () => {
      const response = await exchange(service.port, request);
      assert.equal(response?.status, status);
      assert.equal((await exchange(service.port, get('/shard', IANA)))?.body, 'hub-0\n');
      assert.deepEqual(await assignedNames(service), ['iana']);
    });
  }

  const reused: readonly [title: string, head: string][] = [
    ['an encoding that is none', 'Transfer-Encoding: gzip'],
    ['chunks that are not last', 'Transfer-Encoding: chunked, gzip'],
    ['chunks that are none', 'Transfer-Encoding: chunked'],
    ['an encoding that looks like chunks', 'Transfer-Encoding: xchunked'],
  ];
  for (const [title, head] of reused) {
    it(`a body with ${title} is never taken for the next request`, async () => {
      const wire = await Wire.connect(service.port);
      wire.send(auth(head));
      wire.send(get('/shard', 'REMOTE_USER: smuggled'));
      wire.end();
      const statuses = [];
      for (;;) {
        const response = await wire.next();
        if (!response) break;
        statuses.push(response.status);
      }
      assert.ok(statuses.length <= 2 && !statuses.slice(1).includes(200), String(statuses));
      assert.deepEqual(await assignedNames(service), ['iana']);
    });
  }
});

describe('one connection', () => {
  it('takes many requests at once and answers them in their order', async () => {
    const service = await start({ buckets: hubs(1), kinds: ['homedir'] });
    const wire = await Wire.connect(service.port);
    const paths = ['/shard', '/healthz', '/shard/homedir', '/nothing', '/shard/nosuch', '/shard'];
    const requests = paths.map((path) => get(path, IANA));
    wire.send(Buffer.concat([...requests, ...requests]));
    const answers = [];
    for (const path of [...paths, ...paths])
      answers.push(`${path} ${(await wire.next())?.status ?? 'closed'}`);
    const expected = [200, 200, 200, 404, 404, 200].map(
      (status, i) => `${paths[i] ?? ''} ${status}`,
    );
    assert.deepEqual(answers, [...expected, ...expected]);
    wire.destroy();
  });

  it('answers a thousand new users on it in their order', async () => {
    const service = await start({ buckets: hubs(1) });
    const wire = await Wire.connect(service.port);
    const names = Array.from({ length: 1_000 }, (_, i) => `user-${i}`);
    const json = 'Accept: application/json';
    wire.send(Buffer.concat(names.map((name) => get('/shard', `REMOTE_USER: ${name}`, json))));
    for (const name of names) {
      const { body = '' } = (await wire.next()) ?? {};
      assert.equal((JSON.parse(body) as { name: string }).name, name);
    }
    wire.destroy();
  });

  it('takes a request that comes byte by byte', async () => {
    const service = await start({ buckets: hubs(1) });
    const wire = await Wire.connect(service.port);
    for (const byte of get('/shard', IANA)) wire.send(Buffer.of(byte));
    assert.equal((await wire.next())?.body, 'hub-0\n');
    wire.destroy();
  });

  it('may be left in the middle of a request, an answer, or a body', async () => {
    const service = await start({ buckets: hubs(1) });
    const beginnings = ['', 'GET', 'GET /shard HTTP/1.1\r\nHo', `${auth('Content-Length: 50')}x`];
    for (const beginning of [...beginnings, get('/shard', 'REMOTE_USER: left')]) {
      const wire = await Wire.connect(service.port);
      wire.send(beginning);
      wire.destroy();
    }
    assert.equal((await exchange(service.port, get('/shard', IANA)))?.status, 200);
  });

  it('is closed after an error of the protocol, and nothing behind it is read', async () => {
    const service = await start({ buckets: hubs(1) });
    const wire = await Wire.connect(service.port);
    wire.send(lines('BREW / HTTP/1.1'));
    wire.send(get('/shard', IANA));
    assert.equal((await wire.next())?.status, 400);
    assert.equal(await wire.next(), undefined);
    assert.deepEqual(await assignedNames(service), []);
  });
});

describe('two hundred connections that send nothing more', () => {
  const wires: Wire[] = [];
  after(() => {
    for (const wire of wires) wire.destroy();
  });

  it('keep nobody else from an answer', async () => {
    const service = await start({ buckets: hubs(1) });
    for (let i = 0; i < 200; i++) {
      const wire = await Wire.connect(service.port);
      wire.send('GET /shard HTTP/1.1\r\nHost: localhost\r\n');
      wires.push(wire);
    }
    assert.equal((await exchange(service.port, get('/shard', IANA)))?.status, 200);
  });
});
