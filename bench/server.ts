// A server under load, as a process of its own: the service, the bare one or Express.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Reply } from './reply.js';
import { hasEnded, startProcess, type Core } from './processes.js';

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const PROBE = ['--import', path('./probe.mjs')];
const STOP_WITHIN_MS = 20_000;

/** What the probe saw since it was asked last. */
export interface Sight {
  /** The longest time that the event loop did not turn. */
  readonly stopMs: number;
  readonly rssBytes: number;
  /** Of processors, since its start. */
  readonly cpuSeconds: number;
}

/** What is not told to everybody. */
interface Secrets {
  /** That signs cookies. */
  readonly secret?: string;
  /** That opens the management API. */
  readonly token?: string;
}

export class Server {
  /** http://127.0.0.1:port */
  url = '';
  readonly #process: ChildProcess;
  #log = '';

  private constructor(
    core: Core,
    args: readonly string[],
    database?: string,
    { secret, token }: Secrets = {},
  ) {
    // What the environment says to a service must not change what is measured.
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith('SHARDER_'));
    this.#process = startProcess(core, process.execPath, args, {
      env: {
        ...Object.fromEntries(env),
        DATABASE_URL: database,
        SHARDER_COOKIE_SECRET: secret,
        SHARDER_ADMIN_TOKEN: token,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
  }

  /** The built service with the sample settings; resolves when it listens. */
  static service(
    core: Core,
    database: string,
    { isProbed = true, ...secrets }: { isProbed?: boolean } & Secrets = {},
  ): Promise<Server> {
    const serve = [path('../dist/cli.js'), 'serve', '--listen', '127.0.0.1:0'];
    const settings = ['--config-file', path('../sharder.yml')];
    return Server.#start(
      core,
      [...(isProbed ? PROBE : []), ...serve, ...settings],
      database,
      secrets,
    );
  }

  /** A server to compare with, which sends that reply. */
  static other(core: Core, name: 'bare' | 'express', reply: Reply): Promise<Server> {
    const args = ['--import', 'tsx', path(`./${name}.ts`), JSON.stringify(reply)];
    return Server.#start(core, [...PROBE, ...args]);
  }

  /** A proxy before servers on these ports: proxy.ts. */
  static proxy(core: Core, which: 'plain' | 'router', ports: readonly number[]): Promise<Server> {
    const args = ['--import', 'tsx', path('./proxy.ts'), which, ...ports.map(String)];
    return Server.#start(core, [...PROBE, ...args]);
  }

  static async #start(
    core: Core,
    args: readonly string[],
    database?: string,
    secrets?: Secrets,
  ): Promise<Server> {
    const server = new Server(core, args, database, secrets);
    const { stdout } = server.#process;
    if (!stdout) throw new Error('no stdout');
    const line = once(createInterface({ input: stdout }), 'line') as Promise<[string]>;
    const ended = once(server.#process, 'close').then(() => {
      throw new Error(`a server ended: ${server.#log}`);
    });
    ended.catch(() => undefined);
    const [text] = await Promise.race([line, ended]);
    server.url = /http:[^\s,]+/.exec(text)?.[0] ?? '';
    return server;
  }

  /** Asks the probe. */
  async look(): Promise<Sight> {
    const sight = once(this.#process, 'message') as Promise<[Sight]>;
    this.#process.send({});
    return (await sight)[0];
  }

  /** Ends it in good order, so that what is in flight is committed. Rejects if it does not. */
  async stop(): Promise<void> {
    if (hasEnded(this.#process)) throw new Error(`a server has ended by itself: ${this.#log}`);
    const exited = once(this.#process, 'exit') as Promise<[number | null, string | null]>;
    const late = setTimeout(() => this.#process.kill('SIGKILL'), STOP_WITHIN_MS);
    this.#process.kill('SIGTERM');
    const [code, signal] = await exited;
    clearTimeout(late);
    // The servers to compare with know no better than to end by the signal.
    if (code !== 0 && signal !== 'SIGTERM') {
      throw new Error(`a server ended with ${code ?? signal ?? ''}: ${this.#log}`);
    }
  }
}
