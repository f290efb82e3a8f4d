// The HTTP service inside the test's own process: on a free port, closed when the test file has run.

import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';
import { createServer, type ServerOptions } from '../../src/http/server.js';
import { declareKinds, type Sharder, type SharderOptions } from '../../src/index.js';
import { engines, hubs, startSharder, type Buckets, type TestEngine } from '../engines.js';

const running = new Set<Server>();
after(() => {
  for (const server of running) {
    server.close();
    server.closeAllConnections();
  }
});

export interface StartOptions extends ServerOptions {
  /** Default: SQLite, since what is promised here does not depend on the engine. */
  readonly engine?: TestEngine | undefined;
  /** Of the kind `hub`; default: five. */
  readonly buckets?: Buckets;
  /** Kinds beside `hub`, with one bucket each. */
  readonly kinds?: readonly string[];
  readonly limits?: SharderOptions;
}

export interface Running {
  readonly sharder: Sharder;
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  /** Fetches a path as a user, or as nobody; follows no redirect. */
  ask(path: string, user?: string, init?: Asking): Promise<Response>;
}

export interface Asking extends Omit<RequestInit, 'headers'> {
  readonly headers?: Readonly<Record<string, string>>;
}

const SQLITE = engines[0];

export async function start(options: StartOptions = {}): Promise<Running> {
  const { engine = SQLITE, buckets = hubs(5), kinds = [], limits, ...serverOptions } = options;
  if (!engine) throw new Error('no engine');
  const sharder = await startSharder(engine, buckets, limits);
  const declared = kinds.map((kind) => [kind, { buckets: [{ name: `${kind}-0` }] }] as const);
  await declareKinds(sharder.database, Object.fromEntries(declared), 'test');

  const server = createServer(sharder, serverOptions).listen(0, '127.0.0.1');
  running.add(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    sharder,
    server,
    port,
    url,
    ask: (path, user, { headers, ...init } = {}) =>
      fetch(url + path, {
        redirect: 'manual',
        ...init,
        headers: { ...(user !== undefined && { REMOTE_USER: asHeader(user) }), ...headers },
      }),
  };
}

/** Text as `fetch` wants it for a header to carry its UTF-8: a character per byte. */
export function asHeader(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** The names that have a bucket. */
export function assignedNames({ sharder }: Running): Promise<string[]> {
  return sharder.database.knex('shard').orderBy('id').pluck<string[]>('name');
}
