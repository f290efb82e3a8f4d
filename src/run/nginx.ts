// A real nginx before the copies: its configuration in a temporary directory, its log on our stderr.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import { urlOf, type Front } from './front.js';
import { signalGroup } from './group.js';
import type { Guard } from './guard.js';
import { renderRunNginx, type NginxOptions } from './nginx-config.js';
import type { Output } from './output.js';
import { listens } from './probe.js';
import { cannotListen } from './router.js';

const LOOK_EVERY_MS = 20;

export interface NginxFrontOptions extends NginxOptions {
  readonly output: Output;
  readonly guard: Guard;
  /** Called when nginx ends by itself. */
  readonly onEnd: (why: string) => void;
}

export class NginxFront implements Front {
  readonly #options: NginxFrontOptions;
  readonly #file: string;
  #dir: string | undefined;
  #child: ChildProcess | undefined;
  #isStopping = false;

  /** Throws `settings` where there is no nginx, or the pattern means something else to it. */
  constructor(options: NginxFrontOptions) {
    this.#options = options;
    this.#file = findNginx();
    // nginx's pattern is one of bytes, ours is one of characters.
    if (!/^[\x20-\x7e]*$/.test(options.urlPattern)) {
      throw new SharderError(
        'settings',
        'url-pattern: with --nginx it must be ASCII; in a path other characters are percent-encoded',
      );
    }
  }

  async listen(): Promise<string> {
    const { host, port, output, guard, onEnd } = this.#options;
    await this.#checkPort();
    const dir = mkdtempSync(join(tmpdir(), 'sharder-run-'));
    this.#dir = dir;
    chmodSync(dir, 0o755); // started by root, nginx's workers are somebody else
    mkdirSync(join(dir, 'tmp'), { mode: 0o711 });
    writeFileSync(join(dir, 'nginx.conf'), renderRunNginx(this.#options), { mode: 0o644 });
    let log = '';
    // In a group of its own: Ctrl-C is ours to pass on.
    const child = spawn(this.#file, ['-p', dir, '-c', 'nginx.conf', '-e', 'stderr'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
    await once(child, 'spawn');
    const { pid = 0 } = child;
    guard.add(pid);
    while (!(await listens(host, port))) {
      if (hasEnded(child)) {
        throw new SharderError('settings', `nginx does not start: ${log.trim()}`);
      }
      await sleep(LOOK_EVERY_MS); // it has no other way to say so
    }
    child.stderr.removeAllListeners('data');
    void output.follow('nginx', child.stderr, 'stderr');
    child.once('exit', (code: number | null, signal: string | null) => {
      if (!this.#isStopping) onEnd(`nginx has ended (${signal ?? code ?? ''})`);
    });
    return urlOf(host, port);
  }

  /** SIGQUIT, at which nginx stops to listen and ends what runs. */
  async drain(withinMs: number): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    if (!child || hasEnded(child)) return;
    const exited = once(child, 'exit');
    child.kill('SIGQUIT');
    await Promise.race([exited, sleep(withinMs, undefined, { ref: false })]);
  }

  async close(): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    if (child?.pid !== undefined) {
      const exited = hasEnded(child) ? undefined : once(child, 'exit');
      signalGroup(child.pid, 'SIGKILL'); // also those who serve on when their master was killed
      await exited;
      this.#options.guard.delete(child.pid);
    }
    if (this.#dir !== undefined) rmSync(this.#dir, { recursive: true, force: true });
  }

  // nginx tries for seconds before it says so.
  async #checkPort(): Promise<void> {
    const { host, port } = this.#options;
    const server = createServer();
    const listening = once(server.listen(port, host), 'listening');
    await listening.catch((error: unknown) => {
      throw cannotListen(host, port, error as NodeJS.ErrnoException);
    });
    await once(server.close(), 'close');
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

// Debian keeps it out of a user's PATH.
function findNginx(): string {
  const dirs = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  const file = dirs.map((dir) => join(dir, 'nginx')).find((each) => existsSync(each));
  if (file === undefined) {
    throw new SharderError(
      'settings',
      'nginx: there is none on the PATH or in /usr/sbin; install it (`apt install nginx`, `brew install nginx`), or run without --nginx',
    );
  }
  return file;
}
