// The real service as a process of its own: `sharder serve`, on a free port.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The built command; `npm test` builds it first. */
export const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

const running = new Set<Service>();
after(() => {
  for (const service of running) service.process.kill('SIGKILL');
});

export interface ServiceOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Where it looks for sharder.yml. */
  readonly cwd?: string;
}

export class Service {
  readonly process: ChildProcess;
  /** What it has written to stderr: its log. */
  log = '';
  /** The URL of its database. */
  readonly database: string;
  /** http://127.0.0.1:port */
  url = '';
  /** The one line that it prints when it listens. */
  line = '';

  private constructor(database: string, { args = [], env, cwd }: ServiceOptions) {
    this.database = database;
    this.process = spawn(process.execPath, [CLI, 'serve', '--listen', '127.0.0.1:0', ...args], {
      env: { ...process.env, DATABASE_URL: database, ...env },
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    running.add(this);
    this.process.once('exit', () => running.delete(this));
  }

  /** Starts it; resolves when it listens, rejects with its log when it ends before. */
  static async start(database: string, options: ServiceOptions = {}): Promise<Service> {
    const service = new Service(database, options);
    const { stdout } = service.process;
    if (!stdout) throw new Error('no stdout');
    const lines = createInterface({ input: stdout });
    const line = new Promise<string>((resolve) => lines.once('line', resolve));
    const ended = once(service.process, 'close').then(() => {
      throw new Error(`the service ended: ${service.log}`);
    });
    service.line = await Promise.race([line, ended]);
    ended.catch(() => undefined);
    service.url = /http:\S+(?=,)/.exec(service.line)?.[0] ?? '';
    return service;
  }

  /** The answer of /shard for a user. */
  async shard(user: string, path = '/shard'): Promise<Response> {
    return fetch(this.url + path, { headers: { REMOTE_USER: user } });
  }

  /** Sends a signal and resolves with the exit code, or null when the signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const { process } = this;
    if (process.exitCode !== null || process.signalCode !== null) return process.exitCode;
    const exited = once(process, 'exit') as Promise<[number | null]>;
    process.kill(signal);
    return (await exited)[0];
  }
}
