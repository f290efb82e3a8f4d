// The examples of package.json's scripts, started as a person starts them.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from './postgres.js';

const running = new Set<ChildProcess>();
after(() => Example.stopAll());

export class Example {
  readonly url: string;
  /** What it has printed. */
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #printed: Interface;

  private constructor(child: ChildProcess, printed: Interface, url: string) {
    this.#process = child;
    this.#printed = printed;
    this.url = url;
    printed.on('line', (line) => this.lines.push(line));
  }

  /** `npm run SCRIPT`; rejects when it ends before it says a line. `PORT` in `env` is where it listens. */
  static async start(
    script: string,
    env: NodeJS.ProcessEnv = {},
    args: readonly string[] = [],
  ): Promise<Example> {
    const port = env.PORT ?? String(await freePort());
    const child = spawn('npm', ['run', '--silent', script, '--', ...args], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...process.env, ...env, PORT: port },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true, // npm and what it runs are told together, as at Ctrl-C
    });
    running.add(child);
    const printed = createInterface({ input: child.stdout });
    const example = new Example(child, printed, `http://127.0.0.1:${port}`);
    const ended = once(child, 'exit').then(() => {
      throw new Error(`npm run ${script} ended before it listened`);
    });
    await Promise.race([example.prints((lines) => lines[0]), ended]);
    ended.catch(() => undefined);
    return example;
  }

  /** The first line that it printed: where it listens. */
  get line(): string {
    return this.lines[0] ?? '';
  }

  /** Resolves with what `find` sees in its lines, as soon as it sees anything there. */
  async prints<T>(find: (lines: readonly string[]) => T | undefined): Promise<T> {
    for (;;) {
      const found = find(this.lines);
      if (found !== undefined) return found;
      await once(this.#printed, 'line');
    }
  }

  /** As Ctrl-C does, to all that run; resolves when they have ended. */
  static async stopAll(): Promise<void> {
    await Promise.all([...running].map(stop));
  }

  /** As Ctrl-C does; resolves when it has ended. */
  stop(): Promise<void> {
    return stop(this.#process);
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (!running.delete(child) || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  process.kill(-(child.pid ?? 0), 'SIGINT');
  await exited;
}
