// docs/proxies.md: its text in the real Caddy and HAProxy; and what Traefik and Envoy send, as their
// documentation has it, to a real Sharder.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { declareKinds, type Database } from '../src/index.js';
import { open, temporaryDirectory } from './engines.js';
import { block, blocks, needsProgram, programs, Proxy } from './proxies.js';
import { PROXY_SECRET, SECRET } from './edge.js';
import { Service } from './service.js';
import { openWebSocket, startUpstream, type Seen } from './upstream.js';

const CLAIMS_FILE = fileURLToPath(new URL('../nginx/sharder/claims.conf', import.meta.url));

type Headers = Readonly<Record<string, string>>;

const login = (user: string): Headers => ({ Authorization: `Basic ${btoa(`${user}:${user}`)}` });

// A name in its own right, so that a proxy which joins or drops it is told from one that passes it on.
const EVIL = 'evil';
const listed = [
  ...readFileSync(CLAIMS_FILE, 'utf8').matchAll(/^proxy_set_header (\S+) "";$/gm),
].map(([, name = '']) => name);
const claimed = [
  ...new Set([...listed, ...listed.map((name) => name.replaceAll('-', '_'))]),
  ...['REMOTE_USER', 'X-Shard-Login', 'X_Shard_Login'],
];

// HAProxy reads a hundred headers at most.
const CLAIMS: readonly Headers[] = Array.from({ length: Math.ceil(claimed.length / 50) }, (_, i) =>
  Object.fromEntries(claimed.slice(i * 50, i * 50 + 50).map((name) => [name, EVIL])),
);

// Run --------------------------------------------------------------------------------------------------

for (const program of programs) {
  describe(`${program.name}, as docs/proxies.md has it`, needsProgram(program), () => {
    let url = '';
    let database: Database;
    let sharder: Service;
    let proxy: Proxy;

    before(async () => {
      const cwd = temporaryDirectory();
      const location = `sqlite:${join(cwd, 'sharder.db')}`;
      // hub-2 is a bucket for which the page has no address.
      const buckets = ['hub-0', 'hub-1', 'hub-2'].map((name) => ({ name }));
      database = await open(location);
      await declareKinds(database, { hub: { buckets } }, 'test');
      const env = { SHARDER_PROXY_SECRET: PROXY_SECRET };
      sharder = await Service.start(location, { cwd, env });
      const [first, second] = [await startUpstream('hub-0'), await startUpstream('hub-1')];
      proxy = await Proxy.start(program, {
        sharder: sharder.url,
        buckets: [first.url, second.url],
        proxySecret: PROXY_SECRET,
      });
      ({ url } = proxy);
    });
    after(() => proxy.stop());

    async function visit(user: string, path = '/', headers: Headers = {}): Promise<Seen> {
      const response = await fetch(url + path, { headers: { ...headers, ...login(user) } });
      const text = await response.text();
      assert.equal(response.status, 200, text);
      return JSON.parse(text) as Seen;
    }

    it('sends each user who logs in to the own bucket, with the path as it was sent', async () => {
      const path = '/user/a%20b?next=%2Fx';
      for (const [user, bucket] of [
        ['iana', 'hub-0'],
        ['brian', 'hub-1'],
        ['iana', 'hub-0'],
      ] as const) {
        const seen = await visit(user, path);
        assert.equal(seen.bucket, bucket);
        assert.equal(seen.url, path);
        assert.equal(seen.headers.remote_user, user);
        assert.equal(seen.headers.authorization, undefined);
      }
    });

    it('lets nobody through without a login', async () => {
      for (const headers of [{}, { Authorization: `Basic ${btoa('iana:wrong')}` }, ...CLAIMS])
        assert.equal((await fetch(url, { headers })).status, 401);
    });

    it('takes nothing for true that a client says of itself, and passes none of it on', async () => {
      for (const claims of CLAIMS) {
        for (const path of ['/', '/hub/login']) {
          const seen = await visit('iana', path, claims);
          assert.equal(seen.bucket, 'hub-0');
          assert.equal(seen.headers.remote_user, 'iana');
          assert.ok(!JSON.stringify(seen).includes(EVIL), JSON.stringify(seen));
          assert.ok(!JSON.stringify(seen).includes(PROXY_SECRET));
        }
      }
      // Nor did it ask for anybody else.
      const names = await database.knex('shard').pluck<string[]>('name');
      assert.ok(!names.includes(EVIL), names.join());
    });

    it('gives the browser the cookie, and the bucket all cookies but this one', async () => {
      const response = await fetch(url, { headers: login('iana') });
      assert.match(response.headers.getSetCookie()[0] ?? '', /^hub=hub-0;/);
      for (const [sent, kept] of [
        ['hub=hub-0', undefined],
        ['hub=x; a=b', 'a=b'],
        ['a=b; hub=x; c=d; __Host-hub=y', 'a=b; c=d'],
        ['a=hub=x; hubs=1; my-hub=2', 'a=hub=x; hubs=1; my-hub=2'],
        ['hub=x; a=1; '.repeat(20).slice(0, -2), 'a=1; '.repeat(20).slice(0, -2)],
      ] as const) {
        const { headers } = await visit('iana', '/', { Cookie: sent });
        assert.equal(headers.cookie, kept);
      }
    });

    it('tells the bucket who it is, whatever the client calls a header of the connection', async () => {
      const { hostname, port } = new URL(url);
      for (const name of ['REMOTE_USER', 'X-Shard-Bucket']) {
        // fetch does not let anybody set it.
        const client = request({
          hostname,
          port,
          headers: { ...login('iana'), Connection: `close, ${name}` },
        }).end();
        const [response] = (await once(client, 'response')) as [IncomingMessage];
        const seen = JSON.parse(await text(response)) as Seen;
        assert.equal(seen.bucket, 'hub-0');
        assert.equal(seen.headers.remote_user, 'iana');
      }
    });

    it('passes on no upgrade but to a WebSocket, through which a client could get past it', async () => {
      const { hostname, port } = new URL(url);
      for (const upgrade of [
        ...['h2c', 'websocket, h2c', 'h2c, websocket', 'HTTP/2.0', 'x'],
        ...[
          ['h2c', 'websocket'],
          ['websocket', 'h2c'],
        ],
      ]) {
        const client = request({
          hostname,
          port,
          headers: {
            ...login('iana'),
            Connection: 'Upgrade, HTTP2-Settings',
            Upgrade: upgrade,
            'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
            'Sec-WebSocket-Version': '13',
            'HTTP2-Settings': 'AAMAAABkAARAAAAAAAIAAAAA',
          },
        }).end();
        const upgraded = once(client, 'upgrade').then(() => undefined);
        const answered = once(client, 'response').then(([each]: unknown[]) => each);
        const response = (await Promise.race([answered, upgraded])) as IncomingMessage | undefined;
        client.destroy();
        // Caddy may make one plain WebSocket of two lines; nothing else comes through.
        const sawWebSocket = Array.isArray(upgrade) && program.name === 'Caddy';
        if (response === undefined) assert.ok(sawWebSocket, String(upgrade));
        else assert.ok([200, 400, 502].includes(response.statusCode ?? 0), String(upgrade));
      }
    });

    it('passes a WebSocket, and an upload of 8 MiB', async () => {
      const seen = await openWebSocket(`${url}/ws`, login('brian'));
      assert.equal(seen.bucket, 'hub-1');
      assert.equal(seen.headers.remote_user, 'brian');
      const response = await fetch(url, {
        method: 'PUT',
        headers: login('iana'),
        body: Buffer.alloc(8 << 20),
      });
      assert.equal(((await response.json()) as Seen).bytes, 8 << 20);
    });

    it('goes nowhere with a bucket that has no address, and says so', async () => {
      await database.knex('shard').where({ name: 'iana' }).update({ bucket: 'hub-2' });
      const response = await fetch(url, { headers: login('iana') });
      assert.equal(response.status, 503);
      assert.match(await response.text(), /no address/);
      await database.knex('shard').where({ name: 'iana' }).update({ bucket: 'hub-1' });
      assert.equal((await visit('iana')).bucket, 'hub-1'); // a move is seen by the next request
    });

    it('goes nowhere while no Sharder answers', async () => {
      await sharder.stop();
      const response = await fetch(url, { headers: login('iana') });
      assert.ok([502, 503].includes(response.status), String(response.status));
    });
  });
}

interface ForwardAuth {
  readonly address: string;
  readonly authRequestHeaders: string[];
  readonly authResponseHeaders: string[];
}

// Replayed ---------------------------------------------------------------------------------------------

const USER_HEADER = 'X-Remote-User';

describe('requests as Traefik and Envoy send them, answered by a Sharder', () => {
  let url = '';
  before(async () => {
    const cwd = temporaryDirectory();
    const location = `sqlite:${join(cwd, 'sharder.db')}`;
    const buckets = [{ name: 'hub-0' }, { name: 'hub-1' }];
    await declareKinds(await open(location), { hub: { buckets } }, 'test');
    const service = await Service.start(location, {
      cwd,
      env: {
        SHARDER_USER_HEADER: USER_HEADER,
        SHARDER_PROXY_SECRET: PROXY_SECRET,
        SHARDER_LOGIN_SECRET: SECRET,
      },
    });
    ({ url } = service);
  });

  /** What is common to both: the answers that let through, and that do not. */
  async function holds(ask: (headers: Headers) => Promise<Response>): Promise<void> {
    assert.equal((await ask({ [USER_HEADER]: 'iana' })).status, 403);
    const send = (headers: Headers) => ask({ 'X-Shard-Proxy-Secret': PROXY_SECRET, ...headers });
    const known = await send({ [USER_HEADER]: 'iana' });
    assert.match(known.headers.get('x-shard-login') ?? '', /^eyJ/);
    assert.equal(known.status, 200);
    assert.equal(await known.text(), '');
    assert.equal(known.headers.get('x-shard-bucket'), 'hub-0');
    assert.match(known.headers.getSetCookie()[0] ?? '', /^(__Host-)?hub=hub-0;/);
    assert.equal((await send({})).status, 401);
    assert.equal((await send({ [USER_HEADER]: 'a\tb' })).status, 403);
  }

  it("Traefik's ForwardAuth: a GET of the address, with X-Forwarded- headers", async () => {
    const [, edge = ''] = blocks('Traefik', 'yaml');
    const { middlewares } = (
      parse(edge) as {
        http: {
          middlewares: {
            login: { basicAuth: { headerField: string } };
            sharder: {
              forwardAuth: ForwardAuth;
            };
            'sharder-login': { forwardAuth: ForwardAuth };
          };
        };
      }
    ).http;
    const { forwardAuth } = middlewares.sharder;
    const { forwardAuth: atLogin } = middlewares['sharder-login'];
    assert.equal(middlewares.login.basicAuth.headerField, USER_HEADER);
    assert.ok(forwardAuth.authRequestHeaders.includes(USER_HEADER));
    assert.deepEqual(forwardAuth.authResponseHeaders, ['X-Shard-Bucket']);
    for (const each of [forwardAuth, atLogin]) {
      assert.ok(each.authRequestHeaders.includes('X-Shard-Proxy-Secret'));
      assert.ok(!each.authRequestHeaders.includes('Cookie'));
      assert.equal(each.address, forwardAuth.address);
    }
    assert.deepEqual(atLogin.authResponseHeaders, ['X-Shard-Bucket', 'X-Shard-Login']);
    const { pathname } = new URL(forwardAuth.address);
    for (const method of ['GET', 'POST', 'PUT']) {
      await holds((headers) =>
        fetch(url + pathname, {
          headers: {
            'X-Forwarded-Method': method,
            'X-Forwarded-Proto': 'https',
            'X-Forwarded-Host': 'hub.example.edu',
            'X-Forwarded-Uri': '/user/iana/lab?reset&next=%2F',
            'X-Forwarded-For': '192.0.2.7',
            ...headers,
          },
        }),
      );
    }
  });

  for (const proxy of ['Traefik', 'Envoy']) {
    it(`the command for ${proxy}'s list of headers prints all of them`, () => {
      const command = block(proxy, 'sh').replace('nginx/sharder/claims.conf', CLAIMS_FILE);
      const printed = execFileSync('sh', ['-c', command], { encoding: 'utf8' });
      const names = printed.match(/[\w-]{3,}(?=: ""$)|(?<=remove: )[\w-]+$/gm) ?? [];
      assert.deepEqual(
        names.map((name) => name.toLowerCase()),
        listed.map((name) => name.toLowerCase()),
      );
    });
  }

  it("Envoy's ext_authz: the method and path of the request behind path_prefix, without a body", async () => {
    const manager = parse(block('Envoy', 'yaml')) as {
      http_filters: {
        typed_config: {
          forward_username_header?: string;
          allowed_headers?: { patterns: { exact: string }[] };
          http_service?: {
            path_prefix: string;
            authorization_request: { headers_to_add: { key: string }[] };
          };
        };
      }[];
    };
    const [basic, authz] = manager.http_filters.map((filter) => filter.typed_config);
    assert.equal(basic?.forward_username_header, USER_HEADER.toLowerCase());
    assert.equal(authz?.allowed_headers?.patterns[0]?.exact, USER_HEADER.toLowerCase());
    const prefix = authz.http_service?.path_prefix ?? '';
    assert.equal(
      authz.http_service?.authorization_request.headers_to_add[0]?.key,
      'x-shard-proxy-secret',
    );
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      for (const path of ['/', '/user/iana/lab?reset&next=%2F', '//evil', '/a%2f..%2fb']) {
        await holds((headers) =>
          fetch(url + prefix + path, {
            method,
            headers: {
              'X-Envoy-Internal': 'true',
              'X-Forwarded-For': '192.0.2.7',
              'X-Envoy-Expected-Rq-Timeout-Ms': '5000',
              ...headers,
            },
          }),
        );
      }
    }
  });
});
