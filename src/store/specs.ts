// The table `spec`, read: objects that follow their workers, and what they ask for. What becomes of them is
// decided in workers/, and written in spec-writes.ts.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { fromJson, queryRows } from './rows.js';
import { toTime } from './leases.js';

/** What an object asks for. */
export interface Wanted {
  /** Whatever its worker should know. */
  readonly spec: unknown;
  /** Only workers of this group will do; null: any. */
  readonly group: string | null;
  /** The bucket of the worker that it wants before all others. */
  readonly pin: string | null;
  /** While that one is not there it waits, or takes any. */
  readonly pin_rule: 'hold' | 'any';
  /** How many it counts for. */
  readonly weight: number;
}

/**
 * How far an object is: `waiting` for a worker; `adding`: its worker is to be told, `owned`: it has been;
 * `dropping`: its worker is to stop, and has it until it says that it did.
 */
export type SpecState = 'waiting' | 'adding' | 'owned' | 'dropping';

/** An object that follows its workers. */
export interface Spec extends Wanted {
  readonly kind: string;
  readonly name: string;
  readonly state: SpecState;
  /** Its worker's; null: it has none. */
  readonly bucket: string | null;
  /** Grows with every owner; null: it has none. */
  readonly epoch: number | null;
  /** Who is to have it next, if that is known. */
  readonly heir: string | null;
  /** Whether it is on its way out. */
  readonly is_leaving: boolean;
  /** ISO 8601, UTC. */
  readonly registered_at: string;
}

interface Stored {
  readonly kind: string;
  readonly name: string;
  readonly spec: unknown;
  readonly group_name: string | null;
  readonly pin: string | null;
  readonly pin_rule: 'hold' | 'any';
  readonly weight: number;
  readonly state: SpecState;
  readonly epoch: number | string | null;
  readonly heir: string | null;
  readonly is_leaving: number | boolean;
  readonly registered_at: string | Date;
  readonly bucket: string | null;
}

function toSpec(knex: Knex, { group_name: group, ...row }: Stored): Spec {
  const { kind, name, pin, pin_rule, weight, state, bucket, heir } = row;
  return {
    ...{ kind, name, group, pin, pin_rule, weight, state, heir, bucket },
    spec: fromJson(knex, row.spec),
    epoch: row.epoch === null ? null : Number(row.epoch),
    is_leaving: Boolean(row.is_leaving),
    registered_at: new Date(row.registered_at).toISOString(),
  };
}

const COLUMNS = [
  'kind',
  'name',
  'spec',
  'group_name',
  'pin',
  'pin_rule',
  'weight',
  'state',
  'bucket',
  'epoch',
  'heir',
  'is_leaving',
  'registered_at',
] as const;

/** Those of these names that are registered, by name. */
export async function readSpecs(
  knex: Knex,
  kind: string,
  names: readonly string[],
): Promise<Map<string, Spec>> {
  const rows: Stored[] = await knex('spec')
    .where({ kind })
    .whereIn('name', names)
    .select(...COLUMNS);
  return new Map(rows.map((row) => [row.name, toSpec(knex, row)]));
}

/** A page of all that are registered, by name; or of those in a state. */
export async function listSpecs(
  knex: Knex,
  kind: string,
  state: SpecState | undefined,
  limit: number,
  after = '',
): Promise<Spec[]> {
  const page = knex('spec').where({ kind }).where('name', '>', after).orderBy('name').limit(limit);
  if (state !== undefined) void page.where({ state });
  const rows: Stored[] = await page.select(...COLUMNS);
  return rows.map((row) => toSpec(knex, row));
}

export async function hasSpecs(knex: Knex, kind: string): Promise<boolean> {
  const [name] = await knex('spec').where({ kind }).limit(1).pluck<string[]>('name');
  return name !== undefined;
}

/** The kinds whose objects follow workers, by name. */
export function kindsWithSpecs(knex: Knex): Promise<string[]> {
  return knex('spec').distinct('kind').orderBy('kind').pluck<string[]>('kind');
}

/** Throws `bad_request` where objects of the kind follow workers: moved by others they would have two owners. */
export async function refuseFollowers(knex: Knex, kind: string): Promise<void> {
  if (!(await hasSpecs(knex, kind))) return;
  throw new SharderError(
    'bad_request',
    `objects of kind ${kind} follow their workers, and nothing else moves them: drain a worker (\`sharder lease drain\`), or set an object's pin (\`sharder spec set\`)`,
  );
}

/** The objects that follow a worker, by name; or only those that it has to be told about. */
export async function ownedPage(
  knex: Knex,
  kind: string,
  bucket: string,
  { isPending, limit, after = '' }: { isPending: boolean; limit: number; after?: string },
): Promise<Spec[]> {
  const page = knex('spec').where({ kind, bucket }).where('name', '>', after);
  if (isPending) void page.whereRaw(IS_PENDING);
  const rows: Stored[] = await page
    .orderBy('name')
    .limit(limit)
    .select(...COLUMNS);
  return rows.map((row) => toSpec(knex, row));
}

// In the words of the index `spec_moving`: bound values would not be seen to fit it.
const IS_PENDING = `state in ('adding', 'dropping')`;

/** How much each worker of a kind holds, in weights of objects, and how much is on its way. */
export interface Loads {
  /** Above one for each object. */
  readonly extra: ReadonlyMap<string, number>;
  readonly leaving: ReadonlyMap<string, number>;
  readonly coming: ReadonlyMap<string, number>;
  /** How many objects, whatever their weights, each is to stop. */
  readonly moving: ReadonlyMap<string, number>;
}

export async function readLoads(knex: Knex, kind: string): Promise<Loads> {
  // In the words of the indexes `spec_heavy` and `spec_dropping`.
  const heavy = await queryRows<{ bucket: string; extra: number | string }>(
    knex,
    `select bucket, sum(weight - 1) as extra from spec
      where kind = ? and weight > 1 and bucket is not null group by bucket`,
    [kind],
  );
  const onTheirWay = await queryRows<{
    bucket: string;
    heir: string | null;
    n: number | string;
    weight: number | string;
  }>(
    knex,
    `select bucket, heir, count(*) as n, sum(weight) as weight from spec
      where kind = ? and state = 'dropping' group by bucket, heir`,
    [kind],
  );
  const leaving = new Map<string, number>();
  const coming = new Map<string, number>();
  const moving = new Map<string, number>();
  for (const { bucket, heir, n, weight } of onTheirWay) {
    moving.set(bucket, (moving.get(bucket) ?? 0) + Number(n));
    leaving.set(bucket, (leaving.get(bucket) ?? 0) + Number(weight));
    if (heir !== null) coming.set(heir, (coming.get(heir) ?? 0) + Number(weight));
  }
  return {
    extra: new Map(heavy.map(({ bucket, extra }) => [bucket, Number(extra)])),
    ...{ leaving, coming, moving },
  };
}

/** An object, as far as it is placed by it. */
export interface Movable {
  readonly name: string;
  readonly bucket: string | null;
  readonly weight: number;
  readonly group: string | null;
  readonly pin: string | null;
  readonly pinRule: 'hold' | 'any';
}

const WISH = [
  'name',
  'bucket',
  'weight',
  'pin',
  { group: 'group_name' },
  { pinRule: 'pin_rule' },
] as const;

/** Who may take objects, and has room for one. */
export interface Takers {
  readonly buckets: readonly string[];
  readonly groups: readonly string[];
}

// Those that one of them could take. Without that, many that nobody can take would hide the others.
function takable(query: Knex.QueryBuilder, { buckets, groups }: Takers): void {
  void query
    .where((one) => {
      void one
        .whereNull('pin')
        .orWhere('pin_rule', 'any')
        .orWhereIn('pin', [...buckets]);
    })
    .where((one) => {
      void one
        .whereNull('group_name')
        .orWhereIn('group_name', [...groups])
        .orWhereIn('pin', [...buckets]);
    });
}

// In the words of the index `spec_waiting`.
const IS_WAITING = `state = 'waiting'`;

/** Whether any object waits for a worker. */
export async function isAnyWaiting(knex: Knex, kind: string): Promise<boolean> {
  const [first] = await knex('spec')
    .where({ kind })
    .whereRaw(IS_WAITING)
    .limit(1)
    .pluck<string[]>('name');
  return first !== undefined;
}

/** Objects that wait, and that one of these could take if it has room; the lightest first. */
export async function readWaitingSpecs(
  knex: Knex,
  kind: string,
  takers: Takers,
  limit: number,
): Promise<Movable[]> {
  const waiting = knex('spec').where({ kind }).whereRaw(IS_WAITING);
  takable(waiting, takers);
  return waiting
    .orderBy(['weight', 'name'])
    .limit(limit)
    .select<Movable[]>(...WISH);
}

/**
 * Objects that a worker may give away: not those that want to be there, nor that have just moved. With null
 * for `movedBefore` it is to give all that can be elsewhere.
 */
export async function readMovable(
  knex: Knex,
  kind: string,
  bucket: string,
  takers: Takers,
  movedBefore: number | null,
  limit: number,
): Promise<Movable[]> {
  const movable = knex('spec')
    .where({ kind, bucket })
    .whereIn('state', ['adding', 'owned'])
    .where((one) => {
      void one.whereNull('pin').orWhereNot('pin', bucket);
      if (movedBefore === null) void one.orWhere('pin_rule', 'any');
    })
    .where((one) => {
      if (movedBefore === null) return;
      void one.whereNull('moved_at').orWhere('moved_at', '<=', toTime(movedBefore));
    });
  takable(movable, takers);
  return movable
    .orderBy('epoch', 'desc') // as plans: those first that came last
    .orderBy('name', 'desc')
    .limit(limit)
    .select<Movable[]>(...WISH);
}

/** Objects of some workers whose pin is another one of these. */
export async function readStrays(
  knex: Knex,
  kind: string,
  { pins, owners }: { readonly pins: readonly string[]; readonly owners: readonly string[] },
  limit: number,
): Promise<Movable[]> {
  return knex('spec')
    .where({ kind })
    .whereIn('pin', [...pins])
    .whereIn('bucket', [...owners])
    .whereIn('state', ['adding', 'owned'])
    .whereRaw('pin <> bucket')
    .orderBy(['pin', 'name']) // as the index `spec_pin` has them
    .limit(limit)
    .select<Movable[]>(...WISH);
}

/** Objects of a worker that ask for another group than its own. */
export async function readMisplaced(
  knex: Knex,
  kind: string,
  bucket: string,
  group: string | null,
): Promise<string[]> {
  return knex('spec')
    .where({ kind, bucket })
    .whereIn('state', ['adding', 'owned'])
    .where((one) => {
      void one.whereNull('pin').orWhereNot('pin', bucket);
    })
    .where((one) => {
      void one.whereNotNull('group_name');
      if (group !== null) void one.whereNot('group_name', group);
    })
    .pluck<string[]>('name');
}

/** The objects that follow a worker: those on their way out, and the others. */
export async function namesOf(
  knex: Knex,
  kind: string,
  bucket: string,
): Promise<{ leaving: string[]; staying: string[] }> {
  const rows = await knex('spec')
    .where({ kind, bucket })
    .select<Pick<Stored, 'name' | 'is_leaving'>[]>('name', 'is_leaving');
  const those = (leaving: boolean): string[] =>
    rows.filter((each) => Boolean(each.is_leaving) === leaving).map(({ name }) => name);
  return { leaving: those(true), staying: those(false) };
}
