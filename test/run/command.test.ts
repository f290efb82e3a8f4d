// `sharder run` as a process: what it prints, what it exits with, and that no copy outlives it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { run, Run } from '../commands/run.js';
import { eventually } from '../load.js';
import { isRunning, PATTERN, PROGRAM } from './start.js';

const PROGRAM_COMMAND = ['--', process.execPath, PROGRAM];

async function start(options: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const asked = ['--shards', '2', '--url-pattern', PATTERN, '--port', '0'];
  const command = new Run(['run', ...asked, ...options, ...PROGRAM_COMMAND], { env });
  await command.says('sharder listens on');
  const pids = [...command.stdout.matchAll(/\(pid (\d+)\)/g)].map(([, pid]) => Number(pid));
  assert.equal(pids.length, 2);
  const [, url = ''] = /listens on (\S+)/.exec(command.stdout) ?? [];
  return { command, pids, url };
}

describe('sharder run', { concurrency: 2 }, () => {
  it('routes to named copies until SIGTERM, and exits with 0', async () => {
    const { command, pids, url } = await start(['--name', 'web']);
    const response = await fetch(`${url}/users/a/`);
    const { name } = (await response.json()) as { name: string };
    assert.match(name, /^web-[01]$/);
    assert.equal(response.headers.get('x-shard-bucket'), name);
    command.process.kill('SIGTERM');
    const { code, stdout, stderr } = await command.ended;
    assert.equal(code, 0);
    assert.equal(stderr, 'sharder: SIGTERM: stopping; once more ends all at once\n');
    const lines = stdout.trim().split('\n').sort();
    assert.match(lines[0] ?? '', /^sharder listens on http:\/\/127\.0\.0\.1:\d+ for web-0 \(pid/);
    assert.deepEqual(lines.slice(1), [
      'web-0 | told to end',
      'web-0 | web-0 is up',
      'web-1 | told to end',
      'web-1 | web-1 is up',
    ]);
    assert.deepEqual(pids.map(isRunning), [false, false]);
  });

  it('ends all at once at the second Ctrl-C', async () => {
    const { command, pids } = await start([], { STUBBORN: '1' });
    let hasEnded = false;
    void command.ended.then(() => (hasEnded = true));
    command.process.kill('SIGINT');
    await command.says('stopping; once more ends all at once');
    // As a person would: soon after the first it is taken for the same.
    await eventually('it has ended', async () => {
      if (!hasEnded) command.process.kill('SIGINT');
      await sleep(100);
      return hasEnded;
    });
    assert.equal(command.process.signalCode, 'SIGINT');
    assert.deepEqual(pids.map(isRunning), [false, false]);
  });

  it('leaves no copy behind when it is killed itself', async () => {
    const { command, pids } = await start();
    command.process.kill('SIGKILL');
    await eventually('its copies have ended', () => !pids.some(isRunning));
  });

  it('leaves no copy behind when nobody reads what they print', async () => {
    const { command, pids, url } = await start();
    command.process.stdout?.destroy();
    const failing = fetch(`${url}/users/a/die`); // the next copy says that it is up
    await failing.catch(() => undefined);
    await eventually('its copies have ended', () => !pids.some(isRunning));
    await command.ended;
  });

  it('starts nothing on a port that is taken, and says so', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const args = ['run', '--shards', '2', '--url-pattern', '/(a)', '--port', String(port)];
    const { code, stdout, stderr } = await run([...args, ...PROGRAM_COMMAND]);
    server.close();
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.equal(
      stderr,
      `sharder: port: http://127.0.0.1:${port}: another program listens there already; stop it, or give another port\n`,
    );
  });

  const asked = ['--shards', '2', '--url-pattern', '/(a)', '--port', '0'];
  const usage: readonly [args: readonly string[], says: RegExp][] = [
    [['--', 'node'], /required option '--shards <n>' not specified/],
    [['--shards', 'two'], /'two' is invalid.*whole number/],
    [asked, /missing required argument 'command'/],
    [[...asked, '--url-pattern', '(?=a)(b)', '--', 'x'], /url-pattern: .*neither ahead nor behind/],
    [
      [...asked, '--', 'no-such-program'],
      /^sharder: "no-such-program" cannot be started: there is no such program here or on the PATH\n$/,
    ],
  ];
  for (const [args, says] of usage) {
    it(`exits with 2 on: sharder run ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await run(['run', ...args]);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /^\s+at /m); // no stack
    });
  }
});
