// Tells workers over HTTP which objects are theirs, for programs in any language: POST /sm/admin/add-shard
// and /sm/admin/drop-shard at the URL of their bucket, as entertainment-venue/sm does. A 2xx is the
// acknowledgement; anything else is tried again. Each call is signed with the secret of the lease, and goes
// only to the networks that the settings name.

import { setTimeout as sleep } from 'node:timers/promises';
import { signCall, CALL_HEADERS } from '../call-signature.js';
import { SharderError } from '../errors.js';
import type { Database } from '../store/database.js';
import { inTime } from '../store/in-time.js';
import { readClock, toTime } from '../store/leases.js';
import { ownedPage, type Spec } from '../store/specs.js';
import { CallTargets, OutsideNetworks, type CallTarget, type Resolve } from './call-target.js';
import { acknowledge } from './hand-over.js';
import { Poster } from './poster.js';

const EVERY_MS = 250;
const ANSWER_MS = 5_000;
// So many requests to a worker at the same time, which are noted in one transaction.
const BATCH_SIZE = 16;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/** A worker that is to be called. */
interface Called {
  readonly kind: string;
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
  readonly url: string;
  readonly secret: string;
}

/** For how long a worker is left alone, and where to go on then. */
interface Pause {
  readonly until: number;
  readonly ms: number;
  /** The name of an object; '': from the first on. */
  readonly after: string;
}

/** What became of a pass over what a worker is to be told. */
interface Pass {
  readonly next: string;
  /** Undefined: it has refused nothing. */
  readonly refusal: unknown;
  readonly taken: number;
}

export interface CallbackEvents {
  /** A worker did not take what it was told. */
  readonly onRefused: (worker: WorkerAddress, why: unknown) => void;
  /** A worker is not called from now on, because its address is in none of the networks. */
  readonly onBlocked?: (worker: WorkerAddress, why: string) => void;
  /** A worker that was blocked is called again. */
  readonly onUnblocked?: (worker: WorkerAddress) => void;
}

export interface WorkerAddress {
  readonly kind: string;
  readonly bucket: string;
  readonly url: string;
}

export interface CallbackOptions {
  /** Where workers may be called, as the setting `callback_networks` has it. Default: nowhere. */
  readonly networks?: readonly string[];
  /** Looks host names up. Default: as the system does. */
  readonly resolve?: Resolve;
}

/** Calls workers while `mayCall` says so; one per process and database. */
export class Callbacks {
  readonly #database: Database;
  readonly #mayCall: () => boolean;
  readonly #events: CallbackEvents;
  readonly #targets: CallTargets;
  readonly #poster = new Poster(ANSWER_MS);
  readonly #blocked = new Set<string>();
  readonly #stop = new AbortController();
  readonly #calling = new Map<string, Promise<void>>();
  // Of workers that have refused something.
  readonly #pauses = new Map<string, Pause>();
  #loop: Promise<void> | undefined;

  constructor(
    database: Database,
    mayCall: () => boolean,
    events: CallbackEvents,
    { networks = [], resolve }: CallbackOptions = {},
  ) {
    this.#targets = new CallTargets(networks, resolve);
    this.#database = database;
    this.#mayCall = mayCall;
    this.#events = events;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await Promise.all(this.#calling.values());
    this.#poster.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // What fails here fails in the controller too, which says so.
      if (this.#mayCall()) await this.#look().catch(() => undefined);
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const keys = new Set<string>();
    for (const worker of await pendingWorkers(this.#database)) {
      const key = `${worker.kind}/${worker.bucket}/${worker.epoch}`;
      keys.add(key);
      const isPaused = (this.#pauses.get(key)?.until ?? 0) > performance.now();
      if (this.#calling.has(key) || isPaused) continue;
      const calling = this.#tell(worker, key).finally(() => this.#calling.delete(key));
      this.#calling.set(key, calling);
    }
    const gone = [...this.#pauses.keys()].filter((key) => !keys.has(key));
    for (const key of gone) this.#pauses.delete(key);
    const silent = [...this.#blocked].filter((key) => !keys.has(key));
    for (const key of silent) this.#blocked.delete(key);
  }

  async #tell(worker: Called, key: string): Promise<void> {
    const { after = '', ms = FIRST_WAIT_MS / 2 } = this.#pauses.get(key) ?? {};
    const longer = Math.min(ms * 2, LONGEST_WAIT_MS);
    const pause = (next: string, ms: number): void => {
      this.#pauses.set(key, { until: performance.now() + ms, ms, after: next });
    };
    try {
      const target = await inTime(this.#targets.resolve(worker.url), ANSWER_MS);
      if (this.#blocked.delete(key)) this.#events.onUnblocked?.(addressOf(worker));
      const first = await this.#pass(worker, target, after);
      const isRound = first.refusal === undefined && after !== '';
      const { next, refusal, taken } = isRound ? await this.#pass(worker, target, '') : first;
      if (refusal === undefined) {
        this.#pauses.delete(key);
        return;
      }
      pause(next, first.taken + taken > 0 ? FIRST_WAIT_MS : longer);
      this.#events.onRefused(addressOf(worker), refusal);
    } catch (error) {
      if (error instanceof OutsideNetworks) {
        pause(after, longer);
        if (!this.#blocked.has(key)) this.#events.onBlocked?.(addressOf(worker), error.message);
        this.#blocked.add(key);
        return;
      }
      pause(after, longer);
      const isLost = error instanceof SharderError && error.code === 'lease_lost';
      if (!isLost) this.#events.onRefused(addressOf(worker), error);
    }
  }

  // Tells all that is pending, from a name on. What the worker refuses keeps nothing else from it; but
  // where it refuses a whole page it is probably down.
  async #pass(worker: Called, target: CallTarget, after: string): Promise<Pass> {
    const { kind, bucket } = worker;
    let refusal: unknown;
    let taken = 0;
    let last = after;
    for (;;) {
      const how = { isPending: true, limit: BATCH_SIZE, after: last };
      const page = await this.#database.read((knex) => ownedPage(knex, kind, bucket, how));
      const isOver = !this.#mayCall() || this.#stop.signal.aborted;
      if (page.length === 0 || isOver) return { next: '', refusal, taken };
      const told = await Promise.allSettled(page.map((spec) => this.#call(worker, target, spec)));
      const done = page.filter((_, i) => told[i]?.status === 'fulfilled');
      await this.#note(worker, done);
      taken += done.length;
      refusal ??= told.find((each) => each.status === 'rejected')?.reason;
      last = page.length < BATCH_SIZE ? '' : (page.at(-1)?.name ?? '');
      if (last === '' || done.length === 0) return { next: last, refusal, taken };
    }
  }

  // Somebody else may listen there by now: the signature tells the worker that is meant from any other.
  async #call(
    { kind, bucket, epoch: lease, secret }: Called,
    target: CallTarget,
    { name, spec, epoch, state }: Spec,
  ): Promise<void> {
    const what = state === 'adding' ? 'add-shard' : 'drop-shard';
    const path = `${target.url.pathname.replace(/\/$/, '')}/sm/admin/${what}`;
    const body = JSON.stringify({ id: name, spec, epoch, kind, bucket });
    const timestamp = Date.now();
    const signed = { timestamp, epoch: lease, method: 'POST', path, body };
    const status = await this.#poster.post(target, path, body, {
      [CALL_HEADERS.timestamp]: String(timestamp),
      [CALL_HEADERS.epoch]: String(lease),
      [CALL_HEADERS.signature]: signCall(secret, signed),
    });
    if (status >= 200 && status < 300) return;
    throw new Error(`${what} of ${JSON.stringify(name)}: it answered ${status}`);
  }

  async #note({ kind, bucket, holder, epoch }: Called, taken: readonly Spec[]): Promise<void> {
    if (taken.length === 0) return;
    const inState = (state: Spec['state']) =>
      taken
        .filter((each) => each.state === state)
        .map(({ name, epoch: at }) => ({ name, epoch: at ?? 0 }));
    const done = { added: inState('adding'), dropped: inState('dropping') };
    await this.#database.write(
      (trx) => acknowledge(trx, kind, bucket, { holder, epoch }, done),
      kind,
    );
  }
}

// Without its secret, which is for nobody else.
function addressOf({ kind, bucket, url }: Called): WorkerAddress {
  return { kind, bucket, url };
}

// Those that have anything to be told, and whose lease runs: another one has stopped by itself.
async function pendingWorkers(database: Database): Promise<Called[]> {
  return database.read(async (knex) => {
    const [calls] = await knex('lease').where({ calls: true }).limit(1).pluck<string[]>('kind');
    if (calls === undefined) return [];
    const now = await readClock(knex);
    const rows = await knex('spec as p')
      .join('lease as l', (on) => on.on('l.kind', 'p.kind').on('l.bucket', 'p.bucket'))
      .join('bucket as b', (on) => on.on('b.kind', 'p.kind').on('b.name', 'p.bucket'))
      .whereRaw(`p.state in ('adding', 'dropping')`) // as the index has it
      .where('l.calls', true)
      .where('l.expires_at', '>', toTime(now))
      .whereNotNull('b.url')
      .whereNotNull('l.secret')
      .distinct<(Omit<Called, 'epoch'> & { epoch: number | string })[]>(
        'l.kind',
        'l.bucket',
        'l.holder',
        'l.epoch',
        'b.url',
        'l.secret',
      );
    return rows.map((row) => ({ ...row, epoch: Number(row.epoch) }));
  });
}
