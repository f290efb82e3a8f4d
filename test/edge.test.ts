// The edge: real nginx with the files of nginx/, real Sharders, a real server for each bucket. Each
// user who logs in arrives at the own bucket, also while something is down.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { declareKinds, type Database } from '../src/index.js';
import { renderNginx } from '../src/deploy/nginx.js';
import { listBuckets } from '../src/store/buckets.js';
import { open, temporaryDirectory } from './engines.js';
import { again, eventually, Load, names } from './load.js';
import { needsNginx, Nginx, type NginxOptions } from './nginx.js';
import { freePort } from './postgres.js';
import { Service } from './service.js';
import { openWebSocket, startUpstream, type Seen } from './upstream.js';

const SECRET = '0123456789abcdef0123456789abcdef';
const USERS = { iana: 'i', brian: 'b', carol: 'c' };

const running: Nginx[] = [];
after(async () => {
  for (const nginx of running) await nginx.stop();
});

interface Edge {
  readonly nginx: Nginx;
  readonly url: string;
  readonly database: Database;
  readonly services: readonly Service[];
  readonly upstreams: Readonly<Record<string, { url: string; server: Server }>>;
}

interface EdgeOptions extends Pick<NginxOptions, 'secret' | 'edit' | 'users' | 'port'> {
  readonly sharders?: number;
}

/** Two hubs, home-0 of kind homedir, so many Sharders, and nginx before them. */
async function startEdge({ sharders = 1, ...options }: EdgeOptions = {}): Promise<Edge> {
  const location = `sqlite:${join(temporaryDirectory(), 'edge.db')}`;
  const database = await open(location);
  const upstreams: Record<string, Awaited<ReturnType<typeof startUpstream>>> = {};
  for (const name of ['hub-0', 'hub-1', 'home-0']) upstreams[name] = await startUpstream(name);
  const bucket = (name: string) => ({ name, url: upstreams[name]?.url });
  const kinds = {
    hub: { buckets: [bucket('hub-0'), bucket('hub-1')] },
    homedir: { buckets: [bucket('home-0')] },
  };
  await declareKinds(database, kinds, 'test');
  const cwd = temporaryDirectory();
  const env = { SHARDER_COOKIE_SECRET: options.secret };
  const services = await Promise.all(
    Array.from({ length: sharders }, () => Service.start(location, { cwd, env })),
  );
  const { text } = renderNginx(await database.read((knex) => listBuckets(knex)));
  const nginx = await Nginx.start({
    sharders: services.map(({ url }) => Number(new URL(url).port)),
    upstreams: text,
    users: USERS,
    ...options,
  });
  running.push(nginx);
  return { nginx, url: nginx.url, database, services, upstreams };
}

type Headers = Readonly<Record<string, string>>;

function login(user: keyof typeof USERS): Headers {
  return { Authorization: `Basic ${btoa(`${user}:${USERS[user]}`)}` };
}

async function visit(edge: Edge, user: keyof typeof USERS, path = '/', headers: Headers = {}) {
  const response = await fetch(edge.url + path, {
    headers: { ...login(user), ...headers },
    redirect: 'manual',
  });
  const text = await response.text();
  const seen = response.status === 200 ? (JSON.parse(text) as Seen) : undefined;
  return { status: response.status, headers: response.headers, text, seen };
}

/** How often the Sharders were asked at /auth. */
async function questions({ services }: Edge): Promise<number> {
  let sum = 0;
  for (const { url } of services) {
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const [, n] of text.matchAll(/^sharder_requests_total\{.*\} (\d+)$/gm)) sum += Number(n);
  }
  return sum;
}

// Where cookies are to be believed, no answer may come out of nginx's cache in their place.
const withoutCache = (text: string): string => text.replaceAll(/^proxy_cache.*$/gm, '');

const modes = [
  ['asking', {}],
  ['signed cookies', { secret: SECRET, edit: { 'sharder/ask.conf': withoutCache } }],
] as const;

for (const [mode, options] of modes) {
  describe(`the edge, by ${mode}`, needsNginx, () => {
    it('sends each user who logs in to the own bucket, with the path as it was sent', async () => {
      const edge = await startEdge(options);
      const path = '/hub/user%2Fx/a%20b?x=1&next=%2F..%2F';
      for (const [user, bucket] of [
        ['iana', 'hub-0'],
        ['brian', 'hub-1'],
        ['carol', 'hub-0'],
        ['iana', 'hub-0'],
      ] as const) {
        const { seen, headers } = await visit(edge, user, path);
        assert.equal(seen?.bucket, bucket);
        assert.equal(seen.url, path);
        assert.equal(seen.headers.remote_user, user);
        assert.match(headers.getSetCookie()[0] ?? '', new RegExp(`^hub=${bucket}`));
      }
    });

    it('lets nobody through without a login', async () => {
      const edge = await startEdge(options);
      for (const headers of [{}, { Authorization: `Basic ${btoa('iana:wrong')}` }]) {
        const response = await fetch(edge.url, { headers });
        assert.equal(response.status, 401);
        assert.match(response.headers.get('www-authenticate') ?? '', /^Basic/);
      }
      assert.deepEqual(await edge.database.knex('shard'), []);
    });

    it('tells the bucket who the user is, and nothing that the client says of it', async () => {
      const edge = await startEdge(options);
      const claims = {
        'Remote-User': 'evil',
        'X-Remote-User': 'evil',
        'X-Forwarded-User': 'evil',
        'X-Shard-Bucket': 'evil',
        'X-Shard-Url': 'http://evil',
        'X-Forwarded-For': '6.6.6.6',
        Forwarded: 'for=6.6.6.6',
      };
      const { seen } = await visit(edge, 'iana', '/', claims);
      assert.ok(seen);
      assert.equal(seen.headers.remote_user, 'iana');
      assert.equal(seen.headers['x-forwarded-for'], '127.0.0.1');
      assert.equal(seen.headers['x-forwarded-proto'], 'http');
      assert.equal(seen.headers.host, new URL(edge.url).host);
      assert.equal(seen.headers.authorization, undefined);
      assert.ok(!JSON.stringify(seen).includes('evil'));
      assert.ok(!JSON.stringify(seen).includes('6.6.6.6'));
    });

    it('passes a WebSocket', async () => {
      const edge = await startEdge(options);
      const seen = await openWebSocket(`${edge.url}/ws`, login('brian'));
      assert.equal(seen.headers.remote_user, 'brian');
      assert.equal(seen.url, '/ws');
    });

    it('passes an upload of 64 MiB, and a stream while it is made', async () => {
      const edge = await startEdge(options);
      const response = await fetch(`${edge.url}/upload`, {
        method: 'PUT',
        headers: login('iana'),
        body: Buffer.alloc(64 << 20),
      });
      assert.equal(((await response.json()) as Seen).bytes, 64 << 20);

      const { port } = new URL(edge.url);
      const headers = { ...login('iana'), 'Transfer-Encoding': 'chunked' };
      const client = request({ port, path: '/stream', method: 'POST', headers });
      client.flushHeaders();
      const [streamed] = (await once(client, 'response')) as [IncomingMessage];
      const parts: string[] = [];
      for await (const part of streamed.setEncoding('utf8') as AsyncIterable<string>) {
        parts.push(part);
        if (parts.length === 1) client.end('go on'); // the second part waits for this
      }
      assert.deepEqual(parts, ['one\n', 'two\n']);
    });

    it('serves two kinds, each with its own cookie and buckets', async () => {
      const edge = await startEdge({
        ...options,
        edit: { 'edge.conf': (text) => text.replaceAll(/#(?=location \/files| {4}|\})/g, '') },
      });
      const files = await visit(edge, 'iana', '/files/x');
      assert.equal(files.seen?.bucket, 'home-0');
      assert.match(files.headers.getSetCookie()[0] ?? '', /^homedir=home-0/);
      assert.equal((await visit(edge, 'iana', '/lab')).seen?.bucket, 'hub-0');
    });

    it('routes users who are known while no Sharder answers, and others find a page', async () => {
      const edge = await startEdge(options);
      const first = await visit(edge, 'iana');
      const cookie = first.headers.getSetCookie()[0]?.split(';')[0] ?? '';
      await edge.services[0]?.stop();
      for (let i = 0; i < 3; i++) {
        assert.equal((await visit(edge, 'iana', '/', { Cookie: cookie })).seen?.bucket, 'hub-0');
      }
      const { status, headers, text } = await visit(edge, 'brian');
      assert.equal(status, 503);
      assert.equal(headers.get('retry-after'), '5');
      assert.match(text, /^It cannot be said at the moment where you live\. Please try again/);
    });

    it('says so when the bucket does not answer, and passes on what it says itself', async () => {
      const edge = await startEdge(options);
      const failed = await visit(edge, 'iana', '/fails');
      assert.equal(failed.status, 500);
      assert.equal((JSON.parse(failed.text) as Seen).bucket, 'hub-0');
      edge.upstreams['hub-0']?.server.close();
      edge.upstreams['hub-0']?.server.closeAllConnections();
      const { status, headers, text } = await visit(edge, 'iana');
      assert.equal(status, 503);
      assert.equal(headers.get('retry-after'), '10');
      assert.match(text, /^The server on which you live cannot be reached/);
      assert.equal((await visit(edge, 'brian')).seen?.bucket, 'hub-1');
    });

    it('never goes to a bucket whose address it does not know', async () => {
      const edge = await startEdge(options);
      await visit(edge, 'iana');
      await edge.database.knex('bucket').insert({ kind: 'hub', name: 'localhost' });
      await edge.database.knex('shard').where({ name: 'iana' }).update({ bucket: 'localhost' });
      await eventually('the answer in the cache is old', async () => {
        const { status, text } = await visit(edge, 'iana', '/');
        return status === 503 && text.startsWith('The server on which you live has no address');
      });
    });

    it('restarts both Sharders, one after the other, and no request fails', async () => {
      const edge = await startEdge({
        ...options,
        sharders: 2,
        edit: { 'sharder/ask.conf': withoutCache }, // every request asks
        users: Object.fromEntries([...names('user', 200)].map((name) => [name, name])),
      });
      const load = new Load(8, (name) => ({ Authorization: `Basic ${btoa(`${name}:${name}`)}` }));
      const asking = load.run(edge.url, again([...names('user', 200)]));
      const location = edge.database.location;
      const cwd = temporaryDirectory();
      for (const service of edge.services) {
        const before = load.counts.replies;
        await eventually('requests go on', () => load.counts.replies > before + 200);
        assert.equal(await service.stop(), 0);
        const { port } = new URL(service.url);
        const restarted = await Service.start(location, {
          cwd,
          args: ['--listen', `127.0.0.1:${port}`],
          env: { SHARDER_COOKIE_SECRET: 'secret' in options ? options.secret : undefined },
        });
        const now = load.counts.replies;
        await eventually('requests go on', () => load.counts.replies > now + 200);
        assert.ok(restarted);
      }
      load.stop();
      assert.equal(await asking, 0);
      load.close();
      assert.deepEqual(load.refusals, []);
    });
  });
}

describe('the edge', needsNginx, () => {
  it('asks once for the hundred requests of a page', async () => {
    const edge = await startEdge();
    const pages = Array.from({ length: 100 }, (_, i) => visit(edge, 'iana', `/static/${i}.js`));
    for (const { seen } of await Promise.all(pages)) assert.equal(seen?.bucket, 'hub-0');
    assert.equal(await questions(edge), 1);
  });

  it('with a signed cookie does not ask at all', async () => {
    const edge = await startEdge({ secret: SECRET });
    const { headers } = await visit(edge, 'iana');
    const cookie = headers.getSetCookie()[0]?.split(';')[0] ?? '';
    await edge.services[0]?.stop();
    const other = await visit(edge, 'iana', '/', { Cookie: cookie });
    assert.equal(other.seen?.bucket, 'hub-0');
    assert.deepEqual(other.headers.getSetCookie(), []);
    assert.equal((await visit(edge, 'brian', '/', { Cookie: cookie })).status, 503);
  });

  it('tells the Sharder nothing of an upload, for none of it is sent there', async () => {
    const asked: string[] = [];
    const sharder = createServer((req, res) => {
      asked.push(req.rawHeaders.join('\n'));
      res.writeHead(200, { 'X-Shard-Bucket': 'hub-9' }).end();
    }).listen(0, '127.0.0.1');
    await once(sharder, 'listening');
    const nginx = await Nginx.start({
      sharders: [(sharder.address() as AddressInfo).port],
      upstreams: renderNginx([]).text,
      users: USERS,
    });
    running.push(nginx);
    for (const headers of [{ 'Content-Length': '5' }, { 'Transfer-Encoding': 'chunked' }]) {
      const user = asked.length === 0 ? 'iana' : 'brian';
      const client = request(nginx.url, { method: 'PUT', headers: { ...headers, ...login(user) } });
      client.end('12345');
      const [response] = (await once(client, 'response')) as [IncomingMessage];
      response.resume();
    }
    assert.equal(asked.length, 4); // a bucket without an address is asked about once more
    for (const headers of asked) assert.doesNotMatch(headers, /content-length|transfer-encoding/i);
    sharder.close();
    sharder.closeAllConnections();
  });

  it('takes the user from a proxy in front, and from nobody else', async () => {
    const useHeader = (text: string) => text.replace('login/basic.conf', 'login/header.conf');
    const edge = await startEdge({ edit: { 'edge.conf': useHeader } });
    const headers = {
      'X-Forwarded-User': 'erin',
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-For': '192.0.2.7',
      Authorization: 'token of-jupyterhub',
    };
    const response = await fetch(edge.url, { headers });
    const { headers: arrived } = (await response.json()) as Seen;
    assert.equal(arrived.remote_user, 'erin');
    assert.equal(arrived['x-forwarded-user'], undefined);
    assert.equal(arrived['x-forwarded-proto'], 'https');
    assert.equal(arrived['x-forwarded-for'], '192.0.2.7');
    assert.equal(arrived.authorization, 'token of-jupyterhub');
    assert.match(response.headers.getSetCookie()[0] ?? '', /; Secure$/);
    assert.equal((await fetch(edge.url)).status, 401);

    const { port } = new URL(edge.url);
    const stranger = request({ port, host: '127.0.0.1', localAddress: '127.0.0.2', headers }).end();
    const [refused] = (await once(stranger, 'response')) as [IncomingMessage];
    assert.equal(refused.statusCode, 403);
    refused.resume();
  });

  it('as the old system’s goes where the cookie says, after a login at /shard', async () => {
    const useOld = (text: string) =>
      text.replace('    include edge.conf;\n}', '    include compatible.conf;\n}');
    const edge = await startEdge({ edit: { 'nginx.conf': useOld } });
    const before = await fetch(`${edge.url}/lab`, { redirect: 'manual' });
    assert.equal(before.status, 302);
    // Behind TLS an address would be the inner one.
    assert.equal(before.headers.get('location'), '/shard');
    const shard = await fetch(`${edge.url}/shard`, { headers: login('iana') });
    assert.equal(await shard.text(), 'hub-0\n');
    assert.match(shard.headers.getSetCookie()[0] ?? '', /^hub=hub-0;/);
    for (const cookie of [
      'hub=hub-1',
      'hub=hub-1.1795348143.WDXm-So7OPgcW4ZCddwx6SBN3jxATac_A2WwKJ8nLqM',
    ]) {
      const response = await fetch(`${edge.url}/lab`, { headers: { Cookie: cookie } });
      assert.equal(((await response.json()) as Seen).bucket, 'hub-1');
    }
    const unknown = await fetch(edge.url, { headers: { Cookie: 'hub=evil' }, redirect: 'manual' });
    assert.equal(unknown.status, 302);
  });

  it('takes the user from oauth2-proxy, who sends strangers to its login', async () => {
    // As it answers by its documentation: 202 with the user's headers, or 401.
    const oauth2Proxy = createServer((req, res) => {
      const user = /_oauth2_proxy=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
      if (req.url === '/oauth2/auth') {
        res.writeHead(user ? 202 : 401, user ? { 'X-Auth-Request-User': user } : {}).end();
      } else {
        const next = req.headers['x-auth-request-redirect'];
        res.writeHead(302, {
          Location: `https://login.example${req.url ?? ''}?then=${String(next)}`,
        });
        res.end();
      }
    }).listen(0, '127.0.0.1');
    await once(oauth2Proxy, 'listening');
    const { port } = oauth2Proxy.address() as AddressInfo;
    const [front, own] = [await freePort(), await freePort()];
    const edge = await startEdge({
      port: own,
      edit: {
        'edge.conf': (text) =>
          `include login/oauth2-proxy.conf;\n${text.replace('login/basic.conf', 'login/header.conf')}`,
        'login/oauth2-proxy.conf': (text) =>
          text
            .replaceAll('127.0.0.1:4180', `127.0.0.1:${port}`)
            .replace('127.0.0.1:8443', `127.0.0.1:${front}`)
            .replace('127.0.0.1:8080', `127.0.0.1:${own}`),
      },
    });
    const url = `http://127.0.0.1:${front}`;
    for (const path of ['/lab?x=1&y=%2F', '/oauth2/start']) {
      const stranger = await fetch(url + path, { redirect: 'manual' });
      assert.equal(stranger.status, 302);
      const then = path.startsWith('/lab') ? path : 'undefined';
      assert.equal(
        stranger.headers.get('location'),
        `https://login.example/oauth2/start?then=${then}`,
      );
    }
    const headers = { Cookie: '_oauth2_proxy=erin', 'X-Forwarded-User': 'evil' };
    const response = await fetch(`${url}/lab`, { headers });
    const seen = (await response.json()) as Seen;
    assert.equal(seen.headers.remote_user, 'erin');
    assert.equal(seen.url, '/lab');
    assert.match(response.headers.getSetCookie()[0] ?? '', /^hub=hub-0/);
    assert.deepEqual(await edge.database.knex('shard').pluck('name'), ['erin']);
    oauth2Proxy.close();
    oauth2Proxy.closeAllConnections();
  });
});
