// A JupyterHub as a process, with a directory and three ports of its own.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/postgres.js';

const PROXY = fileURLToPath(
  new URL('../../node_modules/.bin/configurable-http-proxy', import.meta.url),
);

export function hasJupyterHub(): boolean {
  return spawnSync('jupyterhub', ['--version']).status === 0;
}

export class JupyterHub {
  readonly url: string;
  /** A file. */
  readonly log: string;
  readonly #process: ChildProcess;

  private constructor(url: string, log: string, child: ChildProcess) {
    this.url = url;
    this.log = log;
    this.#process = child;
  }

  /** `dir` is the hub's own; `config` is a jupyterhub_config.py, for which `env` is meant. */
  static async start(
    dir: string,
    config: string,
    env: NodeJS.ProcessEnv = {},
  ): Promise<JupyterHub> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const [port, apiPort, proxyApiPort] = await Promise.all([freePort(), freePort(), freePort()]);
    const log = join(dir, 'log');
    const output = openSync(log, 'a', 0o600);
    const child = spawn('jupyterhub', ['--config', config], {
      cwd: dir,
      env: {
        ...process.env,
        HUB_STATE: dir,
        HUB_PORT: String(port),
        HUB_API_PORT: String(apiPort),
        HUB_PROXY_API_PORT: String(proxyApiPort),
        HUB_PROXY_COMMAND: PROXY,
        ...env,
      },
      stdio: ['ignore', output, output],
      detached: true, // a hub that Ctrl-C tells too, and then we, does not stop its notebooks
    });
    return new JupyterHub(`http://127.0.0.1:${port}`, log, child);
  }

  /** Resolves when it answers through its proxy. */
  async answers(): Promise<void> {
    for (;;) {
      if (this.#hasEnded) throw new Error(`a hub ended: see ${this.log}`);
      const response = await fetch(`${this.url}/hub/health`).catch(() => undefined);
      if (response?.ok) return;
      await sleep(100);
    }
  }

  /** Ends it, its proxy, and its notebooks. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return;
    const child = this.#process;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }
}
