// What happens to a kind, from a place on and for as long as somebody listens.

import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError } from '../errors.js';
import {
  parsePlace,
  placeNow,
  type EventPage,
  type EventPlace,
  type KindEvent,
} from '../store/events.js';
import type { Ticker } from './ticker.js';

const TRY_AGAIN_AFTER_MS = 1_000;

export interface FollowOptions {
  /** The place from which on to tell; without it, from now on. */
  readonly since?: string | undefined;
  /** End when everything is told. */
  readonly once?: boolean | undefined;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Whether something comes to a bucket, leaves it or is done to it, or ends its kind. */
export function concerns({ action, from_bucket, to_bucket }: KindEvent, bucket: string): boolean {
  return from_bucket === bucket || to_bucket === bucket || action === 'kind remove';
}

/**
 * The events of a kind in pages, each once and in order; the first page at once, though it be empty. Ends
 * with the kind. While the database cannot be used it waits. Throws, first of all, `unknown_kind`,
 * `bad_request`, `forgotten` or a `database_…` code; and later `forgotten`, when it comes too late.
 */
export async function* follow(
  ticker: Ticker,
  kind: string,
  { since, once = false, signal }: FollowOptions,
): AsyncGenerator<EventPage> {
  const begin = since === undefined ? await placeNow(ticker.database, kind) : parsePlace(since);
  let page = await ticker.page(kind, begin);
  for (;;) {
    const end = page.events.findIndex(({ action }) => action === 'kind remove') + 1;
    if (end > 0) {
      yield { ...page, events: page.events.slice(0, end) };
      return;
    }
    yield page;
    const { next, isLast, isGone } = page;
    if (isLast && (once || isGone)) return;
    if (isLast) await ticker.wait(kind, next.version, signal);
    const following = await readOn(ticker, kind, next, signal);
    if (!following) return;
    page = following;
  }
}

// Undefined when `signal` was aborted.
async function readOn(
  ticker: Ticker,
  kind: string,
  place: EventPlace,
  signal: AbortSignal,
): Promise<EventPage | undefined> {
  while (!signal.aborted) {
    try {
      return await ticker.page(kind, place);
    } catch (error) {
      const mayPass = error instanceof SharderError && error.code.startsWith('database_');
      if (!mayPass) throw error;
      await sleep(TRY_AGAIN_AFTER_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}
