// One copy of the program: started with what it must know, watched, and started again when it ends.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import { BackOff } from './back-off.js';
import { endGroup, signalGroup } from './group.js';
import type { Guard } from './guard.js';
import type { Output } from './output.js';
import { askHealth, findListener, isTaken, type Loopback } from './probe.js';

const LOOK_EVERY_MS = 50;
const FAILURES = 3;
const LAST_WORDS_MS = 1_000;

/** How long things take. */
export interface Timings {
  /** Running requests may take so long when all is stopped. */
  readonly drainMs: number;
  /** A copy may take so long to end. */
  readonly graceMs: number;
  readonly healthEveryMs: number;
  /** Whoever does not listen after that may not know where. */
  readonly hintMs: number;
}

export interface ShardOptions {
  readonly name: string;
  readonly index: number;
  readonly count: number;
  /** Where it is looked for. */
  readonly hosts: readonly Loopback[];
  readonly command: readonly string[];
  readonly health: string | undefined;
  readonly timings: Timings;
  readonly output: Output;
  readonly guard: Guard;
}

/** Why a copy cannot serve now, and after how many seconds it may. */
export interface Trouble {
  readonly what: string;
  readonly retryAfter: number;
}

type State = 'starting' | 'up' | 'unwell' | 'ended' | 'stopped';

export class Shard {
  readonly name: string;
  /** Its own; to be set before it is started. */
  port = 0;
  /** Where it listens. */
  host: Loopback = '127.0.0.1';
  /** Resolves when it serves for the first time. */
  readonly ready: Promise<void>;
  readonly #options: ShardOptions;
  readonly #backOff = new BackOff();
  readonly #stop = new AbortController();
  #setReady: () => void = () => undefined;
  #state: State = 'starting';
  #startsAgainAt = 0;
  #child: ChildProcess | undefined;
  /** The life of the copy that there is now, and its end. */
  #living: Promise<void> = Promise.resolve();

  constructor(options: ShardOptions) {
    this.#options = options;
    this.name = options.name;
    this.ready = new Promise((resolve) => (this.#setReady = resolve));
  }

  /** Why it cannot serve now; undefined while it can. */
  get trouble(): Trouble | undefined {
    switch (this.#state) {
      case 'up':
        return undefined;
      case 'starting':
        return { what: `${this.name} is starting`, retryAfter: 1 };
      case 'unwell':
        return { what: `${this.name} fails its health check`, retryAfter: 1 };
      case 'ended': {
        const seconds = Math.ceil((this.#startsAgainAt - performance.now()) / 1_000);
        const what = `${this.name} has ended and is started again`;
        return { what, retryAfter: Math.max(1, seconds) };
      }
      case 'stopped':
        return { what: `${this.name} is stopping`, retryAfter: 1 };
    }
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts it; rejects with `settings` when there is no such program. From then on it is kept running. While
   * another program has its port, it waits as one that has ended.
   */
  async start(): Promise<void> {
    const first = this.#spawn();
    await first.catch((error: unknown) => {
      const failed = error as NodeJS.ErrnoException;
      if (this.#isStopped() || failed.code === 'EADDRINUSE') return;
      throw new SharderError('settings', this.#cannotStart(failed), { cause: error });
    });
    this.#living = this.#keep(first);
  }

  /** SIGTERM to it and all that it has started, SIGKILL after the time of grace; resolves at its end. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#stop.abort();
    const { pid } = this;
    if (pid !== undefined && (await endGroup(pid, this.#options.timings.graceMs))) {
      this.#options.output.say(`${this.name} (pid ${pid}) did not end at SIGTERM, and was killed`);
    }
    await this.#living;
  }

  /** Ends it and all that it has started at once. */
  kill(): void {
    this.#state = 'stopped';
    this.#stop.abort();
    if (this.pid !== undefined) signalGroup(this.pid, 'SIGKILL');
  }

  // No getter: its answer may change between two looks.
  #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  // Rejects when it cannot be: for some reasons `spawn` throws, for others it emits `error`.
  async #spawn(): Promise<ChildProcess> {
    const { name, index, count, command } = this.#options;
    const [file = '', ...args] = command;
    // Whoever listens there would be taken for it, and get its requests.
    if (await isTaken(this.port)) throw Object.assign(new Error(), { code: 'EADDRINUSE' });
    this.#stop.signal.throwIfAborted();
    this.#state = 'starting';
    // A group of its own: Ctrl-C is ours to pass on, and all that it starts can be told at once.
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PORT: String(this.port),
        SHARD_INDEX: String(index),
        NUM_SHARDS: String(count),
        HOSTNAME: name,
      },
    });
    this.#child = child;
    await once(child, 'spawn');
    return child;
  }

  // Until it is stopped, one copy after the other.
  async #keep(next: Promise<ChildProcess>): Promise<void> {
    const { output } = this.#options;
    for (; ; next = this.#spawn()) {
      const started = performance.now();
      let child: ChildProcess | undefined;
      let why: string | undefined;
      try {
        child = await next;
        await this.#live(child);
      } catch (error) {
        why = this.#cannotStart(error as NodeJS.ErrnoException);
      }
      this.#child = undefined;
      if (this.#isStopped()) return;
      if (why !== undefined) output.say(why);
      const waitMs = this.#backOff.after(performance.now() - started);
      this.#state = 'ended';
      this.#startsAgainAt = performance.now() + waitMs;
      output.say(`${this.name} ${endOf(child)}; it starts again in ${waitMs / 1_000} s`);
      await sleep(waitMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      if (this.#isStopped()) return;
    }
  }

  // From its start to the end of all that it has started.
  async #live(child: ChildProcess): Promise<void> {
    const { output, guard, timings } = this.#options;
    const { pid = 0, stdout, stderr } = child;
    guard.add(pid);
    const told = Promise.allSettled([
      stdout && output.follow(this.name, stdout, 'stdout'),
      stderr && output.follow(this.name, stderr, 'stderr'),
    ]);
    const end = new AbortController();
    void this.#watch(AbortSignal.any([end.signal, this.#stop.signal]));
    await once(child, 'exit');
    end.abort();
    if (!this.#isStopped()) {
      this.#state = 'ended';
      this.#startsAgainAt = performance.now();
      // What it has left behind may hold its port.
      await endGroup(pid, timings.graceMs);
    }
    guard.delete(pid);
    // Its last words come first; whoever has left the group may hold the pipe for ever.
    await Promise.race([told, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
  }

  async #watch(end: AbortSignal): Promise<void> {
    const { hosts, health, output, timings } = this.#options;
    const { port } = this;
    const wait = (ms: number) => sleep(ms, undefined, { signal: end }).catch(() => undefined);
    let why: string | undefined; // it is not well; undefined while nobody listens, too
    const hint = setTimeout(() => {
      output.say(
        why === undefined
          ? `${this.name} runs, but nobody serves on its port ${port}: the program has to listen on the PORT of its environment`
          : `${this.name} listens on its port ${port}, but ${why}: it gets no requests until that is answered with 2xx or 3xx`,
      );
    }, timings.hintMs);
    end.addEventListener('abort', () => {
      clearTimeout(hint);
    });
    let failures = 0;
    while (!end.aborted) {
      const host = this.#state === 'starting' ? await findListener(hosts, port) : this.host;
      const isThere = host !== undefined;
      if (isThere) this.host = host;
      why = isThere && health !== undefined ? await askHealth(host, port, health) : undefined;
      // It may have ended meanwhile.
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition
      if (end.aborted) return;
      if (isThere && why === undefined) {
        if (this.#state === 'unwell') output.say(`${this.name} is well again`);
        clearTimeout(hint);
        this.#state = 'up';
        failures = 0;
        this.#setReady();
        if (health === undefined) return;
      } else if (this.#state === 'up' && ++failures >= FAILURES) {
        this.#state = 'unwell';
        output.say(
          `${this.name} (pid ${this.pid ?? ''}) ${why ?? ''}, ${FAILURES} times in a row: its keys get 503. It is not ended: kill it, and it starts again`,
        );
      }
      await wait(isThere ? timings.healthEveryMs : LOOK_EVERY_MS);
    }
  }

  #cannotStart({ code = '', message }: NodeJS.ErrnoException): string {
    const [file = ''] = this.#options.command;
    if (code === 'EADDRINUSE') {
      return `${this.name} cannot be started: another program has its port ${this.port}`;
    }
    if (code === 'ENOENT') {
      return `${JSON.stringify(file)} cannot be started: there is no such program here or on the PATH`;
    }
    return `${JSON.stringify(file)} cannot be started: ${
      code === 'EACCES' ? 'it may not be executed (chmod +x?)' : message
    }`;
  }
}

function endOf(child: ChildProcess | undefined): string {
  if (!child) return 'is not there';
  const { pid = 0, exitCode, signalCode } = child;
  return `(pid ${pid}) ${signalCode === null ? `ended with code ${exitCode ?? ''}` : `was ended by ${signalCode}`}`;
}
