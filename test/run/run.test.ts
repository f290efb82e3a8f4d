// Runs of real programs: what a copy is told, what becomes of its keys when it ends, and that nothing is
// left of it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { createServer, Server as HttpServer } from 'node:http';
import { Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../engines.js';
import { eventually } from '../load.js';
import { isRunning, oneOfEach, placesOf, PROGRAM, TestRun, USERS } from './start.js';

const FAST = { drainMs: 5_000, graceMs: 5_000, healthEveryMs: 20, hintMs: 60_000 };

describe('the copies of a run', () => {
  it('are told who they are, and share the keys; their lines bear their names', async () => {
    const test = await TestRun.start({ command: [process.execPath, PROGRAM, '--a', 'b c'] });
    const users = await oneOfEach(test);
    assert.deepEqual([...users.keys()].sort(), ['server-0', 'server-1', 'server-2']);
    for (const [name, user] of users) {
      const facts = await test.facts(user);
      assert.equal(facts.index, name.slice(-1));
      assert.equal(facts.count, '3');
      assert.deepEqual(facts.args, ['--a', 'b c']);
      assert.equal(facts.pid, test.run.shards[Number(facts.index)]?.pid);
      assert.ok(test.lines.includes(`${name} | ${name} is up`), test.printed);
    }
    await test.prints(
      /^sharder listens on http:\/\/127\.0\.0\.1:\d+ for server-0 \(pid \d+\), server-1 .*$/m,
    );
    await test.stop();
    assert.equal(test.lines.filter((line) => line.endsWith('| told to end')).length, 3);
  });

  it('one that is killed starts again on its port; meanwhile its keys get 503, and no others', async () => {
    const test = await TestRun.start({}, FAST);
    const [[name, user] = ['', ''], ...others] = [...(await oneOfEach(test))];
    const before = await test.facts(user);
    process.kill(before.pid, 'SIGKILL');
    await test.prints(
      `${name} (pid ${before.pid}) was ended by SIGKILL; it starts again in 0.25 s`,
    );
    const refused = await test.get(`/users/${user}/`);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal(refused.headers.get('x-shard-bucket'), name);
    assert.match(await refused.text(), new RegExp(`^${name} (has ended|is starting)`));
    for (const [, other] of others) await test.facts(other);
    await eventually('it is back', async () => (await test.get(`/users/${user}/`)).ok);
    const facts = await test.facts(user);
    assert.notEqual(facts.pid, before.pid);
    assert.deepEqual({ ...facts, pid: 0 }, { ...before, pid: 0 });
    await test.stop();
  });

  it('one that ends by itself starts again too', async () => {
    const test = await TestRun.start({ shards: 1 }, FAST);
    const { pid } = await test.facts('a');
    assert.equal((await test.get('/users/a/die')).status, 502);
    await test.prints(`server-0 (pid ${pid}) ended with code 3; it starts again in 0.25 s`);
    await eventually('it is back', async () => (await test.get('/users/a/')).ok);
    await test.stop();
  });

  it('one whose program is just being written is tried again until it is there', async () => {
    const file = join(temporaryDirectory(), 'program');
    writeFileSync(file, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const test = await TestRun.begin({ shards: 1, command: [file] }, FAST);
    const written = openSync(file, 'r+'); // the system starts nothing that somebody may write to
    await test.prints(`${JSON.stringify(file)} cannot be started: spawn ETXTBSY`);
    await test.prints('server-0 is not there; it starts again in');
    closeSync(written);
    await test.prints(/is not there[^]*server-0 \(pid \d+\) ended with code 1;/);
    await test.stop();
  });

  it('are not begun where the program cannot be started for whatever reason', async () => {
    await assert.rejects(TestRun.begin({ command: [`${PROGRAM}/no-directory`] }), {
      code: 'settings',
      message: /no-directory" cannot be started: spawn ENOTDIR$/,
    });
  });

  it('one whose port another program has gets 503 until it is free, and the other no request', async () => {
    const test = await TestRun.start({ shards: 1 }, FAST);
    const { pid, port } = await test.facts('a');
    process.kill(pid, 'SIGKILL');
    await test.prints('was ended by SIGKILL');
    const other = createServer((_req, res) => res.end('other')).listen(Number(port), '127.0.0.1');
    await once(other, 'listening');
    await test.prints(`server-0 cannot be started: another program has its port ${port}`);
    await test.prints('server-0 is not there; it starts again in 0.5 s');
    assert.equal((await test.get('/users/a/')).status, 503);
    other.close();
    await eventually('it is back', async () => (await test.get('/users/a/')).ok);
    assert.equal((await test.facts('a')).port, port);
    await test.stop();
  });

  it('get their ports after the router has its own, so that it takes none of theirs', async (t) => {
    const listen = t.mock.method(NetServer.prototype, 'listen');
    const test = await TestRun.begin({ shards: 2 }, FAST);
    const isRouter = listen.mock.calls.map((call) => call.this instanceof HttpServer);
    assert.equal(isRouter.indexOf(true), 0);
    assert.ok(isRouter.length > 2);
    await test.stop();
  });

  it('what a wrapper such as npm has started ends with it, and does not hold its port', async () => {
    const wrapper = ['sh', '-c', '"$0" "$@"; exit', process.execPath, PROGRAM];
    const test = await TestRun.start({ shards: 1, command: wrapper }, FAST);
    const { pid } = await test.facts('a');
    const [shard] = test.run.shards;
    assert.notEqual(shard?.pid, pid);
    process.kill(shard?.pid ?? 0, 'SIGKILL');
    await test.prints('it starts again');
    await eventually('it is back', async () => (await test.get('/users/a/')).ok);
    const next = await test.facts('a');
    assert.notEqual(next.pid, pid);
    await test.stop();
    assert.deepEqual([isRunning(pid), isRunning(next.pid)], [false, false]);
  });

  it('one that does not know its port is spoken of', async () => {
    const idle = [process.execPath, '-e', 'setInterval(() => {}, 1000)'];
    const test = await TestRun.begin({ shards: 1, command: idle }, { ...FAST, hintMs: 50 });
    const port = test.run.shards[0]?.port ?? 0;
    await test.prints(
      `server-0 runs, but nobody serves on its port ${port}: the program has to listen on the PORT of its environment`,
    );
    const response = await test.get('/users/a/');
    assert.equal(response.status, 503);
    assert.equal(await response.text(), 'server-0 is starting\n');
    await test.stop();
  });

  it('may be programs of any language: Python, with the server that it brings', async () => {
    const file = fileURLToPath(
      new URL('../../examples/sharded-service/server.py', import.meta.url),
    );
    const test = await TestRun.start({ command: ['python3', file] });
    const names = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const response = await test.get(`/users/user-${i}/`);
      const name = response.headers.get('x-shard-bucket') ?? '';
      assert.equal(await response.text(), `Hello World: hostname: ${name}\n`);
      names.add(name);
    }
    assert.deepEqual([...names].sort(), ['server-0', 'server-1', 'server-2']);
    await test.stop();
  });
});

describe('a copy that is asked for its health', () => {
  it('gets no requests until it is well, and none while it has failed three times', async () => {
    const test = await TestRun.start({ shards: 1, health: '/healthz' }, FAST);
    await test.get('/users/a/sicken');
    await test.prints(/server-0 \(pid \d+\) answers 500 on \/healthz, 3 times in a row/);
    const refused = await test.get('/users/a/');
    assert.equal(refused.status, 503);
    assert.equal(await refused.text(), 'server-0 fails its health check\n');
    // Past the router.
    await fetch(`http://127.0.0.1:${test.run.shards[0]?.port ?? 0}/heal`);
    await test.prints('server-0 is well again');
    await test.facts('a');
    await test.stop();
  });

  it('in vain is spoken of with what it answers, and asked no more often than later', async () => {
    const none = `
      require('http').createServer((req, res) => {
        console.log('asked');
        res.writeHead(404).end();
      }).listen(process.env.PORT, '127.0.0.1')`;
    const slow = { ...FAST, healthEveryMs: 60_000, hintMs: 1_000 };
    const command = [process.execPath, '-e', none];
    const test = await TestRun.begin({ shards: 1, health: '/healthz', command }, slow);
    const port = test.run.shards[0]?.port ?? 0;
    await test.prints(
      `server-0 listens on its port ${port}, but answers 404 on /healthz: it gets no requests until that is answered with 2xx or 3xx`,
    );
    assert.equal(test.lines.filter((line) => line.endsWith('| asked')).length, 1);
    await test.stop();
  });

  it('is not ready while the path is not there', async () => {
    const test = await TestRun.begin({ shards: 1, health: '/healthz' }, FAST);
    assert.equal((await test.get('/users/a/')).status, 503);
    await test.run.ready();
    await test.facts('a');
    await test.stop();
  });
});

describe('one shard more', () => {
  it('takes a quarter of the keys of three, and no other moves', async () => {
    const [before, after] = [await placesOf(USERS, {}), await placesOf(USERS, { shards: 4 })];
    const moved = USERS.filter((user) => before.get(user) !== after.get(user));
    for (const user of moved) assert.equal(after.get(user), 'server-3');
    // 30 expected; the standard deviation is below five.
    assert.ok(moved.length > 15 && moved.length < 45, String(moved.length));
  });
});

describe('a run that stops', () => {
  it('ends what runs, then the copies, and leaves nothing behind', async () => {
    const test = await TestRun.start({}, FAST);
    const pids = test.run.shards.map(({ pid }) => pid ?? 0);
    const slow = await test.get('/users/a/slow');
    await test.stop();
    assert.equal(await slow.text(), 'begun, ended\n');
    const name = slow.headers.get('x-shard-bucket') ?? '';
    assert.deepEqual(
      test.lines.filter((line) => line.startsWith(name)),
      [`${name} | ${name} is up`, `${name} | slow has ended`, `${name} | told to end`],
    );
    assert.deepEqual(pids.map(isRunning), [false, false, false]);
    await assert.rejects(test.get('/users/a/'));
  });

  it('waits for neither a request nor a copy for ever', async () => {
    const stubborn = ['env', 'STUBBORN=1', process.execPath, PROGRAM];
    const short = { ...FAST, drainMs: 20, graceMs: 50 };
    const test = await TestRun.start({ shards: 2, command: stubborn }, short);
    const pids = test.run.shards.map(({ pid }) => pid ?? 0);
    const hanging = await test.get('/users/a/hang');
    await test.stop();
    await assert.rejects(hanging.text());
    for (const [i, pid] of pids.entries()) {
      assert.ok(
        test.lines.includes(
          `sharder: server-${i} (pid ${pid}) did not end at SIGTERM, and was killed`,
        ),
        test.printed,
      );
      assert.ok(test.lines.includes(`server-${i} | told to end`), test.printed);
    }
    assert.deepEqual(pids.map(isRunning), [false, false]);
  });

  it('while a copy waits to start again starts it no more', async () => {
    const test = await TestRun.begin({ shards: 1, command: ['false'] }, FAST);
    await test.prints('it starts again in 0.5 s');
    await test.stop();
    assert.doesNotMatch(test.printed, /in 1 s/);
  });
});
