// The two verbs on SQLite: prepared statements on a connection of their own, all synchronous. The
// connection that knex uses beside it is to this one like another process: its writes are noticed,
// and while it writes this one waits without holding the event loop.

import type { Database as Connection, Statement } from 'better-sqlite3';
import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import {
  DEAF,
  type AssignedRow,
  type BucketRow,
  type Candidate,
  type Engine,
  type EngineEvents,
  type Pick,
} from './engine.js';
import { unknownKind } from './kinds.js';
import { retry } from './retry.js';

/** How a connection must be set up: durable at every commit, and never waiting by itself. */
export const SQLITE_PRAGMAS = [
  'journal_mode = wal',
  'synchronous = full',
  'foreign_keys = on',
  'cache_size = -32768', // KiB
  'busy_timeout = 0',
] as const;

const FIND = `
  select b.name as bucket, b.url from shard s
  join bucket b on b.kind = s.kind and b.name = s.bucket
  where s.kind = ? and s.name = ?`;

const CANDIDATES = `
  select name, url, weight, capacity, members from bucket
  where kind = ? and state = 'active' and (capacity is null or members < capacity)`;

interface Statements {
  readonly dataVersion: Statement<[], number>;
  readonly find: Statement<[kind: string, name: string], BucketRow>;
  readonly begin: Statement<[]>;
  readonly lock: Statement<[kind: string], number>;
  readonly candidates: Statement<[kind: string], Candidate & { url: string | null }>;
  readonly insert: Statement<[kind: string, bucket: string, name: string]>;
  readonly commit: Statement<[]>;
  readonly rollback: Statement<[]>;
}

export class SqliteEngine implements Engine {
  readonly lookup = { atOnce: this.#find.bind(this) };
  readonly #pool: Knex.Client;
  readonly #events: EngineEvents;
  #connection!: Connection;
  #statements!: Statements;
  #generation = 0;
  #dataVersion = 0;
  #heardThisTurn = false;
  #isUp = true;

  constructor(knex: Knex, events: EngineEvents) {
    this.#pool = knex.client as Knex.Client;
    this.#events = events;
  }

  async start(): Promise<void> {
    const connection = (await this.#pool.acquireConnection()) as Connection;
    this.#connection = connection;
    this.#statements = {
      dataVersion: connection.prepare<[], number>('pragma data_version').pluck(),
      find: connection.prepare(FIND),
      begin: connection.prepare('begin immediate'),
      lock: connection
        .prepare<[string], number>(
          'update kind set version = version + 1 where name = ? returning version',
        )
        .pluck(),
      candidates: connection.prepare(CANDIDATES),
      insert: connection.prepare('insert into shard (kind, bucket, name) values (?, ?, ?)'),
      commit: connection.prepare('commit'),
      rollback: connection.prepare('rollback'),
    };
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /**
   * Looks at `pragma data_version`, which another connection's commit changes, once in each turn of
   * the event loop: so a request that comes in after a move was committed sees it.
   */
  generation(): number {
    if (this.#heardThisTurn) return this.#generation;
    let dataVersion: number | undefined;
    try {
      dataVersion = this.#statements.dataVersion.get();
    } catch {
      return DEAF;
    }
    if (dataVersion !== this.#dataVersion) {
      this.#dataVersion = dataVersion ?? 0;
      this.#generation++;
    }
    this.#heardThisTurn = true;
    setImmediate(() => (this.#heardThisTurn = false));
    return this.#generation;
  }

  async assign(kind: string, names: readonly string[], pick: Pick) {
    const started = performance.now();
    try {
      const rows = await retry(() => this.#assign(kind, names, pick), isBusy);
      this.#setUp();
      this.#events.assigned(kind, names.length, (performance.now() - started) / 1000);
      return rows;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async check(): Promise<void> {
    try {
      await retry(() => this.#statements.dataVersion.get(), isBusy);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  close(): Promise<void> {
    this.#pool.releaseConnection(this.#connection);
    return Promise.resolve();
  }

  #find(kind: string, name: string): BucketRow | undefined {
    try {
      return this.#statements.find.get(kind, name);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #assign(kind: string, names: readonly string[], pick: Pick): (AssignedRow | null)[] {
    const { begin, lock, candidates, find, insert, commit, rollback } = this.#statements;
    begin.run();
    try {
      if (lock.get(kind) === undefined) throw unknownKind(kind);
      const rows: (AssignedRow | null)[] = [];
      const fresh: number[] = [];
      for (const name of names) {
        const row = find.get(kind, name);
        if (!row) fresh.push(rows.length);
        rows.push(row ? { ...row, isNew: false } : null);
      }
      const open = candidates.all(kind);
      const urls = new Map(open.map(({ name, url }) => [name, url]));
      const picks = pick(open, fresh.length);
      picks.forEach((bucket, i) => {
        const at = fresh[i] ?? 0;
        insert.run(kind, bucket, names[at] ?? '');
        rows[at] = { bucket, url: urls.get(bucket) ?? null, isNew: true };
      });
      (picks.length > 0 ? commit : rollback).run();
      return rows;
    } catch (error) {
      // A full disk has ended the transaction already.
      if (this.#connection.inTransaction) rollback.run();
      throw error;
    }
  }

  #setUp(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#events.up();
  }

  #explain(error: unknown): unknown {
    const explained = explainSqliteError(error);
    if (explained instanceof SharderError && explained.code !== 'database_busy') {
      if (this.#isUp && explained.code.startsWith('database_')) {
        this.#isUp = false;
        this.#events.down(error);
      }
    }
    return explained;
  }
}

/** The error as a SharderError when it is one of the database's troubles; itself otherwise. */
export function explainSqliteError(error: unknown): unknown {
  const code = sqliteCode(error);
  if (code === undefined) return error;
  if (isBusy(error)) {
    return new SharderError(
      'database_busy',
      'the database is busy: another program has been writing to it for seconds; try again',
      { cause: error },
    );
  }
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE') {
    return new SharderError(
      'database_full',
      'the disk that holds the database is full: make room, nothing was stored or lost',
      { cause: error },
    );
  }
  if (UNAVAILABLE.test(code)) {
    return new SharderError('database_unavailable', `the database cannot be used (${code})`, {
      cause: error,
    });
  }
  return error;
}

const UNAVAILABLE = /^SQLITE_(IOERR|CANTOPEN|READONLY|CORRUPT|NOTADB|PERM|AUTH|PROTOCOL|NOMEM)/;

/** True for an error that says: another connection is writing, try again. */
export function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(sqliteCode(error) ?? '');
}

function sqliteCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : undefined;
}
