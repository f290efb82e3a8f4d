// The rules that a database is held against, one function each.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkBucketName, checkKindName, checkObjectName } from '../names.js';
import type { Database } from './database.js';
import type { EngineName } from './migrate.js';
import { queryRows } from './rows.js';
import { normalizeBody, readSnapshot, type SnapshotTrigger } from './snapshot.js';

export type Rule =
  | 'members' // a bucket's count is not that of its rows
  | 'bucket' // rows whose bucket is not there
  | 'kind' // buckets whose kind is not there
  | 'once' // an object that stands there more than once
  | 'name' // a name that nothing can have
  | 'time' // assigned_at is no time
  | 'spec' // an object that follows workers: its state and its worker do not fit
  | 'leased' // workers of a kind that has none
  | 'trigger' // what keeps the counts, and tells the services, is gone
  | 'file'; // SQLite's own checks

/** Something that is wrong. */
export interface Fault {
  readonly rule: Rule;
  readonly kind: string | null;
  readonly bucket: string | null;
  readonly name: string | null;
  readonly message: string;
  /** What a person can do. */
  readonly remedy: string;
}

const PAGE_SIZE = 5_000;
// Of each rule so many faults are listed one by one.
export const LISTED = 100;

/** One of which only what is given is known. */
export function fault(rule: Rule, of: Partial<Fault>, message: string, remedy: string): Fault {
  return { kind: null, bucket: null, name: null, ...of, rule, message, remedy };
}

const RESTORE = 'restore a backup';

export async function checkFile(knex: Knex): Promise<Fault[]> {
  const damages = await queryRows<{ integrity_check: string }>(knex, 'pragma integrity_check');
  const faults = damages
    .filter(({ integrity_check: text }) => text !== 'ok')
    .map(({ integrity_check: text }) => {
      const remedy = text.includes('index')
        ? 'type REINDEX; in the sqlite3 shell, and check again'
        : RESTORE;
      return fault('file', {}, text, remedy);
    });
  const [row] = await queryRows<{ n: number }>(knex, 'select count(*) as n from revision');
  if (row?.n === 1) return faults;
  const remedy = 'type INSERT INTO revision VALUES (1, 1); and start the services again';
  return [...faults, fault('file', {}, 'the table revision has no row', remedy)];
}

// A trigger of `tgenabled` D never fires, one of R only where changes are replicated to.
const TRIGGERS: Readonly<Record<EngineName, string>> = {
  sqlite: `select name, tbl_name as "table", sql as body from sqlite_schema where type = 'trigger'`,
  postgres: `
    select t.tgname as name, c.relname as "table", p.prosrc as body
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
    where not t.tgisinternal and t.tgenabled in ('O', 'A') and pg_table_is_visible(c.oid)`,
};

/** Holds the triggers against the snapshot of the schema: that each is there, and does what it should. */
export async function checkTriggers(knex: Knex, engine: EngineName): Promise<Fault[]> {
  const { triggers } = await readSnapshot(engine);
  const rows = await queryRows<SnapshotTrigger>(knex, TRIGGERS[engine]);
  const there = new Map(rows.map(({ name, table, body }) => [`${table}.${name}`, body]));
  return triggers.flatMap(({ name, table, body }) => {
    const found = there.get(`${table}.${name}`);
    if (found !== undefined && normalizeBody(found) === normalizeBody(body)) return [];
    const isGone = found === undefined;
    return fault(
      'trigger',
      {},
      `the trigger ${name} ${isGone ? 'is not there, or is switched off' : 'differs from ours'}`,
      `${isGone ? 'make it again' : 'drop it and make it again'}, as it stands in schema/${engine}/schema.sql, and check again`,
    );
  });
}

export async function checkKinds(knex: Knex): Promise<Fault[]> {
  const kinds = await knex('kind').orderBy('name').pluck<string[]>('name');
  return kinds.flatMap((kind) => {
    const why = refusal(() => {
      checkKindName(kind);
    });
    return why === undefined ? [] : [fault('name', { kind }, why, 'rename it in the database')];
  });
}

export async function checkBuckets(knex: Knex): Promise<Fault[]> {
  const buckets: { kind: string; bucket: string; known: string | null }[] = await knex(
    'bucket as b',
  )
    .leftJoin('kind as k', 'k.name', 'b.kind')
    .orderBy(['b.kind', 'b.name'])
    .select('b.kind', 'b.name as bucket', 'k.name as known');
  return buckets.flatMap(({ kind, bucket, known }) => {
    const why = refusal(() => {
      checkBucketName(bucket);
    });
    return [
      ...(why === undefined
        ? []
        : [fault('name', { kind, bucket }, why, 'rename it in the database')]),
      ...(known !== null
        ? []
        : [
            fault(
              'kind',
              { kind, bucket },
              'its kind is not there',
              'declare the kind in sharder.yml and start the service, or delete the bucket',
            ),
          ]),
    ];
  });
}

export async function checkOrphans(trx: Knex.Transaction, hint: string): Promise<Fault[]> {
  const rows = await queryRows<{ kind: string; bucket: string; n: number | string }>(
    trx,
    `select s.kind, s.bucket, s.n
      from (select kind, bucket, count(*) as n from shard ${hint} group by kind, bucket) s
      left join bucket b on b.kind = s.kind and b.name = s.bucket
      where b.name is null order by s.kind, s.bucket`,
  );
  return rows.map(({ kind, bucket, n }) =>
    fault(
      'bucket',
      { kind, bucket },
      `${objects(Number(n))} in a bucket that is not there`,
      'add it again (sharder bucket add) and check with --fix, or move them (sharder object move)',
    ),
  );
}

/**
 * Calls `work` with a transaction whose statements read the table itself: what is counted by a damaged
 * index is not to be trusted. On SQLite each of them must say so, by the `hint`.
 */
export function withoutIndexes<T>(
  database: Database,
  work: (trx: Knex.Transaction, hint: string) => Promise<T>,
): Promise<T> {
  return database.rehearse(async (trx) => work(trx, await avoidIndexes(trx, database.engineName)));
}

/** For the rest of the transaction on PostgreSQL; on SQLite what the statement must say. */
export async function avoidIndexes(trx: Knex.Transaction, engine: EngineName): Promise<string> {
  if (engine === 'sqlite') return 'not indexed';
  for (const scan of ['indexscan', 'indexonlyscan', 'bitmapscan']) {
    await trx.raw(`set local enable_${scan} = off`);
  }
  return '';
}

export async function checkOnce(trx: Knex.Transaction, hint: string): Promise<Fault[]> {
  const rows = await queryRows<{ kind: string; name: string; n: number | string }>(
    trx,
    `select kind, name, count(*) as n from shard ${hint}
      group by kind, name having count(*) > 1 order by kind, name limit ${LISTED}`,
  );
  return rows.map(({ kind, name, n }) =>
    fault(
      'once',
      { kind, name },
      `it stands there ${Number(n)} times: the index is damaged`,
      `delete the rows that are wrong, by their id, then type REINDEX ${hint === '' ? 'TABLE ' : ''}shard;`,
    ),
  );
}

interface WrongMembers {
  readonly kind: string;
  readonly bucket: string;
  readonly members: number;
  readonly n: number | string;
}

/** Buckets whose count is wrong, by kind and name. */
export function findWrongMembers(trx: Knex.Transaction, hint: string): Promise<WrongMembers[]> {
  return queryRows<WrongMembers>(
    trx,
    `select b.kind, b.name as bucket, b.members, coalesce(s.n, 0) as n
      from bucket b
      left join (select kind, bucket, count(*) as n from shard ${hint} group by kind, bucket) s
        on s.kind = b.kind and s.bucket = b.name
      where b.members <> coalesce(s.n, 0) order by b.kind, b.name`,
  );
}

export async function checkMembers(trx: Knex.Transaction, hint: string): Promise<Fault[]> {
  return (await findWrongMembers(trx, hint)).map(({ kind, bucket, members, n }) =>
    fault(
      'members',
      { kind, bucket },
      `members is ${members}, and it holds ${objects(Number(n))}`,
      'sharder check --fix counts again',
    ),
  );
}

export async function checkRows(
  database: Database,
  onRows: (count: number) => void,
): Promise<{ count: number; faults: Fault[] }> {
  interface Row {
    readonly id: number | string;
    readonly kind: string;
    readonly name: string;
    readonly bucket: string;
    readonly assigned_at: string | Date;
  }
  const faults: Fault[] = [];
  let count = 0;
  let left = 0;
  onRows(count);
  for (let last: Row | undefined; ;) {
    const rows = await database.readPage((knex) => {
      const page = knex('shard').orderBy('id').limit(PAGE_SIZE);
      if (last) void page.where('id', '>', last.id);
      return page.select<Row[]>('id', 'kind', 'name', 'bucket', 'assigned_at');
    });
    for (const { id, kind, bucket, name, assigned_at } of rows) {
      const found = [
        ...named(
          'name',
          refusal(() => {
            checkObjectName(name);
          }),
          `rename or delete it in the database: its id is ${id}`,
        ),
        ...named(
          'time',
          Number.isNaN(new Date(assigned_at).getTime())
            ? `assigned_at is ${JSON.stringify(assigned_at)}`
            : undefined,
          `set it to a time such as 2026-01-31T12:00:00.000Z: its id is ${id}`,
        ),
      ];
      for (const { rule, message, remedy } of found) {
        if (faults.length < LISTED)
          faults.push(fault(rule, { kind, bucket, name }, message, remedy));
        else left++;
      }
    }
    onRows((count += rows.length));
    last = rows.at(-1);
    if (rows.length < PAGE_SIZE) break;
  }
  if (left > 0)
    faults.push(fault('name', {}, `and ${objects(left)} more`, 'mend these, and check again'));
  return { count, faults };
}

function named(rule: Rule, message: string | undefined, remedy: string) {
  return message === undefined ? [] : [{ rule, message, remedy }];
}

export async function noteCapacities(knex: Knex): Promise<string[]> {
  const rows = await knex('bucket')
    .whereRaw('members > capacity')
    .orderBy(['kind', 'name'])
    .select<{ kind: string; name: string; members: number; capacity: number }[]>();
  return rows.map(
    ({ kind, name, members, capacity }) =>
      `bucket ${name} of kind ${kind} has room for ${capacity}, and holds ${members}`,
  );
}

// What `check` says against a name.
function refusal(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof SharderError) return error.message;
    throw error;
  }
}

function objects(count: number): string {
  return `${count} ${count === 1 ? 'object' : 'objects'}`;
}
