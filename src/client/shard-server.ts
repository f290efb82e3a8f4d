// A worker: it is told which objects are its, and begins and stops them. The interface of sm's ShardServer.

import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BucketSettings } from '../store/buckets.js';
import type { WorkerSays } from '../store/leases.js';
import type { Granted } from '../workers/granted.js';
import { SharderClient } from './client.js';
import { Connection } from './connection.js';
import { stepsFor, type Mine, type Told } from './holdings.js';
import { AGAIN_MS, Keeper } from './keeper.js';
import { followRemote } from './watch.js';

export interface ShardServerOptions {
  /** A running service, and a token that may hold leases. */
  readonly url: string;
  readonly token: string;
  /** A leased kind, and the bucket that is this worker's. */
  readonly kind: string;
  readonly bucket: string;
  /**
   * Begins an object. Nobody else has it; `epoch` grows with every owner, so that whatever the object
   * writes to can refuse who comes with an older one. Called again later where it rejects.
   */
  readonly add: (id: string, spec: unknown, epoch: number) => void | Promise<void>;
  /** Stops one. When it resolves another worker may begin it. Called again later where it rejects. */
  readonly drop: (id: string) => void | Promise<void>;
  /** In seconds: so long the objects stay unattended if this process dies, and the kind's grace. Default: 30. */
  readonly ttl?: number;
  /** What the bucket is to be: where it is reached, its weight and capacity. */
  readonly settings?: BucketSettings;
  /** Objects may ask for workers of a group. */
  readonly group?: string;
  /** How much there is to do now, in a unit of one's own; see the kind's `threshold`. */
  readonly load?: () => number;
  /** Whatever others should know. */
  readonly data?: unknown;
}

export interface ShardServerEvents {
  /** The lease is held, and with it whatever objects come. */
  held: [lease: Granted];
  /** The lease is lost, and all objects are being dropped; it is asked for again. */
  lost: [why: unknown];
  /** Something has failed; it is tried again. */
  error: [why: unknown];
}

interface Done {
  readonly name: string;
  readonly epoch: number;
}

/** What was begun and stopped under a lease, and not acknowledged yet. */
interface Unsaid {
  readonly lease: Granted;
  readonly added: Done[];
  readonly dropped: Done[];
}

const PAGE_SIZE = 1_000;
// So many are begun or stopped at the same time.
const MOST_AT_ONCE = 100;
// What comes first is read at once, and what comes then so often at most: where much comes, much together.
const READ_EVERY_MS = 1_000;
const TIMEOUT_MS = 5_000;
// The epoch of what could not be begun until it is stopped: none that anybody is told.
const NOT_BEGUN = -1;

/**
 * Registers this process as a worker, renews its lease, and has `add` and `drop` called for the objects
 * that come and go. A worker that cannot renew its lease drops everything by its own clock, before its
 * lease is over and anybody else can have it.
 */
export class ShardServer extends EventEmitter<ShardServerEvents> {
  readonly #options: ShardServerOptions;
  readonly #client: SharderClient;
  readonly #connection: Connection;
  readonly #keeper: Keeper;
  // Those that it has, each with its epoch.
  readonly #holdings = new Map<string, number>();
  readonly #stop = new AbortController();
  // What runs now for an object: the next thing for it waits until that is over.
  readonly #running = new Map<string, Promise<boolean>>();
  // What is being done as it is told; and whether it was told anew since.
  readonly #settling = new Map<string, 'done' | 'look' | 'look at all'>();
  #slots = MOST_AT_ONCE;
  readonly #waiting: (() => void)[] = [];
  #unsaid: Unsaid | undefined;
  #saying: Promise<void> | undefined;
  #wake: () => void = () => undefined;
  #isWoken = false;
  // Whether all of its objects have to be read, for the lease is new.
  #isAll = true;
  #loops: Promise<unknown> | undefined;

  constructor(options: ShardServerOptions) {
    super();
    this.#options = options;
    const { url, token, ttl = 30, load, group, data, settings } = options;
    // Nobody waits for an answer for longer than the lease lets them.
    const timeoutMs = Math.min(TIMEOUT_MS, (ttl * 1_000) / 3);
    this.#client = new SharderClient({ url, token, attempts: 1, timeoutMs });
    // Nothing comes after a release, which would ask again.
    const patient = new SharderClient({ url, token, timeoutMs });
    this.#connection = new Connection({ url: new URL(url), token });
    const { kind, bucket } = options;
    let isTold = false;
    this.#keeper = new Keeper(
      {
        holder: randomUUID(),
        ttl,
        leases: {
          claim: (claim) => this.#client.claimLease({ kind, bucket, ...claim }),
          release: (lease) => patient.releaseLease({ kind, bucket, ...lease }),
        },
        says: (): WorkerSays & BucketSettings => ({
          ...(load && this.#ask(load)),
          ...(!isTold && { group: group ?? null, data: data ?? null, ...settings }),
        }),
      },
      {
        onHeld: (lease) => {
          isTold = true;
          if (lease.is_new) {
            this.#isAll = true;
            this.emit('held', lease);
          }
          if (lease.is_new || lease.is_pending) this.#look();
        },
        onLost: (why) => {
          isTold = false;
          this.#isAll = true;
          this.emit('lost', why);
          void this.#dropAll();
        },
        onError: (error) => {
          this.#fail(error);
        },
      },
    );
  }

  /** The objects that are its now. */
  get objects(): string[] {
    return [...this.#holdings.keys()];
  }

  /** Whether the lease is surely held: whoever works for an object may ask before each step. */
  get isHeld(): boolean {
    return this.#keeper.isHeld;
  }

  /** Whether an object is surely its, with this epoch. */
  owns(id: string, epoch: number): boolean {
    return this.isHeld && this.#holdings.get(id) === epoch;
  }

  start(): void {
    if (this.#loops) return;
    this.#keeper.start();
    this.#loops = Promise.all([this.#work(), this.#watch()]);
  }

  /** Stops all objects, and gives the lease back: others have them at once, or when it ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#loops;
    while (this.objects.length > 0) {
      const all = await Promise.all(this.objects.map((name) => this.#drop(name)));
      if (all.includes(false)) await sleep(AGAIN_MS);
    }
    await this.#keeper.stop().catch((error: unknown) => {
      this.#fail(error);
    });
  }

  // Whoever cannot say how much there is to do keeps the lease all the same.
  #ask(load: () => number): WorkerSays {
    try {
      return { load: load() };
    } catch (error) {
      this.#fail(error);
      return {};
    }
  }

  #fail(error: unknown): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }

  #look(): void {
    this.#isWoken = true;
    this.#wake();
  }

  async #work(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (!this.#isWoken) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#isWoken = false;
      if (!this.#keeper.isHeld) continue;
      const next = performance.now() + READ_EVERY_MS;
      try {
        await this.#sync();
      } catch (error) {
        this.#fail(error);
        this.#isWoken = true;
      }
      const left = next - performance.now();
      await sleep(Math.max(0, left), undefined, { signal }).catch(() => undefined);
    }
  }

  // What happens to this worker is told at once; what it is, is read.
  async #watch(): Promise<void> {
    const { kind, bucket } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const told = followRemote(this.#connection, kind, { bucket, signal });
        for (let next = await told.next(); !next.done; next = await told.next()) this.#look();
      } catch (error) {
        this.#fail(error);
      }
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  // Reads what is to be done, and begins with it: one object that takes long keeps no other waiting.
  async #sync(): Promise<void> {
    const { kind, bucket } = this.#options;
    const lease = this.#keeper.lease;
    const isAll = this.#isAll;
    const told: Told[] = [];
    let after: string | null | undefined;
    do {
      const page = await this.#client.listOwned({
        ...{ kind, bucket, pending: !isAll, limit: PAGE_SIZE },
        ...(typeof after === 'string' && { after }),
      });
      told.push(...page.items);
      after = isAll ? page.next : null;
      if (!isAll && page.next !== null) this.#isWoken = true;
    } while (after !== null);
    if (lease?.epoch !== this.#keeper.lease?.epoch || !lease) return;
    this.#isAll = false;
    for (const each of told) this.#settle(each.name, each, lease);
    const names = new Set(told.map(({ name }) => name));
    const foreign = isAll ? this.objects.filter((name) => !names.has(name)) : [];
    for (const name of foreign) this.#settle(name, undefined, lease);
  }

  // Has an object be as it is told; undefined: it is not its any more. What is told while it is at it is
  // looked at afterwards.
  #settle(name: string, told: Told | undefined, lease: Granted): void {
    if (this.#settling.has(name)) {
      this.#settling.set(name, told ? 'look' : 'look at all');
      return;
    }
    this.#settling.set(name, 'done');
    void this.#inTurn(() => this.#become(name, told, lease)).then((isDone) => {
      const next = this.#settling.get(name);
      this.#settling.delete(name);
      // What it is to begin or to stop it is told again; of the rest it must ask.
      const isTold = told?.state === 'adding' || told?.state === 'dropping';
      if ((!isDone && !isTold) || next === 'look at all') this.#isAll = true;
      if (!isDone)
        setTimeout(() => {
          this.#look();
        }, AGAIN_MS).unref();
      else if (next !== 'done') this.#look();
    });
  }

  async #inTurn(work: () => Promise<boolean>): Promise<boolean> {
    if (this.#slots === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#slots--;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#slots++;
    }
  }

  // Resolves with whether it is so.
  async #become(name: string, told: Told | undefined, lease: Granted): Promise<boolean> {
    const { drop, add } = stepsFor(this.#holdings.get(name), told);
    if (drop && !(await this.#drop(name))) return false;
    if (add && !(await this.#add(add, lease))) return !this.#isOf(lease);
    if (told?.state === 'adding') this.#say(lease, 'added', told);
    if (told?.state === 'dropping') this.#say(lease, 'dropped', told);
    return true;
  }

  #isOf(lease: Granted): boolean {
    return this.#keeper.lease?.epoch === lease.epoch && !this.#stop.signal.aborted;
  }

  #say(lease: Granted, what: 'added' | 'dropped', { name, epoch }: Told): void {
    if (this.#unsaid?.lease.epoch !== lease.epoch) {
      this.#unsaid = { lease, added: [], dropped: [] };
    }
    this.#unsaid[what].push({ name, epoch: epoch ?? 0 });
    this.#saying ??= this.#sayAll().finally(() => (this.#saying = undefined));
  }

  // What is begun and stopped while an acknowledgement is on its way goes with the next.
  async #sayAll(): Promise<void> {
    const { kind, bucket } = this.#options;
    try {
      while (this.#unsaid && this.#isOf(this.#unsaid.lease)) {
        const { lease, added, dropped } = this.#unsaid;
        const { holder, epoch } = lease;
        const said = { added: added.splice(0, PAGE_SIZE), dropped: dropped.splice(0, PAGE_SIZE) };
        if (said.added.length + said.dropped.length === 0) return;
        await this.#client.acknowledge({ kind, bucket, holder, epoch, ...said });
      }
    } catch (error) {
      this.#fail(error); // what was not taken note of is told again
      setTimeout(() => {
        this.#look();
      }, AGAIN_MS).unref();
    }
  }

  // Resolves with whether it is its now.
  #add({ name, spec, epoch }: Mine, lease: Granted): Promise<boolean> {
    return this.#after(name, async () => {
      if (!this.#isOf(lease)) return false;
      this.#holdings.set(name, epoch); // so that it is dropped whatever happens from here on
      try {
        await this.#options.add(name, spec, epoch);
        return this.#isOf(lease) && this.#holdings.get(name) === epoch;
      } catch (error) {
        this.#fail(error);
        this.#holdings.set(name, NOT_BEGUN);
        await this.#options.drop(name);
        this.#holdings.delete(name);
        return false;
      }
    });
  }

  // Resolves with whether it has stopped.
  #drop(name: string): Promise<boolean> {
    return this.#after(name, async () => {
      if (this.#holdings.get(name) === undefined) return true;
      try {
        await this.#options.drop(name);
        this.#holdings.delete(name);
        return true;
      } catch (error) {
        this.#fail(error);
        return false;
      }
    });
  }

  // One thing after the other for each object.
  #after(name: string, work: () => Promise<boolean>): Promise<boolean> {
    const before = this.#running.get(name) ?? Promise.resolve(true);
    const now = before.then(work, work).catch((error: unknown) => {
      this.#fail(error);
      return false;
    });
    this.#running.set(name, now);
    void now.then(() => {
      if (this.#running.get(name) === now) this.#running.delete(name);
    });
    return now;
  }

  // Again where it fails, until all are stopped; or the lease is held again, and they may be its.
  async #dropAll(): Promise<void> {
    while (!this.isHeld) {
      await Promise.all(this.objects.map((name) => this.#drop(name)));
      if (this.objects.length === 0) return;
      await sleep(AGAIN_MS);
    }
  }
}
