// Keeps the lease of a worker: takes it, renews it in time, and knows by its own clock when it can no
// longer be sure of it.

import { setTimeout as sleep } from 'node:timers/promises';
import type { BucketSettings } from '../store/buckets.js';
import type { WorkerSays } from '../store/leases.js';
import type { Granted } from '../workers/granted.js';
import { SharderError } from '../errors.js';

/** Where leases are had: of a service, or of the database itself. */
export interface Leases {
  claim(
    claim: {
      readonly holder: string;
      readonly ttl: number;
      readonly epoch?: number | undefined;
      /** The place by which it goes. */
      readonly index?: number | null | undefined;
    } & WorkerSays &
      BucketSettings,
  ): Promise<Granted>;
  release(lease: { readonly holder: string; readonly epoch: number }): Promise<unknown>;
}

export interface KeeperOptions {
  readonly leases: Leases;
  readonly holder: string;
  /** In seconds. */
  readonly ttl: number;
  /** How often it is renewed at least, in seconds; default: as the service says. */
  readonly every?: number;
  /** What the worker says of itself now. */
  readonly says?: () => WorkerSays & BucketSettings;
}

export interface KeeperEvents {
  /** The lease is held, as of now. */
  readonly onHeld: (lease: Granted) => void;
  /** It is not held any more, or nobody can know: whoever works by it must stop now. */
  readonly onLost: (why: unknown) => void;
  /** A question has failed; it is asked again. */
  readonly onError: (error: unknown) => void;
}

// Of the time of a lease so much is left unused: for what stops only after it was told, and for a clock
// that goes slower than the database's.
const MARGIN = 0.1;

/**
 * For how many milliseconds a lease is surely held, by the holder's own clock, from when the claim was
 * sent that it was granted for: the service has counted from later on.
 */
export function surelyHeldMs(ttl: number): number {
  return ttl * 1_000 * (1 - MARGIN);
}

/** After a failure it is tried again when so much has passed, or a tenth of the lease if that is less. */
export const AGAIN_MS = 1_000;

const LOOK_MS = 250;
const TOO_LATE = 'the lease could not be renewed in time';

// Neither clock alone will do: one may be set, and the other stands while the machine sleeps.
interface Moment {
  readonly steady: number;
  readonly wall: number;
}

function now(): Moment {
  return { steady: performance.now(), wall: Date.now() };
}

function msSince({ steady, wall }: Moment): number {
  return Math.max(performance.now() - steady, Date.now() - wall);
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #events: KeeperEvents;
  readonly #stop = new AbortController();
  #lease: Granted | undefined;
  // When the request was sent that the lease was granted for: the service has counted from later on.
  #since: Moment = now();
  #isHeld = false;
  #end: NodeJS.Timeout | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: KeeperOptions, events: KeeperEvents) {
    this.#options = options;
    this.#events = events;
  }

  start(): void {
    this.#loop ??= this.#keep();
  }

  /** Whether the lease is surely held at this moment. */
  get isHeld(): boolean {
    return this.#isHeld && this.#leftMs() > 0;
  }

  /** The lease as it was told last; undefined where none is held. */
  get lease(): Granted | undefined {
    return this.isHeld ? this.#lease : undefined;
  }

  /** Renews it no more, and gives it back; or leaves it to its end. */
  async stop({ isReleased = true } = {}): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    clearTimeout(this.#end);
    const lease = this.#lease;
    this.#lease = undefined;
    this.#isHeld = false;
    if (!lease || !isReleased) return;
    await this.#options.leases.release({ holder: lease.holder, epoch: lease.epoch });
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const waitMs = await this.#renew();
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  // Resolves with when to come again.
  async #renew(): Promise<number> {
    const { leases, holder, ttl, every, says } = this.#options;
    const sent = now();
    // What was lost once is not renewed, though the service would: it is taken anew, so that everything that
    // was stopped is begun again, with a new epoch.
    if (!this.isHeld) this.#lose(new Error(TOO_LATE));
    const renewed = this.isHeld ? this.#lease : undefined;
    try {
      const { epoch, index } = renewed ?? {};
      const lease = await leases.claim({ ...says?.(), holder, ttl, epoch, index });
      if (renewed && !this.isHeld) return 0; // lost while the question was on its way
      if (this.#stop.signal.aborted) {
        this.#lease = lease; // which is given back; nobody begins anything with it
        return 0;
      }
      this.#hold(lease, sent);
      return Math.min(lease.renew_in, every ?? Infinity) * 1_000;
    } catch (error) {
      if (error instanceof SharderError && error.code === 'lease_lost') {
        this.#lose(error);
        this.#lease = undefined;
        return 0; // a new one may be had at once
      }
      this.#events.onError(error);
      return Math.min(AGAIN_MS, (ttl * 1_000) / 10);
    }
  }

  #hold(lease: Granted, sent: Moment): void {
    this.#lease = lease;
    this.#since = sent;
    const left = this.#leftMs();
    if (left <= 0) {
      this.#lose(new Error('the answer came when the lease was over'));
      return;
    }
    this.#isHeld = true;
    this.#look();
    this.#events.onHeld(lease);
  }

  // In short steps, for a timer stands while the machine sleeps.
  #look(): void {
    clearTimeout(this.#end);
    const left = this.#leftMs();
    if (left <= 0) this.#lose(new Error(TOO_LATE));
    else {
      this.#end = setTimeout(
        () => {
          this.#look();
        },
        Math.min(left, LOOK_MS),
      );
    }
  }

  #leftMs(): number {
    return surelyHeldMs(this.#options.ttl) - msSince(this.#since);
  }

  #lose(why: unknown): void {
    clearTimeout(this.#end);
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#events.onLost(why);
  }
}
