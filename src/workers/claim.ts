// Who may have a lease. Pure functions; the time is the database's, in milliseconds.

import { SharderError } from '../errors.js';

/** What a worker asks for. */
export interface Claim {
  /** Who it is: another one for every process. */
  readonly holder: string;
  /** The epoch of the lease that it renews; none: it wants a new one. */
  readonly epoch?: number | undefined;
}

/** A lease as it stands. */
export interface Held {
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
  readonly expiresAt: number;
}

/**
 * Whether a claim renews the lease of a bucket, or takes it. It is renewed by its epoch, until it ends;
 * afterwards it must be taken anew, for somebody else may have had it. It is taken where there is none
 * or it has ended; and by a holder of the same name, which has started again. Throws `lease_lost` or
 * `lease_held`.
 */
export function judge(claim: Claim, held: Held | undefined, now: number): 'renew' | 'take' {
  const isRunning = held !== undefined && now < held.expiresAt;
  if (claim.epoch !== undefined) {
    if (isRunning && held.holder === claim.holder && held.epoch === claim.epoch) return 'renew';
    throw lost(claim.epoch, held, now);
  }
  if (isRunning && held.holder !== claim.holder) {
    throw new SharderError(
      'lease_held',
      `bucket ${held.bucket} is leased to another worker until ${new Date(held.expiresAt).toISOString()}`,
    );
  }
  return 'take';
}

/** The error for a lease that is not that of this epoch any more. */
export function lost(epoch: number, held: Held | undefined, now: number): SharderError {
  const why =
    held?.epoch === epoch && now >= held.expiresAt
      ? `it has ended at ${new Date(held.expiresAt).toISOString()}`
      : held
        ? `it was taken again, with epoch ${held.epoch}`
        : 'nobody has it any more';
  return new SharderError(
    'lease_lost',
    `the lease with epoch ${epoch} is lost: ${why}; stop what it was for, then take a new one (without an epoch)`,
  );
}

/** How places are given; in milliseconds. */
export interface PlaceSettings {
  /** They change so often at most. */
  readonly reshardMs: number;
  /** The place of one whose lease has ended is kept so long. */
  readonly graceMs: number;
}

/** When places were given last, and how many there are. */
export interface LastPlaces {
  readonly placedAt: number | null;
  readonly places: number;
}

/** Whether a place is still kept for the holder of a lease. */
export function isKept(
  { expiresAt }: Pick<Held, 'expiresAt'>,
  graceMs: number,
  now: number,
): boolean {
  return now < expiresAt + graceMs;
}

/** From when on places may be given anew. Where nobody has one, that is at once. */
export function nextPlacing(
  { placedAt, places }: LastPlaces,
  { reshardMs }: PlaceSettings,
): number {
  return places === 0 || placedAt === null ? 0 : placedAt + reshardMs;
}
