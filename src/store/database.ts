// Opens a database by its URL. Everything that is not `find` or `assign` works through here.

import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Database as SqliteConnection } from 'better-sqlite3';
import createKnex, { type Knex } from 'knex';
import type pg from 'pg';
import { SharderError } from '../errors.js';
import type { Engine, EngineEvents } from './engine.js';
import { inTime } from './in-time.js';
import { migrate, refuseForeign, schemaState, type EngineName } from './migrate.js';
import { PostgresEngine } from './postgres.js';
import { makePrivateFile } from './private-files.js';
import { busy, explainOpenError, isConflict } from './postgres-errors.js';
import { retry } from './retry.js';
import { SQLITE_PRAGMAS, SqliteEngine } from './sqlite.js';
import { explainSqliteError, isBusy } from './sqlite-errors.js';

/** Runs statements that read; `readPage` one that reads a page in the order of an index. */
export type Reader = Pick<Database, 'read' | 'readPage'>;

/** How far a transaction is. What has `failed` was not written, unless its commit was on its way. */
export type WritePhase = 'writing' | 'committing' | 'written' | 'failed';

/** An open database. Close it when done. */
export class Database {
  readonly engineName: EngineName;
  /** The URL without its password, for people. */
  readonly location: string;
  /** The query builder, for what `read` and `write` below do not cover. */
  readonly knex: Knex;
  /** The migrations that opening it has applied. */
  applied: readonly string[] = [];
  /** Told of every phase of `write`, which waits for it. */
  onWrite: (phase: WritePhase) => void | Promise<void> = ignore;
  #engine: Engine | undefined;
  #closed: Promise<void> | undefined;
  #lastTurn: Promise<void> = Promise.resolve();
  readonly #queues = new Map<string, Promise<void>>();

  /** Use `openDatabase`. */
  constructor(engineName: EngineName, location: string, knex: Knex) {
    this.engineName = engineName;
    this.location = location;
    this.knex = knex;
  }

  /** Runs statements that read. Tried again while another writer is in the way. */
  read<T>(work: (knex: Knex) => Promise<T>): Promise<T> {
    return this.#run(() => work(this.knex));
  }

  /**
   * Runs a statement that reads a page in the order of an index. Where PostgreSQL has no statistics
   * of a table that has just grown, it would sort the whole of it for each page.
   */
  readPage<T>(work: (knex: Knex) => Promise<T>): Promise<T> {
    if (this.engineName === 'sqlite') return this.read(work);
    return this.rehearse(async (trx) => {
      await trx.raw('set local enable_sort = off');
      return work(trx);
    });
  }

  /**
   * Calls `work` with a reader that sees the database as it is now, whatever is written meanwhile.
   * Nothing is tried again, for part of it may have been printed.
   */
  async snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T> {
    const trx = await this.knex.transaction();
    try {
      if (this.engineName === 'postgres') {
        await trx.raw('set transaction isolation level repeatable read, read only');
        await trx.raw('set local enable_sort = off'); // as in readPage
      }
      await trx('kind').first('name'); // the moment is that of the first statement that reads
      return await work({ read: (each) => each(trx), readPage: (each) => each(trx) });
    } catch (error) {
      throw this.#explain(error);
    } finally {
      await trx.rollback();
    }
  }

  /**
   * Runs `work` in one transaction, and again from the start when another writer got in its way; so
   * it must do nothing but write to `trx`. What decides by what it reads begins with the kind's lock;
   * told which `kind` that is, it waits for the others of this process here, and not with one of the few
   * connections, which those who need no lock would have to wait for.
   */
  async write<T>(work: (trx: Knex.Transaction) => Promise<T>, kind?: string): Promise<T> {
    const write = () => this.#run(() => this.#write(work));
    const result = await (kind === undefined ? write() : this.#queue(kind, write));
    this.#engine?.lookAgain();
    return result;
  }

  // Who has waited for long gives up; so one that hangs holds up the others for a while only.
  #queue<T>(kind: string, work: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(kind);
    const mine = before ? inTime(before, PATIENCE_MS, busy).then(work) : work();
    const over = mine.then(ignore, ignore).then(() => {
      if (this.#queues.get(kind) === over) this.#queues.delete(kind);
    });
    this.#queues.set(kind, over);
    return mine;
  }

  async #write<T>(work: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
    await this.onWrite('writing');
    try {
      const result = await this.knex.transaction(async (trx) => {
        const written = await work(trx);
        await this.onWrite('committing');
        return written;
      });
      await this.onWrite('written');
      return result;
    } catch (error) {
      await this.onWrite('failed');
      throw error;
    }
  }

  /** Runs `work` as `write` does, and rolls it back: what it resolves with is what would have been. */
  rehearse<T>(work: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
    return this.#run(async () => {
      const trx = await this.knex.transaction();
      try {
        return await work(trx);
      } finally {
        await trx.rollback();
      }
    });
  }

  /** Applies pending migrations. Throws `schema` for a newer schema. */
  async migrate(): Promise<void> {
    const state = await this.read((knex) => schemaState(knex, this.engineName));
    refuseForeign(state);
    if (state.pending.length === 0) return; // the usual start takes no lock
    this.applied = await this.write((trx) => migrate(trx, this.engineName));
  }

  /** Throws `schema` unless the schema is exactly this version's. */
  async checkSchema(): Promise<void> {
    const state = await this.read((knex) => schemaState(knex, this.engineName));
    refuseForeign(state);
    if (state.pending.length > 0) {
      throw new SharderError(
        'schema',
        `the database lacks ${state.pending.join(', ')}: type \`sharder migrate\` first`,
      );
    }
  }

  /**
   * SQLite: from now on readers and a writer are not in each other's way. The file keeps it, so a
   * database that is not ours is never told.
   */
  async useWal(): Promise<void> {
    if (this.engineName === 'sqlite') {
      await this.read((knex) => knex.raw('pragma journal_mode = wal'));
    }
  }

  /**
   * Makes the engine that assigns; a database has one. It tells `events` what it hears.
   *
   * @internal
   */
  createEngine(events: EngineEvents): Engine {
    if (this.#engine) throw new Error('this database has an engine already');
    this.#engine =
      this.engineName === 'sqlite'
        ? new SqliteEngine(this.knex, events)
        : new PostgresEngine(this.knex, events);
    return this.#engine;
  }

  /** May be called again, and does nothing then. */
  close(): Promise<void> {
    this.#closed ??= (this.#engine?.close() ?? Promise.resolve()).then(() => this.knex.destroy());
    return this.#closed;
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.engineName === 'sqlite') await this.#turn();
    try {
      return await retry(work, this.engineName === 'sqlite' ? isBusy : isConflict);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  // SQLite answers at once, so that work is done in one turn of the event loop, however many statements it
  // has. Many such would be one turn that takes seconds, in which nobody else is heard: each has its own.
  #turn(): Promise<void> {
    this.#lastTurn = this.#lastTurn.then(() => nextTurn());
    return this.#lastTurn;
  }

  #explain(error: unknown): unknown {
    return this.engineName === 'sqlite' ? explainSqliteError(error) : explainOpenError(error);
  }
}

export interface OpenOptions {
  readonly migrate?: boolean;
  readonly isBulk?: boolean;
  /** Told before anything is asked of it. */
  readonly onOpen?: (database: Database) => void;
}

/**
 * Opens the database that `url` names: `sqlite:FILE` (made when it is not there) or
 * `postgres://user:password@host:port/database`. Brings its schema up to date, unless `migrate` is
 * false: then a schema of another version is refused, and no file is made. `isBulk`: see `connect`.
 * Throws `settings` for a URL of another form, or a database or user that is not there; `schema`; or
 * `database_unavailable`.
 */
export async function openDatabase(
  url: string,
  { migrate = true, isBulk = false, onOpen = ignore }: OpenOptions = {},
): Promise<Database> {
  const database = connect(url, migrate, { isBulk });
  try {
    onOpen(database);
    if (migrate) await database.migrate();
    else await database.checkSchema();
    await database.useWal();
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

// Knex writes to the console what it also throws.
const SILENT = { warn: ignore, error: ignore, debug: ignore, deprecate: ignore };

function ignore(): void {
  // nobody listens
}

/**
 * The database that `url` names, whatever its schema. See `openDatabase`, which is the one to use.
 * `isBulk`: for what takes long, all of it on one connection, which keeps its temporary tables, and
 * whose statements may take their time.
 */
export function connect(url: string, mayCreate: boolean, { isBulk = false } = {}): Database {
  if (/^postgres(ql)?:\/\//.test(url)) return connectPostgres(url, isBulk);
  if (url.startsWith('sqlite:')) {
    return connectSqlite(url.slice('sqlite:'.length), mayCreate, isBulk);
  }
  throw new SharderError(
    'settings',
    `database: ${JSON.stringify(withoutPassword(url))} is not a database URL; write sqlite:FILE or postgres://user:password@host:port/database`,
  );
}

// A connection of the pool that is not used for a while is closed, but for the least number.
const ALONE = { min: 1, max: 1 } as const;

// In KiB. What is written in the order of its index needs no more, and takes no longer.
const BULK_CACHE_SIZE = -8_192;

function connectSqlite(file: string, mayCreate: boolean, isBulk: boolean): Database {
  if (file === '' || file.startsWith('//') || file.startsWith(':') || file.includes('?')) {
    // SQLAlchemy writes three slashes, and a fourth for an absolute path.
    const meant = /^\/\/\/([^?:][^?]*)$/.exec(file)?.[1] ?? 'sharder.db';
    throw new SharderError(
      'settings',
      `database: "sqlite:${file}" names no file; write sqlite:${meant}, or sqlite:/var/lib/sharder/sharder.db`,
    );
  }
  const path = resolve(file);
  if (!mayCreate && !existsSync(path)) {
    throw new SharderError(
      'settings',
      `database: there is no file ${path}; \`sharder serve\` makes it`,
    );
  }
  try {
    makePrivateFile(path);
  } catch (error) {
    if (!existsSync(dirname(path))) {
      throw new SharderError('settings', `database: the directory of ${path} cannot be made`, {
        cause: error,
      });
    }
    // Otherwise SQLite says why it cannot be opened.
  }
  const knex = createKnex({
    client: 'better-sqlite3',
    connection: { filename: path },
    useNullAsDefault: true,
    log: SILENT,
    compileSqlOnError: false, // knex would write the values, and with them names, into messages
    pool: {
      // one for the engine, one for everything else
      ...(isBulk ? ALONE : { min: 0, max: 2 }),
      afterCreate: (connection: SqliteConnection, done: (error?: unknown) => void) => {
        try {
          for (const pragma of SQLITE_PRAGMAS) connection.pragma(pragma);
          if (isBulk) connection.pragma(`cache_size = ${BULK_CACHE_SIZE}`);
          done();
        } catch (error) {
          done(error);
        }
      },
    },
  });
  // Where a commit was refused, for somebody reads, knex hands the connection back as it is. The pool
  // asks this before it lends one, and closes one that is not fit.
  (knex.client as Knex.Client).validateConnection = (connection: SqliteConnection) =>
    Promise.resolve(!connection.inTransaction);
  return new Database('sqlite', `sqlite:${file}`, knex);
}

// How long work waits for a connection, or for others of its kind.
const PATIENCE_MS = 5_000;

type PooledConnection = pg.Client & { openedAt?: number };

// Not as parameters of the connection, which poolers refuse. A process that is stopped, or cut off,
// in the middle of a transaction gives up its locks. And an answer is given after its commit is
// durable, whatever the database's default.
const DURABLE = `
  select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') = 'off'`;
// Statements are short; on tables without statistics PostgreSQL takes them for long ones, and compiles
// them first, which takes a hundred times as long.
const UNCOMPILED = 'set jit = off';
const SESSION = `
  ${UNCOMPILED};
  set statement_timeout = 3000;
  set idle_in_transaction_session_timeout = 5000;
  ${DURABLE}`;

// Nobody waits for what is done in bulk. Where it is broken off by Ctrl-C, its locks go within a
// second, and not at the end of a statement that takes long.
const BULK_SESSION = `
  ${UNCOMPILED};
  set statement_timeout = 0;
  set idle_in_transaction_session_timeout = 0;
  do $$ begin
    perform set_config('client_connection_check_interval', '1000', false);
  exception when others then -- not every system can
  end $$;
  ${DURABLE}`;

function connectPostgres(url: string, isBulk: boolean): Database {
  const knex = createKnex({
    client: 'pg',
    connection: {
      connectionString: url,
      application_name: 'sharder',
      keepAlive: true,
      connectionTimeoutMillis: 3_000,
      pipeline: !isBulk, // knex's types do not know it; COPY cannot be sent in one
    } as pg.ClientConfig as Knex.PgConnectionConfig,
    log: SILENT,
    compileSqlOnError: false, // knex would write the values, and with them names, into messages
    acquireConnectionTimeout: PATIENCE_MS,
    pool: {
      ...(isBulk ? ALONE : { min: 0, max: 8 }),
      afterCreate: (connection: PooledConnection, done: (error?: unknown) => void) => {
        connection.openedAt = performance.now();
        connection.query(isBulk ? BULK_SESSION : SESSION, done);
      },
    },
  });
  return new Database('postgres', withoutPassword(url), knex);
}

/** A database's URL as it may be shown: its password, and what stands behind a `?`, left out. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z0-9+]+:\/\/[^:@/]*):.*@/is, '$1@').replace(/\?.*$/s, '');
}
