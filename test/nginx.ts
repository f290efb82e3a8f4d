// A real nginx with the files of nginx/, in a directory of its own and on a free port.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from './postgres.js';

const SOURCE = fileURLToPath(new URL('../nginx', import.meta.url));

/** Where nginx is, or undefined. Debian keeps it out of a user's PATH. */
export const nginxPath: string | undefined = [...(process.env.PATH ?? '').split(':'), '/usr/sbin']
  .filter((dir) => dir !== '')
  .map((dir) => join(dir, 'nginx'))
  .find((file) => existsSync(file));

const isMissing = nginxPath === undefined;
if (isMissing && process.env.CI) {
  throw new Error('nginx is not installed: run test/install-servers.sh');
}

/** For `describe` and `it`: where nginx is needed. */
export const needsNginx = {
  skip: isMissing && 'nginx is not installed: run test/install-servers.sh',
} as const;

export interface NginxOptions {
  /** The Sharders' ports. */
  readonly sharders: readonly number[];
  /** What `sharder render nginx` prints. */
  readonly upstreams: string;
  /** Names and passwords for login/basic.conf. */
  readonly users?: Readonly<Record<string, string>>;
  /** The secret of signed cookies: turns the lines on that begin with #signed. */
  readonly secret?: string;
  /** More of nginx's environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** What proves to the Sharders that it is nginx that asks. */
  readonly proxySecret?: string;
  /** Headers that the site has added to the list of claims. */
  readonly claims?: readonly string[];
  /** Default: a free one. */
  readonly port?: number;
  /** Last changes to a file, by its name below nginx/. */
  readonly edit?: Readonly<Record<string, (text: string) => string>>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill();
});

export class Nginx {
  readonly dir: string;
  readonly port: number;
  /** What it has written to stderr. */
  log = '';
  readonly #env: NodeJS.ProcessEnv;
  #process: ChildProcess | undefined;

  private constructor(port: number, env: NodeJS.ProcessEnv) {
    this.dir = mkdtempSync(join(tmpdir(), 'sharder-nginx-'));
    this.port = port;
    this.#env = env;
  }

  /** Copies the files, sets in edge.conf what differs from site to site, and starts nginx. */
  static async start(options: NginxOptions): Promise<Nginx> {
    const nginx = new Nginx(options.port ?? (await freePort()), {
      SHARDER_COOKIE_SECRET: options.secret,
      ...options.env,
    });
    try {
      nginx.#prepare(options);
      await nginx.started();
      return nginx;
    } catch (error) {
      await nginx.stop();
      throw error;
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The file that `sharder render nginx` writes. */
  get upstreamsFile(): string {
    return join(this.dir, 'sharder', 'upstreams.conf');
  }

  /** A shell's command that has this nginx read its files again, once they are right. */
  get reloadCommand(): string {
    const command = `'${nginxPath ?? ''}' -p '${this.dir}' -c nginx.conf -e stderr`;
    return `${command} -t -q && ${command} -s reload`;
  }

  /** Ends it, and removes its directory. */
  async stop(): Promise<void> {
    await this.stopped();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Ends it; `started` starts it again. */
  async stopped(): Promise<void> {
    const child = this.#process;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.ref();
    child.kill('SIGTERM');
    await exited;
  }

  #prepare(options: NginxOptions): void {
    const { sharders, upstreams, users = {}, secret, proxySecret, claims, edit = {} } = options;
    chmodSync(this.dir, 0o755); // started by root, nginx's workers are somebody else
    cpSync(SOURCE, this.dir, { recursive: true, filter: (file) => !file.endsWith('.ts') });
    mkdirSync(join(this.dir, 'tmp'));
    mkdirSync(join(this.dir, 'cache'));
    writeFileSync(this.upstreamsFile, upstreams);
    if (proxySecret !== undefined) {
      const line = `proxy_set_header X-Shard-Proxy-Secret "${proxySecret}";\n`;
      writeFileSync(join(this.dir, 'sharder', 'secret.conf'), line, { mode: 0o600 });
    }
    if (claims) {
      mkdirSync(join(this.dir, 'sharder', 'claims.d'));
      const headers = claims.map((name) => `proxy_set_header ${name} "";\n`);
      writeFileSync(join(this.dir, 'sharder', 'claims.d', 'site.conf'), headers.join(''));
    }
    const passwords = Object.entries(users).map(([name, word]) => `${name}:{PLAIN}${word}\n`);
    writeFileSync(join(this.dir, 'users'), passwords.join(''));
    const servers = sharders.map((port) => `server 127.0.0.1:${port} max_fails=0;`).join('\n    ');
    for (const file of ['edge.conf', 'compatible.conf', 'hash.conf']) {
      this.#edit(file, (text) =>
        text
          .replace(/server 127\.0\.0\.1:8888.*;/, servers)
          .replace('listen 127.0.0.1:8080 ', `listen 127.0.0.1:${this.port} `),
      );
    }
    if (secret !== undefined) {
      this.#edit('nginx.conf', uncomment);
      this.#edit('edge.conf', (text) =>
        uncomment(text).replace('    include sharder/asked.conf;\n', ''),
      );
    }
    for (const [file, change] of Object.entries(edit)) this.#edit(file, change);
  }

  #edit(name: string, change: (text: string) => string): void {
    const file = join(this.dir, name);
    writeFileSync(file, change(readFileSync(file, 'utf8')));
  }

  async started(): Promise<void> {
    if (nginxPath === undefined) throw new Error('nginx is not installed');
    if (await this.#listens()) throw new Error(`port ${this.port} is taken: another PORT, perhaps`);
    const child = spawn(nginxPath, ['-p', this.dir, '-c', 'nginx.conf', '-e', 'stderr'], {
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    // A test that fails before it stops nginx ends all the same, and nginx with it.
    child.unref();
    if (child.stderr instanceof Socket) child.stderr.unref();
    running.add(child);
    child.once('exit', () => running.delete(child));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    while (!(await this.#listens())) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`nginx ended: ${this.log}`);
      await sleep(10); // it has no other way to say so
    }
  }

  #listens(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1');
      const answer = (listens: boolean) => () => {
        socket.destroy();
        resolve(listens);
      };
      socket.once('connect', answer(true));
      socket.once('error', answer(false));
    });
  }
}

function uncomment(text: string): string {
  return text.replaceAll(/#signed /g, '');
}
