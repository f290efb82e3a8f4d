// Workers renew their leases. Nothing costs a service with many workers as much, so those that come at about
// the same time are renewed together: one commit for all.

import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import type { Database } from '../store/database.js';
import { getKind } from '../store/kinds.js';
import { lockLeases, readClock, renewLease, type Said } from '../store/leases.js';
import { readGranted, type Granted } from './granted.js';
import { isDue } from './tidy.js';

/** A lease that is to be renewed, and what its holder says with it. */
export interface Renewal extends Said {
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
}

export interface Renewed {
  readonly granted: Granted;
  /** Whether something has to be done for all of the kind, which takes its lock. */
  readonly isDue: boolean;
}

/** Renews a lease, if it runs; undefined: it does not. */
export type Renew = (kind: string, renewal: Renewal) => Promise<Renewed | undefined>;

// Takes no lock of the kind.
async function renewAll(
  database: Database,
  kind: string,
  renewals: readonly Renewal[],
): Promise<(Renewed | undefined)[]> {
  return database.write(async (trx) => {
    if (renewals.length > 1) {
      const buckets = renewals.map(({ bucket }) => bucket);
      await lockLeases(trx, kind, buckets);
    }
    const now = await readClock(trx);
    const renewed = new Set<Renewal>();
    for (const each of renewals) {
      if (await renewLease(trx, kind, each.bucket, each, each, now)) renewed.add(each);
    }
    if (renewed.size === 0) return renewals.map(() => undefined);
    const row = await getKind(trx, kind);
    const buckets = [...renewed].map(({ bucket }) => bucket);
    const granted = await readGranted(trx, row, buckets, now, false);
    const isAnyDue = await isDue(trx, row, now);
    let isFirst = true;
    return renewals.map((each) => {
      const mine = renewed.has(each) ? granted.get(each.bucket) : undefined;
      if (!mine) return undefined;
      // What is due for all is done once; who has no place waits for that.
      const isMine = isAnyDue && (isFirst || mine.index === null);
      isFirst = false;
      return { granted: mine, isDue: isMine };
    });
  });
}

/** See `Renew`; in a transaction of its own. */
export async function renewAlone(
  database: Database,
  kind: string,
  renewal: Renewal,
): Promise<Renewed | undefined> {
  const [renewed] = await renewAll(database, kind, [renewal]);
  return renewed;
}

const TOGETHER_MS = 50;

interface Waiting {
  readonly renewal: Renewal;
  readonly resolve: (renewed: Renewed | undefined | Promise<Renewed | undefined>) => void;
}

/** Renews together what comes within a twentieth of a second. One per process and database. */
export class Renewals {
  readonly #database: Database;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(database: Database) {
    this.#database = database;
  }

  readonly renew: Renew = (kind, renewal) =>
    new Promise((resolve) => {
      const waiting = this.#waiting.get(kind);
      if (waiting) waiting.push({ renewal, resolve });
      else {
        this.#waiting.set(kind, [{ renewal, resolve }]);
        void this.#renewSoon(kind);
      }
    });

  async #renewSoon(kind: string): Promise<void> {
    await sleep(TOGETHER_MS);
    const waiting = this.#waiting.get(kind) ?? [];
    this.#waiting.delete(kind);
    const all = renewAll(
      this.#database,
      kind,
      waiting.map(({ renewal }) => renewal),
    );
    try {
      const renewed = await all;
      waiting.forEach(({ resolve }, i) => {
        resolve(renewed[i]);
      });
    } catch (error) {
      // What one of them says may be what the database will not have.
      const isAlone = waiting.length === 1 || isOfDatabase(error);
      for (const { renewal, resolve } of waiting) {
        resolve(isAlone ? all.then(() => undefined) : renewAlone(this.#database, kind, renewal));
      }
    }
  }
}

function isOfDatabase(error: unknown): boolean {
  return error instanceof SharderError && error.code.startsWith('database_');
}
