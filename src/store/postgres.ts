// The two verbs on PostgreSQL: named statements on connections of knex's pool. `find` takes one
// round trip for any number of names, `assign` two.

import type { Knex } from 'knex';
import type pg from 'pg';
import { SharderError } from '../errors.js';
import { tryNormalize, type Normalize } from '../normalize.js';
import { INSERT_PLACED, TRIM, trimmedBelow } from './arrivals.js';
import {
  NotAssigned,
  type AssignedRow,
  type BucketRow,
  type Candidate,
  type Engine,
  type EngineEvents,
  type ObjectKey,
  type PickBuckets,
  waitsForWorker,
} from './engine.js';
import { selectHashTable, toHashTable, type HashTable, type HashTableRow } from './hash-table.js';
import { HeldSettings, refuseNewName, type HeldKind, type KindText } from './kind-settings.js';
import { unknownKind } from './kinds.js';
import { Listener } from './listener.js';
import {
  explainPostgresError,
  isBroken,
  isConflict,
  isServerError,
  isTrouble,
  isUniqueViolation,
  unavailable,
} from './postgres-errors.js';
import { retry } from './retry.js';

// Later than the server's own statement_timeout, so that it is hit only when the server is not there.
const QUERY_TIMEOUT_MS = 4_000;

// Not `name = any($2)`: that is planned as a sequential scan on tables of some sizes. The lateral
// join with its limit keeps to the unique index at any size, with or without statistics.
const FOUND = `
  select s.bucket, b.url from shard s
  join bucket b on b.kind = s.kind and b.name = s.bucket
  where s.kind = n.kind and s.name = n.name limit 1`;

const FIND = {
  name: 'sharder_find',
  rowMode: 'array',
  text: `
    select n.i::int, f.bucket, f.url
    from unnest($1::text[], $2::text[]) with ordinality as n (kind, name, i)
    cross join lateral (${FOUND}) f`,
  query_timeout: QUERY_TIMEOUT_MS,
} as const;

// What the buckets say is locked until the commit: somebody in psql, who does not take the kind's
// lock, may be cordoning or filling one of them.
const READ = {
  name: 'sharder_read',
  text: `
    select
      (select json_agg(json_build_object('i', n.i, 'bucket', f.bucket, 'url', f.url))
        from unnest($2::text[]) with ordinality as names (name, i)
        cross join lateral (select $1::text as kind, names.name, names.i) n
        cross join lateral (${FOUND}) f) as found,
      (select json_agg(json_build_object('name', name, 'url', url, 'weight', weight,
          'capacity', capacity, 'members', members))
        from (
          select name, url, weight, capacity, members from bucket
          where kind = $1 and state = 'active' and (capacity is null or members < capacity)
          order by name for no key update
        ) open) as candidates`,
  query_timeout: QUERY_TIMEOUT_MS,
} as const;

// Of these names; as above, one by one.
const REGISTERED = {
  name: 'sharder_registered',
  rowMode: 'array',
  text: `
    select n.name from unnest($2::text[]) as n (name)
    cross join lateral (select from spec p where p.kind = $1 and p.name = n.name limit 1) p`,
  query_timeout: QUERY_TIMEOUT_MS,
} as const;

const BEGIN = query('begin isolation level read committed');
const LOCK = {
  name: 'sharder_lock',
  ...query(
    'update kind set version = version + 1 where name = $1 returning policy, settings::text as settings, version',
  ),
};
const COMMIT = query('commit');
const ROLLBACK = query('rollback');

const SETTINGS = query('select name, policy, settings::text as settings from kind');
const HASH_TABLE = { name: 'sharder_hash_table', ...query(selectHashTable('$1')) };

function query(text: string) {
  return { text, query_timeout: QUERY_TIMEOUT_MS };
}

const INSERT = {
  name: 'sharder_insert',
  text: INSERT_PLACED,
  query_timeout: QUERY_TIMEOUT_MS,
} as const;

interface ReadRow {
  readonly found: ({ i: number } & BucketRow)[] | null;
  readonly candidates: (Candidate & { url: string | null })[] | null;
}

// The pool closes a connection that has the first mark, and opens another. The second is set by
// database.ts: when it was opened.
type PooledClient = pg.Client & { __knex__disposed?: unknown; openedAt?: number };

export class PostgresEngine implements Engine {
  readonly lookup = { batched: this.#find.bind(this) };
  readonly hashTables = { soon: this.#hashTable.bind(this) };
  readonly #knex: Knex;
  readonly #listener: Listener;
  readonly #events: EngineEvents;
  readonly #settings = new HeldSettings();
  readonly #inFlight = new Set<(why: SharderError) => void>();
  #brokeAt = 0;
  #isUp = true;

  constructor(pool: Knex, events: EngineEvents) {
    this.#knex = pool;
    this.#events = events;
    this.#listener = new Listener(pool, {
      dropped: events.dropped,
      refresh: async (connection) => {
        const { rows } = await connection.query<{ name: string } & KindText>(SETTINGS);
        this.#settings.replace(rows);
      },
      alive: () => {
        if (this.#isUp) return;
        this.#isUp = true;
        events.up();
      },
      lost: (why) => {
        this.#setDown(why);
      },
    });
  }

  /** Begins to hear of changes; resolves when it does. */
  async start(): Promise<void> {
    try {
      const { rows } =
        await this.#knex.raw<pg.QueryResult<{ server_encoding: string }>>('show server_encoding');
      const encoding = rows[0]?.server_encoding;
      if (encoding !== 'UTF8') {
        throw new SharderError(
          'settings',
          `database: its encoding is ${encoding ?? 'unknown'}, it must be UTF8: createdb -E UTF8 -T template0`,
        );
      }
      await this.#listener.start();
    } catch (error) {
      throw explainPostgresError(error);
    }
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  generation(): number {
    return this.#listener.generation;
  }

  settings(kind: string): HeldKind {
    return this.#settings.of(kind);
  }

  async #hashTable(kind: string): Promise<HashTable | undefined> {
    const { rows } = await this.#use((client) =>
      client.query<HashTableRow>({ ...HASH_TABLE, values: [kind] }),
    );
    return toHashTable(rows);
  }

  lookAgain(): void {
    // The message of the trigger is on its way.
  }

  async assign(kind: string, names: readonly string[], pick: PickBuckets) {
    const started = performance.now();
    const { rows, below } = await this.#use((client) =>
      assign(client, this.#settings, kind, names, pick),
    );
    if (below !== undefined) this.#trim(kind, below);
    this.#events.assigned(kind, names.length, (performance.now() - started) / 1000);
    return rows;
  }

  // Nobody waits for it; what is left is deleted the next time.
  #trim(kind: string, below: number): void {
    const trimming = this.#use((client) => client.query({ ...query(TRIM), values: [kind, below] }));
    trimming.catch(() => undefined);
  }

  async check(): Promise<void> {
    await this.#use((client) => client.query(query('select 1')));
  }

  close(): Promise<void> {
    return this.#listener.stop();
  }

  #find(keys: readonly ObjectKey[]): Promise<(BucketRow | undefined)[]> {
    const values = [keys.map(({ kind }) => kind), keys.map(({ name }) => name)];
    return this.#use(async (client) => {
      const found = new Array<BucketRow | undefined>(keys.length);
      const { rows } = await client.query<[i: number, bucket: string, url: string | null]>({
        ...FIND,
        values,
      });
      for (const [i, bucket, url] of rows) found[i - 1] = { bucket, url };
      return found;
    });
  }

  // Calls `work` with a connection of the pool: again when another transaction stood in the way,
  // and once more on a fresh connection when the first broke. `work` must be safe to repeat.
  async #use<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    if (!this.#isUp) throw unavailable();
    let mayBreak = true;
    try {
      return await this.#whileUp(
        retry(
          () => this.#withClient(work),
          (error) => {
            if (isConflict(error) || isUniqueViolation(error)) return true;
            const again = mayBreak && this.#isUp && isTrouble(error);
            mayBreak = false;
            return again;
          },
        ),
      );
    } catch (error) {
      if (isBroken(error)) {
        this.#setDown(error);
        this.#listener.ping();
      }
      throw explainPostgresError(error);
    }
  }

  // What `work` resolves to, or the news that the database is down, if that comes first: where it
  // hangs, what was asked of it is answered late or never, and known users must not wait for that.
  #whileUp<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      void work.then(resolve, reject).finally(() => this.#inFlight.delete(reject));
    });
  }

  async #withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const pool = this.#knex.client as Knex.Client;
    const client = await this.#acquire(pool);
    try {
      return await work(client);
    } catch (error) {
      if (error instanceof SharderError) throw error;
      if (isServerError(error) && !isTrouble(error)) {
        await client.query(ROLLBACK).catch((failure: unknown) => {
          client.__knex__disposed = failure;
        });
        throw error;
      }
      client.__knex__disposed = error;
      if (isBroken(error)) this.#brokeAt = performance.now();
      throw error;
    } finally {
      await pool.releaseConnection(client);
    }
  }

  // Where one connection broke, those that are as old may be dead too, and not know it: after the
  // database was restarted, or behind a network that lost its memory. They are not used again.
  async #acquire(pool: Knex.Client): Promise<PooledClient> {
    for (;;) {
      const client = (await pool.acquireConnection()) as PooledClient;
      if ((client.openedAt ?? 0) >= this.#brokeAt) return client;
      client.__knex__disposed = 'another connection broke';
      await pool.releaseConnection(client);
    }
  }

  #setDown(why: unknown): void {
    this.#brokeAt = performance.now();
    if (!this.#isUp) return;
    this.#isUp = false;
    this.#events.down(why);
    for (const giveUp of this.#inFlight) giveUp(unavailable(why));
  }
}

// The kind's lock first: whoever holds it reads what all before it committed, for each statement
// of a READ COMMITTED transaction sees the table anew. What does not wait for an answer in between
// goes out in one write (the connection's `pipeline`); a statement that fails fails those after it.
//
// So the names are looked up by the settings that were heard last. Where the lock tells of others,
// they are looked up once more: while it is held, those stay.
async function assign(
  client: pg.Client,
  held: HeldSettings,
  kind: string,
  names: readonly string[],
  pick: PickBuckets,
): Promise<Assigned> {
  const { normalize } = held.of(kind);
  let named = toNamed(names, normalize);
  const [, lock, first] = await Promise.all([
    client.query(BEGIN),
    client.query<KindText & { version: string }>({ ...LOCK, values: [kind] }),
    client.query<ReadRow>({ ...READ, values: [kind, named.distinct] }),
  ]);
  const [row] = lock.rows;
  if (!row) {
    await client.query(ROLLBACK);
    throw unknownKind(kind);
  }
  let read = first;
  const current = held.take(kind, row);
  if (current.policy === 'hash') {
    await client.query(ROLLBACK);
    throw new NotAssigned(kind);
  }
  if (current.normalize !== normalize) {
    named = toNamed(names, current.normalize);
    read = await client.query<ReadRow>({ ...READ, values: [kind, named.distinct] });
  }

  const { distinct } = named;
  const { found, candidates } = read.rows[0] ?? { found: null, candidates: null };
  const rows = new Map<string, AssignedRow>();
  for (const { i, bucket, url } of found ?? []) {
    const name = distinct[i - 1] ?? '';
    rows.set(name, { name, bucket, url, isNew: false });
  }
  const unknown = distinct.filter((name) => !rows.has(name));
  // Nobody but the workers has a say in where these are.
  const following = current.leased ? await readRegistered(client, kind, unknown) : NONE;
  const why = new Map<string, SharderError>();
  for (const name of following) why.set(name, waitsForWorker(kind, name));
  for (const name of unknown) {
    const refused = following.has(name) ? undefined : refuseNewName(name, current);
    if (refused) why.set(name, refused);
  }
  const fresh = unknown.filter((name) => !why.has(name));

  const open = candidates ?? [];
  const urls = new Map(open.map(({ name, url }) => [name, url]));
  const picks = pick(open, fresh.length, current);
  if (picks.length === 0) {
    await client.query(ROLLBACK);
    return { rows: answers(named, rows, why) };
  }
  const placed = fresh.slice(0, picks.length);
  placed.forEach((name, i) => {
    const bucket = picks[i] ?? '';
    rows.set(name, { name, bucket, url: urls.get(bucket) ?? null, isNew: true });
  });
  const values = [kind, picks, placed, row.version];
  const [inserted] = await Promise.all([
    client.query<{ total: string }>({ ...INSERT, values }),
    client.query(COMMIT),
  ]);
  const total = Number(inserted.rows[0]?.total ?? 0);
  return {
    rows: answers(named, rows, why),
    below: trimmedBelow('postgres', total, placed.length),
  };
}

const NONE: ReadonlySet<string> = new Set();

async function readRegistered(
  client: pg.Client,
  kind: string,
  names: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<[name: string]>({ ...REGISTERED, values: [kind, names] });
  return new Set(rows.map(([name]) => name));
}

interface Assigned {
  readonly rows: (AssignedRow | SharderError | null)[];
  /** What `TRIM` is to be told, if it is time. */
  readonly below?: number | undefined;
}

interface Named {
  /** The normal form of each name that was asked, or why it has none. */
  readonly each: readonly (string | SharderError)[];
  /** Every normal form once. */
  readonly distinct: readonly string[];
}

function toNamed(names: readonly string[], how: Normalize): Named {
  const each = names.map((name) => tryNormalize(name, how));
  return { each, distinct: [...new Set(each.filter((name) => typeof name === 'string'))] };
}

function answers(
  { each }: Named,
  rows: Map<string, AssignedRow>,
  why: ReadonlyMap<string, SharderError>,
): (AssignedRow | SharderError | null)[] {
  return each.map((name) => {
    if (typeof name !== 'string') return name;
    const row = rows.get(name);
    // Whoever else asked for the same one finds it there.
    if (row?.isNew) rows.set(name, { ...row, isNew: false });
    return row ?? why.get(name) ?? null;
  });
}
