// The examples of package.json's scripts, started as a person starts them.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from './postgres.js';

const running = new Set<ChildProcess>();
after(() => Example.stopAll());

export class Example {
  readonly url: string;
  /** The line that it prints when it listens. */
  readonly line: string;
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess, url: string, line: string) {
    this.#process = child;
    this.url = url;
    this.line = line;
  }

  /** `npm run SCRIPT`; rejects when it ends before it listens. `PORT` in `env` is where. */
  static async start(script: string, env: NodeJS.ProcessEnv = {}): Promise<Example> {
    const port = env.PORT ?? String(await freePort());
    const child = spawn('npm', ['run', '--silent', script], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...process.env, ...env, PORT: port },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true, // npm and what it runs are told together, as at Ctrl-C
    });
    running.add(child);
    const lines = createInterface({ input: child.stdout });
    const ended = once(child, 'exit').then(() => {
      throw new Error(`npm run ${script} ended before it listened`);
    });
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    ended.catch(() => undefined);
    return new Example(child, `http://127.0.0.1:${port}`, line);
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
