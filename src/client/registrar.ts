// A unique index out of a count, for processes that come and go: the interface of
// @jcoreio/postgres-shard-coordinator.

import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { SharderError } from '../errors.js';
import type { Granted } from '../workers/granted.js';
import { SharderClient } from './client.js';
import { Keeper, type Leases } from './keeper.js';

/** A process's part of the work. */
export interface ShardInfo {
  /** 0 … numShards − 1. */
  readonly shard: number;
  readonly numShards: number;
}

export interface RegistrarOptions {
  /** The processes that divide the work among them: a leased kind, made when it is first used. */
  readonly cluster: string;
  /** In seconds: how often each says that it is there. */
  readonly heartbeatInterval: number;
  /** In seconds: for how long the place of one that says nothing is kept. */
  readonly gracePeriod: number;
  /** In seconds: places change no more often. */
  readonly reshardInterval: number;
  /** Another for every process; the same again keeps its place. Default: a UUID. */
  readonly name?: string;
}

/** A running service. */
export interface ServiceAddress {
  readonly url: string;
  readonly token: string;
}

/** A PostgreSQL database, or a SQLite one, without a service: its URL, or what node-postgres takes. */
export interface DatabaseAddress {
  readonly database:
    | string
    | {
        readonly host?: string;
        readonly port?: number;
        readonly user?: string;
        readonly password?: string;
        readonly database?: string;
      };
}

export interface RegistrarEvents {
  /** The part of this process: at first, and whenever it is another. */
  shardChanged: [ShardInfo];
  /** It has no part for now, for it could not say that it is there: stop, until the next `shardChanged`. */
  lost: [why: unknown];
  error: [unknown];
}

/**
 * Registers this process, and tells which part of the work is its: `registrar.on('shardChanged', ({ shard,
 * numShards }) => …)`. No two have the same index: whoever hears nothing of the others stops by itself, by
 * its own clock, before its place is given away. Of another count each hears with its next heartbeat, so
 * that until then a new part may overlap an old one: take each piece of work so that it is done once.
 */
export class ShardRegistrar extends EventEmitter<RegistrarEvents> {
  readonly #options: RegistrarOptions & (ServiceAddress | DatabaseAddress);
  #keeper: Keeper | undefined;
  #backend: Backend | undefined;
  #told: ShardInfo | undefined;

  constructor(options: RegistrarOptions & (ServiceAddress | DatabaseAddress)) {
    super();
    this.#options = options;
  }

  /** Resolves when the process is registered; its place comes with `shardChanged`. */
  async start(): Promise<void> {
    if (this.#keeper) return;
    const { cluster, heartbeatInterval, name = randomUUID(), ...rest } = this.#options;
    const backend =
      'url' in rest
        ? overService(rest, cluster, name, heartbeatInterval)
        : await onDatabase(rest, cluster, name);
    const settings = {
      leased: true,
      breaker: null, // whoever is left does all the work
      grace: rest.gracePeriod,
      reshard_interval: rest.reshardInterval,
    } as const;
    try {
      await backend.prepare(settings);
    } catch (error) {
      await backend.close();
      throw error;
    }
    this.#backend = backend;
    this.#keeper = new Keeper(
      {
        leases: backend,
        holder: randomUUID(),
        ttl: Math.max(1, heartbeatInterval * 3), // one may be lost
        every: heartbeatInterval,
      },
      {
        onHeld: (lease) => {
          this.#tell(lease);
        },
        onLost: (why) => {
          this.#told = undefined;
          this.emit('lost', why);
        },
        onError: (error) => this.emit('error', error),
      },
    );
    this.#keeper.start();
  }

  /** Its part of the work; undefined while it has none. */
  shardInfo(): ShardInfo | undefined {
    return this.#keeper?.isHeld ? this.#told : undefined;
  }

  /** Gives the place back; `unregister: false` leaves it to its end, for a quick restart of the same name. */
  async stop({ unregister = true }: { readonly unregister?: boolean } = {}): Promise<void> {
    const [keeper, backend] = [this.#keeper, this.#backend];
    this.#keeper = undefined;
    this.#told = undefined;
    try {
      await keeper?.stop({ isReleased: unregister });
    } finally {
      await backend?.close();
    }
  }

  #tell({ index, count }: Granted): void {
    if (index === null) return;
    const before = this.#told;
    this.#told = { shard: index, numShards: count };
    if (before?.shard === index && before.numShards === count) return;
    this.emit('shardChanged', this.#told);
  }
}

interface ClusterSettings {
  readonly leased: true;
  readonly breaker: null;
  readonly grace: number;
  readonly reshard_interval: number;
}

interface Backend extends Leases {
  /** Makes the kind, where it is not there. */
  prepare(settings: ClusterSettings): Promise<void>;
  close(): Promise<void>;
}

function overService(
  { url, token }: ServiceAddress,
  kind: string,
  bucket: string,
  heartbeatInterval: number,
): Backend {
  // Nobody waits for an answer for longer than until the next question.
  const timeoutMs = Math.max(500, heartbeatInterval * 1_000);
  const client = new SharderClient({ url, token, timeoutMs, attempts: 1 });
  // Nothing comes after a release, which would ask again.
  const patient = new SharderClient({ url, token, timeoutMs });
  const one = { kind, bucket };
  return {
    prepare: (settings) =>
      unlessThere(() => client.createKind({ kind, cookie: false, ...settings })),
    claim: (claim) => client.claimLease({ ...one, ...claim }),
    release: (lease) => patient.releaseLease({ ...one, ...lease }),
    close: () => Promise.resolve(),
  };
}

// For so long an answer of the database is waited for.
const CLAIM_MS = 5_000;

// What it needs is loaded only here: whoever asks a service needs no database's driver.
async function onDatabase(
  { database: address }: DatabaseAddress,
  kind: string,
  bucket: string,
): Promise<Backend> {
  const { openDatabase } = await import('../store/database.js');
  const { createKind } = await import('../store/kinds.js');
  const { inTime } = await import('../store/in-time.js');
  const { claimLease, releaseLease } = await import('../workers/leases.js');
  const database = await openDatabase(typeof address === 'string' ? address : urlOf(address));
  return {
    prepare: (settings) =>
      unlessThere(() =>
        database.write((trx) =>
          createKind(trx, kind, { settings: { cookie: false, ...settings } }, { actor: bucket }),
        ),
      ),
    claim: (claim) => inTime(claimLease(database, kind, bucket, claim), CLAIM_MS),
    release: (lease) => database.write((trx) => releaseLease(trx, kind, bucket, lease)),
    close: () => database.close(),
  };
}

function urlOf({
  host = 'localhost',
  port = 5432,
  user = '',
  password = '',
  database = '',
}: Exclude<DatabaseAddress['database'], string>): string {
  const secret = password === '' ? '' : `:${encodeURIComponent(password)}`;
  const who = user === '' ? '' : `${encodeURIComponent(user)}${secret}@`;
  return `postgres://${who}${host}:${port}/${encodeURIComponent(database)}`;
}

// Whose token may do no more than hold leases is told by the first claim whether the kind is there.
async function unlessThere(create: () => Promise<unknown>): Promise<void> {
  try {
    await create();
  } catch (error) {
    const isFine = error instanceof SharderError && ['exists', 'read_only'].includes(error.code);
    if (!isFine) throw error;
  }
}
