// Runs of programs for tests, each ended when the test file has run.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { RunOptions } from '../../src/run/options.js';
import { Run } from '../../src/run/run.js';
import type { Timings } from '../../src/run/shard.js';
import { eventually } from '../load.js';

/** The tutorial's. */
export const PATTERN = String.raw`^\/users\/([^\/]*)\/.*`;

export const PROGRAM = fileURLToPath(new URL('./program.mjs', import.meta.url));

const running = new Set<Run>();
after(async () => {
  for (const run of running) await run.kill();
});

/** What a copy of program.mjs says of itself. */
export interface Facts {
  readonly name: string;
  readonly index: string;
  readonly count: string;
  readonly pid: number;
  readonly port: string;
  readonly args: readonly string[];
}

export class TestRun {
  readonly run: Run;
  /** What it has printed, on stdout and stderr. */
  printed = '';
  isEnded = false;

  private constructor(options: Partial<RunOptions>, timings: Partial<Timings>) {
    const stream = new PassThrough().setEncoding('utf8');
    stream.on('data', (text: string) => (this.printed += text));
    const base = { shards: 3, urlPattern: PATTERN, port: 0 };
    const command = [process.execPath, PROGRAM];
    this.run = new Run(
      { ...base, command, ...options },
      { streams: { stdout: stream, stderr: stream }, timings },
    );
    running.add(this.run);
  }

  /** Resolves when all copies serve. */
  static async start(
    options: Partial<RunOptions> = {},
    timings: Partial<Timings> = {},
  ): Promise<TestRun> {
    const test = await TestRun.begin(options, timings);
    await test.run.ready();
    return test;
  }

  /** Resolves when all copies run, before they serve. */
  static async begin(
    options: Partial<RunOptions> = {},
    timings: Partial<Timings> = {},
  ): Promise<TestRun> {
    const test = new TestRun(options, timings);
    await test.run.start();
    return test;
  }

  get lines(): string[] {
    return this.printed.split('\n').slice(0, -1);
  }

  get(path: string): Promise<Response> {
    return fetch(this.run.url + path);
  }

  async facts(user: string): Promise<Facts> {
    const response = await this.get(`/users/${user}/`);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    const facts = JSON.parse(text) as Facts;
    assert.equal(response.headers.get('x-shard-bucket'), facts.name);
    return facts;
  }

  /** Resolves when it has printed that. */
  prints(what: string | RegExp): Promise<void> {
    const isThere = () =>
      typeof what === 'string' ? this.printed.includes(what) : what.test(this.printed);
    return eventually(`it prints ${String(what)}: ${this.printed}`, isThere);
  }

  async stop(): Promise<void> {
    await this.run.stop();
    running.delete(this.run);
  }
}

/** The first user of each copy, by its name. */
export async function oneOfEach(test: TestRun): Promise<Map<string, string>> {
  const users = new Map<string, string>();
  for (let i = 0; users.size < test.run.shards.length; i++) {
    const { name } = await test.facts(`user-${i}`);
    if (!users.has(name)) users.set(name, `user-${i}`);
  }
  return users;
}

export const USERS = Array.from({ length: 120 }, (_, i) => `user-${i}`);

/** In which copy of a new run each user is; asked twice, along different paths. */
export async function placesOf(
  users: readonly string[],
  options: Partial<RunOptions>,
): Promise<Map<string, string>> {
  const test = await TestRun.start(options);
  const places = new Map<string, string>();
  for (const user of users) {
    const { name } = await test.facts(user);
    const response = await test.get(`/users/${user}/a/${'b'.repeat(user.length)}?c=1`);
    await response.text();
    assert.equal(response.headers.get('x-shard-bucket'), name);
    places.set(user, name);
  }
  await test.stop();
  return places;
}

/** False for one that has ended, and whose parent has not asked for it yet. */
export function isRunning(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout !== '' && !stdout.startsWith('Z');
}
