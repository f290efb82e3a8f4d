// A real JupyterHub with the authenticator of examples/jupyterhub behind each documented proxy that runs
// here. Its users log in, and no program of a user gets into another account: brian's "notebook" keeps
// every header it sees, and iana visits it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { JupyterHub } from '../examples/jupyterhub/hub.js';
import { renderNginx } from '../src/deploy/nginx.js';
import { declareKinds } from '../src/index.js';
import { launchChromium } from './chromium.js';
import { PROXY_SECRET } from './edge.js';
import { open, temporaryDirectory } from './engines.js';
import { needsJupyterHub } from './jupyterhub.js';
import { eventually } from './load.js';
import { Nginx } from './nginx.js';
import { needsProgram, programs, Proxy } from './proxies.js';
import { CLI, Service } from './service.js';
import { startUpstream } from './upstream.js';

const LOGIN_SECRET = 'the-secret-that-login-keys-are-derived-from';

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** A request that reached brian's server. */
interface Recorded {
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

describe('a real hub and its authenticator', needsJupyterHub, () => {
  const state = temporaryDirectory();
  const record = join(state, 'record');
  const database = `sqlite:${join(state, 'sharder.db')}`;
  const env = { SHARDER_PROXY_SECRET: PROXY_SECRET, SHARDER_LOGIN_SECRET: LOGIN_SECRET };
  let sharder: Service;
  let hub: JupyterHub;
  let upstreams: string;
  let other: string;

  before(async () => {
    mkdirSync(join(state, 'hub'), { mode: 0o700 });
    const opened = await open(database);
    await declareKinds(opened, { hub: { buckets: [{ name: 'hub-0' }] } }, 'test');
    const key = execFileSync(process.execPath, [CLI, 'bucket', 'login-key', 'hub-0'], {
      env: { ...process.env, ...env, DATABASE_URL: database },
      encoding: 'utf8',
    });
    hub = await JupyterHub.start(join(state, 'hub'), file('recorder_config.py'), {
      SHARDER_LOGIN_KEY: key,
      SHARDER_BUCKET: 'hub-0',
      EXAMPLE_CONFIG: file('../examples/jupyterhub/jupyterhub_config.py'),
      RECORD: record,
    });
    const buckets = [{ name: 'hub-0', url: hub.url }];
    await declareKinds(opened, { hub: { buckets } }, 'test');
    ({ text: upstreams } = renderNginx([{ kind: 'hub', name: 'hub-0', url: hub.url }]));
    ({ url: other } = await startUpstream('hub-1'));
    [sharder] = await Promise.all([Service.start(database, { cwd: state, env }), hub.answers()]);
  });
  after(() => hub.stop());

  const log = () => readFileSync(hub.log, 'utf8');
  const recorded = (): Recorded[] =>
    existsSync(record)
      ? readFileSync(record, 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Recorded)
      : [];

  const edges = [
    {
      name: 'nginx',
      needs: needsJupyterHub,
      start: () =>
        Nginx.start({
          sharders: [Number(new URL(sharder.url).port)],
          upstreams,
          users: { iana: 'iana', brian: 'brian' },
          proxySecret: PROXY_SECRET,
        }),
    },
    ...programs.map((program) => ({
      name: program.name,
      needs: needsProgram(program),
      start: () =>
        Proxy.start(program, {
          sharder: sharder.url,
          buckets: [hub.url, other],
          proxySecret: PROXY_SECRET,
        }),
    })),
  ];

  for (const { name, needs, start } of edges) {
    describe(`behind ${name}`, needs, () => {
      let edge: Awaited<ReturnType<typeof start>>;
      const visitors = new Map<string, Visitor>();
      before(async () => {
        edge = await start();
        for (const user of ['iana', 'brian']) visitors.set(user, new Visitor(edge.url, user));
      });
      after(() => edge.stop());
      const visitor = (user: string): Visitor => visitors.get(user) ?? assert.fail(user);

      it('logs each user in as who they are', async () => {
        for (const user of ['iana', 'brian']) {
          const { status, body } = await visitor(user).get('/hub/home');
          assert.equal(status, 200);
          assert.match(body, new RegExp(`<span class="navbar-text">\\s*${user}|>\\s*${user}\\s*<`));
        }
      });

      it('shows a program of a user no login proof and no cookie of ours of its visitors', async () => {
        await eventually("brian's server runs", async () => {
          await visitor('brian').get('/hub/spawn');
          const { status } = await visitor('brian').get('/user/brian/mine');
          return status === 200 && recorded().some(({ path }) => path.endsWith('/mine'));
        });
        const before = recorded().length;
        const paths = [
          '/user/brian/image.png',
          '/user/brian/hub/login',
          '/user/brian/..%2f..%2fhub/login',
          '/user/brian/..%2f..%2fhub%2flogin',
          '/user/brian/%2e%2e/%2e%2e/hub/login',
          '/user/brian/..%5c..%5chub%5clogin',
          '/user/brian/..;/..;/hub/login',
          '/user/brian/..%252f..%252fhub/login',
          '/user/brian//../../hub/login',
          '/user/brian/x?next=/hub/login',
          '/user/brian/#/hub/login',
        ];
        for (const path of paths) await visitor('iana').raw(path);
        const seen = recorded().slice(before);
        assert.ok(seen.some(({ path }) => path.endsWith('/image.png')));
        for (const { path, headers } of recorded()) {
          for (const [header, value] of headers) {
            assert.doesNotMatch(header, /^x-shard-(login|proxy)/i, path);
            assert.ok(!value.includes(PROXY_SECRET), path);
            if (header.toLowerCase() === 'cookie')
              assert.doesNotMatch(value, /(^|;) *(__Host-)?hub=/, path);
          }
        }
      });

      it('lets nobody in by what such a program has seen', async () => {
        for (const { headers } of recorded()) {
          // What it got of iana, and with it her name, to the hub's own port.
          const replayed = headers.filter(([name]) => !/^(host|connection|cookie)$/i.test(name));
          const named = replayed.filter(([name]) => name.toLowerCase() !== 'remote_user');
          const response = await fetch(`${hub.url}/hub/login`, {
            headers: [...named, ['REMOTE_USER', 'iana']] as [string, string][],
            redirect: 'manual',
          });
          assert.equal(response.status, 403);
          assert.doesNotMatch(response.headers.getSetCookie().join(), /hub-login/);
        }
      });

      it('lets nobody in by a header that names somebody', async () => {
        for (const headers of [
          { REMOTE_USER: 'root', 'Remote-User': 'root' },
          { 'X-Shard-Login': 'root' },
          { 'X-Forwarded-User': 'root', X_Shard_Login: 'root' },
        ]) {
          const mine = new Visitor(edge.url, 'brian', headers);
          const { status } = await mine.get('/hub/home');
          assert.equal(status, 200);
          const direct = await fetch(`${hub.url}/hub/login`, {
            headers: headers as unknown as Record<string, string>,
            redirect: 'manual',
          });
          assert.equal(direct.status, 403);
        }
        assert.doesNotMatch(log(), /User logged in: root/);
      });
    });
  }

  it('a process on the same machine gets no login proof out of the Sharder', async () => {
    for (const headers of [{}, { 'X-Shard-Proxy-Secret': 'x'.repeat(32) }]) {
      for (const path of ['/auth', '/auth/hub', '/shard', '/go']) {
        const response = await fetch(sharder.url + path, {
          headers: { REMOTE_USER: 'iana', ...headers },
        });
        assert.equal(response.status, 403);
        assert.equal(response.headers.get('x-shard-login'), null);
      }
    }
  });

  it('refuses a name that the hub would change, or that is a directory', async () => {
    const odd = ['Iana', 'BRIAN', '..', '.'];
    const nginx = await Nginx.start({
      sharders: [Number(new URL(sharder.url).port)],
      upstreams,
      users: Object.fromEntries(odd.map((name) => [name, name])),
      proxySecret: PROXY_SECRET,
    });
    try {
      for (const name of odd) {
        const { status } = await new Visitor(nginx.url, name).get('/hub/home');
        assert.equal(status, 403, name);
      }
      assert.doesNotMatch(log(), /User logged in: (\.|Iana|BRIAN)/);
    } finally {
      await nginx.stop();
    }
  });

  for (const scheme of ['http', 'https'] as const) {
    it(`by ${scheme}, cookies that another host of the site sets lock nobody out`, async () => {
      const nginx = await Nginx.start({
        sharders: [Number(new URL(sharder.url).port)],
        upstreams,
        users: { iana: 'iana' },
        proxySecret: PROXY_SECRET,
        ...(scheme === 'https' && { edit: { 'edge.conf': withTls } }),
      });
      const evil = createServer((_req, res) => {
        res.setHeader('Set-Cookie', [
          ...['hub=junk', 'hub=hub-9', '__Host-hub=x'].map(
            (pair) => `${pair}; Domain=site.test; Path=/`,
          ),
          'hub=deeper; Domain=site.test; Path=/hub',
        ]);
        res.end('evil');
      });
      evil.listen(0, '127.0.0.1');
      await once(evil, 'listening');
      const browser = await launchChromium(['--host-resolver-rules=MAP *.site.test 127.0.0.1']);
      try {
        const context = await browser.newContext({
          ignoreHTTPSErrors: true,
          httpCredentials: { username: 'iana', password: 'iana' },
        });
        const page = await context.newPage();
        const { port } = evil.address() as AddressInfo;
        await page.goto(`http://evil.site.test:${port}/`);
        const planted = (await context.cookies()).filter(({ name }) => name === 'hub');
        assert.equal(planted.length, 2); // for / and for /hub
        const base = `${scheme}://hub.site.test:${nginx.port}`;
        for (let i = 0; i < 2; i++) {
          const response = await page.goto(`${base}/hub/home`);
          assert.equal(response?.status(), 200);
          assert.match((await page.textContent('.navbar-text')) ?? '', /iana/);
        }
        const own = (await context.cookies(base)).filter(
          ({ domain }) => domain === 'hub.site.test',
        );
        const name = scheme === 'https' ? '__Host-hub' : 'hub';
        assert.ok(own.some((cookie) => cookie.name === name && cookie.value.startsWith('hub-0')));
      } finally {
        await browser.close();
        evil.close();
        await nginx.stop();
      }
    });
  }
});

/** edge.conf behind TLS, with a certificate of its own. */
function withTls(conf: string): string {
  const dir = temporaryDirectory();
  execFileSync('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=hub.site.test',
    ],
    ...['-keyout', join(dir, 'key'), '-out', join(dir, 'certificate')],
  ]);
  return conf
    .replace(/listen (127\S+) default_server;/, 'listen $1 ssl default_server;')
    .replace(
      '    server_name _;',
      `    server_name _;\n    ssl_certificate ${dir}/certificate;\n    ssl_certificate_key ${dir}/key;`,
    );
}

/** A browser, as far as a login needs one: keeps cookies by path, and follows redirects. */
class Visitor {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #cookies = new Map<string, { value: string; path: string }>();

  constructor(base: string, user: string, headers: Readonly<Record<string, string>> = {}) {
    this.#base = base;
    this.#headers = { ...headers, Authorization: `Basic ${btoa(`${user}:${user}`)}` };
  }

  async get(path: string): Promise<{ status: number; body: string }> {
    let next = path;
    for (let i = 0; i < 20; i++) {
      const response = await this.raw(next);
      const location = response.headers.get('location');
      if (location === null) return { status: response.status, body: await response.text() };
      next = location.replace(this.#base, '');
    }
    throw new Error(`too many redirects: ${next}`);
  }

  async raw(path: string): Promise<Response> {
    const own = [...this.#cookies].filter(([, cookie]) => path.startsWith(cookie.path));
    const Cookie = own.map(([name, { value }]) => `${name}=${value}`).join('; ');
    const response = await fetch(this.#base + path, {
      headers: { ...this.#headers, ...(Cookie !== '' && { Cookie }) },
      redirect: 'manual',
    });
    for (const text of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(text) ?? [];
      const cookiePath = /; *path=([^;]*)/i.exec(text)?.[1] ?? '/';
      if (value === '' || value === '""') this.#cookies.delete(name);
      else this.#cookies.set(name, { value, path: cookiePath });
    }
    return response;
  }
}
