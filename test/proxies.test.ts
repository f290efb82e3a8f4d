// docs/proxies.md: its text in the real Caddy and HAProxy; and what Traefik and Envoy send, as their
// documentation has it, to a real Sharder.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { declareKinds, type Database } from '../src/index.js';
import { open, temporaryDirectory } from './engines.js';
import { eventually } from './load.js';
import { freePort } from './postgres.js';
import { Service } from './service.js';
import { openWebSocket, startUpstream, type Seen } from './upstream.js';

const PAGE = readFileSync(fileURLToPath(new URL('../docs/proxies.md', import.meta.url)), 'utf8');

/** The blocks of code below a heading, of one language. */
function blocks(heading: string, language: string): string[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const own = section.split('\n## ')[0] ?? '';
  const found = [...own.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language);
  assert.ok(found.length > 0, `no ${language} below ${heading}`);
  return found.map(([, , text = '']) => text);
}

function block(heading: string, language: string): string {
  return blocks(heading, language)[0] ?? '';
}

type Headers = Readonly<Record<string, string>>;

const login = (user: string): Headers => ({ Authorization: `Basic ${btoa(`${user}:${user}`)}` });

// A name in its own right, so that a proxy which joins or drops it is told from one that passes it on.
const EVIL = 'evil';
const CLAIMS: Headers = {
  REMOTE_USER: EVIL,
  'Remote-User': EVIL,
  'X-Remote-User': EVIL,
  'X-Forwarded-User': EVIL,
  'X-Shard-Bucket': 'hub-1',
  'X-Shard-Url': `http://${EVIL}`,
  'X-Shard-Reason': EVIL,
  X_Remote_User: EVIL,
  X_Forwarded_User: EVIL,
  'X-Forwarded-Email': EVIL,
  'X-Auth-Request-User': EVIL,
  'Remote-Groups': EVIL,
  Forwarded: `for=${EVIL}`,
};

// Run --------------------------------------------------------------------------------------------------

interface Program {
  readonly name: string;
  /** The command that runs it, with the page's text for these addresses in this directory. */
  prepare(dir: string, place: (text: string) => string): string[];
  readonly env?: () => NodeJS.ProcessEnv;
}

const caddyHash = (password: string): string =>
  execFileSync('caddy', ['hash-password', '--plaintext', password], { encoding: 'utf8' }).trim();
const cryptHash = (password: string): string =>
  execFileSync('openssl', ['passwd', '-6', password], { encoding: 'utf8' }).trim();

const programs: Program[] = [
  {
    name: 'Caddy',
    prepare(dir, place) {
      const file = join(dir, 'Caddyfile');
      // Its port for administration would be the same for every Caddy on the machine.
      writeFileSync(file, `{\n\tadmin off\n}\n\n${place(block('Caddy', 'caddyfile'))}`);
      return ['caddy', 'run', '--config', file];
    },
    env: () => ({ IANA: caddyHash('iana'), BRIAN: caddyHash('brian') }),
  },
  {
    name: 'HAProxy',
    prepare(dir, place) {
      const file = join(dir, 'haproxy.cfg');
      writeFileSync(file, place(block('HAProxy', 'haproxy')));
      writeFileSync(join(dir, 'sharder.lua'), place(block('HAProxy', 'lua')));
      writeFileSync(join(dir, 'buckets.map'), block('HAProxy', 'text'));
      return ['haproxy', '-db', '-f', file];
    },
    env: () => ({ IANA: cryptHash('iana'), BRIAN: cryptHash('brian') }),
  },
];

for (const program of programs) {
  const command = program.name.toLowerCase();
  const isMissing = spawnSync(command, ['version']).error !== undefined;
  const why = `${program.name} is not installed: run test/install-servers.sh`;
  if (isMissing && process.env.CI) throw new Error(why);

  describe(`${program.name}, as docs/proxies.md has it`, { skip: isMissing && why }, () => {
    let url = '';
    let database: Database;
    let sharder: Service;
    let running: ChildProcess;
    let output = '';

    before(async () => {
      const dir = temporaryDirectory();
      const location = `sqlite:${join(dir, 'sharder.db')}`;
      // hub-2 is a bucket for which the page has no address.
      const buckets = ['hub-0', 'hub-1', 'hub-2'].map((name) => ({ name }));
      database = await open(location);
      await declareKinds(database, { hub: { buckets } }, 'test');
      sharder = await Service.start(location, { cwd: dir });
      const [first, second] = [await startUpstream('hub-0'), await startUpstream('hub-1')];
      const port = await freePort();
      url = `http://127.0.0.1:${port}`;

      const place = (text: string): string =>
        text
          .replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`)
          .replaceAll('127.0.0.1:8888', new URL(sharder.url).host)
          .replaceAll('10.0.0.10:8000', new URL(first.url).host)
          .replaceAll('10.0.0.11:8000', new URL(second.url).host)
          .replaceAll('/etc/haproxy', dir);
      const [name = '', ...args] = program.prepare(dir, place);
      running = spawn(name, args, {
        cwd: dir,
        env: { ...process.env, HOME: dir, ...program.env?.() },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const stream of [running.stdout, running.stderr])
        stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
      await eventually('it listens', () => {
        assert.equal(running.exitCode, null, output);
        return fetch(url).then(Boolean, () => false);
      });
    });
    after(async () => {
      const exited = once(running, 'exit');
      running.kill('SIGTERM');
      await exited;
    });

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
      for (const headers of [{}, { Authorization: `Basic ${btoa('iana:wrong')}` }, CLAIMS])
        assert.equal((await fetch(url, { headers })).status, 401);
    });

    it('takes nothing for true that a client says of itself, and passes none of it on', async () => {
      const seen = await visit('iana', '/', CLAIMS);
      assert.equal(seen.bucket, 'hub-0');
      assert.equal(seen.headers.remote_user, 'iana');
      assert.ok(!JSON.stringify(seen).includes(EVIL), JSON.stringify(seen));
      // Nor did it ask for anybody else.
      const names = await database.knex('shard').pluck<string[]>('name');
      assert.ok(!names.includes(EVIL), names.join());
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
      env: { SHARDER_USER_HEADER: USER_HEADER },
    });
    ({ url } = service);
  });

  /** What is common to both: the answers that let through, and that do not. */
  async function holds(send: (headers: Headers) => Promise<Response>): Promise<void> {
    const known = await send({ [USER_HEADER]: 'iana' });
    assert.equal(known.status, 200);
    assert.equal(await known.text(), '');
    assert.equal(known.headers.get('x-shard-bucket'), 'hub-0');
    assert.match(known.headers.getSetCookie()[0] ?? '', /^hub=hub-0;/);
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
              forwardAuth: {
                address: string;
                authRequestHeaders: string[];
                authResponseHeaders: string[];
                addAuthCookiesToResponse: string[];
              };
            };
          };
        };
      }
    ).http;
    const { forwardAuth } = middlewares.sharder;
    assert.equal(middlewares.login.basicAuth.headerField, USER_HEADER);
    assert.ok(forwardAuth.authRequestHeaders.includes(USER_HEADER));
    assert.deepEqual(forwardAuth.authResponseHeaders, ['X-Shard-Bucket']);
    assert.deepEqual(forwardAuth.addAuthCookiesToResponse, ['hub']);
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

  it("Envoy's ext_authz: the method and path of the request behind path_prefix, without a body", async () => {
    const manager = parse(block('Envoy', 'yaml')) as {
      http_filters: {
        typed_config: {
          forward_username_header?: string;
          allowed_headers?: { patterns: { exact: string }[] };
          http_service?: { path_prefix: string };
        };
      }[];
    };
    const [basic, authz] = manager.http_filters.map((filter) => filter.typed_config);
    assert.equal(basic?.forward_username_header, USER_HEADER.toLowerCase());
    assert.equal(authz?.allowed_headers?.patterns[0]?.exact, USER_HEADER.toLowerCase());
    const prefix = authz.http_service?.path_prefix ?? '';
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
