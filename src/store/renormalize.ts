// Renames the objects of a kind to their normal names, when those become others.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { tryNormalize, type Normalize } from '../normalize.js';
import type { By } from './changes.js';
import { engineOf, runStatement } from './rows.js';

/** So many of the names that are in the way are shown; all are counted. */
const SHOWN = 10;

// SQLite is synchronous: so many rows take a few milliseconds. PostgreSQL tells services of more than
// a thousand by one message.
const PAGE_SIZE = { sqlite: 500, postgres: 5_000 } as const;

const JSON_OBJECT = { sqlite: 'json_object', postgres: 'jsonb_build_object' } as const;

/**
 * Gives every object of the kind its normal name, under the kind's lock, each with the two lines of
 * history that `renameObject` writes. In pages, so that any number takes the memory of a page. Throws
 * `collision` where two would come to have the same name, and `bad_name` where one would have none.
 */
export async function renameToNormal(
  trx: Knex.Transaction,
  kind: string,
  how: Normalize,
  by: By,
): Promise<void> {
  if (how === 'none') return; // every name is its own
  await trx.raw(`
    create temporary table renaming (
      n integer primary key, id bigint not null, name text not null, normal text not null)`);
  await trx.raw('create index renaming_normal on renaming (normal)');
  const count = await gather(trx, kind, how);
  if (engineOf(trx) === 'postgres') await trx.raw('analyze renaming');
  const size = PAGE_SIZE[engineOf(trx)];
  for (let n = 0; n < count; n += size) await rename(trx, by, n, n + size);
  await trx.raw('drop table renaming');
}

interface Row {
  readonly id: number | string;
  readonly name: string;
  readonly bucket: string;
}

// Fills the table with who is to be renamed, and resolves with how many.
async function gather(trx: Knex.Transaction, kind: string, how: Normalize): Promise<number> {
  const size = PAGE_SIZE[engineOf(trx)];
  // Where PostgreSQL has no statistics, it would sort the whole table for each page.
  if (engineOf(trx) === 'postgres') await trx.raw('set local enable_sort = off');
  const collisions = new Listed();
  const nameless = new Listed();
  let count = 0;
  for (let last: Row | undefined; ;) {
    const page = trx('shard').where({ kind }).orderBy('name').limit(size);
    if (last) void page.where('name', '>', last.name);
    const rows: Row[] = await page.select('id', 'name', 'bucket');
    const changing = rows.flatMap((row) => {
      const normal = tryNormalize(row.name, how);
      if (normal instanceof SharderError) nameless.add(normal.message);
      return typeof normal !== 'string' || normal === row.name ? [] : [{ ...row, normal }];
    });
    const owners = await findOwners(trx, kind, [...new Set(changing.map(({ normal }) => normal))]);
    const renaming = changing.flatMap((row) => {
      const owner = owners.get(row.normal);
      if (owner) collisions.add(describe(owner, row));
      else owners.set(row.normal, row);
      const { id, name, normal } = row;
      return owner ? [] : [{ n: ++count, id, name, normal }];
    });
    if (renaming.length > 0) await trx('renaming').insert(renaming);
    last = rows.at(-1);
    if (rows.length < size) break;
  }
  const what = `kind ${kind} cannot have normalize ${how}`;
  if (nameless.count > 0) {
    throw new SharderError(
      'bad_name',
      `${what}: ${nameless.count} of its objects would have no name\n${nameless.text}\nrename or remove them first (\`sharder object rename\`), then set it again`,
    );
  }
  if (collisions.count > 0) {
    throw new SharderError(
      'collision',
      `${what}: ${collisions.count} of its objects would have the name of another\n${collisions.text}\nmake one of each two first (\`sharder object merge\`), or rename one, then set it again`,
    );
  }
  return count;
}

// Who has one of these names, or is to have it.
async function findOwners(
  trx: Knex.Transaction,
  kind: string,
  names: readonly string[],
): Promise<Map<string, Row>> {
  if (names.length === 0) return new Map();
  const there: Row[] = await trx('shard')
    .where({ kind })
    .whereIn('name', names)
    .select('id', 'name', 'bucket');
  const coming: (Row & { normal: string })[] = await trx('renaming as r')
    .join('shard as s', 's.id', 'r.id')
    .whereIn('r.normal', names)
    .select('s.id', 's.name', 's.bucket', 'r.normal');
  return new Map([
    ...coming.map((row) => [row.normal, row] as const),
    ...there.map((row) => [row.name, row] as const),
  ]);
}

// "Iana, iana → iana (hub-0, hub-1)"
function describe(owner: Row, row: Row & { readonly normal: string }): string {
  const [one, two] = owner.name < row.name ? [owner, row] : [row, owner];
  return `${one.name}, ${two.name} → ${row.normal} (${one.bucket}, ${two.bucket})`;
}

/** Counts all, and keeps the first. */
class Listed {
  count = 0;
  readonly #first: string[] = [];

  add(line: string): void {
    if (this.count++ < SHOWN) this.#first.push(line);
  }

  get text(): string {
    const more = this.count > SHOWN ? [`and ${this.count - SHOWN} more`] : [];
    return [...this.#first, ...more].map((line) => `  ${line}`).join('\n');
  }
}

// Renames those from after `from` to `to`.
async function rename(
  trx: Knex.Transaction,
  { actor, reason }: By,
  from: number,
  to: number,
): Promise<void> {
  const json = JSON_OBJECT[engineOf(trx)];
  // Written so that SQLite begins with those that change, and not with all that there are.
  const these = 'from renaming r cross join shard s where s.id = r.id and r.n > ? and r.n <= ?';
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, from_bucket, assigned_at, reason, detail)
      select cast(? as text), 'object rename', s.kind, s.name, s.bucket, s.assigned_at,
        cast(? as text), ${json}('to', r.normal)
      ${these} order by r.n`,
    [actor, reason ?? null, from, to],
  );
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, to_bucket, reason, detail)
      select cast(? as text), 'object rename', s.kind, r.normal, s.bucket,
        cast(? as text), ${json}('from', r.name)
      ${these} order by r.n`,
    [actor, reason ?? null, from, to],
  );
  await runStatement(
    trx,
    `update shard set name = r.normal from renaming r
      where r.id = shard.id and r.n > ? and r.n <= ?`,
    [from, to],
  );
}
