// The table `plan_move`: the moves of plans, as they are written and made.

import type { Knex } from 'knex';
import type { Database } from './database.js';
import type { Move, Plan } from './plans.js';
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

/** A move, with what its object is now; nulls where there is none. */
export interface PlannedMove extends Omit<Move, 'why'> {
  readonly id: number | string | null;
  readonly bucket: string | null;
  readonly pinned: number | boolean | null;
}

// A plan's moves have just been written, and PostgreSQL knows nothing of them yet: for each batch it would
// read and sort them all.
const BY_INDEX = `select ${['seqscan', 'bitmapscan', 'sort', 'hashjoin', 'mergejoin']
  .map((way) => `set_config('enable_${way}', 'off', true)`)
  .join(', ')}`;

// Above every place in a plan: of the column `seq`.
const MAX_INTEGER = 2_147_483_647;

// Both keep to the unique index of the objects' names, whatever the statistics say; see postgres.ts.
const OBJECT = {
  sqlite: 'left join shard s on s.kind = ? and s.name = m.name',
  postgres: `left join lateral (
    select id, bucket, pinned from shard where kind = ? and name = m.name limit 1) s on true`,
} as const;

/** The next moves that wait, in their order. On PostgreSQL what follows in the transaction goes by indexes. */
export async function readWaiting(
  trx: Knex.Transaction,
  { id, kind }: Plan,
  limit: number,
): Promise<PlannedMove[]> {
  if (engineOf(trx) === 'postgres') await trx.raw(BY_INDEX);
  const moves = trx('plan_move').where({ plan: id, state: 'waiting' }).orderBy('seq').limit(limit);
  return withObjects(trx, kind, moves, 'seq');
}

/** The moves of a plan before a place, whatever their state, the last first. */
export async function readBackwards(
  knex: Knex,
  { id, kind }: Plan,
  limit: number,
  before = MAX_INTEGER,
): Promise<PlannedMove[]> {
  const moves = knex('plan_move').where({ plan: id }).where('seq', '<', before);
  return withObjects(knex, kind, moves.orderBy('seq', 'desc').limit(limit), 'seq desc');
}

function withObjects(
  knex: Knex,
  kind: string,
  moves: Knex.QueryBuilder,
  order: string,
): Promise<PlannedMove[]> {
  const { sql, bindings } = moves
    .select('seq', 'name', 'from_bucket', 'to_bucket', 'state')
    .toSQL();
  return queryRows<PlannedMove>(
    knex,
    `select m.*, s.id, s.bucket, s.pinned from (${sql}) m ${OBJECT[engineOf(knex)]} order by m.${order}`,
    [...(bindings as Knex.Value[]), kind],
  );
}

/**
 * Makes moves, each with its line of the history, which has the kind's version, and resolves with those
 * that were made: not where somebody without the kind's lock has moved or pinned the object meanwhile.
 */
export async function writeMade(
  trx: Knex.Transaction,
  { id, kind }: Plan,
  version: number,
  { actor, reason }: { readonly actor: string; readonly reason: string | null },
  moves: readonly PlannedMove[],
): Promise<readonly PlannedMove[]> {
  if (moves.length === 0) return [];
  const engine = engineOf(trx);
  const each = EACH[engine];
  const moved = await queryRows<{ id: number | string }>(
    trx,
    `update shard set bucket = m.value ->> 2 from ${each} m
      where shard.id = cast(m.value ->> 0 as bigint)
        and shard.bucket = m.value ->> 1 and shard.pinned = ${NO[engine]}
      returning shard.id`,
    [toJson(moves)],
  );
  const ids = new Set(moved.map((row) => Number(row.id)));
  const made = moves.filter((move) => ids.has(Number(move.id)));
  // Written so that SQLite begins with those that move, and not with all that there are.
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, from_bucket, to_bucket, assigned_at, reason, plan, version)
      select cast(? as text), 'object move', cast(? as text), s.name, m.value ->> 1, m.value ->> 2,
        s.assigned_at, cast(? as text), cast(? as bigint), cast(? as bigint)
      from ${each} m cross join shard s where s.id = cast(m.value ->> 0 as bigint)`,
    [actor, kind, reason, id, version, toJson(made)],
  );
  await markMoves(
    trx,
    id,
    made.map(({ seq }) => seq),
    'made',
  );
  return made;
}

const NO = { sqlite: '0', postgres: 'false' } as const;

function toJson(moves: readonly PlannedMove[]): string {
  return JSON.stringify(moves.map((move) => [Number(move.id), move.from_bucket, move.to_bucket]));
}

/** Says what has become of moves, and of those that were skipped, why. */
export async function markMoves(
  trx: Knex.Transaction,
  plan: number,
  seqs: readonly number[],
  state: 'made' | 'skipped',
  why: string | null = null,
): Promise<void> {
  const engine = engineOf(trx);
  await runStatement(
    trx,
    `update plan_move set state = ?, why = ? where plan = ? and seq ${ANY[engine]}`,
    [state, why, plan, engine === 'sqlite' ? `[${seqs.join()}]` : `{${seqs.join()}}`],
  );
}

// Each is looked up by itself. In a join PostgreSQL, which knows nothing of a new plan's moves yet, may
// compare all of them with all of these.
const ANY = {
  sqlite: 'in (select value from json_each(?))',
  postgres: '= any(cast(? as integer[]))',
} as const;

// So many are deleted at once.
const CHUNK_SIZE = 5_000;

/**
 * Deletes the moves of plans that are no more, some at a time: a kind is removed in a moment, and with it its
 * plans, but they may have millions.
 */
export async function deleteLostMoves(database: Database): Promise<void> {
  for (let after = 0; ;) {
    const last = after;
    const [next] = await database.readPage((knex) =>
      knex('plan_move')
        .where('plan', '>', last)
        .orderBy('plan')
        .limit(1)
        .pluck<(number | string)[]>('plan'),
    );
    if (next === undefined) return;
    const plan = Number(next);
    after = plan;
    if (await database.read((knex) => knex('plan').where({ id: plan }).first('id'))) continue;
    for (let deleted = CHUNK_SIZE; deleted === CHUNK_SIZE;) {
      deleted = await database.write((trx) => {
        const some = trx('plan_move').where({ plan }).orderBy('seq').limit(CHUNK_SIZE);
        return trx('plan_move').where({ plan }).whereIn('seq', some.select('seq')).delete();
      });
    }
  }
}
