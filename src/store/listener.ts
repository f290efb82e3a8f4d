// Hears of changes on PostgreSQL: a connection of its own that LISTENs on the channel `sharder`, to
// which the triggers of schema/postgres send. While it cannot hear, its generation is DEAF.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import type pg from 'pg';
import { SharderError } from '../errors.js';
import { DEAF, type ObjectKey } from './engine.js';

const PING_EVERY_MS = 1_000;
const PING_TIMEOUT_MS = 2_000;
const HELLO_TIMEOUT_MS = 5_000;
const LONGEST_RECONNECT_WAIT_MS = 1_000;

export interface ListenerEvents {
  readonly dropped: (key: ObjectKey) => void;
  /**
   * Reads anew, on this connection, what is kept in memory beside answers: before anything that was
   * heard is believed, and when something else than an object has changed.
   */
  readonly refresh: (connection: pg.Client) => Promise<void>;
  /** The database answered on this connection. */
  readonly alive: () => void;
  /** The connection broke, or could not be opened again. */
  readonly lost: (why: unknown) => void;
}

export class Listener {
  readonly #knex: Knex;
  readonly #events: ListenerEvents;
  #connection: pg.Client | undefined;
  #generation = 0;
  #hears = false;
  #stopped = false;
  #wake: () => void = () => undefined;
  #onHello: (token: string) => void = () => undefined;
  #loop: Promise<void> | undefined;

  constructor(knex: Knex, events: ListenerEvents) {
    this.#knex = knex;
    this.#events = events;
  }

  /** Grows whenever answers that were found earlier may have changed unheard. */
  get generation(): number {
    return this.#hears ? this.#generation : DEAF;
  }

  /** Connects, and resolves once a message of its own came back; from then on stays connected. */
  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      this.#disconnect();
      throw error;
    }
    this.#loop = this.#stayConnected();
  }

  /** Looks now, rather than within a second, whether the database answers. */
  ping(): void {
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#loop;
    this.#disconnect();
  }

  // A peer that vanished without a word is noticed by a ping that is not answered in time: until
  // then, three seconds at most, what is cached is believed.
  async #stayConnected(): Promise<void> {
    let reconnectWait = 10;
    for (;;) {
      await this.#wait(this.#connection ? PING_EVERY_MS : reconnectWait);
      if (this.#stopped) return;
      try {
        if (this.#connection) await this.#connection.query(PING);
        else await this.#connect();
        reconnectWait = 10;
        this.#events.alive();
      } catch (error) {
        this.#disconnect();
        reconnectWait = Math.min(reconnectWait * 2, LONGEST_RECONNECT_WAIT_MS);
        this.#events.lost(error);
      }
    }
  }

  async #connect(): Promise<void> {
    const connection = (await (
      this.#knex.client as Knex.Client
    ).acquireRawConnection()) as pg.Client;
    this.#connection = connection;
    const broken = () => {
      if (this.#connection !== connection) return;
      this.#connection = undefined;
      this.#hears = false;
      this.#wake();
    };
    connection.on('error', broken);
    connection.on('end', broken);
    connection.on('notification', ({ payload }) => {
      this.#hear(connection, payload ?? '');
    });
    await connection.query('listen sharder');
    await this.#sayHello();
    await this.#events.refresh(connection);
    if (this.#connection !== connection) throw new Error('the connection broke at once');
    this.#generation++;
    this.#hears = true;
  }

  // A connection pooler between us may accept LISTEN and deliver nothing. So nothing is believed
  // before a message that went another way has come back.
  async #sayHello(): Promise<void> {
    const hello = randomUUID();
    const heard = new Promise<boolean>((resolve) => {
      this.#onHello = (token) => {
        if (token === hello) resolve(true);
      };
    });
    await this.#notify(JSON.stringify({ hello }));
    const abort = new AbortController();
    const silence = sleep(HELLO_TIMEOUT_MS, false, { signal: abort.signal }).catch(() => false);
    const isHeard = await Promise.race([heard, silence]);
    abort.abort();
    if (!isHeard) {
      throw new SharderError(
        'settings',
        'database: LISTEN delivers nothing: connect to PostgreSQL directly, or through a pooler in session mode',
      );
    }
  }

  // On a connection of its own: those of the pool may be dead and not know it, after an outage.
  async #notify(payload: string): Promise<void> {
    const pool = this.#knex.client as Knex.Client;
    const connection = (await pool.acquireRawConnection()) as pg.Client;
    try {
      await connection.query(`select pg_notify('sharder', $1)`, [payload]);
    } finally {
      void connection.end().catch(() => undefined);
    }
  }

  #hear(connection: pg.Client, payload: string): void {
    const message = parse(payload);
    if (message.hello !== undefined) {
      this.#onHello(message.hello);
    } else if (message.kind !== undefined && message.name !== undefined) {
      this.#events.dropped({ kind: message.kind, name: message.name });
    } else {
      this.#generation++;
      void this.#refresh(connection);
    }
  }

  // Where several run, the one that was sent last is answered last.
  async #refresh(connection: pg.Client): Promise<void> {
    try {
      await this.#events.refresh(connection);
      this.#generation++; // what was found meanwhile was told by what is no more
    } catch {
      // As if nothing were heard any more: a new connection begins by reading all.
      if (this.#connection !== connection) return;
      this.#disconnect();
      this.#wake();
    }
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#hears = false;
    // Waits for no answer: where there is a partition, none comes.
    void connection?.end().catch(() => undefined);
  }

  #wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const PING = { text: 'select 1', query_timeout: PING_TIMEOUT_MS } as pg.QueryConfig;

interface Message {
  readonly hello?: string;
  readonly kind?: string;
  readonly name?: string;
}

// Anybody may send on the channel. What cannot be read is taken for "something changed".
function parse(payload: string): Message {
  try {
    const message: unknown = JSON.parse(payload);
    return typeof message === 'object' && message !== null ? message : {};
  } catch {
    return {};
  }
}
