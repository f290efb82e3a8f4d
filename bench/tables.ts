// Databases with so many objects in them, filled by SQL in bulk and not through the service.

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { declareKinds, openDatabase } from '../src/index.js';
import { BUCKETS, KIND, WARM_KIND, type Connection, type Engine, type Naming } from './engines.js';

const ROWS_AT_ONCE = 100_000;

const MEMBERS = `select sum(members) from bucket where kind = '${KIND}'`;

// Smaller ones would be doubled and more by one run, and are made anew for each.
const KEPT_FROM = 50_000;

export class Table {
  readonly engine: Engine;
  readonly url: string;
  /** The number of the first name in order that was never used. */
  next: number;

  private constructor(engine: Engine, url: string, objects: number) {
    this.engine = engine;
    this.url = url;
    this.next = objects + 1;
  }

  static async create(
    engine: Engine,
    naming: Naming,
    objects: number,
    buckets = BUCKETS,
  ): Promise<Table> {
    const table = new Table(engine, await engine.create(), objects);
    const database = await openDatabase(table.url);
    const named = (kind: string, count: number) => ({
      buckets: Array.from({ length: count }, (_, i) => ({ name: `${kind}-${i}` })),
    });
    const kinds = { [KIND]: named(KIND, buckets), [WARM_KIND]: named(WARM_KIND, BUCKETS) };
    await declareKinds(database, kinds, 'bench');
    await database.close();
    await table.#with((connection) =>
      fill(connection, engine, engine.fill(naming, buckets), objects),
    );
    return table;
  }

  /** How many objects its buckets say they have. */
  members(): Promise<number> {
    return this.read(MEMBERS);
  }

  /**
   * Tells `visit` every 20 ms when it is and how many objects there are, or what else `sql` counts, until
   * it returns false.
   */
  watch(visit: (atMs: number, count: number) => boolean, sql = MEMBERS): Promise<void> {
    return this.#with(async (connection) => {
      for (;;) {
        const count = Number(await connection.read(sql));
        if (!visit(performance.now(), count)) return;
        await sleep(20);
      }
    });
  }

  async run(sql: string): Promise<void> {
    await this.#with(async (connection) => {
      await connection.run(sql);
    });
  }

  /** The number that a query gives. */
  read(sql: string): Promise<number> {
    return this.#with(async (connection) => Number(await connection.read(sql)));
  }

  async remove(): Promise<void> {
    await this.engine.remove(this.url);
  }

  async #with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.engine.connect(this.url);
    try {
      return await work(connection);
    } finally {
      await connection.close();
    }
  }
}

/** The tables of a run of the bench: large ones are filled once. */
export class Tables {
  readonly #kept = new Map<string, Table>();

  /** Lends a table with so many objects, or more where it was lent before. */
  async lend<T>(
    engine: Engine,
    naming: Naming,
    objects: number,
    work: (table: Table) => Promise<T>,
  ): Promise<T> {
    const key = `${engine.name} ${naming} ${objects}`;
    const kept = this.#kept.get(key);
    const table = kept ?? (await Table.create(engine, naming, objects));
    if (objects >= KEPT_FROM) this.#kept.set(key, table);
    const result = await work(table);
    if (objects < KEPT_FROM) await table.remove();
    return result;
  }
}

async function fill(
  connection: Connection,
  engine: Engine,
  insert: string,
  objects: number,
): Promise<void> {
  await connection.run(engine.beforeFill);
  for (let from = 1; from <= objects; from += ROWS_AT_ONCE) {
    await connection.run(insert, from, Math.min(from + ROWS_AT_ONCE - 1, objects));
    await nextTurn(); // for Ctrl-C: a statement of SQLite's holds the event loop
  }
  for (const sql of engine.afterFill) await connection.run(sql);

  const rows = Number(await connection.read('select count(*) from shard'));
  const members = Number(await connection.read(MEMBERS));
  if (rows !== objects || members !== objects) {
    throw new Error(`a table of ${objects} objects has ${rows}, and its buckets say ${members}`);
  }
}
