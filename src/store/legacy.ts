// Takes over the Python sharder's database in place: its table `shard` (id, kind, bucket, name, all
// but the id nullable) becomes ours, and the row `dummy-BUCKET` that it keeps in each bucket becomes
// that bucket.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { BUCKET_PATTERN, checkObjectName, KIND_PATTERN } from '../names.js';
import { insertBucket } from './buckets.js';
import { recordChange, type By } from './changes.js';
import { lockKind } from './kinds.js';
import { applyMigrations, BOOKS, lockSchema, schemaState, type EngineName } from './migrate.js';
import { queryRows } from './rows.js';
import { readSnapshot } from './snapshot.js';

/** What adopting a database makes of it. */
export interface Adoption {
  readonly buckets: readonly AdoptedBucket[];
  /** Rows of which no assignment can be made, and why. The history keeps them. */
  readonly leftOut: readonly LeftOutRow[];
}

export interface AdoptedBucket {
  readonly kind: string;
  readonly name: string;
  objects: number;
  /** False where only the objects' rows name it. */
  hasDummy: boolean;
}

export interface LegacyRow {
  readonly id: number;
  readonly kind: string | null;
  readonly bucket: string | null;
  readonly name: string | null;
}

export interface LeftOutRow extends LegacyRow {
  readonly why: string;
}

const COLUMNS = ['id', 'kind', 'bucket', 'name'];
const PAGE_SIZE = 10_000;
const LOCK_TIMEOUT_MS = 3_000;
// Of users it may be said, as long as it is said of their own bucket: a user `dummy-x` is one.
const IS_DUMMY = `name = 'dummy-' || bucket`;

/**
 * Reads what adopting would make of the database, and changes nothing. Throws `schema` when its
 * table `shard` is not the Python sharder's, or a kind or bucket has a name that ours cannot have.
 */
export async function surveyLegacy(trx: Knex.Transaction, engine: EngineName): Promise<Adoption> {
  if (engine === 'postgres') await trx.raw('set local statement_timeout = 0');
  const there = Object.keys(await trx('shard').columnInfo());
  await refuseDependents(trx, engine);
  if (there.length !== COLUMNS.length || !COLUMNS.every((column) => there.includes(column))) {
    throw new SharderError(
      'schema',
      `the table \`shard\` has the columns ${there.join(', ')}; the Python sharder's has ${COLUMNS.join(', ')}`,
    );
  }
  const why = await findDuplicates(trx);
  const leftOut: LeftOutRow[] = [];
  const buckets = new Map<string, AdoptedBucket>();
  for (let last: LegacyRow | undefined; ;) {
    const page = trx('shard').orderBy('id').limit(PAGE_SIZE);
    if (last) void page.where('id', '>', last.id);
    const rows = await page.select<LegacyRow[]>(COLUMNS);
    for (const row of rows) {
      const reason = why.get(row.id) ?? whyNot(row);
      if (reason !== undefined) leftOut.push({ ...row, why: reason });
      // The bucket is one, whatever is wrong with the name.
      if (!isText(row.kind) || !isText(row.bucket)) continue;
      const key = `${row.kind}\0${row.bucket}`;
      let bucket = buckets.get(key);
      if (!bucket) {
        bucket = { kind: row.kind, name: row.bucket, objects: 0, hasDummy: false };
        buckets.set(key, bucket);
      }
      if (isDummy(row)) bucket.hasDummy = true;
      else if (reason === undefined) bucket.objects++;
    }
    if (rows.length < PAGE_SIZE) break;
    last = rows.at(-1);
  }
  const adopted = [...buckets.values()].sort(byKindAndName);
  refuseNames(adopted);
  return { buckets: adopted, leftOut };
}

/**
 * Adopts the database, in one transaction: every object keeps its bucket, the lowest id wins where a
 * name stands there twice. Resolves with nothing where another process has just done so. Throws as
 * `surveyLegacy`, or `database_busy` while another program uses the table.
 */
export async function adoptLegacy(
  trx: Knex.Transaction,
  engine: EngineName,
  by: By,
): Promise<Adoption | undefined> {
  await lockSchema(trx, engine);
  if (!(await schemaState(trx, engine)).isLegacy) return undefined;
  if (engine === 'postgres') await lockTable(trx);
  const adoption = await surveyLegacy(trx, engine);
  const { buckets, leftOut } = adoption;

  await trx.raw('create temporary table legacy as select id, kind, bucket, name from shard');
  await trx.raw('create temporary table left_out (id bigint primary key)');
  for (const { id } of leftOut) await trx('left_out').insert({ id });
  await trx.raw('drop table shard');
  await applyMigrations(trx, engine);

  for (const kind of new Set(buckets.map((bucket) => bucket.kind))) {
    const own = buckets.filter((bucket) => bucket.kind === kind);
    await trx('kind').insert({ name: kind });
    await lockKind(trx, kind);
    for (const { name } of own) await insertBucket(trx, kind, name, {}, by);
    const objects = own.reduce((sum, bucket) => sum + bucket.objects, 0);
    await recordChange(trx, { ...by, action: 'adopt', kind, detail: { objects } });
  }
  for (const { id, kind, bucket, name, why } of leftOut) {
    await recordChange(trx, {
      ...by,
      action: 'adopt: left out',
      kind: isText(kind) ? kind : '',
      detail: { id, kind, bucket, name, why },
    });
  }
  await trx.raw(`
    insert into shard (id, kind, bucket, name)
    select id, kind, bucket, name from legacy
    where not (${IS_DUMMY}) and id not in (select id from left_out) order by id`);
  if (engine === 'postgres') {
    await trx.raw(`
      select setval(pg_get_serial_sequence('shard', 'id'), max(id)) from legacy having max(id) > 0`);
  }
  await trx.raw('drop table legacy');
  await trx.raw('drop table left_out');
  await checkCounts(trx, buckets);
  return adoption;
}

// The old service leaves transactions open, which would hold up the lock for ever.
async function lockTable(trx: Knex.Transaction): Promise<void> {
  await trx.raw(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
  await trx.raw('lock table shard in access exclusive mode');
}

// What somebody has built upon the table would be lost with it, on SQLite without a word; and our
// own tables need their names.
const DEPENDENTS: Readonly<Record<EngineName, string>> = {
  sqlite: `
    select type || ' ' || name as what from sqlite_schema
      where type = 'trigger' and lower(tbl_name) = 'shard'
    union all
    select 'foreign key of table ' || t.name from sqlite_schema t, pragma_foreign_key_list(t.name) f
      where t.type = 'table' and lower(f."table") = 'shard'
`,
  postgres: `
    select 'trigger ' || tgname as what from pg_trigger
      where tgrelid = 'shard'::regclass and not tgisinternal
    union all
    select 'foreign key of table ' || conrelid::regclass from pg_constraint
      where confrelid = 'shard'::regclass
    union all
    select distinct 'view ' || v.oid::regclass from pg_depend d
      join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
      join pg_class v on v.oid = r.ev_class
      where d.refobjid = 'shard'::regclass
`,
};

// SQLite has names without regard to case. On PostgreSQL a table is a type, too.
const NAMESAKES: Readonly<Record<EngineName, string>> = {
  sqlite: `
    select type || ' ' || name as what from sqlite_schema
      where lower(name) in (select value from json_each(?)) and lower(tbl_name) <> 'shard'`,
  postgres: `
    with ours as (select json_array_elements_text(?::json) as name)
    select case c.relkind when 'v' then 'view ' when 'm' then 'view ' when 'i' then 'index '
        when 'S' then 'sequence ' else 'table ' end || c.relname as what
      from pg_class c join ours on ours.name = c.relname
      where c.relnamespace = current_schema()::regnamespace and c.oid <> 'shard'::regclass
        and not exists (
          select from pg_index i where i.indexrelid = c.oid and i.indrelid = 'shard'::regclass)
    union all
    select 'function ' || p.proname from pg_proc p join ours on ours.name = p.proname
      where p.pronamespace = current_schema()::regnamespace and p.pronargs = 0
    union all
    select 'type ' || t.typname from pg_type t join ours on ours.name = t.typname
      where t.typnamespace = current_schema()::regnamespace and t.typrelid = 0 and t.typelem = 0`,
};

async function refuseDependents(trx: Knex.Transaction, engine: EngineName): Promise<void> {
  const { tables, indexes, functions, triggers: all } = await readSnapshot(engine);
  const triggers = engine === 'sqlite' ? all : [];
  const ours = [...BOOKS, ...tables, ...indexes, ...functions, ...triggers.map(({ name }) => name)];
  const found = [
    ...(await queryRows<{ what: string }>(trx, DEPENDENTS[engine])),
    ...(await queryRows<{ what: string }>(trx, NAMESAKES[engine], [JSON.stringify(ours)])),
  ];
  const names = [...new Set(found.map(({ what }) => what))];
  if (names.length === 0) return;
  throw new SharderError(
    'schema',
    `in the way are: ${names.join(', ')}. What depends on the table \`shard\`, or is called as one of ours, must be dropped or renamed first; make it again afterwards`,
  );
}

// Rows whose name stands there before, with why they are left out.
async function findDuplicates(trx: Knex.Transaction): Promise<Map<number, string>> {
  const twice = trx('shard').groupBy('kind', 'name').havingRaw('count(*) > 1');
  const rows = await trx('shard as s')
    .join(twice.select('kind', 'name').as('d'), function () {
      this.on('d.kind', 's.kind').andOn('d.name', 's.name');
    })
    .orderBy(['s.kind', 's.name', 's.id'])
    .select<LegacyRow[]>('s.*');
  const why = new Map<number, string>();
  let first: LegacyRow | undefined;
  for (const row of rows) {
    if (isDummy(row) || whyNot(row) !== undefined) continue;
    if (first?.kind === row.kind && first.name === row.name) {
      why.set(row.id, `its name is that of row ${first.id}, in ${first.bucket ?? ''}`);
    } else {
      first = row;
    }
  }
  return why;
}

function isDummy({ name, bucket }: Pick<LegacyRow, 'name' | 'bucket'>): boolean {
  return bucket !== null && name === `dummy-${bucket}`;
}

// SQLite takes anything in any column.
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

// Why no assignment can be made of a row, or undefined.
function whyNot({ kind, bucket, name }: LegacyRow): string | undefined {
  const missing = Object.entries({ kind, bucket, name }).find(([, value]) => !isText(value));
  if (missing) {
    const [column, value] = missing;
    return value === null || value === '' ? `it has no ${column}` : `its ${column} is not text`;
  }
  if (isDummy({ name, bucket })) return undefined;
  try {
    checkObjectName(name ?? '');
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function byKindAndName(a: AdoptedBucket, b: AdoptedBucket): number {
  if (a.kind !== b.kind) return a.kind < b.kind ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

// These are cookies and parts of a path, and no rows are left behind for them.
function refuseNames(buckets: readonly AdoptedBucket[]): void {
  const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const mend = (column: string, name: string) =>
    column === 'kind'
      ? `UPDATE shard SET kind = 'NEW' WHERE kind = ${quote(name)};`
      : `UPDATE shard SET bucket = 'NEW', name = CASE name WHEN 'dummy-' || bucket THEN 'dummy-NEW' ELSE name END WHERE bucket = ${quote(name)};`;
  const kinds = [...new Set(buckets.map(({ kind }) => kind))];
  const wrong = [
    ...kinds.filter((kind) => !KIND_PATTERN.test(kind)).map((kind) => mend('kind', kind)),
    ...buckets
      .filter(({ name }) => !BUCKET_PATTERN.test(name))
      .map(({ name }) => mend('bucket', name)),
  ];
  if (wrong.length === 0) return;
  throw new SharderError(
    'schema',
    `a kind is 1 to 63 of A-Z a-z 0-9 . _ -, a bucket 1 to 256 visible ASCII characters but " % , ; \\: rename these in the database first, and in the settings of what uses them:\n  ${wrong.join('\n  ')}`,
  );
}

// What the triggers counted must be what was read.
async function checkCounts(
  trx: Knex.Transaction,
  buckets: readonly AdoptedBucket[],
): Promise<void> {
  const rows = await trx('bucket').select<{ kind: string; name: string; members: number }[]>(
    'kind',
    'name',
    'members',
  );
  const counted = new Map(rows.map(({ kind, name, members }) => [`${kind}\0${name}`, members]));
  for (const { kind, name, objects } of buckets) {
    if (counted.get(`${kind}\0${name}`) !== objects) {
      throw new SharderError(
        'schema',
        `bucket ${name} of kind ${kind} would have ${counted.get(`${kind}\0${name}`) ?? 'no'} objects, not its ${objects}: nothing was changed`,
      );
    }
  }
}
