// One of all who share a database. On PostgreSQL: who has an advisory lock, on a connection of its own, so
// that it is free as soon as that connection is gone. On SQLite there is one service.

import type { Knex } from 'knex';
import type pg from 'pg';
import type { Database } from './database.js';
import { inTime } from './in-time.js';

// Two numbers that nobody else in the database should lock: "shar" and "work".
const LOCK = [0x73686172, 0x776f726b] as const;

// The server finds out within seconds that a machine has vanished without a word.
const SESSION = `
  set tcp_keepalives_idle = 2;
  set tcp_keepalives_interval = 1;
  set tcp_keepalives_count = 3`;

const ANSWER_MS = 2_000;

export class Leader {
  readonly #database: Database;
  #connection: pg.Client | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Whether this one leads now; if nobody else does, it does from now on. Rejects as the database does. */
  async leads(): Promise<boolean> {
    if (this.#database.engineName === 'sqlite') return true;
    try {
      const connection = this.#connection ?? (await this.#connect());
      // Also tells whether the connection is still there.
      const { rows } = await inTime(
        connection.query<{ is_mine: boolean }>(
          `select pid = pg_backend_pid() as is_mine from pg_locks
            where locktype = 'advisory' and granted and classid = $1 and objid = $2
              and database = (select oid from pg_database where datname = current_database())`,
          [...LOCK],
        ),
        ANSWER_MS,
      );
      if (rows[0]) return rows[0].is_mine;
      const taken = await inTime(
        connection.query<{ got: boolean }>('select pg_try_advisory_lock($1, $2) as got', [...LOCK]),
        ANSWER_MS,
      );
      return taken.rows[0]?.got ?? false;
    } catch (error) {
      this.#disconnect();
      throw error;
    }
  }

  /** Lets another one lead. */
  async stop(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.end().catch(() => undefined);
  }

  async #connect(): Promise<pg.Client> {
    const { knex } = this.#database;
    const connecting = (knex.client as Knex.Client).acquireRawConnection() as Promise<pg.Client>;
    let connection: pg.Client;
    try {
      connection = await inTime(connecting, ANSWER_MS);
    } catch (error) {
      // One that comes late is not wanted any more.
      connecting.then((late) => late.end()).catch(() => undefined);
      throw error;
    }
    connection.on('error', () => {
      if (this.#connection === connection) this.#disconnect();
    });
    this.#connection = connection;
    await inTime(connection.query(SESSION), ANSWER_MS);
    return connection;
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    void connection?.end().catch(() => undefined);
  }
}
