// What is to be imported, in temporary tables of its own: checked there in bulk, and then inserted in
// one statement, so that the kind's lock, and on SQLite the file's, is held no longer than that.

import type { Database as SqliteConnection } from 'better-sqlite3';
import type { Knex } from 'knex';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { By } from './changes.js';
import type { Database } from './database.js';
import { queryRows, runStatement } from './rows.js';

/** A checked object, and the line that it stood in. */
export interface StagedRow {
  readonly line: number;
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
  /** ISO 8601, UTC. */
  readonly assigned_at: string;
  readonly pinned: boolean;
  /** Whether a new object may not be called that. */
  readonly refused: boolean;
}

/** A row that cannot be imported as it is. */
export interface Clash {
  readonly line: number;
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
}

/** The object stands in another line with another bucket. */
export interface Contradiction extends Clash {
  readonly other_line: number;
}

/** The object is in another bucket already. */
export interface Elsewhere extends Clash {
  readonly from_bucket: string;
}

/** How many there are, and the first of them by line. */
export interface Found<T> {
  readonly count: number;
  readonly rows: readonly T[];
}

/** How many objects are new to a bucket. */
export interface Arrivals {
  readonly kind: string;
  readonly bucket: string;
  readonly count: number;
}

const COLUMNS = 'line, kind, name, bucket, assigned_at, pinned, refused';

/** Needs a database that was opened for bulk, whose one connection keeps the tables. */
export class Staging {
  readonly #database: Database;
  readonly #knex: Knex;

  private constructor(database: Database) {
    this.#database = database;
    this.#knex = database.knex;
  }

  static async create(database: Database): Promise<Staging> {
    const [time, flag] =
      database.engineName === 'sqlite' ? ['text', 'integer'] : ['timestamptz', 'boolean'];
    await database.knex.raw(`
      create temporary table incoming (
        line bigint not null, kind text not null, name text not null, bucket text not null,
        assigned_at ${time} not null, pinned ${flag} not null, refused ${flag} not null)`);
    await database.knex.raw(`
      create temporary table twice (
        kind text not null, name text not null, differs integer not null, line bigint not null,
        primary key (kind, name))`);
    await database.knex.raw(`
      create temporary table elsewhere (
        line bigint not null, kind text not null, name text not null, bucket text not null,
        from_bucket text not null, primary key (kind, name))`);
    return new Staging(database);
  }

  /** Adds rows. The service on the same database notices nothing of it. */
  async add(rows: readonly StagedRow[]): Promise<void> {
    if (rows.length === 0) return;
    const pool = this.#knex.client as Knex.Client;
    const connection: unknown = await pool.acquireConnection();
    try {
      if (this.#database.engineName === 'sqlite') insert(connection as SqliteConnection, rows);
      else await copy(connection as pg.Client, rows);
    } finally {
      await pool.releaseConnection(connection);
    }
  }

  /** After the last `add`: makes what follows quick. */
  async sort(): Promise<void> {
    await this.#knex.raw(
      'create index incoming_in_order on incoming (kind, name, line, bucket, assigned_at, pinned, refused)',
    );
    if (this.#database.engineName === 'postgres') await this.#knex.raw('analyze incoming');
    await this.#knex.raw(`
      insert into twice (kind, name, differs, line)
      select kind, name, case when min(bucket) = max(bucket) then 0 else 1 end, min(line)
      from incoming group by kind, name having count(*) > 1`);
  }

  /** Takes out objects that stand there with several buckets, with all their lines. */
  async takeContradictions(limit: number): Promise<Found<Contradiction>> {
    const these = `
      from incoming i join twice t on t.kind = i.kind and t.name = i.name where t.differs = 1`;
    const count = await this.#count(`select count(*) as n ${these}`);
    if (count === 0) return { count, rows: [] };
    const rows = await this.#all<Contradiction>(
      `select i.line, i.kind, i.name, i.bucket, (
          select min(o.line) from incoming o
          where o.kind = i.kind and o.name = i.name and o.bucket <> i.bucket) as other_line
        ${these} order by i.line limit ${limit}`,
    );
    await this.#run(`
      delete from incoming where exists (
        select 1 from twice t
        where t.kind = incoming.kind and t.name = incoming.name and t.differs = 1)`);
    return { count, rows };
  }

  /** Takes out lines that say what an earlier one has said, and resolves with how many. */
  takeRepeated(): Promise<number> {
    return this.#run(`
      delete from incoming where exists (
        select 1 from twice t
        where t.kind = incoming.kind and t.name = incoming.name and t.line <> incoming.line)`);
  }

  /**
   * Compares with what the database has: what is new, in the order of the index that it goes to, and
   * what is elsewhere. Resolves with the counts.
   */
  async compare(): Promise<{ fresh: number; elsewhere: number; unchanged: number }> {
    await this.#run(`
      create temporary table fresh as
      select i.line, i.kind, i.name, i.bucket, i.assigned_at, i.pinned, i.refused
      from incoming i left join shard s on s.kind = i.kind and s.name = i.name
      where s.id is null order by i.kind, i.name`);
    const incoming = await this.#count('select count(*) as n from incoming');
    const fresh = await this.#count('select count(*) as n from fresh');
    if (fresh < incoming) await addElsewhere(this.#knex, 'incoming');
    const elsewhere = await this.#count('select count(*) as n from elsewhere');
    return { fresh, elsewhere, unchanged: incoming - fresh - elsewhere };
  }

  /** Takes out new objects whose names no new object may have. */
  async takeRefused(limit: number): Promise<Found<Clash>> {
    const rows = await this.#all<Clash>(
      `select line, kind, name, bucket from fresh where refused order by line limit ${limit}`,
    );
    const count = rows.length === 0 ? 0 : await this.#run('delete from fresh where refused');
    return { count, rows };
  }

  /** Takes out what is elsewhere, so that it stays there; resolves with the first by line. */
  async takeElsewhere(limit: number): Promise<Elsewhere[]> {
    const rows = await this.#all<Elsewhere>(`select * from elsewhere order by line limit ${limit}`);
    await this.#run('delete from elsewhere');
    return rows;
  }

  /** What is elsewhere, by line. */
  listElsewhere(trx: Knex.Transaction): Promise<Elsewhere[]> {
    return all<Elsewhere>(trx, 'select * from elsewhere order by line');
  }

  /** How many are to come to each bucket; `withMoved`: those too that are elsewhere. */
  async arrivals(withMoved: boolean): Promise<Arrivals[]> {
    const moved = withMoved ? 'union all select kind, bucket from elsewhere' : '';
    const rows = await this.#all<{ kind: string; bucket: string; count: number | string }>(`
      select kind, bucket, count(*) as count from (select kind, bucket from fresh ${moved}) arriving
      group by kind, bucket order by kind, bucket`);
    return rows.map((row) => ({ ...row, count: Number(row.count) }));
  }

  /**
   * Inserts what is new, under the lock of its kinds. Resolves with how many rows it has inserted. Of
   * those that were assigned since `compare`, who are elsewhere join the others that are.
   */
  async insertFresh(trx: Knex.Transaction, expected: number): Promise<number> {
    const inserted = await runStatement(
      trx,
      `insert into shard (kind, bucket, name, assigned_at, pinned)
        select kind, bucket, name, assigned_at, pinned from fresh where true
        on conflict (kind, name) do nothing`,
    );
    if (inserted < expected) await addElsewhere(trx, 'fresh');
    return inserted;
  }

  /**
   * Moves what is elsewhere, under the lock of its kinds, with a line of history for each. Resolves
   * with how many. Who was removed since `compare` stays so.
   */
  async moveElsewhere(trx: Knex.Transaction, { actor, reason }: By): Promise<number> {
    const moving = `
      from elsewhere m join shard s on s.kind = m.kind and s.name = m.name
      where s.bucket <> m.bucket`;
    await runStatement(
      trx,
      `insert into change
          (actor, action, kind, name, from_bucket, to_bucket, assigned_at, reason, version)
        select cast(? as text), 'object move', m.kind, m.name, s.bucket, m.bucket, s.assigned_at,
          cast(? as text), (select version from kind where name = m.kind)
        ${moving} order by m.kind, m.name`,
      [actor, reason ?? null],
    );
    return runStatement(
      trx,
      `update shard set bucket = m.bucket from elsewhere m
        where m.kind = shard.kind and m.name = shard.name and m.bucket <> shard.bucket`,
    );
  }

  #run(sql: string): Promise<number> {
    return runStatement(this.#knex, sql);
  }

  #all<T>(sql: string): Promise<T[]> {
    return all<T>(this.#knex, sql);
  }

  async #count(sql: string): Promise<number> {
    const [row] = await this.#all<{ n: number | string }>(sql);
    return Number(row?.n);
  }
}

async function addElsewhere(knex: Knex, table: 'incoming' | 'fresh'): Promise<void> {
  // Written so that SQLite begins with the rows that come, and not with all that there are.
  await runStatement(
    knex,
    `insert into elsewhere (line, kind, name, bucket, from_bucket)
      select i.line, i.kind, i.name, i.bucket, s.bucket
      from ${table} i cross join shard s
      where s.kind = i.kind and s.name = i.name and s.bucket <> i.bucket
      on conflict (kind, name) do nothing`,
  );
}

async function all<T>(knex: Knex, sql: string): Promise<T[]> {
  const rows = await queryRows<T>(knex, sql);
  for (const row of rows as Record<string, unknown>[]) {
    for (const key of ['line', 'other_line']) if (key in row) row[key] = Number(row[key]);
  }
  return rows;
}

// A transaction that touches temporary tables alone locks nothing.
function insert(connection: SqliteConnection, rows: readonly StagedRow[]): void {
  const statement = connection.prepare(
    `insert into incoming (${COLUMNS}) values (?, ?, ?, ?, ?, ?, ?)`,
  );
  connection.transaction(() => {
    for (const { line, kind, name, bucket, assigned_at, pinned, refused } of rows) {
      statement.run(line, kind, name, bucket, assigned_at, pinned ? 1 : 0, refused ? 1 : 0);
    }
  })();
}

// Of what COPY gives a meaning to, a checked name can have the backslash alone.
async function copy(connection: pg.Client, rows: readonly StagedRow[]): Promise<void> {
  const text = rows
    .map(({ line, kind, name, bucket, assigned_at, pinned, refused }) =>
      [line, kind, name.replaceAll('\\', '\\\\'), bucket, assigned_at, pinned, refused].join('\t'),
    )
    .join('\n');
  const stream = connection.query(copyFrom(`copy incoming (${COLUMNS}) from stdin`));
  await pipeline(Readable.from([`${text}\n`]), stream);
}
