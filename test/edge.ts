// The whole edge to be attacked: real nginx with our files, a real Sharder behind it, and for each
// bucket a server that keeps what reached it, byte for byte where it can.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { posix } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { declareKinds, type Database } from '../src/index.js';
import { run, type Outcome } from './commands/run.js';
import { open, temporaryDirectory, engines } from './engines.js';
import { exchange, get, Wire, type WireResponse } from './http/wire.js';
import { Nginx } from './nginx.js';
import { Service } from './service.js';

export const SECRET = '0123456789abcdef0123456789abcdef';
export const PROXY_SECRET = 'fedcba9876543210fedcba9876543210';

/** A request as it reached a bucket's server. */
export interface Received {
  readonly bucket: string;
  readonly path: string;
  /** Names as they were sent, and values. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface EdgeOptions {
  /** How nginx knows the user: the file below nginx/login. Default: basic. */
  readonly login?: 'basic' | 'header';
  /** How nginx knows the bucket. Default: asked. */
  readonly route?: 'asked' | 'signed';
  /** The Sharder's secret. Default: none, or SECRET where cookies are to be signed. */
  readonly secret?: string;
  /** Login keys are derived from it; then nginx has a proxy secret too. Default: none. */
  readonly loginSecret?: string;
  /** Names of the kind hub's buckets. Default: hub-0, hub-1 and hub-2. */
  readonly buckets?: readonly string[];
  /** One server for all buckets: the URL of each has its name for a path. */
  readonly isShared?: boolean;
  /** Written into the database before anything starts. */
  readonly byHand?: (database: Database) => Promise<unknown>;
  /** More names that may log in, beside those of `newUser`. */
  readonly users?: readonly string[];
  readonly edit?: Readonly<Record<string, (text: string) => string>>;
  /** Headers that the site has added to the list of claims. */
  readonly claims?: readonly string[];
}

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

export class Edge {
  readonly received: Received[] = [];
  readonly database: Database;
  readonly service: Service;
  readonly nginx: Nginx;
  readonly rendered: Outcome;
  readonly #login: 'basic' | 'header';
  #users = 0;

  private constructor(
    parts: Pick<Edge, 'database' | 'service' | 'nginx' | 'rendered' | 'received'>,
    login: 'basic' | 'header',
  ) {
    ({ database: this.database, service: this.service, nginx: this.nginx } = parts);
    ({ rendered: this.rendered, received: this.received } = parts);
    this.#login = login;
  }

  static async start(options: EdgeOptions = {}): Promise<Edge> {
    const { login = 'basic', route = 'asked', buckets = ['hub-0', 'hub-1', 'hub-2'] } = options;
    const secret = options.secret ?? (route === 'signed' ? SECRET : undefined);
    const received: Received[] = [];
    const shared = options.isShared ? await startBucket('', received) : undefined;
    const hub = [];
    for (const name of buckets) {
      hub.push({ name, url: shared ? `${shared}/${name}` : await startBucket(name, received) });
    }
    const url = (await engines[0]?.createDatabase()) ?? '';
    const database = await open(url);
    await declareKinds(database, { hub: { buckets: hub } }, 'test');
    await options.byHand?.(database);
    const rendered = await run(['render', 'nginx'], { env: { DATABASE_URL: url } });
    const service = await Service.start(url, {
      cwd: temporaryDirectory(),
      env: {
        SHARDER_COOKIE_SECRET: secret,
        SHARDER_TRUSTED_PROXIES: '127.0.0.1',
        ...(options.loginSecret !== undefined && {
          SHARDER_LOGIN_SECRET: options.loginSecret,
          SHARDER_PROXY_SECRET: PROXY_SECRET,
        }),
      },
    });
    const users = [...Array.from({ length: 200 }, (_, i) => newName(i)), ...(options.users ?? [])];
    const nginx = await Nginx.start({
      sharders: [Number(new URL(service.url).port)],
      upstreams: rendered.stdout,
      users: Object.fromEntries(users.map((name) => [name, 'pass'])),
      ...(route === 'signed' && { secret: SECRET }),
      ...(options.loginSecret !== undefined && { proxySecret: PROXY_SECRET }),
      ...(options.claims && { claims: options.claims }),
      edit: {
        ...options.edit,
        'edge.conf': (text) =>
          (options.edit?.['edge.conf'] ?? String)(text.replace('login/basic', `login/${login}`)),
      },
    });
    cleanups.push(() => nginx.stop());
    return new Edge({ database, service, nginx, rendered, received }, login);
  }

  /** The Sharder's own port. */
  get port(): number {
    return Number(new URL(this.service.url).port);
  }

  /** Somebody who may log in, and whom nobody has seen before. */
  newUser(): string {
    return newName(this.#users++);
  }

  /** The header lines by which nginx knows a user. */
  login(user: string): Buffer {
    const name = this.#login === 'basic' ? Buffer.from(`${user}:pass`).toString('base64') : user;
    const header = this.#login === 'basic' ? 'Authorization: Basic' : 'X-Forwarded-User:';
    return Buffer.from(`${header} ${name}`);
  }

  /** What the database says. */
  async bucketOf(name: string): Promise<string | undefined> {
    const row = await this.database
      .knex('shard')
      .where({ kind: 'hub', name })
      .first<{ bucket: string } | undefined>('bucket');
    return row?.bucket;
  }

  /** The names that have a bucket. */
  names(): Promise<string[]> {
    return this.database.knex('shard').orderBy('id').pluck<string[]>('name');
  }

  /** A user's bucket and cookie, from the Sharder itself, as the login page would get them. */
  async shard(user: string): Promise<{ bucket: string; cookie: string }> {
    const response = await exchange(this.port, get('/shard', Buffer.from(`REMOTE_USER: ${user}`)));
    const cookie = response?.headers.get('set-cookie')?.split(';')[0] ?? '';
    return { bucket: response?.body.trim() ?? '', cookie: cookie.slice('hub='.length) };
  }

  /** How often nginx has asked the Sharder. */
  async questions(): Promise<number> {
    const metrics = await (await fetch(`${this.service.url}/metrics`)).text();
    const counts = metrics.matchAll(/^sharder_requests_total\{route="auth".*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** GETs a path of nginx as a user, with more header lines behind and before the login. */
  visit(
    user: string,
    headers: readonly (string | Buffer)[] = [],
    path = '/',
  ): Promise<WireResponse | undefined> {
    return exchange(this.nginx.port, get(path, this.login(user), ...headers));
  }
}

/** A list, written as text. */
export function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

/** Starts an edge for the tests of a `describe`. */
export function edgeWith(options: EdgeOptions = {}): () => Edge {
  let edge: Edge;
  before(async () => {
    edge = await Edge.start(options);
  });
  return () => edge;
}

/** The answer comes from the user's own bucket, which was told who it is once, and by nginx. */
export async function assertOwn(
  edge: Edge,
  user: string,
  response: WireResponse | undefined,
): Promise<Received> {
  assert.equal(response?.status, 200);
  const received = JSON.parse(response.body) as Received;
  assert.equal(received.bucket, await edge.bucketOf(user));
  assert.deepEqual(naming(received), [['REMOTE_USER', Buffer.from(user).toString('latin1')]]);
  return received;
}

/** Whatever `attack` gets, nobody new is in the table, and no bucket was reached. */
export async function assertNothing(edge: Edge, attack: () => Promise<unknown>): Promise<void> {
  const known = await edge.names();
  const { length } = edge.received;
  await attack();
  assert.deepEqual(await edge.names(), known);
  assert.deepEqual(edge.received.slice(length), []);
}

const NAMES_A_USER =
  /^((x[-_])?remote[-_](user|name|email|groups)|x[-_](forwarded[-_](user|pref|email|groups|access)|auth|webauth|shard).*|forwarded|authorization)$/i;

/** The headers that could say who a user is. */
export function naming({ headers }: Received): Received['headers'] {
  return headers.filter(([name]) => NAMES_A_USER.test(name));
}

/** A path as servers of several makes may read it. */
export function readings(path: string): string[] {
  const bare = path.replace(/[?#].*/s, '');
  const decoded = bare.replaceAll(/%([0-9a-f]{2})/gi, (_, code: string) =>
    String.fromCharCode(parseInt(code, 16)),
  );
  const withoutParameters = [bare, decoded].map((read) => read.replaceAll(/;[^/]*/g, ''));
  return [bare, decoded, decoded.replaceAll('\\', '/'), ...withoutParameters]
    .map((read) => posix.normalize(read))
    .concat(URL.canParse(path, 'http://x') ? new URL(path, 'http://x').pathname : []);
}

/** Sends bytes, and reads what comes in a while. */
export async function pour(port: number, bytes: string): Promise<void> {
  const wire = await Wire.connect(port);
  wire.send(bytes);
  const read = async () => {
    while (await wire.next());
  };
  await Promise.race([read().catch(() => undefined), sleep(60)]);
  wire.destroy();
}

function newName(i: number): string {
  return `user-${i}`;
}

/** A cookie's value as a Sharder signs it, written down a second time. */
export function signed(
  user: string,
  bucket: string,
  { expiry = soon(), kind = 'hub', secret = SECRET } = {},
): string {
  const text = [kind, user, bucket, expiry].join('\n');
  const signature = createHmac('sha256', secret).update(text).digest('base64url');
  return `${bucket}.${expiry}.${signature}`;
}

/** So many seconds from now, in seconds since 1970. */
export function soon(seconds = 3_600): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

// Lenient, as the weakest server that may stand there; `/accel` answers with what nginx could take for
// an order, and an upgrade to anything is accepted.
async function startBucket(bucket: string, received: Received[]): Promise<string> {
  const record = ({ url = '', rawHeaders }: IncomingMessage): Received => {
    const names = rawHeaders.filter((_, i) => i % 2 === 0);
    const headers = names.map((name, i) => [name, rawHeaders[2 * i + 1] ?? ''] as const);
    const request = { bucket, path: url, headers };
    received.push(request);
    return request;
  };
  const server = createServer({ insecureHTTPParser: true, maxHeaderSize: 1 << 16 }, (req, res) => {
    const request = record(req);
    const order = new URL(req.url ?? '', 'http://x').searchParams.get('accel');
    if (order !== null) res.setHeader('X-Accel-Redirect', order);
    req.resume().on('end', () => {
      const body = JSON.stringify(request);
      res.writeHead(200, { 'Content-Length': Buffer.byteLength(body) }).end(body);
    });
  });
  server.maxHeadersCount = 0;
  server.on('upgrade', (req, socket) => {
    record(req);
    socket.on('error', () => undefined);
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
