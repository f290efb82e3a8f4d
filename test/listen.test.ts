// The service on a unix socket: the file's mode and group say who may connect, and so who names users.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { renderNginx } from '../src/deploy/nginx.js';
import { temporaryDirectory } from './engines.js';
import { needsNginx, Nginx } from './nginx.js';
import { Service } from './service.js';
import { startUpstream, type Seen } from './upstream.js';

const SECRET = '0123456789abcdef0123456789abcdef';

interface Prepared {
  readonly dir: string;
  readonly path: string;
  readonly start: (settings?: string, env?: NodeJS.ProcessEnv) => Promise<Service>;
}

function prepare(): Prepared {
  const dir = temporaryDirectory();
  const path = join(dir, 'sharder.sock');
  return {
    dir,
    path,
    start: (settings = '', env = {}) => {
      const kinds = 'kinds: { hub: { buckets: [hub-0, hub-1] } }\n';
      writeFileSync(join(dir, 'sharder.yml'), settings + kinds);
      const args = ['--listen', `unix:${path}`];
      return Service.start(`sqlite:${join(dir, 'sharder.db')}`, { cwd: dir, args, env });
    },
  };
}

async function ask(
  socketPath: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  const client = request({ socketPath, path, headers: { REMOTE_USER: 'iana', ...headers } }).end();
  const [response] = (await once(client, 'response')) as [IncomingMessage];
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: await text(response),
  };
}

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe('listen: unix:/path', () => {
  it('answers there, whatever trusted_proxies says, and says so', async () => {
    const { path, start } = prepare();
    const service = await start('trusted_proxies: [192.0.2.1]\n');
    assert.match(service.line, new RegExp(`listens on unix:${path}, `));
    assert.equal((await ask(path, '/shard')).body, 'hub-0\n');
    assert.equal((await ask(path, '/auth')).status, 200);
    assert.equal((await ask(path, '/healthz')).status, 200);
    assert.equal(await service.stop(), 0);
    assert.ok(!existsSync(path));
  });

  const modes: readonly [settings: string, mode: string, gid: number][] = [
    ['', '600', 0],
    ["listen_mode: '0666'\n", '666', 0],
    ['listen_group: daemon\n', '660', 1],
    ["listen_group: '1'\nlisten_mode: '0620'\n", '620', 1],
  ];
  const isRoot = process.getuid?.() === 0;
  for (const [settings, mode, gid] of modes) {
    const title = `${settings.trim().replaceAll('\n', ', ') || 'without settings'}: mode ${mode}, group ${gid}`;
    it(title, { skip: !isRoot && 'only root can give a file to any group' }, async () => {
      const { path, start } = prepare();
      await start(settings);
      assert.equal(modeOf(path), mode);
      assert.equal(statSync(path).gid, gid);
    });
  }

  it('issues login proofs there without a proxy secret, which it asks for where one is set', async () => {
    const open = prepare();
    await open.start('', { SHARDER_LOGIN_SECRET: SECRET });
    assert.match(String((await ask(open.path, '/auth')).headers['x-shard-login']), /^eyJ/);
    const closed = prepare();
    await closed.start('', { SHARDER_PROXY_SECRET: SECRET });
    assert.equal((await ask(closed.path, '/auth')).status, 403);
    const headers = { 'X-Shard-Proxy-Secret': SECRET };
    assert.equal((await ask(closed.path, '/auth', headers)).status, 200);
  });

  it('replaces the socket that a killed service has left', async () => {
    const { path, start } = prepare();
    const first = await start();
    await first.stop('SIGKILL');
    assert.ok(existsSync(path));
    await start();
    assert.equal((await ask(path, '/shard')).body, 'hub-0\n');
  });

  it('refuses a socket that somebody listens on, a file that is none, and a group that is none', async () => {
    const { dir, path, start } = prepare();
    const first = await start();
    await assert.rejects(start(), /unix:.*another program listens there already/);
    assert.equal((await ask(path, '/shard')).body, 'hub-0\n');
    await first.stop();
    writeFileSync(path, 'a letter');
    await assert.rejects(start(), /unix:.*a file that is not a socket is in the way/);
    assert.equal(statSync(path).size, 8);
    chmodSync(dir, 0o700);
    await assert.rejects(start('listen_group: no-such-group\n'), /there is no group no-such-group/);
  });
});

describe('nginx before a unix socket', needsNginx, () => {
  it('logs users in, and sends them to their bucket', async () => {
    const { dir, path, start } = prepare();
    chmodSync(dir, 0o755); // for nginx's workers
    await start("listen_mode: '0666'\n", { SHARDER_LOGIN_SECRET: SECRET });
    const { url } = await startUpstream('hub-0');
    const nginx = await Nginx.start({
      sharders: [],
      upstreams: renderNginx([{ kind: 'hub', name: 'hub-0', url }]).text,
      users: { iana: 'iana' },
      edit: {
        'edge.conf': (conf) =>
          conf.replace('upstream sharder {', `upstream sharder {\n    server unix:${path};`),
      },
    });
    try {
      const headers = { Authorization: `Basic ${btoa('iana:iana')}` };
      const seen = (await (await fetch(`${nginx.url}/hub/login`, { headers })).json()) as Seen;
      assert.equal(seen.bucket, 'hub-0');
      assert.match(seen.headers['x-shard-login'] ?? '', /^eyJ/);
    } finally {
      await nginx.stop();
    }
  });
});

describe('SHARDER_LOGIN_SECRET', () => {
  it('without a proxy secret and a unix socket is refused at start', async () => {
    const dir = temporaryDirectory();
    const env = { SHARDER_LOGIN_SECRET: SECRET };
    await assert.rejects(
      Service.start(`sqlite:${join(dir, 'sharder.db')}`, { cwd: dir, env }),
      /SHARDER_LOGIN_SECRET: also set SHARDER_PROXY_SECRET, or listen on a unix socket/,
    );
  });
});
