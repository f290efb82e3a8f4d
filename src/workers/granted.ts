// What a worker is told of its lease.

import type { Knex } from 'knex';
import type { KindRow } from '../store/kinds.js';
import { readHeld, toTime, type HeldLease } from '../store/leases.js';
import { nextPlacing, type PlaceSettings } from './claim.js';

/** What a worker is told with every answer. */
export interface Granted {
  readonly kind: string;
  readonly bucket: string;
  readonly holder: string;
  readonly epoch: number;
  /** In seconds, as it asked for. */
  readonly ttl: number;
  readonly expires_at: string;
  readonly index: number | null;
  readonly count: number;
  /** The kind's. */
  readonly version: number;
  /** In so many seconds it should come again. */
  readonly renew_in: number;
  /** Whether the lease is new. */
  readonly is_new: boolean;
  /** Whether there are objects that it is to begin or to stop. */
  readonly is_pending: boolean;
  /** Signs the calls to it. Only in the answer to the claim that took the lease, if it is called. */
  readonly secret?: string | undefined;
}

export function placeSettings({ settings }: Pick<KindRow, 'settings'>): PlaceSettings {
  return { reshardMs: settings.reshard_interval * 1_000, graceMs: settings.grace * 1_000 };
}

const SOONEST_MS = 100;
// Where there might be one by the time, but not yet: another worker has to be heard of first.
const BLOCKED_MS = 1_000;

/** What the holders of these leases are told, by their buckets. */
export async function readGranted(
  knex: Knex,
  row: KindRow,
  buckets: readonly string[],
  now: number,
  is_new: boolean,
): Promise<Map<string, Granted>> {
  const held = await readHeld(knex, row.name, buckets);
  return new Map(held.map((lease) => [lease.bucket, toGranted(row, lease, now, is_new)]));
}

function toGranted(row: KindRow, lease: HeldLease, now: number, is_new: boolean): Granted {
  const { bucket, holder, epoch, place, ttlMs, expiresAt, isPending } = lease;
  // One that waits for a place comes when there may be one.
  const leftMs = nextPlacing(row, placeSettings(row)) - now;
  const waitMs = place !== null ? Infinity : leftMs > 0 ? leftMs : BLOCKED_MS;
  return {
    ...{ kind: row.name, bucket, holder, epoch },
    ttl: ttlMs / 1_000,
    expires_at: toTime(expiresAt),
    index: place,
    count: row.places,
    version: row.version,
    renew_in: Math.max(SOONEST_MS, Math.min(ttlMs / 3, waitMs)) / 1_000,
    is_new,
    is_pending: isPending,
  };
}
