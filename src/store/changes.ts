// The table `change`: the history, appended in the transaction that makes the change.

import type { Knex } from 'knex';

export interface Change {
  /** Who did it: a person on the command line, a token's name, the settings file. */
  readonly actor: string;
  /** What was done, in the words of the command line: `bucket add`, `object move`. */
  readonly action: string;
  readonly kind: string;
  /** The object, where the change is about one. */
  readonly name?: string;
  readonly from_bucket?: string;
  readonly to_bucket?: string;
  readonly reason?: string;
}

export async function recordChange(trx: Knex.Transaction, change: Change): Promise<void> {
  await trx('change').insert(change);
}
