// What a connection that is dead without a word would have to be waited for.

import { setTimeout as sleep } from 'node:timers/promises';
import { unavailable } from './postgres-errors.js';

/** What `work` resolves with; rejects with `database_unavailable` where that takes longer. */
export async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const done = new AbortController();
  const late = sleep(timeoutMs, undefined, { signal: done.signal }).then(() => {
    throw unavailable();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}
