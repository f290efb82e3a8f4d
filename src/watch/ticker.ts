// Asks the database for all who watch, so that it costs the same whether one does or a thousand: one
// question for each kind that is watched, five times a second, and one read of each page.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../store/database.js';
import {
  eventsPage,
  formatPlace,
  readVersion,
  type EventPage,
  type EventPlace,
} from '../store/events.js';
import { inTime } from '../store/in-time.js';

const EVERY_MS = 200;
const PAGE_SIZE = 500;
const PAGE_TIMEOUT_MS = 8_000;

/** Somebody who has read everything, and waits for more. */
interface Waiter {
  /** The version up to which they have read. */
  readonly version: number;
  readonly wake: () => void;
}

interface Watched {
  readonly waiters: Set<Waiter>;
  /** Those that were read since the last tick, by their beginning. */
  readonly pages: Map<string, Promise<EventPage>>;
}

/** One per process and database. It asks nothing while nobody watches. */
export class Ticker {
  readonly database: Database;
  readonly #kinds = new Map<string, Watched>();

  constructor(database: Database) {
    this.database = database;
  }

  /** The page behind a place, as `eventsPage` has it; shared by all who ask for it at about the same time. */
  page(kind: string, after: EventPlace): Promise<EventPage> {
    const { pages } = this.#watched(kind);
    const key = formatPlace(after);
    let page = pages.get(key);
    if (!page) {
      page = inTime(eventsPage(this.database, kind, after, PAGE_SIZE), PAGE_TIMEOUT_MS);
      pages.set(key, page);
    }
    return page;
  }

  /** Resolves when the kind has another version than this one, or is no more, or `signal` is aborted. */
  async wait(kind: string, version: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { waiters } = this.#watched(kind);
    await new Promise<void>((resolve) => {
      const waiter = {
        version,
        wake: () => {
          waiters.delete(waiter);
          signal.removeEventListener('abort', waiter.wake);
          resolve();
        },
      };
      waiters.add(waiter);
      signal.addEventListener('abort', waiter.wake);
    });
  }

  #watched(kind: string): Watched {
    let watched = this.#kinds.get(kind);
    if (!watched) {
      watched = { waiters: new Set(), pages: new Map() };
      this.#kinds.set(kind, watched);
      void this.#tick(kind, watched);
    }
    return watched;
  }

  async #tick(kind: string, { waiters, pages }: Watched): Promise<void> {
    do {
      await sleep(EVERY_MS);
      pages.clear();
      if (waiters.size === 0) continue;
      try {
        const version = await readVersion(this.database, kind);
        for (const waiter of waiters) if (waiter.version !== version) waiter.wake();
      } catch {
        // They are told what has happened when the database is back.
      }
    } while (waiters.size + pages.size > 0);
    this.#kinds.delete(kind);
  }
}
