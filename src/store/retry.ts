// Trying again, for what another writer stood in the way of.

import { setTimeout as sleep } from 'node:timers/promises';

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 25;
const GIVE_UP_AFTER_MS = 5_000;

/**
 * Calls `attempt` until it does not fail in a way that `isTransient` says will pass, waiting
 * between calls 1, 2, 4 … 25 ms, each shortened at random by up to half so that two who collided
 * part. Gives up after five seconds with the last error.
 */
export async function retry<T>(
  attempt: () => T | Promise<T>,
  isTransient: (error: unknown) => boolean,
): Promise<T> {
  const deadline = performance.now() + GIVE_UP_AFTER_MS;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (!isTransient(error) || performance.now() > deadline) throw error;
    }
    await sleep(wait * (0.5 + Math.random() / 2));
  }
}
