// The table `spec`, written: what becomes of the objects that follow workers. Whose they are stands in
// `shard` as well, as for every object.

import type { Knex } from 'knex';
import type { By } from './changes.js';
import { toTime } from './leases.js';
import { EACH, engineOf, runStatement } from './rows.js';
import type { SpecState, Wanted } from './specs.js';

/** Objects of a kind, under its lock. */
export interface Locked {
  readonly name: string;
  readonly version: number;
}

/** Who does what nobody has asked for. */
export const SHARDER: By = { actor: 'sharder' };

/** Registers objects, or sets anew what those ask for that are registered. */
export async function writeSpecs(
  trx: Knex.Transaction,
  kind: Locked,
  wanted: readonly (Wanted & { readonly name: string })[],
  by: By,
): Promise<void> {
  const rows = wanted.map(({ name, spec, group, ...rest }) => ({
    ...{ kind: kind.name, name, group_name: group },
    ...rest,
    spec: JSON.stringify(spec ?? null),
  }));
  for (let i = 0; i < rows.length; i += ROWS_AT_ONCE) {
    await trx('spec')
      .insert(rows.slice(i, i + ROWS_AT_ONCE))
      .onConflict(['kind', 'name'])
      .merge(['spec', 'group_name', 'pin', 'pin_rule', 'weight']);
  }
  await record(trx, kind, 'spec set', list(wanted), by);
}

// SQLite takes no more in a statement.
const ROWS_AT_ONCE = 500;

/** An object that goes from one worker to another; null: it has none. */
export interface Step {
  readonly name: string;
  readonly from?: string | null;
  readonly to?: string | null;
}

// As statements get them: `[name, from, to]` of each.
function list(steps: readonly Step[]): string {
  return JSON.stringify(steps.map(({ name, from = null, to = null }) => [name, from, to]));
}

// Runs a statement on the table `step`, of these. Materialized, so that SQLite, which has no statistics,
// begins with them, and not with all that the kind has.
async function runSteps(
  trx: Knex.Transaction,
  kind: string,
  steps: string,
  statement: string,
  values: readonly Knex.Value[] = [],
): Promise<void> {
  await runStatement(
    trx,
    `with step as materialized (
      select cast(? as text) as kind, m.value ->> 0 as name, m.value ->> 1 as giver, m.value ->> 2 as taker
      from ${EACH[engineOf(trx)]} m
    ) ${statement}`,
    [kind, steps, ...values],
  );
}

/** Gives objects that have no owner to one each, with the kind's version as their epoch. */
export function writePlaced(
  trx: Knex.Transaction,
  kind: Locked,
  placed: readonly Step[],
): Promise<void> {
  const write = `insert into shard (kind, bucket, name) select kind, taker, name from step where true
    on conflict (kind, name) do update set bucket = excluded.bucket`;
  return give(trx, kind, 'object place', placed, write);
}

/** Hands objects over that their workers have stopped: each to another one. */
export function writeMoved(
  trx: Knex.Transaction,
  kind: Locked,
  moved: readonly Step[],
): Promise<void> {
  const write = `update shard set bucket = taker from step
    where shard.kind = step.kind and shard.name = step.name`;
  return give(trx, kind, 'object move', moved, write);
}

async function give(
  trx: Knex.Transaction,
  kind: Locked,
  action: string,
  given: readonly Step[],
  write: string,
): Promise<void> {
  if (given.length === 0) return;
  const steps = list(given);
  await runSteps(trx, kind.name, steps, write);
  await setOwners(trx, kind, steps);
  await record(trx, kind, action, steps);
}

async function setOwners(
  trx: Knex.Transaction,
  { name: kind, version }: Locked,
  steps: string,
): Promise<void> {
  await runSteps(
    trx,
    kind,
    steps,
    `update spec set state = 'adding', bucket = taker, heir = null, epoch = ? from step
      where spec.kind = step.kind and spec.name = step.name`,
    [version],
  );
}

/** Tells a worker anew of objects that it has. */
export async function writeAnew(
  trx: Knex.Transaction,
  kind: Locked,
  objects: readonly Step[],
): Promise<void> {
  if (objects.length === 0) return;
  const names = objects.map(({ name }) => name);
  await setSpecs(trx, kind.name, names, { state: 'adding', epoch: kind.version });
  await record(trx, kind, 'object place', list(objects));
}

/**
 * Tells workers to stop objects, and who has each next; null: that is seen then. With `now` these are the
 * moves that make them even; see the setting `cooldown`.
 */
export async function writeDropping(
  trx: Knex.Transaction,
  kind: Locked,
  dropped: readonly Step[],
  now: number | null,
): Promise<void> {
  if (dropped.length === 0) return;
  const steps = list(dropped);
  await runSteps(
    trx,
    kind.name,
    steps,
    `update spec set state = 'dropping', heir = taker${now === null ? '' : ', moved_at = ?'} from step
      where spec.kind = step.kind and spec.name = step.name`,
    now === null ? [] : [toTime(now)],
  );
  await record(trx, kind, 'object drop', steps);
}

/** Takes objects from their workers, which have stopped them; they wait for another. */
export async function writeWaiting(
  trx: Knex.Transaction,
  kind: string,
  names: readonly string[],
): Promise<void> {
  for (const some of inChunks(names)) {
    await trx('shard').where({ kind }).where(areOf(trx, some)).delete();
    await trx('spec')
      .where({ kind })
      .where(areOf(trx, some))
      .update({ state: 'waiting', bucket: null, heir: null, epoch: null });
  }
}

// A worker may have any number of objects, and a statement no more than its time.
function inChunks(names: readonly string[]): (readonly string[])[] {
  const count = Math.ceil(names.length / CHUNK_SIZE);
  return Array.from({ length: count }, (_, i) => names.slice(i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE));
}

const CHUNK_SIZE = 10_000;

/** Removes objects, which no worker has any more. */
export async function removeSpecs(
  trx: Knex.Transaction,
  kind: Locked,
  names: readonly string[],
  by: By = SHARDER,
): Promise<void> {
  if (names.length === 0) return;
  for (const table of ['shard', 'spec']) {
    await trx(table).where({ kind: kind.name }).where(areOf(trx, names)).delete();
  }
  await record(trx, kind, 'spec remove', list(names.map((name) => ({ name }))), by);
}

/** Sets how far objects are; nobody is told of it. */
export async function setSpecs(
  trx: Knex.Transaction,
  kind: string,
  names: readonly string[],
  set: Readonly<
    Partial<{ state: SpecState; epoch: number; is_leaving: boolean; heir: string | null }>
  >,
): Promise<void> {
  for (const some of inChunks(names)) {
    await trx('spec').where({ kind }).where(areOf(trx, some)).update(set);
  }
}

/** A worker's objects are told to it anew, with another epoch; but for those that it is to stop. */
export async function tellAllAnew(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  epoch: number,
): Promise<void> {
  const names = await trx('spec')
    .where({ kind, bucket })
    .whereIn('state', ['adding', 'owned'])
    .pluck<string[]>('name');
  await setSpecs(trx, kind, names, { state: 'adding', epoch });
}

// Of any number: one bound value.
function areOf(trx: Knex.Transaction, names: readonly string[]): Knex.Raw {
  const each = {
    sqlite: 'select value from json_each(?)',
    postgres: 'select json_array_elements_text(cast(? as json))',
  }[engineOf(trx)];
  return trx.raw(`name in (${each})`, [JSON.stringify(names)]);
}

// A line of history for each.
async function record(
  trx: Knex.Transaction,
  { name: kind, version }: Locked,
  action: string,
  steps: string,
  { actor, reason }: By = SHARDER,
): Promise<void> {
  await runSteps(
    trx,
    kind,
    steps,
    `insert into change (actor, reason, action, version, kind, name, from_bucket, to_bucket)
      select cast(? as text), cast(? as text), cast(? as text), cast(? as bigint), kind, name, giver, taker
      from step`,
    [actor, reason ?? null, action, version],
  );
}
