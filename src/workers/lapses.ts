// Which workers have been silent for too long, and when so many are that something else must be wrong. A
// pure function; the time is the database's, in milliseconds.

import { isKept, type Held } from './claim.js';

/** Workers that lapse within so long have vanished at once. */
const AT_ONCE_MS = 60_000;

export interface LapseSettings {
  readonly graceMs: number;
  /** In percent; null: never. */
  readonly breaker: number | null;
  /** When others have lapsed of late. */
  readonly lapses: readonly number[];
  /** Whether nothing might move until now; and when that ended last. */
  readonly wasHalted: boolean;
  readonly resumedAt: number | null;
}

export interface Lapses<T extends Held> {
  /** Those whose leases end for good. */
  readonly lapsing: readonly T[];
  /** Those that still have their places. */
  readonly kept: readonly T[];
  /** Whether nothing may move: more than `breaker` percent of the workers, two at least, are gone. */
  readonly isHalted: boolean;
  /** As in `LapseSettings`, for the next time. */
  readonly lapses: readonly number[];
  readonly resumedAt: number | null;
}

/**
 * Judges all leases of a kind. A network that is cut looks like workers that die; so where too many are
 * silent at once their leases wait, until enough of them are back or somebody releases them. Then the others
 * have the grace once more.
 */
export function judgeLapses<T extends Held>(
  leases: readonly T[],
  { graceMs, breaker, lapses, wasHalted, resumedAt }: LapseSettings,
  now: number,
): Lapses<T> {
  const recent = lapses.filter((at) => now - at < AT_ONCE_MS);
  const silent = leases.filter(({ expiresAt }) => expiresAt <= now).length;
  const vanished = silent + recent.length;
  const isHalted =
    breaker !== null &&
    silent > 0 &&
    vanished >= 2 &&
    vanished > ((leases.length + recent.length) * breaker) / 100;
  if (isHalted) return { lapsing: [], kept: leases, isHalted, lapses: recent, resumedAt };
  const since = wasHalted ? now : resumedAt;
  const kept = leases.filter(({ expiresAt }) =>
    isKept({ expiresAt: Math.max(expiresAt, since ?? 0) }, graceMs, now),
  );
  const lapsing = leases.filter((each) => !kept.includes(each));
  const all = [...recent, ...lapsing.map(() => now)];
  return { lapsing, kept, isHalted, lapses: all, resumedAt: since };
}
