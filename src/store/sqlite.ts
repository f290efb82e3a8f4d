// The two verbs on SQLite: prepared statements on a connection of their own, all synchronous. To it
// every other connection is a stranger, knex's in the same process too: their changes are noticed,
// and while they write, this one waits without holding the event loop.

import type { Database as Connection, Statement } from 'better-sqlite3';
import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { tryNormalize } from '../normalize.js';
import { SqliteArrivals } from './arrivals.js';
import {
  DEAF,
  NotAssigned,
  type AssignedRow,
  type BucketRow,
  type Candidate,
  type Engine,
  type EngineEvents,
  type PickBuckets,
  waitsForWorker,
} from './engine.js';
import { selectHashTable, toHashTable, type HashTable, type HashTableRow } from './hash-table.js';
import { HeldSettings, refuseNewName, type HeldKind, type KindText } from './kind-settings.js';
import { unknownKind } from './kinds.js';
import { retry } from './retry.js';
import { explainSqliteError, isBusy } from './sqlite-errors.js';

/** How a connection is set up: durable at every commit, and never waiting by itself. */
export const SQLITE_PRAGMAS = [
  'synchronous = full',
  'foreign_keys = on',
  'cache_size = -32768', // KiB
  // What many names share is then moved from the log to the database once, instead of often.
  'wal_autocheckpoint = 4000', // pages
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
  readonly revision: Statement<[], number>;
  readonly settings: Statement<[], { name: string } & KindText>;
  readonly hashTable: Statement<[{ readonly kind: string }], HashTableRow>;
  readonly find: Statement<[kind: string, name: string], BucketRow>;
  readonly beginRead: Statement<[]>;
  readonly begin: Statement<[]>;
  readonly lock: Statement<[kind: string], KindText & { version: number }>;
  readonly probe: Statement<[]>;
  readonly candidates: Statement<[kind: string], Candidate & { url: string | null }>;
  readonly isRegistered: Statement<[kind: string, name: string], number>;
  readonly insert: Statement<[kind: string, bucket: string, name: string, assignedAt: string]>;
  readonly commit: Statement<[]>;
  readonly rollback: Statement<[]>;
}

export class SqliteEngine implements Engine {
  readonly lookup = { atOnce: this.#find.bind(this) };
  readonly hashTables = { atOnce: this.#hashTable.bind(this) };
  readonly #pool: Knex.Client;
  readonly #events: EngineEvents;
  #probing: NodeJS.Timeout | undefined;
  #connection: Connection | undefined;
  #statements!: Statements;
  #arrivals!: SqliteArrivals;
  readonly #settings = new HeldSettings();
  #dataVersion: number | undefined;
  #revision = DEAF;
  #heardThisTurn = false;
  #trouble: SharderError | undefined;

  constructor(knex: Knex, events: EngineEvents) {
    this.#pool = knex.client as Knex.Client;
    this.#events = events;
  }

  async start(): Promise<void> {
    const connection = (await this.#pool.acquireConnection()) as Connection;
    this.#connection = connection;
    this.#statements = {
      dataVersion: connection.prepare<[], number>('pragma data_version').pluck(),
      revision: connection.prepare<[], number>('select number from revision').pluck(),
      settings: connection.prepare('select name, policy, settings from kind'),
      hashTable: connection.prepare(selectHashTable('@kind')),
      find: connection.prepare(FIND),
      beginRead: connection.prepare('begin'),
      begin: connection.prepare('begin immediate'),
      lock: connection.prepare(
        'update kind set version = version + 1 where name = ? returning policy, settings, version',
      ),
      probe: connection.prepare('update revision set number = number'),
      candidates: connection.prepare(CANDIDATES),
      isRegistered: connection
        .prepare<[string, string], number>('select 1 from spec where kind = ? and name = ?')
        .pluck(),
      insert: connection.prepare(
        'insert into shard (kind, bucket, name, assigned_at) values (?, ?, ?, ?) on conflict do nothing',
      ),
      commit: connection.prepare('commit'),
      rollback: connection.prepare('rollback'),
    };
    this.#arrivals = new SqliteArrivals(connection);
  }

  get isUp(): boolean {
    return this.#trouble === undefined;
  }

  /**
   * The number in the table `revision`, read again when another connection has committed, and with
   * it the settings of the kinds. That is asked once in each turn of the event loop, for all requests
   * that the turn has read.
   */
  generation(): number {
    if (this.#heardThisTurn) return this.#revision;
    this.#endRead(); // inside it, time stands still
    const { dataVersion, revision, settings } = this.#statements;
    try {
      const version = dataVersion.get() ?? 0;
      if (version !== this.#dataVersion) {
        const number = revision.get() ?? DEAF;
        if (number !== this.#revision || number === DEAF) this.#settings.replace(settings.all());
        this.#revision = number;
        this.#dataVersion = version;
      }
    } catch {
      return DEAF;
    }
    this.#heardThisTurn = true;
    setImmediate(() => (this.#heardThisTurn = false));
    return this.#revision;
  }

  settings(kind: string): HeldKind {
    this.generation();
    return this.#settings.of(kind);
  }

  #hashTable(kind: string): HashTable | undefined {
    try {
      return toHashTable(this.#statements.hashTable.all({ kind }));
    } catch (error) {
      throw this.#explain(error);
    }
  }

  lookAgain(): void {
    this.#heardThisTurn = false;
    this.#endRead();
  }

  async assign(kind: string, names: readonly string[], pick: PickBuckets) {
    const started = performance.now();
    try {
      const rows = await retry(() => this.#assign(kind, names, pick), isBusy);
      this.#events.assigned(kind, names.length, (performance.now() - started) / 1000);
      return rows;
    } catch (error) {
      throw this.#explain(error);
    } finally {
      // The next request may have been sent after another program's commit.
      this.lookAgain();
    }
  }

  async check(): Promise<void> {
    if (this.#trouble) throw this.#trouble;
    try {
      await retry(() => this.#statements.revision.get(), isBusy);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#probing);
    this.#endRead();
    if (this.#connection) await this.#pool.releaseConnection(this.#connection);
  }

  // The lookups of one turn share a read transaction, for what is dear in each is its lock.
  #find(kind: string, name: string): BucketRow | undefined {
    try {
      if (!this.#connection?.inTransaction) {
        this.#statements.beginRead.run();
        setImmediate(() => {
          this.#endRead();
        });
      }
      return this.#statements.find.get(kind, name);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #endRead(): void {
    if (this.#connection?.inTransaction) this.#statements.commit.run();
  }

  #assign(
    kind: string,
    names: readonly string[],
    pick: PickBuckets,
  ): (AssignedRow | SharderError | null)[] {
    const { begin, lock, candidates, isRegistered, insert, find, commit, rollback } =
      this.#statements;
    this.#endRead();
    begin.run();
    try {
      const row = lock.get(kind);
      if (row === undefined) throw unknownKind(kind);
      const held = this.#settings.take(kind, row);
      if (held.policy === 'hash') throw new NotAssigned(kind);
      const open = candidates.all(kind);
      const urls = new Map(open.map(({ name, url }) => [name, url]));
      // As a rule all names are new. The pick that a known name does not need is the next one's.
      const picks = pick(open, names.length, held);
      const now = new Date().toISOString(); // what the column's default would say, for each anew
      const placed: string[] = [];
      const rows = names.map((asked) => {
        const name = tryNormalize(asked, held.normalize);
        if (typeof name !== 'string') return name;
        // Nobody but the workers has a say in where that is.
        const follows = held.leased && isRegistered.get(kind, name) !== undefined;
        const refused = follows ? undefined : refuseNewName(name, held);
        const bucket = follows || refused ? undefined : picks[placed.length];
        if (bucket !== undefined && insert.run(kind, bucket, name, now).changes === 1) {
          placed.push(name);
          return { name, bucket, url: urls.get(bucket) ?? null, isNew: true };
        }
        const known = find.get(kind, name);
        if (known) return { name, ...known, isNew: false };
        return follows ? waitsForWorker(kind, name) : (refused ?? null);
      });
      if (placed.length > 0) {
        this.#arrivals.add(kind, row.version, now, placed, picks.slice(0, placed.length));
      }
      (placed.length > 0 ? commit : rollback).run();
      return rows;
    } catch (error) {
      // A full disk has ended the transaction already.
      if (this.#connection?.inTransaction) rollback.run();
      throw error;
    }
  }

  // What failed is explained; a busy database is no trouble, for that will pass.
  #explain(error: unknown): unknown {
    const explained = explainSqliteError(error);
    const isTrouble =
      explained instanceof SharderError &&
      (explained.code === 'database_full' || explained.code === 'database_unavailable');
    if (isTrouble && !this.#trouble) {
      this.#trouble = explained;
      this.#events.down(error);
      this.#probing = setInterval(() => {
        this.#probe();
      }, PROBE_EVERY_MS).unref();
    }
    return explained;
  }

  // Whether a commit works again. It writes a page, and changes nothing.
  #probe(): void {
    const { begin, probe, commit, rollback } = this.#statements;
    this.#endRead();
    try {
      begin.run();
      probe.run();
      commit.run();
    } catch {
      if (this.#connection?.inTransaction) rollback.run();
      return;
    }
    clearInterval(this.#probing);
    this.#trouble = undefined;
    this.#events.up();
  }
}

const PROBE_EVERY_MS = 1_000;
