// What a connection that is dead without a word would have to be waited for.

import { setTimeout as sleep } from 'node:timers/promises';
import type { SharderError } from '../errors.js';
import { unavailable } from './postgres-errors.js';

/** What `work` resolves with; rejects with `late`, or `database_unavailable`, where that takes longer. */
export async function inTime<T>(
  work: Promise<T>,
  timeoutMs: number,
  late: () => SharderError = unavailable,
): Promise<T> {
  const done = new AbortController();
  const over = sleep(timeoutMs, undefined, { signal: done.signal }).then(() => {
    throw late();
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    done.abort();
  }
}
