// The table `plan_move`: the moves of plans, and who makes them.

import type { Knex } from 'knex';
import { getPlan, type Plan } from './plans.js';
import { EACH, engineOf, queryRows, runStatement } from './rows.js';

/** A move that is to be added, `seq` its place in the plan. */
export type NewMove = readonly [seq: number, name: string, from: string, to: string];

/** The objects of a bucket that a plan may move, those first that came last, behind an id. */
export async function movableObjects(
  knex: Knex,
  kind: string,
  bucket: string,
  limit: number,
  before = Number.MAX_SAFE_INTEGER,
): Promise<{ readonly id: number | string; readonly name: string }[]> {
  return knex('shard')
    .where({ kind, bucket, pinned: false })
    .where('id', '<', before)
    .orderBy('id', 'desc')
    .limit(limit)
    .select('id', 'name');
}

/** How many objects of each bucket are pinned. */
export async function countPinned(knex: Knex, kind: string): Promise<Map<string, number>> {
  const rows = await knex('shard')
    .where({ kind, pinned: true })
    .groupBy('bucket')
    .select<{ bucket: string; pinned: number | string }[]>(
      'bucket',
      knex.raw('count(*) as pinned'),
    );
  return new Map(rows.map(({ bucket, pinned }) => [bucket, Number(pinned)]));
}

export async function insertMoves(
  trx: Knex.Transaction,
  plan: number,
  moves: readonly NewMove[],
): Promise<void> {
  await runStatement(
    trx,
    `insert into plan_move (plan, seq, name, from_bucket, to_bucket)
      select cast(? as bigint), cast(m.value ->> 0 as integer), m.value ->> 1, m.value ->> 2, m.value ->> 3
      from ${EACH[engineOf(trx)]} m where true`,
    [plan, JSON.stringify(moves)],
  );
}

// Of the column `seq`.
const MAX_INTEGER = 2_147_483_647;

/**
 * Adds to the plan `undo` the moves of `plan` backwards, the last first: of those that were made, and
 * whose object is still where that put it, as many as are looked at before `before`. Resolves with how
 * many were added, and where to go on; null at the end. They are numbered from `seq`. Between those that were
 * planned numbers may be missing.
 */
export async function insertReturns(
  trx: Knex.Transaction,
  undo: number,
  plan: Plan,
  seq: number,
  limit: number,
  before = MAX_INTEGER,
): Promise<{ added: number; next: number | null }> {
  const [seen] = await queryRows<{ first: number | null; n: number | string }>(
    trx,
    `select min(seq) as first, count(*) as n from (
      select seq from plan_move where plan = ? and seq < ? order by seq desc limit ?) m`,
    [plan.id, before, limit],
  );
  if (seen?.first == null) return { added: 0, next: null };
  const added = await runStatement(
    trx,
    `insert into plan_move (plan, seq, name, from_bucket, to_bucket)
      select cast(? as bigint), cast(? as integer) + row_number() over (order by m.seq desc),
        m.name, m.to_bucket, m.from_bucket
      from plan_move m join shard s on s.kind = ? and s.name = m.name and s.bucket = m.to_bucket
      where m.plan = ? and m.seq < ? and m.seq >= ? and m.state = 'made'`,
    [undo, seq - 1, plan.kind, plan.id, before, seen.first],
  );
  return { added, next: Number(seen.n) < limit ? null : seen.first };
}

/** Who applies a plan at the moment, and for how long nobody else may unless it comes again. */
export interface Runner {
  readonly id: string;
  readonly seconds: number;
}

/** A move that waits, with what its object is now; nulls where there is none. */
export interface WaitingMove {
  readonly seq: number;
  readonly name: string;
  readonly from_bucket: string;
  readonly to_bucket: string;
  readonly id: number | string | null;
  readonly bucket: string | null;
  readonly pinned: number | boolean | null;
}

// A plan's moves have just been written, and PostgreSQL knows nothing of them yet: for each batch it would
// read and sort them all.
const BY_INDEX = `select ${['seqscan', 'bitmapscan', 'sort', 'hashjoin', 'mergejoin']
  .map((way) => `set_config('enable_${way}', 'off', true)`)
  .join(', ')}`;

// By the database's clock, for runners are on several machines.
const UNTIL = {
  sqlite: `strftime('%Y-%m-%dT%H:%M:%fZ', 'now', cast(? as integer) || ' seconds')`,
  postgres: 'now() + make_interval(secs => ?)',
} as const;
const NOW = { sqlite: `strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`, postgres: 'now()' } as const;

/**
 * Whether the plan is running and this runner's, if no other holds it: it is, from now on. On PostgreSQL what
 * follows in the transaction goes by indexes.
 */
export async function takePlan(
  trx: Knex.Transaction,
  id: number,
  runner: Runner,
): Promise<boolean> {
  const engine = engineOf(trx);
  if (engine === 'postgres') await trx.raw(BY_INDEX);
  const renewed = await runStatement(
    trx,
    `update plan set runner = ?, runner_until = ${UNTIL[engine]}
      where id = ? and state = 'running'
        and (runner is null or runner = ? or runner_until < ${NOW[engine]})`,
    [runner.id, runner.seconds, id, runner.id],
  );
  return renewed > 0;
}

/** Lets another runner go on at once. */
export async function releasePlan(
  trx: Knex.Transaction,
  id: number,
  runner: string,
): Promise<void> {
  await trx('plan').where({ id, runner }).update({ runner: null, runner_until: null });
}

/** The plans that are running, but that nobody runs. Those of a kind that is gone wait for it. */
export async function abandonedPlans(knex: Knex): Promise<Plan[]> {
  const ids = await knex('plan')
    .where({ state: 'running' })
    .whereIn('kind', knex('kind').select('name'))
    .whereRaw(`(runner is null or runner_until < ${NOW[engineOf(knex)]})`)
    .orderBy('id')
    .pluck<(number | string)[]>('id');
  return Promise.all(ids.map((id) => getPlan(knex, Number(id))));
}

// Both keep to the unique index of the objects' names, whatever the statistics say; see postgres.ts.
const OBJECT = {
  sqlite: 'left join shard s on s.kind = ? and s.name = m.name',
  postgres: `left join lateral (
    select id, bucket, pinned from shard where kind = ? and name = m.name limit 1) s on true`,
} as const;

/** The next moves that wait, in their order, but for those from or to buckets that are `stopped`. */
export async function readWaiting(
  trx: Knex.Transaction,
  { id, kind }: Plan,
  stopped: readonly string[],
  limit: number,
): Promise<WaitingMove[]> {
  const moves = trx('plan_move').where({ plan: id, state: 'waiting' }).orderBy('seq').limit(limit);
  if (stopped.length > 0) {
    void moves.whereNotIn('from_bucket', stopped).whereNotIn('to_bucket', stopped);
  }
  const { sql, bindings } = moves.select('seq', 'name', 'from_bucket', 'to_bucket').toSQL();
  return queryRows<WaitingMove>(
    trx,
    `select m.*, s.id, s.bucket, s.pinned from (${sql}) m ${OBJECT[engineOf(trx)]} order by m.seq`,
    [...(bindings as Knex.Value[]), kind],
  );
}

/** Makes moves, each with its line of the history, which has the kind's version. */
export async function writeMade(
  trx: Knex.Transaction,
  { id, kind }: Plan,
  version: number,
  { actor, reason }: { readonly actor: string; readonly reason: string | null },
  made: readonly WaitingMove[],
): Promise<void> {
  if (made.length === 0) return;
  const each = EACH[engineOf(trx)];
  const moves = JSON.stringify(made.map((move) => [Number(move.id), move.to_bucket]));
  // Written so that SQLite begins with those that move, and not with all that there are.
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, from_bucket, to_bucket, assigned_at, reason, plan, version)
      select cast(? as text), 'object move', cast(? as text), s.name, s.bucket, m.value ->> 1,
        s.assigned_at, cast(? as text), cast(? as bigint), cast(? as bigint)
      from ${each} m cross join shard s where s.id = cast(m.value ->> 0 as bigint)`,
    [actor, kind, reason, id, version, moves],
  );
  await runStatement(
    trx,
    `update shard set bucket = m.value ->> 1 from ${each} m
      where shard.id = cast(m.value ->> 0 as bigint)`,
    [moves],
  );
  await markMoves(
    trx,
    id,
    made.map(({ seq }) => seq),
    'made',
  );
}

/** Says what has become of moves, and of those that were skipped, why. */
export async function markMoves(
  trx: Knex.Transaction,
  plan: number,
  seqs: readonly number[],
  state: 'made' | 'skipped',
  why: string | null = null,
): Promise<void> {
  await runStatement(
    trx,
    `update plan_move set state = ?, why = ? where plan = ? and seq in (
      select cast(cast(m.value as text) as integer) from ${EACH[engineOf(trx)]} m)`,
    [state, why, plan, JSON.stringify(seqs)],
  );
}
