// What the buckets of a kind's keys are computed from, where its policy is `hash`.

import type { Knex } from 'knex';
import type { BucketState } from './buckets.js';
import { readKindSettings, type KindSettings } from './kind-settings.js';
import { queryRows } from './rows.js';

/** A bucket as the hash of its kind needs it. */
export interface HashTableBucket {
  readonly name: string;
  readonly url: string | null;
  readonly weight: number;
  readonly state: BucketState;
}

/** A kind of the policy `hash`. */
export interface HashTable {
  readonly settings: KindSettings;
  readonly buckets: readonly HashTableBucket[];
  /** The bucket of each key that has a row; undefined where there are too many to hold. */
  readonly pins: ReadonlyMap<string, string> | undefined;
}

/** So many rows are held in memory, and read at once; where a kind has more, each key is looked up. */
export const MAX_PINS = 5_000;

/**
 * Reads a table in one statement, and so at one moment. It has one place for a value, the kind, written
 * as `kind`.
 */
export function selectHashTable(kind: string): string {
  return `
    select cast(k.settings as text) as settings, h.rows, b.name, b.url, b.weight, b.state, s.name as pin
    from kind k
    cross join (select sum(members) as rows from bucket where kind = ${kind}) h
    left join bucket b on b.kind = k.name
    left join shard s on s.kind = b.kind and s.bucket = b.name and h.rows <= ${MAX_PINS}
    where k.name = ${kind} and k.policy = 'hash'`;
}

/** A row of it: one for each pin, and for each bucket without any. */
export interface HashTableRow {
  readonly settings: string;
  /** PostgreSQL's driver gives a sum as a string. */
  readonly rows: number | string | null;
  /** Null where the kind has no bucket. */
  readonly name: string | null;
  readonly url: string | null;
  readonly weight: number;
  readonly state: BucketState;
  readonly pin: string | null;
}

/** The table out of its rows. */
export function toHashTable(rows: readonly HashTableRow[]): HashTable | undefined {
  const [first] = rows;
  if (!first) return undefined;
  const buckets = new Map<string, HashTableBucket>();
  const pins = new Map<string, string>();
  for (const { name, url, weight, state, pin } of rows) {
    if (name === null) continue;
    if (!buckets.has(name)) buckets.set(name, { name, url, weight, state });
    if (pin !== null) pins.set(pin, name);
  }
  const isHeld = Number(first.rows) <= MAX_PINS;
  return {
    settings: readKindSettings(first.settings),
    buckets: [...buckets.values()],
    pins: isHeld ? pins : undefined,
  };
}

/** Reads the table of a kind; undefined where there is no such kind of the policy `hash`. */
export async function readHashTable(knex: Knex, kind: string): Promise<HashTable | undefined> {
  return toHashTable(await queryRows<HashTableRow>(knex, selectHashTable('?'), [kind, kind]));
}
