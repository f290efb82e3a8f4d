// What people see at the edge when something behind it fails, each cause in its own words; and that nothing
// fails which need not. Real nginx with the files of nginx/, a real Sharder, and servers that misbehave.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { renderNginx } from '../src/deploy/nginx.js';
import { listBuckets } from '../src/store/buckets.js';
import { Edge, edgeWith, type EdgeOptions, type Received } from './edge.js';
import { exchange, get } from './http/wire.js';
import { needsNginx } from './nginx.js';

const servers = new Set<Server>();
after(() => {
  for (const server of servers) server.close();
});

/** A server that answers whatever it reads with these bytes, and closes. */
async function answering(bytes: string): Promise<string> {
  return listening(
    createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(bytes));
    }),
  );
}

async function listening(server: Server): Promise<string> {
  servers.add(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Gives buckets other addresses, and has nginx read its map. What it keeps on disk stays. */
async function readdress(edge: Edge, urls: Readonly<Record<string, string | null>>): Promise<void> {
  const { database, nginx } = edge;
  for (const [name, url] of Object.entries(urls))
    await database.knex('bucket').where({ kind: 'hub', name }).update({ url });
  const { text } = renderNginx(await database.read((knex) => listBuckets(knex)));
  writeFileSync(nginx.upstreamsFile, text);
  await nginx.stopped();
  await nginx.started();
}

describe('each cause of a failure has its own words', needsNginx, () => {
  const edge = edgeWith({ buckets: ['hub-0'] });
  const cookies = (count: number, length: number): string =>
    Array.from({ length: count }, (_, i) => `Set-Cookie: c${i}=${'x'.repeat(length)}\r\n`).join('');
  const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n';
  const causes: readonly [title: string, bytes: string | undefined, says: RegExp][] = [
    [
      'a bucket that refuses connections',
      undefined,
      /^The server on which you live cannot be reached/,
    ],
    ['one that closes at once', '', /broke off before it answered/],
    ['one that speaks no HTTP', 'HTTP/1.1 200 OK\r\n\x01: x\r\n\r\n', /sent an invalid answer/],
    ['headers of 40 kB', `${OK}${cookies(80, 500)}\r\nok`, /headers over 32 kB/],
  ];
  for (const [title, bytes, says] of causes) {
    it(title, async () => {
      const url = bytes === undefined ? 'http://127.0.0.1:1' : await answering(bytes);
      await readdress(edge(), { 'hub-0': url });
      for (const path of ['/', '/hub/login']) {
        const response = await edge().visit(edge().newUser(), [], path);
        assert.equal(response?.status, 503);
        assert.match(response.body, says);
        assert.equal(response.headers.get('retry-after'), '10');
      }
    });
  }

  for (const [count, length] of [
    [8, 500],
    [60, 500],
    [7, 4_000],
  ] as const) {
    it(`${count} cookies of ${length} bytes are passed on`, async () => {
      await readdress(edge(), {
        'hub-0': await answering(`${OK}${cookies(count, length)}\r\nok`),
      });
      for (const path of ['/', '/hub/login']) {
        const response = await edge().visit(edge().newUser(), [], path);
        assert.equal(response?.status, 200, response?.body);
      }
    });
  }

  it('no room for a new user, which is no fault of the bucket', async () => {
    const user = edge().newUser();
    await edge().database.knex('bucket').update({ state: 'cordoned' });
    const response = await edge().visit(user);
    assert.equal(response?.status, 503);
    assert.match(response.body, /^There is no room for new users/);
    await edge().database.knex('bucket').update({ state: 'active' });
  });

  it('no Sharder answers', async () => {
    await edge().service.stop();
    const response = await edge().visit(edge().newUser());
    assert.equal(response?.status, 503);
    assert.match(response.body, /^It cannot be said at the moment where you live/);
    assert.equal(response.headers.get('retry-after'), '5');
  });
});

describe('a bucket that is gone is asked about again', needsNginx, () => {
  for (const [title, options] of [
    ['where nginx keeps answers', {}],
    ['where it believes signed cookies', { route: 'signed' }],
  ] as const satisfies readonly (readonly [string, EdgeOptions])[]) {
    const edge = edgeWith(options);
    it(title, async () => {
      const user = edge().newUser();
      const { bucket, cookie } = await edge().shard(user);
      const headers = [`Cookie: hub=${cookie}`];
      const arrive = async (path = '/') => {
        const response = await edge().visit(user, headers, path);
        assert.equal(response?.status, 200, response?.body);
        return (JSON.parse(response.body) as Received).bucket;
      };
      assert.equal(await arrive(), bucket);
      const other = bucket === 'hub-0' ? 'hub-1' : 'hub-0';
      await edge().database.knex('shard').where({ name: user }).update({ bucket: other });
      await readdress(edge(), { [bucket]: null });
      for (const path of ['/', '/hub/login', '/user/x?y']) assert.equal(await arrive(path), other);
    });
  }
});

describe('what a browser sends is never too much for the Sharder', needsNginx, () => {
  for (const [title, options] of [
    ['asked', {}],
    ['signed', { route: 'signed' }],
  ] as const satisfies readonly (readonly [string, EdgeOptions])[]) {
    const edge = edgeWith(options);
    it(`24 kB of cookies, by nginx that has ${title}`, async () => {
      const user = edge().newUser();
      const lines = Array.from({ length: 6 }, (_, i) => `Cookie: c${i}=${'x'.repeat(4_000)}`);
      for (const path of ['/', '/hub/login']) {
        const response = await edge().visit(user, [...lines, 'Cookie: hub=x'], path);
        assert.equal(response?.status, 200, response?.body);
      }
    });

    it(`24 kB of cookies under our own name, by nginx that has ${title}`, async () => {
      const user = edge().newUser();
      const lines = Array.from({ length: 6 }, () => `Cookie: hub=${'x'.repeat(4_000)}`);
      const response = await edge().visit(user, lines);
      assert.equal(response?.status, 200, response?.body);
    });
  }
});

describe('a connection to a bucket', needsNginx, () => {
  const edge = edgeWith({ buckets: ['hub-0'] });

  it('is closed by nginx before a server of Node closes it, so that no POST meets the close', async () => {
    const sockets: Socket[] = [];
    const server = createHttpServer((req, res) => {
      req.resume().on('end', () => res.end('ok'));
    });
    assert.equal(server.keepAliveTimeout, 5_000); // Node's default
    server.on('connection', (socket: Socket) => sockets.push(socket));
    await readdress(edge(), { 'hub-0': await listening(server) });
    const user = edge().newUser();
    assert.equal((await edge().visit(user))?.status, 200);
    const [socket] = sockets;
    assert.ok(socket);
    const ended = once(socket, 'end').then(() => 'by nginx');
    assert.equal(await Promise.race([ended, once(socket, 'close')]), 'by nginx');
    const login = edge().login(user);
    const post = get('/', login, 'Content-Length: 2').toString().replace('GET', 'POST');
    assert.equal((await exchange(edge().nginx.port, `${post}hi`))?.status, 200);
    assert.equal(sockets.length, 2);
  });
});
