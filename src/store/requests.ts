// The table `request`: what was answered to requests with an Idempotency-Key, kept for a day, in the
// transaction that made the change.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { runStatement } from './rows.js';

/** A request with a key of its sender's choice. */
export interface KeyedRequest {
  readonly actor: string;
  readonly key: string;
  /** Of what is asked for. */
  readonly digest: string;
}

const KEPT_MS = 24 * 60 * 60 * 1_000;

/**
 * What the same request was answered before, or undefined where it is the first; whoever sends it again
 * waits until this transaction has ended. Throws `key_reused` where another one had the key.
 */
export async function answerAgain(
  trx: Knex.Transaction,
  { actor, key, digest }: KeyedRequest,
): Promise<object | undefined> {
  // The first statement writes, so that SQLite never has to begin anew.
  const dayAgo = new Date(Date.now() - KEPT_MS).toISOString();
  await trx('request').where('at', '<', dayAgo).delete();
  const inserted = await runStatement(
    trx,
    `insert into request (actor, key, digest, answer) values (?, ?, ?, '{}') on conflict do nothing`,
    [actor, key, digest],
  );
  if (inserted > 0) return undefined;
  const before = await trx('request')
    .where({ actor, key })
    .first<{ digest: string; answer: string | object }>();
  if (before.digest !== digest) {
    throw new SharderError('key_reused', `another request had the Idempotency-Key ${key} before`);
  }
  return typeof before.answer === 'string' ? (JSON.parse(before.answer) as object) : before.answer;
}

/** Keeps the answer of a request for which `answerAgain` had none. */
export async function keepAnswer(
  trx: Knex.Transaction,
  { actor, key }: KeyedRequest,
  answer: object,
): Promise<void> {
  await trx('request')
    .where({ actor, key })
    .update({ answer: JSON.stringify(answer) });
}
