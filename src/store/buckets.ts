// The table `bucket`.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkBucketName } from '../names.js';
import { recordChange } from './changes.js';
import type { Database } from './database.js';
import { lockKind } from './kinds.js';

/** What a person says of a bucket. What is left out stays as it is, or takes its default. */
export interface BucketSettings {
  /** Where the bucket is reached, http or https; stored without a slash at its end. */
  readonly url?: string | undefined;
  /** 1 to 1,000,000; default 1. */
  readonly weight?: number | undefined;
  /** How many objects it may hold; default: no limit. */
  readonly capacity?: number | undefined;
}

export interface Bucket {
  readonly kind: string;
  readonly name: string;
  readonly url: string | null;
  readonly weight: number;
  readonly capacity: number | null;
  readonly state: 'active' | 'cordoned' | 'draining';
  readonly state_reason: string | null;
  readonly members: number;
}

const COLUMNS = [
  'kind',
  'name',
  'url',
  'weight',
  'capacity',
  'state',
  'state_reason',
  'members',
] as const;

/** All buckets, of one kind or of every kind, by kind and name. */
export async function listBuckets(database: Database, kind?: string): Promise<Bucket[]> {
  return database.read((knex) =>
    knex('bucket')
      .where(kind === undefined ? {} : { kind })
      .orderBy(['kind', 'name'])
      .select(...COLUMNS),
  );
}

/** Adds a bucket to a kind that is there. Throws `unknown_kind`, `exists` or `bad_name`. */
export async function addBucket(
  database: Database,
  kind: string,
  name: string,
  settings: BucketSettings,
  actor: string,
): Promise<void> {
  await database.write(async (trx) => {
    await lockKind(trx, kind);
    if (await trx('bucket').where({ kind, name }).first('name')) {
      throw new SharderError(
        'exists',
        `kind ${kind} has a bucket ${name} already: nothing was changed`,
      );
    }
    await insertBucket(trx, kind, name, settings, actor);
  });
}

/** Inserts a bucket and its line of history, under the kind's lock. */
export async function insertBucket(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  settings: BucketSettings,
  actor: string,
): Promise<void> {
  checkBucketName(name);
  await trx('bucket').insert({ kind, name, ...columns(settings) });
  await recordChange(trx, { actor, action: 'bucket add', kind, to_bucket: name });
}

/** The columns that `settings` sets, checked. */
export function columns({ url, weight, capacity }: BucketSettings): Partial<Bucket> {
  if (weight !== undefined) checkWhole('weight', weight, 1, 1_000_000);
  if (capacity !== undefined) checkWhole('capacity', capacity, 0, 1_000_000_000);
  return {
    ...(url !== undefined && { url: checkUrl(url) }),
    ...(weight !== undefined && { weight }),
    ...(capacity !== undefined && { capacity }),
  };
}

function checkWhole(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new SharderError(
      'bad_request',
      `${what} is ${value}; it must be a whole number from ${min} to ${max}`,
    );
  }
}

/** A bucket's URL as it is stored. Throws `bad_request` for what no redirect should lead to. */
export function checkUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (
    !parsed ||
    !['http:', 'https:'].includes(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.password !== '' ||
    /[?#]/.test(parsed.href)
  ) {
    throw new SharderError(
      'bad_request',
      `${JSON.stringify(url)} is not a URL for a bucket: http:// or https://, a host, perhaps a port and a path, no password, query or fragment`,
    );
  }
  return parsed.href.replace(/\/+$/, '');
}
