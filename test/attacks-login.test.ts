// What reaches a bucket, where users' programs run: no cookie of ours, no login proof but on the login
// path, and nothing that a client says of itself. Real nginx with the files of nginx/.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderNginx } from '../src/deploy/nginx.js';
import { declareKinds } from '../src/index.js';
import {
  assertOwn,
  edgeWith,
  naming,
  PROXY_SECRET,
  readings,
  SECRET,
  words,
  type EdgeOptions,
  type Received,
} from './edge.js';
import { exchange, get } from './http/wire.js';
import { needsNginx, Nginx } from './nginx.js';
import { startUpstream, type Seen } from './upstream.js';

const LOGIN_SECRET = 'the-secret-that-login-keys-are-derived-from';

/** The values of a header, as they reached a bucket. */
const valuesOf = ({ headers }: Pick<Received, 'headers'>, wanted: string): string[] =>
  headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);

describe('a bucket gets the cookies of others, and none of ours', needsNginx, () => {
  const cookies: Readonly<Record<string, readonly [sent: string, kept: string | undefined]>> = {
    'ours alone': ['hub=hub-0.1.x', undefined],
    'ours first': ['hub=hub-0.1.x; a=b', 'a=b'],
    'ours last': ['a=b; hub=hub-0.1.x', 'a=b'],
    'ours in between': ['a=b; hub=hub-0.1.x; c=d', 'a=b; c=d'],
    'ours twice': ['hub=x; hub=y', undefined],
    'ours in three places': ['hub=x; a=b; hub=y; c=d; hub=z', 'a=b; c=d'],
    'under the name that it has behind TLS': ['a=b; __Host-hub=x; c=d', 'a=b; c=d'],
    'under both names': ['__Host-hub=x; hub=y; a=b', 'a=b'],
    "another kind's": ['homedir=x; a=b; __Host-homedir=y', 'a=b'],
    'without spaces': ['a=b;hub=x;c=d', 'a=b;c=d'],
    'with spaces around the name': ['a=b;   hub =x; c=d', 'a=b; c=d'],
    empty: ['hub=; a=b', 'a=b'],
    'in seven places': ['a=1; hub=x; '.repeat(7).slice(0, -2), 'a=1; a=1; a=1; a=1; a=1; a=1; a=1'],
    'in a hundred places: all are dropped': ['a=1; hub=x; '.repeat(100), undefined],
    'a thousand times in one place': [`a=b; ${'hub=x; '.repeat(500)}c=d`, 'a=b; c=d'],
    none: ['a=b; c=d', 'a=b; c=d'],
    'names that begin or end alike': [
      'hubs=1; my-hub=2; hub-=3; xhub=4; Hub=5; hub.x=6; __Host-hubs=7',
      'hubs=1; my-hub=2; hub-=3; xhub=4; Hub=5; hub.x=6; __Host-hubs=7',
    ],
    'ours as a value': ['a=hub=x; b=hub', 'a=hub=x; b=hub'],
    'a name with no value': ['hub; a=b', 'hub; a=b'],
    'an odd one': ['; ;; hub=x;;', '; ;;;'],
    'that of the hub': [
      'jupyterhub-session-id=1; hub=x; _xsrf=2|3',
      'jupyterhub-session-id=1; _xsrf=2|3',
    ],
  };
  const homedir = { homedir: { buckets: [{ name: 'files-0' }] } };
  const byHand: Pick<EdgeOptions, 'byHand'> = {
    byHand: (database) => declareKinds(database, homedir, 'test'),
  };
  for (const [mode, edge] of [
    ['asked', edgeWith(byHand)],
    ['signed', edgeWith({ ...byHand, route: 'signed' })],
  ] as const) {
    describe(`by nginx that has ${mode}`, () => {
      for (const [title, [sent, kept]] of Object.entries(cookies)) {
        it(title, async () => {
          const user = edge().newUser();
          for (const path of ['/', '/hub/login', '/user/x/lab?y']) {
            const response = await edge().visit(user, [`Cookie: ${sent}`], path);
            assert.equal(response?.status, 200);
            const received = JSON.parse(response.body) as Received;
            const [cookie, second] = valuesOf(received, 'cookie');
            assert.equal(cookie, kept, path);
            assert.equal(second, undefined);
          }
        });
      }

      it('in several headers', async () => {
        const user = edge().newUser();
        const lines = ['Cookie: a=b', 'Cookie: hub=x', 'Cookie: c=d; hub=y'];
        const received = await assertOwn(edge(), user, await edge().visit(user, lines));
        assert.deepEqual(valuesOf(received, 'cookie'), ['a=b; c=d']);
      });
    });
  }

  it('however many kinds there are, and whatever they are called', async () => {
    const kinds = Array.from({ length: 300 }, (_, i) => `${'k'.repeat(50)}.${i}`);
    const { text } = renderNginx([], undefined, [], { kinds, keys: [] });
    const upstream = await startUpstream('any');
    const nginx = await Nginx.start({
      sharders: [],
      upstreams: text,
      edit: {
        'edge.conf': (conf) => `server {
          listen ${/listen ([^;]+);/.exec(conf)?.[1] ?? ''};
          set $sharder_kind "";
          set $sharder_bucket "";
          location / { proxy_pass ${upstream.url}; proxy_set_header Cookie $sharder_other_cookies; }
        }`,
      },
    });
    try {
      for (const kind of [kinds[0], kinds[150], kinds[299]]) {
        const cookie = `a=b; ${kind ?? ''}=x; ${kind?.replace('.', '_') ?? ''}=y`;
        const response = await fetch(nginx.url, { headers: { cookie } });
        const { headers } = (await response.json()) as Seen;
        assert.equal(headers.cookie, `a=b; ${kind?.replace('.', '_') ?? ''}=y`);
      }
    } finally {
      await nginx.stop();
    }
  });
});

describe('the login proof reaches the login path, as it is, and no other', needsNginx, () => {
  const others = words(String.raw`
    / /hub /hub/ /hub/login/ /hub/login/x /hub/loginx /hub/Login /HUB/login /hub/home /hub/login;x /hub/login%2f
    /user/iana/hub/login /user/iana/..%3b/hub/login /user/iana/lab?next=/hub/login /services/x/hub/login`);
  // What nginx takes for the login path, or refuses, and a server behind it may take for a user's.
  const disguised = words(String.raw`
    /user/iana/../../hub/login /user/iana/%2e%2e/%2e%2e/hub/login /user/iana/..%2f..%2fhub/login
    /user/iana/..%2f..%2fhub%2flogin /user/iana%2f..%2f..%2fhub/login /user/iana/.%2e/%2e./hub/login
    /user%2fiana/../../hub/login /user/iana/..;/..;/hub/login /user/iana/..\..\hub\login /./hub/login
    /user/iana/..//..//hub/login //hub/login /hub//login /hub/./login /hub/x/../login /%68ub/login
    /hub%2flogin /hub/login? /hub/login?next=%2Fuser%2Fiana http://x/hub/login http://x/user/../hub/login`);
  for (const [mode, edge] of [
    ['asked', edgeWith({ loginSecret: LOGIN_SECRET })],
    ['signed', edgeWith({ loginSecret: LOGIN_SECRET, route: 'signed' })],
  ] as const) {
    const visit = async (user: string, path: string, ...more: string[]) => {
      const { length } = edge().received;
      const request = `GET ${path} HTTP/1.1\r\nHost: x\r\n${[edge().login(user).toString(), ...more].join('\r\n')}\r\n\r\n`;
      const response = await exchange(edge().nginx.port, request);
      return { status: response?.status, received: edge().received.slice(length) };
    };
    for (const path of others) {
      it(`by nginx that has ${mode}: ${path} gets none`, async () => {
        const { received } = await visit(edge().newUser(), path);
        for (const each of received) assert.deepEqual(valuesOf(each, 'x-shard-login'), []);
      });
    }
    for (const path of disguised) {
      it(`by nginx that has ${mode}: ${path} gets it as /hub/login, or not at all`, async () => {
        const { received } = await visit(edge().newUser(), path);
        for (const each of received) {
          if (valuesOf(each, 'x-shard-login').length === 0) continue;
          for (const reading of readings(each.path)) assert.equal(reading, '/hub/login');
          assert.match(each.path, /^\/hub\/login(\?|$)/);
        }
      });
    }
    it(`by nginx that has ${mode}: /hub/login gets one, for this user and bucket, and not the client's`, async () => {
      const user = edge().newUser();
      await visit(user, '/'); // so that an answer is kept
      for (let i = 0; i < 2; i++) {
        const more = ['X-Shard-Login: forged', 'X-Shard-Login: twice', 'X-Shard-Proxy-Secret: x'];
        const { received } = await visit(user, '/hub/login?next=%2Fhub%2F', ...more);
        const [request] = received;
        assert.ok(request);
        assert.equal(request.path, '/hub/login?next=%2Fhub%2F');
        const [proof = '', second] = valuesOf(request, 'x-shard-login');
        assert.equal(second, undefined);
        const claims = JSON.parse(
          Buffer.from(proof.split('.')[1] ?? '', 'base64url').toString(),
        ) as Record<string, unknown>;
        assert.deepEqual(
          [claims.sub, claims.aud],
          [user, `hub/${(await edge().bucketOf(user)) ?? ''}`],
        );
        assert.deepEqual(naming(request), [
          ['REMOTE_USER', user],
          ['X-Shard-Login', proof],
        ]);
        assert.ok(!JSON.stringify(request).includes(PROXY_SECRET));
      }
    });
  }

  it('is asked for again at each login, and the answer replaces the one that nginx kept', async () => {
    const edge = asking();
    const user = edge.newUser();
    await edge.visit(user);
    const { bucket: before } = JSON.parse((await edge.visit(user))?.body ?? '') as Received;
    const after = before === 'hub-0' ? 'hub-1' : 'hub-0';
    await edge.database.knex('shard').where({ name: user }).update({ bucket: after });
    const bucketAt = async (path: string) =>
      (JSON.parse((await edge.visit(user, [], path))?.body ?? '') as Received).bucket;
    assert.equal(await bucketAt('/'), before); // kept
    assert.equal(await bucketAt('/hub/login'), after);
    assert.equal(await bucketAt('/'), after);
  });
  const asking = edgeWith({ loginSecret: LOGIN_SECRET });
});

describe('what a client says of itself goes no further', needsNginx, () => {
  const file = fileURLToPath(new URL('../nginx/sharder/claims.conf', import.meta.url));
  const listed = [...readFileSync(file, 'utf8').matchAll(/^proxy_set_header (\S+) "";$/gm)].map(
    ([, name = '']) => name,
  );
  const EVIL = 'evil-doer';
  // A few at a time, for nginx reads 32 kB of headers at most.
  const spellings = (name: string): string[] => [
    name,
    name.replaceAll('-', '_'),
    name.toUpperCase(),
  ];
  const lines = listed.flatMap(spellings).map((name) => `${name}: ${EVIL}`);
  lines.push(`REMOTE_USER: ${EVIL}`, `X-Shard-Login: ${EVIL}`, `X-Remote_User: ${EVIL}`);

  it('is a list with the usual names on it', () => {
    const usual = words(`
      Remote-User Remote-Name Remote-Email Remote-Groups X-Remote-User X-Forwarded-User X-Forwarded-Email
      X-Forwarded-Preferred-Username X-Forwarded-Groups X-Forwarded-Access-Token X-Auth-Request-User
      X-Auth-Request-Preferred-Username X-Auth-Request-Email X-Auth-Request-Groups X-Auth-Request-Access-Token
      X-Authenticated-User X-WebAuth-User X-User X-Auth-User X-Forwarded-Prefix Forwarded X-Real-User X-Username
      X-Amzn-Oidc-Identity X-Goog-Authenticated-User-Email Cf-Access-Authenticated-User-Email X-MS-Client-Principal
      X-Forwarded-Client-Cert X-Consumer-Username X-Scheme X-Shard-Bucket X-Shard-Url X-Shard-Reason X-Shard-Stale
      X-Shard-Proxy-Secret`);
    assert.deepEqual(
      usual.filter((name) => !listed.includes(name)),
      [],
    );
  });

  const compatible = {
    edit: {
      'nginx.conf': (text: string) => text.replace('include edge.conf', 'include compatible.conf'),
    },
  };
  const edges = {
    'edge.conf, asked': edgeWith(),
    'edge.conf, signed': edgeWith({ route: 'signed' }),
    'edge.conf, behind a proxy that logs in': edgeWith({ login: 'header', secret: SECRET }),
    'compatible.conf': edgeWith(compatible),
  };
  for (const [title, edge] of Object.entries(edges)) {
    it(`by ${title}`, async () => {
      const user = edge().newUser();
      const login = edge().login(user);
      // The login of a proxy in front is one of the listed headers itself.
      const own = (/^[^:]*:/.exec(login.toString())?.[0] ?? '').toLowerCase();
      const mine = lines.filter((line) => !line.toLowerCase().startsWith(own));
      for (const path of ['/', '/hub/login']) {
        // The old edge believes any cookie.
        const known = title === 'compatible.conf' ? 'Cookie: hub=hub-0' : login;
        for (let i = 0; i < mine.length; i += 50) {
          const request = get(path, ...mine.slice(i, i + 50), known);
          const response = await exchange(edge().nginx.port, request);
          assert.equal(response?.status, 200, response?.body);
          assert.ok(!response.body.includes(EVIL), response.body);
        }
      }
    });
  }

  it('nor does a header that the site has added to the list', async () => {
    const edge = own();
    const user = edge.newUser();
    const received = await assertOwn(edge, user, await edge.visit(user, [`X-Our-Own: ${EVIL}`]));
    assert.deepEqual(valuesOf(received, 'x-our-own'), []);
  });
  const own = edgeWith({ claims: ['X-Our-Own'] });
});

describe("a WebSocket's connection to a bucket", needsNginx, () => {
  // What a program of a user answers to an upgrade, behind an older proxy of JupyterHub's: a whole answer,
  // and then what it likes, on the same connection.
  const perConnection: string[][] = [];
  const server = createServer((socket) => {
    const requests: string[] = [];
    perConnection.push(requests);
    socket.on('error', () => undefined);
    socket.setEncoding('latin1').on('data', (bytes: string) => {
      requests.push(bytes);
      const isUpgrade = /^upgrade: websocket/im.test(bytes);
      socket.write(
        isUpgrade
          ? 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
          : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      );
    });
  });
  after(() => {
    server.close();
  });
  const edge = edgeWith({
    buckets: ['hub-0'],
    byHand: async (database) => {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      await database.knex('bucket').update({ url: `http://127.0.0.1:${port}` });
    },
    edit: {
      // One worker has one pool of connections.
      'nginx.conf': (text) => text.replace('worker_processes auto', 'worker_processes 1'),
    },
  });

  it('carries the request of nobody else', async () => {
    const [evil, victim] = [edge().newUser(), edge().newUser()];
    for (let i = 0; i < 5; i++) {
      await edge().visit(evil, ['Upgrade: websocket', 'Connection: Upgrade']);
      const response = await edge().visit(victim);
      assert.equal(response?.body, 'ok');
    }
    const shared = perConnection.filter((requests) => requests.length > 1);
    assert.ok(shared.length > 0, 'connections are kept for other requests');
    for (const requests of perConnection) {
      if (requests.some((bytes) => /^upgrade: websocket/im.test(bytes)))
        assert.equal(requests.length, 1);
    }
  });
});
