// `sharder run --nginx` with a real nginx.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { KeyPattern } from '../../src/key-pattern.js';
import { Guard } from '../../src/run/guard.js';
import { renderRunNginx } from '../../src/run/nginx-config.js';
import { NginxFront } from '../../src/run/nginx.js';
import { Output } from '../../src/run/output.js';
import { freePorts, listens } from '../../src/run/probe.js';
import { temporaryDirectory } from '../engines.js';
import { eventually } from '../load.js';
import { needsNginx, nginxPath } from '../nginx.js';
import { isRunning, oneOfEach, placesOf, TestRun, USERS } from './start.js';

/** A port that is free, and four after it. */
async function portBeforeFreeOnes(): Promise<number> {
  for (;;) {
    const [port = 0] = await freePorts(1);
    const servers = [0, 1, 2, 3, 4].map((i) => createServer().listen(port + i, '127.0.0.1'));
    const free = await Promise.allSettled(servers.map((server) => once(server, 'listening')));
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    if (free.every(({ status }) => status === 'fulfilled')) return port;
  }
}

// The child of this process that is nginx.
function nginxPid(): number {
  return Number(execFileSync('pgrep', ['-P', String(process.pid), 'nginx'], { encoding: 'utf8' }));
}

describe('a run with nginx', needsNginx, () => {
  it('keeps each key on its copy, in the next run too, and one shard more moves no other', async () => {
    const port = await portBeforeFreeOnes();
    const before = await placesOf(USERS, { nginx: true, port });
    assert.deepEqual([...new Set(before.values())].sort(), ['server-0', 'server-1', 'server-2']);
    const after = await placesOf(USERS, { nginx: true, port, shards: 4 });
    const moved = USERS.filter((user) => before.get(user) !== after.get(user));
    for (const user of moved) assert.equal(after.get(user), 'server-3');
    assert.ok(moved.length > 15 && moved.length < 45, String(moved.length));
    const again = await placesOf(USERS.slice(0, 30), { nginx: true, port });
    for (const [user, name] of again) assert.equal(name, before.get(user));
  });

  it('answers 503 for a copy that is gone, and for no other, and asks nobody in its place', async () => {
    const test = await TestRun.start({ nginx: true, port: await portBeforeFreeOnes() });
    const [[name, user] = ['', ''], ...others] = [...(await oneOfEach(test))];
    const { pid } = await test.facts(user);
    process.kill(pid, 'SIGKILL');
    await test.prints(`${name} (pid ${pid}) was ended by SIGKILL`);
    const refused = await test.get(`/users/${user}/`);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('x-shard-bucket'), name);
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal(await refused.text(), `${name} does not answer\n`);
    for (const [, other] of others) await test.facts(other);
    await eventually('it is back', async () => (await test.get(`/users/${user}/`)).ok);
    assert.equal((await test.facts(user)).name, name);
    await test.stop();
  });

  it('stops in order, and leaves nothing behind', async () => {
    const test = await TestRun.start({ nginx: true, port: await portBeforeFreeOnes() });
    const slow = await test.get('/users/a/slow');
    const pids = test.run.shards.map(({ pid }) => pid ?? 0);
    await test.stop();
    assert.equal(await slow.text(), 'begun, ended\n');
    const name = slow.headers.get('x-shard-bucket') ?? '';
    assert.deepEqual(
      test.lines.filter((line) => line.startsWith(name)).map((line) => line.split('| ')[1]),
      [`${name} is up`, 'slow has ended', 'told to end'],
    );
    assert.deepEqual(pids.map(isRunning), [false, false, false]);
    await assert.rejects(test.get('/users/a/'));
  });

  it('passes WebSockets and streams on as they come', async () => {
    const echo = `
      const server = require('http').createServer((req, res) => req.pipe(res));
      new (require('ws').WebSocketServer)({ server }).on('connection', (socket) => {
        socket.on('message', (data) => socket.send(process.env.HOSTNAME + ' ' + data));
      });
      server.listen(process.env.PORT);`;
    const command = [process.execPath, '-e', echo];
    const test = await TestRun.start({ nginx: true, port: await portBeforeFreeOnes(), command });
    const client = new WebSocket(`${test.run.url.replace('http', 'ws')}/users/a/`);
    client.once('open', () => {
      client.send('hello');
    });
    const answered = once(client, 'message');
    const [head] = (await once(client, 'upgrade')) as [IncomingMessage];
    const [data] = (await answered) as [Buffer];
    assert.equal(data.toString(), `${String(head.headers['x-shard-bucket'])} hello`);
    client.terminate();

    const sent = request(`${test.run.url}/users/a/`, { method: 'POST' });
    const responded = once(sent, 'response');
    sent.write('0');
    const [answer] = (await responded) as [IncomingMessage];
    answer.setEncoding('utf8');
    for (let i = 1; i < 4; i++) {
      const [piece] = (await once(answer, 'data')) as [string];
      assert.equal(piece, String(i - 1));
      sent.write(String(i));
    }
    sent.end();
    assert.equal(await text(answer), '3');
    await test.stop();
  });

  it('takes no copy for ready that listens where nginx does not ask', async () => {
    const command = [
      ...[process.execPath, '-e'],
      "require('http').createServer().listen(process.env.PORT, '::1', () => console.log('there'))",
    ];
    const port = await portBeforeFreeOnes();
    const test = await TestRun.begin({ nginx: true, shards: 1, port, command }, { hintMs: 1_000 });
    await test.prints('server-0 | there');
    await test.prints(`server-0 runs, but nobody serves on its port ${port + 1}: the program has`);
    assert.doesNotMatch(test.printed, /sharder listens on/);
    await test.stop();
  });

  it('ends all when nginx ends by itself', async () => {
    const test = await TestRun.start({ nginx: true, port: await portBeforeFreeOnes() });
    const { broken } = test.run;
    process.kill(nginxPid(), 'SIGKILL');
    await assert.rejects(broken, { message: /^nginx has ended \(.*\); all was stopped$/ });
    await test.stop();
  });
});

describe('the key in nginx', needsNginx, () => {
  const patterns: readonly [pattern: string, paths: readonly string[]][] = [
    [String.raw`^\/users\/([^\/]*)\/.*`, ['/users/a/1', '/users/b/2?x=/users/c/', '/users/a']],
    [String.raw`\/users\/(.*)[^\/]`, ['/users/ab', '/x/users/ac', '/users/a/c/', '/users/']],
    [String.raw`^/(?:u|users)/(?P<who>\w{1,8}?)(?:/|$)`, ['/u/a_1/x', '/users/a_1', '/u/a.b/']],
    [String.raw`(?i)^/T-([a-z]+)"?\$?\\?`, ['/t-Ab"', '/T-ab', '/t-', '/t-a$1;{}']],
    [String.raw`^/(a*)|/(b)`, ['/aa', '/b', '/', '/c']],
    [String.raw`/~([\d[:upper:]]+)$`, ['/~7A', '/~7A?b', '/~7a', '/x/~7A']],
  ];
  for (const [urlPattern, paths] of patterns) {
    it(`is ours: ${urlPattern}`, async () => {
      const [port = 0, nobody = 0] = await freePorts(2);
      const config = renderRunNginx({
        ...{ host: '127.0.0.1', port, urlPattern, drainSeconds: 1 },
        targets: [{ name: 'server-0', port: nobody }],
      });
      const stop = await startNginx(port, config);
      const pattern = new KeyPattern(urlPattern);
      for (const path of paths) {
        assert.equal(await keyIn(port, path), pattern.keyOf(path), path);
        assert.equal(await keyIn(port, `${path}?a=b`), pattern.keyOf(path), path);
      }
      await stop();
    });
  }

  // nginx that says in a header what it takes for the key.
  async function startNginx(port: number, config: string): Promise<() => Promise<void>> {
    const dir = temporaryDirectory();
    chmodSync(dir, 0o755);
    mkdirSync(join(dir, 'tmp'));
    const said = config.replaceAll(
      /add_header X-Shard-Bucket .*;/g,
      'add_header X-Key "$shard_key" always;',
    );
    assert.notEqual(said, config);
    writeFileSync(join(dir, 'nginx.conf'), said.replace('stderr warn', 'stderr crit'));
    const child = spawn(nginxPath ?? '', ['-p', dir, '-c', 'nginx.conf', '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = once(child, 'exit');
    await eventually('nginx listens', () => listens('127.0.0.1', port));
    return async () => {
      child.kill('SIGTERM');
      await ended;
    };
  }

  async function keyIn(port: number, path: string): Promise<string> {
    // As it is: fetch would write it otherwise.
    const sent = request({ host: '127.0.0.1', port, path, agent: false });
    sent.end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    answer.resume();
    return String(answer.headers['x-key']);
  }
});

describe('what nginx cannot do', () => {
  const options = {
    ...{ host: '127.0.0.1', port: 8080, targets: [], drainSeconds: 1 },
    output: new Output([]),
    onEnd: () => undefined,
  };

  it('is said: a pattern of characters that it takes for bytes', needsNginx, () => {
    const guard = new Guard();
    assert.throws(() => new NginxFront({ ...options, guard, urlPattern: '/(ü)' }), {
      code: 'settings',
      message: /^url-pattern: with --nginx it must be ASCII/,
    });
    guard.close();
  });

  it('is said: that a copy must be on a port that another program has', async () => {
    const port = await portBeforeFreeOnes();
    const other = createServer().listen(port + 2, '127.0.0.1');
    await once(other, 'listening');
    await assert.rejects(TestRun.begin({ nginx: true, port }), {
      code: 'settings',
      message: `port: with --nginx the copies listen on the ports after ${port}, but another program listens on ${port + 2}: stop it, or give another --port`,
    });
    other.close();
  });
});
