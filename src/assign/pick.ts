// How a kind picks the buckets of new objects.

import type { Candidate } from '../store/engine.js';
import type { KindSettings } from '../store/kind-settings.js';
import { pickEmptiest } from './emptiest.js';
import { pickRamped } from './ramp.js';

/** The buckets for the next `count` objects, in order; fewer when the room runs out. */
export function pickBuckets(
  candidates: readonly Candidate[],
  count: number,
  { ramp }: Pick<KindSettings, 'ramp'>,
): string[] {
  return ramp === null ? pickEmptiest(candidates, count) : pickRamped(candidates, count, ramp);
}
