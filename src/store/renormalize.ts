// Renames the objects of a kind to their normal names, when those become others.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Knex } from 'knex';
import { SharderError, type ErrorCode } from '../errors.js';
import { tryNormalize, type Normalize } from '../normalize.js';
import type { By } from './changes.js';
import { engineOf, queryRows, runStatement } from './rows.js';

/** So many of the names that are in the way are shown; all are counted. */
const SHOWN = 10;

// So many rows take a few milliseconds, in which SQLite, and making the statements, hold the event
// loop. Those that PostgreSQL renames at once it tells by one message, if they are more than a thousand.
const PAGE_SIZE = 500;
const CHUNK_SIZE = { sqlite: PAGE_SIZE, postgres: 5_000 } as const;

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
  await trx.raw('create index renaming_normal on renaming (normal, n)');
  const count = await gather(trx, kind, how);
  if (engineOf(trx) === 'postgres') await trx.raw('analyze renaming');

  const collisions = new Listed();
  await inChunks(trx, count, async (...chunk) => {
    for (const { id, owner } of await findCollisions(trx, kind, chunk)) {
      collisions.add(collisions.isFull ? '' : await describe(trx, owner, id));
    }
  });
  refuse('collision', kind, how, collisions, {
    what: 'would have the name of another',
    remedy: 'make one of each two first (`sharder object merge`), or rename one',
  });
  await inChunks(trx, count, (...chunk) => rename(trx, kind, by, chunk));
  await trx.raw('drop table renaming');
}

// Calls `work` for those from after `from` to `to`, chunk by chunk.
async function inChunks(
  trx: Knex.Transaction,
  count: number,
  work: (from: number, to: number) => Promise<void>,
): Promise<void> {
  const size = CHUNK_SIZE[engineOf(trx)];
  for (let n = 0; n < count; n += size) {
    await work(n, n + size);
    await nextTurn(); // on SQLite no statement lets anybody else go on
  }
}

interface Row {
  readonly id: number | string;
  readonly name: string;
}

// Fills the table with who is to be renamed, and resolves with how many.
async function gather(trx: Knex.Transaction, kind: string, how: Normalize): Promise<number> {
  // Where PostgreSQL has no statistics, it would sort the whole table for each page.
  if (engineOf(trx) === 'postgres') await trx.raw('set local enable_sort = off');
  const nameless = new Listed();
  let count = 0;
  for (let last: Row | undefined; ;) {
    const page = trx('shard').where({ kind }).orderBy('name').limit(PAGE_SIZE);
    if (last) void page.where('name', '>', last.name);
    const rows: Row[] = await page.select('id', 'name');
    const changing = rows.flatMap(({ id, name }) => {
      const normal = tryNormalize(name, how);
      if (normal instanceof SharderError) nameless.add(normal.message);
      return typeof normal !== 'string' || normal === name
        ? []
        : [{ n: ++count, id, name, normal }];
    });
    if (changing.length > 0) await trx('renaming').insert(changing);
    last = rows.at(-1);
    if (rows.length < PAGE_SIZE) break;
    await nextTurn();
  }
  refuse('bad_name', kind, how, nameless, {
    what: 'would have no name',
    remedy: 'rename or remove them first (`sharder object rename`)',
  });
  return count;
}

type Chunk = readonly [from: number, to: number];

interface Collision {
  readonly id: number | string;
  /** The id of who has the name, or is to have it. */
  readonly owner: number | string;
}

// Subqueries, so that each is looked up by its index, whatever PostgreSQL knows of the tables.
function findCollisions(
  trx: Knex.Transaction,
  kind: string,
  [from, to]: Chunk,
): Promise<Collision[]> {
  return queryRows<Collision>(
    trx,
    `select id, owner from (
        select r.n, r.id, coalesce(
          (select s.id from shard s where s.kind = ? and s.name = r.normal),
          (select e.id from renaming e where e.normal = r.normal and e.n < r.n order by e.n limit 1)
        ) as owner
        from renaming r where r.n > ? and r.n <= ?
      ) owned where owner is not null order by n`,
    [kind, from, to],
  );
}

// "IANA, iana → iana (hub-0, hub-1)"
async function describe(
  trx: Knex.Transaction,
  owner: Collision['owner'],
  id: Collision['id'],
): Promise<string> {
  const rows: { name: string; bucket: string; normal: string | null }[] = await trx('shard as s')
    .leftJoin('renaming as r', 'r.id', 's.id')
    .whereIn('s.id', [owner, id])
    .orderBy('s.name')
    .select('s.name', 's.bucket', 'r.normal');
  const list = (of: (row: (typeof rows)[number]) => string) => rows.map(of).join(', ');
  const normal = rows.find((row) => row.normal !== null)?.normal ?? '';
  return `${list(({ name }) => name)} → ${normal} (${list(({ bucket }) => bucket)})`;
}

/** Counts all, and keeps the first. */
class Listed {
  count = 0;
  readonly #first: string[] = [];

  get isFull(): boolean {
    return this.count >= SHOWN;
  }

  add(line: string): void {
    if (!this.isFull) this.#first.push(line);
    this.count++;
  }

  get text(): string {
    const more = this.count > SHOWN ? [`and ${this.count - SHOWN} more`] : [];
    return [...this.#first, ...more].map((line) => `  ${line}`).join('\n');
  }
}

function refuse(
  code: ErrorCode,
  kind: string,
  how: Normalize,
  listed: Listed,
  { what, remedy }: { readonly what: string; readonly remedy: string },
): void {
  if (listed.count === 0) return;
  const objects = listed.count === 1 ? '1 object' : `${listed.count} objects`;
  throw new SharderError(
    code,
    `normalize ${how} does not fit kind ${kind}: ${objects} ${what}\n${listed.text}\n${remedy}, then set it again`,
  );
}

// Renames those of a chunk.
async function rename(
  trx: Knex.Transaction,
  kind: string,
  { actor, reason }: By,
  chunk: Chunk,
): Promise<void> {
  const json = JSON_OBJECT[engineOf(trx)];
  // Written so that SQLite begins with those that change, and not with all that there are.
  const these = 'from renaming r cross join shard s where s.id = r.id and r.n > ? and r.n <= ?';
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, from_bucket, assigned_at, reason, detail, version)
      select cast(? as text), 'object rename', s.kind, s.name, s.bucket, s.assigned_at,
        cast(? as text), ${json}('to', r.normal), (select version from kind where name = ?)
      ${these} order by r.n`,
    [actor, reason ?? null, kind, ...chunk],
  );
  await runStatement(
    trx,
    `insert into change (actor, action, kind, name, to_bucket, reason, detail, version)
      select cast(? as text), 'object rename', s.kind, r.normal, s.bucket,
        cast(? as text), ${json}('from', r.name), (select version from kind where name = ?)
      ${these} order by r.n`,
    [actor, reason ?? null, kind, ...chunk],
  );
  await runStatement(
    trx,
    `update shard set name = r.normal from renaming r
      where r.id = shard.id and r.n > ? and r.n <= ?`,
    [...chunk],
  );
}
