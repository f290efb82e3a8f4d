// The table `change`: the history, appended in the transaction that makes the change.

import type { Knex } from 'knex';

/** Who makes a change, and why. */
export interface By {
  /** A person on the command line, a token's name, the settings file. */
  readonly actor: string;
  readonly reason?: string | undefined;
}

export interface Change extends By {
  /** What was done, in the words of the command line: `bucket add`, `object move`. */
  readonly action: string;
  readonly kind: string;
  /** The object, where the change is about one. */
  readonly name?: string;
  readonly from_bucket?: string;
  readonly to_bucket?: string;
  /** When the object had been assigned; only of one that was there before the change. */
  readonly assigned_at?: string | Date;
  /** The plan that it is a part of. */
  readonly plan?: number;
  /** What the buckets do not tell: `{ "weight": { "from": 1, "to": 2 } }`. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/**
 * Appends a line, with the version that the kind has under its lock, and resolves with its id. Whoever
 * watches is told lines in the order of their versions; so a line without the lock must have none.
 */
export async function recordChange(trx: Knex.Transaction, change: Change): Promise<number> {
  const detail = change.detail && JSON.stringify(change.detail);
  const version = trx.raw('(select version from kind where name = ?)', [change.kind]);
  const [row] = await trx('change')
    .insert({ ...change, detail, version })
    .returning<{ id: number | string }[]>('id');
  return Number(row?.id);
}
