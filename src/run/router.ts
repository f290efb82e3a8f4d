// The router: each request goes to the copy that its key belongs to, as it comes and without being kept;
// WebSockets too. Every answer names the copy in X-Shard-Bucket. A copy that cannot serve: 503.

import {
  Agent,
  createServer,
  ServerResponse,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProxyServer, type ProxyServer } from 'httpxy';
import { Rendezvous } from '../assign/hash.js';
import type { KeyPattern } from '../key-pattern.js';
import { SharderError } from '../errors.js';
import { createMatchNetwork } from '../networks.js';
import { setForwardedHeaders } from './forwarded.js';
import { urlOf, type Front, type Target } from './front.js';

const BUCKET_HEADER = 'X-Shard-Bucket';

// Shorter than any server keeps a connection that nobody uses: what is kept longer may be closed just
// when the next request is written to it.
const KEEP_MS = 1_000;

export interface RouterOptions {
  readonly host: string;
  readonly port: number;
  readonly pattern: Pick<KeyPattern, 'keyOf'>;
  readonly targets: readonly Target[];
  /** Proxies in front, as addresses and ranges: what they say of their clients is believed. */
  readonly trustedProxies?: readonly string[];
}

export class Router implements Front {
  readonly #options: RouterOptions;
  readonly #targets: ReadonlyMap<string, Target>;
  readonly #hash: Rendezvous;
  readonly #trusts: (address: string) => boolean;
  readonly #agent = new Agent({ keepAlive: true, timeout: KEEP_MS });
  readonly #proxy: ProxyServer;
  readonly #server: Server;
  /** Those that end by themselves. */
  readonly #running = new Set<ServerResponse>();
  readonly #upgraded = new Set<Socket>();
  #isDraining = false;
  #onIdle: () => void = () => undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#targets = new Map(options.targets.map((target) => [target.name, target]));
    this.#hash = new Rendezvous(options.targets.map(({ name }) => ({ name, weight: 1 })));
    this.#trusts = createMatchNetwork(options.trustedProxies ?? []);
    this.#proxy = this.#createProxy();
    // An upload may take as long as it takes.
    this.#server = createServer({ requestTimeout: 0 }, (req, res) => {
      this.#forward(req, res);
    });
    this.#server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#upgrade(req, socket, head);
    });
  }

  listen(): Promise<string> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        reject(cannotListen(host, port, error));
      });
      this.#server.listen(port, host, () => {
        resolve(urlOf(host, (this.#server.address() as AddressInfo).port));
      });
    });
  }

  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    this.#server.close();
    const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
    if (this.#running.size > 0) {
      await Promise.race([idle, sleep(withinMs, undefined, { ref: false })]);
    }
  }

  close(): Promise<void> {
    this.#isDraining = true;
    for (const socket of this.#upgraded) socket.destroy();
    this.#agent.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  #createProxy(): ProxyServer {
    const proxy = createProxyServer();
    proxy.on('proxyRes', (answer, req, res) => {
      const { headers } = answer;
      if (!isPassable(answer)) {
        answer.destroy();
        refuse(res, 502, `${this.#targetOf(req).name} gave an answer that is not HTTP`);
        return;
      }
      headers['keep-alive'] = undefined; // is of its connection
      headers.trailer = undefined; // none are passed on
      headers['x-shard-bucket'] = undefined; // we say it
      headers.connection = this.#isDraining || !res.shouldKeepAlive ? 'close' : 'keep-alive';
      if (headers['content-type']?.startsWith('text/event-stream')) this.#ended(res);
      // What has no length may have its first piece late.
      if (headers['content-length'] === undefined) {
        process.nextTick(() => {
          if (!res.writableEnded) res.flushHeaders();
        });
      }
    });
    // An upgrade that nobody asked for.
    proxy.on('proxyReq', (request, req, res) => {
      request.once('upgrade', (_answer: IncomingMessage, upstream: Socket) => {
        upstream.destroy();
        if (res instanceof ServerResponse && !res.headersSent) {
          refuse(res, 502, `${this.#targetOf(req).name} answered 101`);
        }
      });
    });
    proxy.on('proxyReqWs', (request, req, socket) => {
      // Each ends with the other, also without a word.
      request.once('upgrade', ({ headers }: IncomingMessage, upstream: Socket) => {
        headers[BUCKET_HEADER.toLowerCase()] = this.#targetOf(req).name;
        this.#upgraded.add(socket);
        socket.once('close', () => {
          this.#upgraded.delete(socket);
          upstream.destroy();
        });
        upstream.once('close', () => {
          socket.destroySoon();
        });
      });
    });
    proxy.on('error', (error, req, res) => {
      if (req === undefined || res === undefined) return;
      const { name } = this.#targetOf(req);
      const isRefused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
      // What was begun there may have been done.
      const [status, what] = isRefused
        ? ([503, `${name} does not listen`] as const)
        : ([502, `${name} broke the connection off`] as const);
      if (res instanceof ServerResponse) {
        if (res.headersSent) res.destroy();
        else refuse(res, status, what, isRefused ? 1 : undefined);
      } else if (!this.#upgraded.has(res)) refuseUpgrade(res, status, name, what);
    });
    return proxy;
  }

  #targetOf({ url = '/' }: Pick<IncomingMessage, 'url'>): Target {
    const name = this.#hash.bucketOf(this.#options.pattern.keyOf(url));
    const target = name === undefined ? undefined : this.#targets.get(name);
    if (target === undefined) throw new Error('a router needs a target');
    return target;
  }

  #forward(req: IncomingMessage, res: ServerResponse): void {
    const target = this.#targetOf(req);
    res.setHeader(BUCKET_HEADER, target.name);
    const { trouble } = target;
    if (this.#isDraining) {
      res.setHeader('Connection', 'close');
      refuse(res, 503, 'the router is stopping', 1);
    } else if (trouble) {
      refuse(res, 503, trouble.what, trouble.retryAfter);
    } else {
      this.#running.add(res);
      req.url = originFormOf(req.url);
      setForwardedHeaders(req, this.#trusts(req.socket.remoteAddress ?? ''));
      Reflect.deleteProperty(req.headers, 'trailer'); // none are passed on
      req.headers.connection = 'keep-alive'; // with the copy, whatever the client does with its own
      const { host, port } = target;
      void this.#proxy.web(req, res, { target: { host, port }, agent: this.#agent }).then(() => {
        this.#ended(res);
      });
    }
  }

  #upgrade(req: IncomingMessage, socket: Socket, head: Buffer): void {
    const target = this.#targetOf(req);
    const { trouble } = target;
    socket.on('error', () => {
      socket.destroy();
    });
    if ('_httpMessage' in socket && socket._httpMessage) {
      socket.destroy(); // an answer before it has not ended, and still has the connection
    } else if (this.#isDraining || trouble) {
      const what = trouble?.what ?? 'the router is stopping';
      refuseUpgrade(socket, 503, target.name, what, trouble?.retryAfter ?? 1);
    } else if (req.headers.upgrade?.toLowerCase() === 'websocket' && req.method === 'GET') {
      req.url = originFormOf(req.url);
      setForwardedHeaders(req, this.#trusts(req.socket.remoteAddress ?? ''));
      Reflect.deleteProperty(req.headers, 'trailer');
      void this.#proxy.ws(req, socket, { target: { host: target.host, port: target.port } }, head);
    } else if (hasBody(req)) {
      refuseUpgrade(socket, 501, target.name, 'the router upgrades connections to WebSockets only');
    } else this.#stayWith(req, socket);
  }

  // What asks for HTTP/2, as clients in Java do, may be answered in this protocol (RFC 9110, 7.8). Node has
  // let go of the connection, though, and reads no body.
  #stayWith(req: IncomingMessage, socket: Socket): void {
    for (const name of ['upgrade', 'http2-settings']) Reflect.deleteProperty(req.headers, name);
    const res = new ServerResponse(req);
    res.shouldKeepAlive = false;
    res.assignSocket(socket);
    res.once('finish', () => {
      socket.destroySoon();
    });
    this.#forward(req, res);
  }

  #ended(res: ServerResponse): void {
    this.#running.delete(res);
    if (this.#running.size === 0) this.#onIdle();
  }
}

// Node reads these of a server, and throws when it is to write them.
function isPassable({ statusCode = 0, statusMessage = '' }: IncomingMessage): boolean {
  return statusCode >= 200 && statusCode <= 999 && /^[\t\x20-\x7e\x80-\xff]*$/.test(statusMessage);
}

export function cannotListen(host: string, port: number, error: NodeJS.ErrnoException): Error {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another program listens there already; stop it, or give another port',
    EACCES: 'ports below 1024 are for root; give another port',
    EADDRNOTAVAIL: 'this machine has no such address',
  };
  const why = reasons[error.code ?? ''] ?? error.message;
  return new SharderError('settings', `port: ${urlOf(host, port)}: ${why}`, { cause: error });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

// A whole URL (RFC 9112, 3.2.2) is for a proxy, as we are to the client; the copy is asked for what stands
// behind the host.
function originFormOf(url = '/'): string {
  const path = /^https?:\/\/[^/?]*(.*)$/is.exec(url)?.[1];
  if (path === undefined) return url;
  return path.startsWith('/') ? path : `/${path}`;
}

function refuse(res: ServerResponse, status: number, what: string, retryAfter?: number): void {
  const headers: OutgoingHttpHeaders = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(what) + 1,
  };
  if (retryAfter !== undefined) headers['Retry-After'] = retryAfter;
  res.writeHead(status, headers).end(`${what}\n`);
}

function refuseUpgrade(
  socket: Socket,
  status: 501 | 502 | 503,
  bucket: string,
  what: string,
  retryAfter = 1,
): void {
  const reason = { 501: 'Not Implemented', 502: 'Bad Gateway', 503: 'Service Unavailable' }[status];
  const lines = [
    `HTTP/1.1 ${status} ${reason}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(what) + 1}`,
    `${BUCKET_HEADER}: ${bucket}`,
    ...(status === 503 ? [`Retry-After: ${retryAfter}`] : []),
    'Connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${what}\n`);
}
