// The listener. It answers these itself and leaves the rest to the Express app:
//   GET /shard, /shard/{kind}                     the user's bucket, assigned if there is none
//   any /auth, /auth/{kind}, /auth/{kind}/…       the same for a proxy's forward-auth
// A known user's request touches no database, no framework and no promise.

import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import accepts from 'accepts';
import { pino, type Logger } from 'pino';
import type { Answer } from '../assign/answer.js';
import { SharderError } from '../errors.js';
import { createLogNames, type LogNames } from '../log-names.js';
import { LoginProofs } from '../login-proof.js';
import { DEFAULT_KIND } from '../names.js';
import { tryNormalize } from '../normalize.js';
import type { AdminToken } from '../secrets.js';
import type { Sharder } from '../sharder.js';
import type { KindDeclaration } from '../store/kinds.js';
import { createApp } from './app.js';
import { createAsk, type Asker } from './ask.js';
import { announcesBody } from './body.js';
import { Cookies, type CookieSettings } from './cookie.js';
import { isApi } from './errors.js';
import { createCheckHost } from '../hosts.js';
import { createCheckPeer, createIdentify } from './identity.js';
import { createMetrics, RequestCounts } from './metrics.js';
import { contentHeaders, isHttps, JSON_TYPE, Replies, type Headers } from './reply.js';
import { loggable, Reporter } from './report.js';
import { createReadKey } from './request-key.js';
import { Ticker } from '../watch/ticker.js';
import type { Commands } from './v1/commands.js';
import { Watchers, type WatchOptions } from './v1/watch.js';

export interface ServerOptions {
  /** The header that names the user; default REMOTE_USER. */
  readonly userHeader?: string;
  /** Who may name a user: addresses, ranges, `loopback` (the default), `linklocal`, `uniquelocal`. */
  readonly trustedProxies?: readonly string[];
  /** One of them must come with each request that names a user. Default: the address is enough. */
  readonly proxySecrets?: readonly string[];
  /**
   * Login proofs are signed with keys derived from the first. They are issued only where the proxy has
   * proved itself: with `proxySecrets`, or on a unix socket. Default: none are issued.
   */
  readonly loginSecrets?: readonly string[];
  /**
   * Hosts that the management API, /metrics and the docs answer to. Loopback and the address that a connection
   * arrived at are always among them.
   */
  readonly hosts?: readonly string[];
  readonly cookie?: Partial<CookieSettings>;
  /** Default: no log. */
  readonly log?: Logger;
  /** How log lines name users. Default: they do not. */
  readonly logNames?: LogNames;
  /** Who may use the management API. Default: nobody, it is closed. */
  readonly adminTokens?: readonly AdminToken[];
  /** What the settings declare, of which the management API warns. */
  readonly declared?: Readonly<Record<string, KindDeclaration>>;
  /** Where workers may be called, as `callback_networks` has it. Default: nowhere. */
  readonly callbackNetworks?: readonly string[];
  /** How the management API does what takes long. Default: not at all. */
  readonly commands?: Commands;
  /** Who reads nothing of an export for so long is given up. Default: a minute. */
  readonly patienceMs?: number;
  readonly watch?: Partial<WatchOptions>;
}

// Longer than the 60 seconds that nginx keeps an idle connection, so that it is not closed at the
// moment nginx sends a request on it.
const KEEP_ALIVE_MS = 75_000;
const LONGEST_BODY_MS = 30 * 60_000;

/** The service as a `node:http` server that does not listen yet. */
export function createServer(sharder: Sharder, options: ServerOptions = {}): Server {
  const log = options.log ?? pino({ level: 'silent' });
  const cookies = new Cookies({ secure: 'auto', sameSite: 'lax', secrets: [], ...options.cookie });
  const replies = new Replies(cookies, (kind) => sharder.settings(kind));
  const requests = new RequestCounts();
  const names = ofStored(options.logNames ?? createLogNames('none'), sharder);
  const reporter = new Reporter(log, names, requests);
  const userHeader = options.userHeader ?? 'REMOTE_USER';
  const { trustedProxies = ['loopback'], proxySecrets = [] } = options;
  let isUnixSocket = false;
  const trust = { trustedProxies, proxySecrets, isUnixSocket: () => isUnixSocket };
  const proofs = new LoginProofs(options.loginSecrets ?? []);
  const mayVouch = (): boolean => isUnixSocket || proxySecrets.length > 0;
  const readers = {
    identify: createIdentify({ userHeader, ...trust }),
    checkPeer: createCheckPeer(trust),
    readKey: createReadKey(),
  };
  const ask = createAsk(sharder, readers, cookies);
  const watchers = new Watchers(new Ticker(sharder.database), options.watch, (who) => {
    reporter.cutOff(who);
  });
  const registry = createMetrics(sharder, replies, requests, watchers);
  const app = createApp({
    sharder,
    ask,
    replies,
    registry,
    reporter,
    api: {
      tokens: options.adminTokens ?? [],
      declared: options.declared ?? {},
      callbackNetworks: options.callbackNetworks,
      commands: options.commands,
      patienceMs: options.patienceMs,
      watchers,
      onChange: (change) => {
        reporter.changed(change);
      },
    },
    userHeader,
    checkHost: createCheckHost(options.hosts ?? []),
  });

  sharder.on('down', (why) => {
    const err = loggable(why, names);
    log.error({ err }, 'the database is down: known users are served from memory');
  });
  sharder.on('up', () => {
    log.info('the database is back');
  });

  // No connection is kept for another request while the server stops; nor where a body was announced,
  // for none is read but the management API's: should it not come, the next request would be taken for it.
  const letGo = (req: IncomingMessage, res: ServerResponse): void => {
    if (!server.listening || announcesBody(req)) res.shouldKeepAlive = false;
  };

  class UserRequest implements Asker {
    readonly req: IncomingMessage;
    readonly res: ServerResponse;
    readonly route: 'shard' | 'auth';
    readonly kind: string;

    constructor(req: IncomingMessage, res: ServerResponse, { route, kind }: Match) {
      this.req = req;
      this.res = res;
      this.route = route;
      this.kind = kind;
    }

    reply(answer: Answer, user: string): void {
      const { req, res, route } = this;
      letGo(req, res);
      if (route === 'auth') {
        const headers = replies.shardHeaders(answer, user, isHttps(req));
        res.writeHead(200, EMPTY.concat(headers, this.#loginProof(answer, user)));
        res.end();
      } else if (wantsJson(req)) {
        const body = toJson(answer, sharder.normalize(this.kind, user));
        const headers = replies.shardHeaders(answer, user, isHttps(req));
        res.writeHead(200, contentHeaders(JSON_TYPE, body).concat(headers));
        res.end(body);
      } else {
        const { headers, body } = replies.plain(answer, user, isHttps(req));
        // Node's types do not know that it changes nothing here.
        res.writeHead(200, headers as string[]);
        res.end(body);
      }
      reporter.answered(route, this.kind, user, answer.bucket.name);
    }

    // None where the key of the kind is not the user: then nobody was logged in.
    #loginProof({ bucket }: Answer, user: string): Headers {
      if (!mayVouch() || sharder.settings(this.kind).key !== 'user') return [];
      const proof = proofs.issue(this.kind, sharder.normalize(this.kind, user), bucket.name);
      return proof === undefined ? [] : ['X-Shard-Login', proof];
    }

    fail(error: unknown, name = ''): void {
      const { req, res, route, kind } = this;
      letGo(req, res);
      reporter.fail(req, res, route, error, { kind, name });
      reporter.count(route, res.statusCode);
    }
  }

  const server = createHttpServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (req, res) => {
    const match = matchRoute(req.url ?? '/');
    if (!match) {
      if (!isApi(req)) letGo(req, res);
      else if (!server.listening) res.shouldKeepAlive = false;
      app(req, res);
      return;
    }
    const request = new UserRequest(req, res, match);
    if (match.route === 'shard' && req.method !== 'GET' && req.method !== 'HEAD') {
      const message = `/shard takes GET and HEAD, not ${req.method ?? ''}`;
      request.fail(new SharderError('wrong_method', message));
      return;
    }
    ask(request);
  });
  server.on('listening', () => {
    isUnixSocket = typeof server.address() === 'string';
  });
  // Whoever closes it waits for what is in flight, and a stream of events has no end of its own.
  const close = server.close.bind(server);
  server.close = (onClosed) => {
    watchers.stop();
    return close(onClosed);
  };
  // Node would drop the headers after the 2,000th, a second REMOTE_USER among them, without a word.
  // Their size is limited, to 16 KiB.
  server.maxHeadersCount = 0;
  // An import comes as fast as its sender's line; headers have a minute.
  server.requestTimeout = LONGEST_BODY_MS;
  return server;
}

// A hash is of the name as it is stored, however the client wrote it.
function ofStored(names: LogNames, sharder: Sharder): LogNames {
  return {
    arePlain: names.arePlain,
    of: (kind, name) => {
      const normal = tryNormalize(name, sharder.settings(kind).normalize);
      return names.of(kind, names.arePlain || typeof normal !== 'string' ? name : normal);
    },
  };
}

function toJson({ bucket, reason, isStale }: Answer, object: string): string {
  const { kind, name, url } = bucket;
  const stale = isStale ? { stale: true } : {};
  return `${JSON.stringify({ kind, name: object, bucket: name, url, reason, ...stale })}\n`;
}

const EMPTY: Headers = ['Content-Length', '0', 'Cache-Control', 'no-store'];

export interface Match {
  readonly route: 'shard' | 'auth';
  readonly kind: string;
}

const SHARD: Match = { route: 'shard', kind: DEFAULT_KIND };
const AUTH: Match = { route: 'auth', kind: DEFAULT_KIND };

/** The listener's own routes; /auth with any method. */
export const OWN_PATHS = [
  ...['/shard', '/shard/{kind}'],
  ...['/auth', '/auth/{kind}', '/auth/{kind}/{rest}'],
] as const;

/** Which of the listener's own routes a request is for, if any. */
export function matchRoute(url: string): Match | undefined {
  const query = url.indexOf('?');
  const target = query < 0 ? url : url.slice(0, query);
  // A proxy may send the absolute form (RFC 9112, 3.2.2).
  const path = target.startsWith('/') ? target : target.replace(/^https?:\/\/[^/]*/i, '');
  if (path === '/shard' || path === '/shard/') return SHARD;
  if (path === '/auth' || path === '/auth/') return AUTH;
  if (path.startsWith('/shard/')) {
    const kind = path.slice('/shard/'.length);
    return kind.includes('/') ? undefined : { route: 'shard', kind };
  }
  if (path.startsWith('/auth/')) {
    const [kind = ''] = path.slice('/auth/'.length).split('/', 1);
    return kind === '' ? AUTH : { route: 'auth', kind };
  }
  return undefined;
}

// Only what names an application/… type is worth a closer look: curl and a header-less client are
// answered in plain text.
function wantsJson(req: IncomingMessage): boolean {
  const { accept } = req.headers;
  if (!accept?.includes('application/')) return false;
  const type = accepts(req).type(['text/plain', 'application/json', JSON_TYPE]);
  return type === 'application/json' || type === JSON_TYPE;
}
