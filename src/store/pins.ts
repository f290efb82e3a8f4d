// Rows of a kind with the policy `hash`: each wins over the hash, for its key.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkObjectName } from '../names.js';
import { normalizeName } from '../normalize.js';
import { getBucket } from './buckets.js';
import { recordChange, type By } from './changes.js';
import { checkNewName } from './kind-settings.js';
import type { KindRow } from './kinds.js';
import { findRow } from './objects.js';

/**
 * Has a key in this bucket whatever the hash says, and resolves with whether it was otherwise before. Under
 * the kind's lock. Throws `bad_name`, `unknown_bucket`, or `closed` for one that is draining.
 */
export async function putPin(
  trx: Knex.Transaction,
  kindRow: KindRow,
  name: string,
  to: string,
  by: By,
): Promise<boolean> {
  const { name: kind, settings } = kindRow;
  const key = normalizeName(name, settings.normalize);
  const row = await findRow(trx, kindRow, key);
  const { state } = await getBucket(trx, kind, to);
  if (row?.bucket === to && Boolean(row.pinned)) return false;
  if (state === 'draining' && row?.bucket !== to) {
    throw new SharderError('closed', `bucket ${to} of kind ${kind} is draining: choose another`);
  }
  const change = { ...by, action: 'object pin', kind, to_bucket: to };
  if (row) {
    await trx('shard').where({ id: row.id }).update({ bucket: to, pinned: true });
    const { assigned_at, bucket: from_bucket } = row;
    await recordChange(trx, { ...change, name: row.name, from_bucket, assigned_at });
  } else {
    checkNewName(key, settings);
    await trx('shard').insert({ kind, bucket: to, name: key, pinned: true });
    await recordChange(trx, { ...change, name: key });
  }
  return true;
}

/** Has a key go by the hash again, and resolves with the bucket that it was in; undefined: it had no row. */
export async function removePin(
  trx: Knex.Transaction,
  kindRow: KindRow,
  name: string,
  by: By,
): Promise<string | undefined> {
  checkObjectName(name);
  const row = await findRow(trx, kindRow, name);
  if (!row) return undefined;
  await trx('shard').where({ id: row.id }).delete();
  const { kind, assigned_at, bucket: from_bucket } = row;
  const change = { action: 'object unpin', kind, name: row.name, from_bucket, assigned_at };
  await recordChange(trx, { ...by, ...change });
  return from_bucket;
}
