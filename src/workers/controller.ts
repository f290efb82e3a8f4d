// Watches over the workers of all leased kinds: ends the leases of those that are gone, gives places, and
// keeps objects where they belong. One replica does it for all; each round is a transaction under the
// kind's lock, so that two at once would do no harm.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Database } from '../store/database.js';
import { inTime } from '../store/in-time.js';
import { listKindRows, lockKind, type KindRow } from '../store/kinds.js';
import { Leader } from '../store/leader.js';
import { readClock } from '../store/leases.js';
import { hasSpecs } from '../store/specs.js';
import { isDue, tidy } from './tidy.js';
import { balance, placeWaiting, PLACED_AT_ONCE } from './objects.js';

/** What a round has done. */
export interface Round {
  readonly version: number;
  /** How many objects were given to workers, and how many workers were told to stop one. */
  readonly placed: number;
  readonly dropped: number;
  readonly halted: boolean;
  /** Whether all was as it should be. */
  readonly isIdle: boolean;
}

/** Does all that is due for the workers of a kind. Throws `unknown_kind`. */
export async function runRound(trx: Knex.Transaction, kind: string): Promise<Round> {
  const locked = await lockKind(trx, kind);
  const now = await readClock(trx);
  const row = await tidy(trx, locked, now);
  const placed = await placeWaiting(trx, row, now);
  const dropped = await balance(trx, row, now);
  const isIdle = row === locked && placed + dropped === 0;
  return { version: row.version, placed, dropped, halted: row.halted, isIdle };
}

export interface ControllerEvents {
  /** Nothing moves in a kind any more, for too many of its workers are silent; or it does again. */
  readonly onHalt?: (kind: string, isHalted: boolean) => void;
  /** Whether this replica does it, from now on. */
  readonly onLead?: (leads: boolean) => void;
  /** A round has failed; it is tried again. */
  readonly onError: (error: unknown) => void;
}

const EVERY_MS = 1_000;
// Also where nothing was written, for time has passed: objects may move again, workers report other loads.
const AT_LEAST_EVERY_MS = 5_000;
const ANSWER_MS = 8_000;

interface Settled {
  /** The version of the kind in which there was nothing to do. */
  readonly version: number;
  readonly at: number;
}

/** One per process and database. */
export class Controller {
  readonly #database: Database;
  readonly #events: ControllerEvents;
  readonly #leader: Leader;
  readonly #stop = new AbortController();
  readonly #settled = new Map<string, Settled>();
  readonly #halted = new Set<string>();
  #leads = false;
  // What was said of that last: where nobody knows, nothing is.
  #said = false;
  #loop: Promise<void> | undefined;

  constructor(database: Database, events: ControllerEvents) {
    this.#database = database;
    this.#events = events;
    this.#leader = new Leader(database);
  }

  /** Whether this process is the one that does it. */
  get leads(): boolean {
    return this.#leads;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#leader.stop();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.look();
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Does what is due, if this process is the one. */
  async look(): Promise<void> {
    try {
      const leads = await this.#leader.leads();
      this.#leads = leads;
      if (leads !== this.#said) this.#events.onLead?.(leads);
      this.#said = leads;
      if (!leads) return;
    } catch (error) {
      this.#leads = false;
      this.#events.onError(error);
      return;
    }
    try {
      const kinds = await inTime(this.#database.read(listKindRows), ANSWER_MS);
      for (const kind of kinds.filter(({ settings }) => settings.leased)) {
        // One that fails must not hold up the others.
        await this.#lookAt(kind).catch(this.#events.onError);
      }
    } catch (error) {
      this.#events.onError(error);
    }
  }

  async #lookAt(row: KindRow): Promise<void> {
    const kind = row.name;
    if (this.#stop.signal.aborted || !(await this.#isNeeded(row))) return;
    const at = performance.now();
    let round: Round;
    do {
      round = await inTime(this.#round(kind), ANSWER_MS);
      // More may wait than are placed in one transaction.
    } while (round.placed >= PLACED_AT_ONCE);
    if (round.placed + round.dropped === 0) this.#settled.set(kind, { version: round.version, at });
    else this.#settled.delete(kind);
    if (round.halted === this.#halted.has(kind)) return;
    if (round.halted) this.#halted.add(kind);
    else this.#halted.delete(kind);
    this.#events.onHalt?.(kind, round.halted);
  }

  // Where nothing was done nothing is written: the kind's version tells of changes.
  async #round(kind: string): Promise<Round> {
    let idle: Round | undefined;
    const done = this.#database.write(async (trx) => {
      const round = await runRound(trx, kind);
      if (!round.isIdle) return round;
      idle = { ...round, version: round.version - 1 };
      throw new Error('nothing was done');
    }, kind);
    return done.catch((error: unknown) => {
      if (idle) return idle;
      throw error;
    });
  }

  async #isNeeded(row: KindRow): Promise<boolean> {
    const settled = this.#settled.get(row.name);
    return inTime(
      this.#database.read(async (knex) => {
        if (await isDue(knex, row, await readClock(knex))) return true;
        if (!(await hasSpecs(knex, row.name))) return false;
        if (settled?.version !== row.version) return true;
        return performance.now() - settled.at >= AT_LEAST_EVERY_MS;
      }),
      ANSWER_MS,
    );
  }
}
