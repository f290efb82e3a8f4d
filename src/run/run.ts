// Copies of a program, and before them a router that sends each request to the copy of its key. Begun by
// `sharder run`, and by `shardService` in a program itself.

import { SharderError } from '../errors.js';
import type { Front } from './front.js';
import { Guard } from './guard.js';
import { NginxFront } from './nginx.js';
import { COPIES_HOST } from './nginx-config.js';
import { checkOptions, type CheckedOptions, type RunOptions } from './options.js';
import { Output, type OutputStreams } from './output.js';
import { freePorts, isTaken, LOOPBACK, type Loopback } from './probe.js';
import { Router } from './router.js';
import { Shard, type Timings } from './shard.js';

const TIMINGS: Timings = {
  drainMs: 10_000,
  graceMs: 10_000,
  healthEveryMs: 2_000,
  hintMs: 10_000,
};

export interface Surroundings {
  /** Default: those of this process. */
  readonly streams?: OutputStreams;
  readonly timings?: Partial<Timings>;
}

export class Run {
  /** Where the router listens. */
  url = '';
  shards: readonly Shard[] = [];
  /** Rejects if it cannot go on. */
  readonly broken: Promise<never>;
  readonly #options: CheckedOptions;
  readonly #timings: Timings;
  readonly #output: Output;
  readonly #guard = new Guard();
  #front: Front | undefined;
  #stopping: Promise<void> | undefined;
  #break: (error: Error) => void = () => undefined;

  /** Throws `settings` when the options are wrong. */
  constructor(options: RunOptions, { streams = process, timings }: Surroundings = {}) {
    this.#options = checkOptions(options);
    this.#timings = { ...TIMINGS, ...timings };
    const { names, nginx } = this.#options;
    this.#output = new Output(nginx ? [...names, 'nginx'] : names, streams);
    this.broken = new Promise((_resolve, reject) => (this.#break = reject));
    this.broken.catch(() => undefined);
  }

  /**
   * Starts the router, so that a port that is taken is known at once, then the copies; resolves when all
   * run, before they listen. Rejects with `settings` if the port or the program cannot be had.
   */
  async start(): Promise<void> {
    try {
      const { names, command, health, nginx } = this.#options;
      const hosts: readonly Loopback[] = nginx ? [COPIES_HOST] : LOOPBACK;
      this.shards = names.map((name, index) => {
        const facts = { name, index, count: names.length, hosts };
        const [timings, output, guard] = [this.#timings, this.#output, this.#guard];
        return new Shard({ ...facts, command, health, timings, output, guard });
      });
      // nginx's configuration has them in it.
      if (nginx) this.#setPorts(await this.#portsAfterOwn());
      this.#front = this.#createFront();
      this.url = await this.#front.listen();
      // No sooner, for they are held by nobody, and the router's may be any that is free.
      if (!nginx) this.#setPorts(await freePorts(names.length));
      await Promise.all(this.shards.map((shard) => shard.start()));
    } catch (error) {
      await this.stop();
      throw error;
    }
    const ready = Promise.all(this.shards.map((shard) => shard.ready));
    void ready.then(() => {
      const pids = this.shards.map(({ name, pid }) => `${name} (pid ${pid ?? ''})`).join(', ');
      if (!this.#stopping) this.#output.announce(`listens on ${this.url} for ${pids}`);
    });
  }

  /** Resolves when all copies have served. */
  async ready(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.ready));
  }

  /**
   * Takes no new requests, lets those end that run, then ends the copies, and all within bounds of time.
   * Leaves nothing behind.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Ends all at once. */
  async kill(): Promise<void> {
    for (const shard of this.shards) shard.kill();
    await this.#front?.close();
  }

  say(text: string): void {
    this.#output.say(text);
  }

  async #stop(): Promise<void> {
    await this.#front?.drain(this.#timings.drainMs);
    await Promise.all(this.shards.map((shard) => shard.stop()));
    await this.#front?.close();
    this.#guard.close();
  }

  #createFront(): Front {
    const { host, port, pattern, nginx, urlPattern, trustedProxies } = this.#options;
    if (!nginx) return new Router({ host, port, pattern, targets: this.shards, trustedProxies });
    return new NginxFront({
      ...{ host, port, urlPattern, targets: this.shards, trustedProxies },
      drainSeconds: Math.ceil(this.#timings.drainMs / 1_000),
      output: this.#output,
      guard: this.#guard,
      onEnd: (why) => {
        this.#break(new SharderError('unreachable', `${why}; all was stopped`));
      },
    });
  }

  #setPorts(ports: readonly number[]): void {
    for (const [i, shard] of this.shards.entries()) shard.port = ports[i] ?? 0;
  }

  // nginx hashes over the copies' ports: so that each key has the same copy in every run, they are those
  // after its own.
  async #portsAfterOwn(): Promise<number[]> {
    const { port, shards } = this.#options;
    if (port === 0 || port + shards > 65_535) {
      throw new SharderError(
        'settings',
        `port: ${port}: with --nginx the copies listen on the ports after it, so it must be from 1 to ${65_535 - shards}`,
      );
    }
    const ports = Array.from({ length: shards }, (_, i) => port + 1 + i);
    for (const each of ports) {
      if (!(await isTaken(each))) continue;
      throw new SharderError(
        'settings',
        `port: with --nginx the copies listen on the ports after ${port}, but another program listens on ${each}: stop it, or give another --port`,
      );
    }
    return ports;
  }
}
