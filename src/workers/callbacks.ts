// Tells workers over HTTP which objects are theirs, for programs in any language: POST /sm/admin/add-shard
// and /sm/admin/drop-shard at the URL of their bucket, as entertainment-venue/sm does. A 2xx is the
// acknowledgement; whatever else is tried again.

import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import type { Database } from '../store/database.js';
import { readClock, toTime } from '../store/leases.js';
import { ownedPage, type Spec } from '../store/specs.js';
import { acknowledge } from './hand-over.js';

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
  readonly onRefused: (worker: { kind: string; bucket: string; url: string }, why: unknown) => void;
}

/** Calls workers while `mayCall` says so; one per process and database. */
export class Callbacks {
  readonly #database: Database;
  readonly #mayCall: () => boolean;
  readonly #events: CallbackEvents;
  readonly #stop = new AbortController();
  readonly #calling = new Map<string, Promise<void>>();
  // Of workers that have refused something.
  readonly #pauses = new Map<string, Pause>();
  #loop: Promise<void> | undefined;

  constructor(database: Database, mayCall: () => boolean, events: CallbackEvents) {
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
  }

  async #tell(worker: Called, key: string): Promise<void> {
    const { after = '', ms = FIRST_WAIT_MS / 2 } = this.#pauses.get(key) ?? {};
    const longer = Math.min(ms * 2, LONGEST_WAIT_MS);
    const pause = (next: string, ms: number): void => {
      this.#pauses.set(key, { until: performance.now() + ms, ms, after: next });
    };
    try {
      const first = await this.#pass(worker, after);
      const isRound = first.refusal === undefined && after !== '';
      const { next, refusal, taken } = isRound ? await this.#pass(worker, '') : first;
      if (refusal === undefined) {
        this.#pauses.delete(key);
        return;
      }
      pause(next, first.taken + taken > 0 ? FIRST_WAIT_MS : longer);
      this.#events.onRefused(worker, refusal);
    } catch (error) {
      pause(after, longer);
      const isLost = error instanceof SharderError && error.code === 'lease_lost';
      if (!isLost) this.#events.onRefused(worker, error);
    }
  }

  // Tells all that is pending, from a name on. What the worker refuses keeps nothing else from it; but
  // where it refuses a whole page it is probably down.
  async #pass(worker: Called, after: string): Promise<Pass> {
    const { kind, bucket } = worker;
    let refusal: unknown;
    let taken = 0;
    let last = after;
    for (;;) {
      const how = { isPending: true, limit: BATCH_SIZE, after: last };
      const page = await this.#database.read((knex) => ownedPage(knex, kind, bucket, how));
      const isOver = !this.#mayCall() || this.#stop.signal.aborted;
      if (page.length === 0 || isOver) return { next: '', refusal, taken };
      const told = await Promise.allSettled(page.map((spec) => tell(worker, spec)));
      const done = page.filter((_, i) => told[i]?.status === 'fulfilled');
      await this.#note(worker, done);
      taken += done.length;
      refusal ??= told.find((each) => each.status === 'rejected')?.reason;
      last = page.length < BATCH_SIZE ? '' : (page.at(-1)?.name ?? '');
      if (last === '' || done.length === 0) return { next: last, refusal, taken };
    }
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

// Who is meant is said too: somebody else may listen there by now.
async function tell(
  { kind, bucket, holder, url }: Called,
  { name, spec, epoch, state }: Spec,
): Promise<void> {
  const what = state === 'adding' ? 'add-shard' : 'drop-shard';
  const answer = await fetch(`${url}/sm/admin/${what}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ id: name, spec, epoch, kind, bucket, holder }),
    redirect: 'error',
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  await answer.body?.cancel();
  if (!answer.ok)
    throw new Error(`${what} of ${JSON.stringify(name)}: it answered ${answer.status}`);
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
      .distinct<(Omit<Called, 'epoch'> & { epoch: number | string })[]>(
        'l.kind',
        'l.bucket',
        'l.holder',
        'l.epoch',
        'b.url',
      );
    return rows.map((row) => ({ ...row, epoch: Number(row.epoch) }));
  });
}
