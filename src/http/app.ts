// The Express app: everything that is not answered by server.ts.
//   GET /go, /go/{kind}?next=/path   302 to the user's bucket
//   GET /healthz                     200 while the process runs
//   GET /readyz                      200 while the database can be used, else 503 with the reason
//   GET /metrics                     for Prometheus
//   GET /openapi.json, /docs/        what there is, for programs and for people: see docs.ts
//   /v1/…                            the management API: see v1/router.ts

import express, { type ErrorRequestHandler, type Express, type Request } from 'express';
import helmet from 'helmet';
import type { Registry } from 'prom-client';
import { SharderError } from '../errors.js';
import { DEFAULT_KIND } from '../names.js';
import type { Sharder } from '../sharder.js';
import type { Asker } from './ask.js';
import { createDocs } from './docs.js';
import { isApi } from './errors.js';
import { destination } from './go.js';
import type { Route } from './metrics.js';
import { isHttps, type Replies } from './reply.js';
import type { Reporter, Who } from './report.js';
import { createV1, giveId, type ApiOptions } from './v1/router.js';

export interface AppParts {
  readonly sharder: Sharder;
  readonly ask: (asker: Asker) => void;
  readonly replies: Replies;
  readonly registry: Registry;
  readonly reporter: Reporter;
  readonly api: ApiOptions;
  /** The header that names the user, for the description. */
  readonly userHeader: string;
  /** Throws for a request to a host that is not ours; see hosts.ts. */
  readonly checkHost: (req: Request) => void;
}

export function createApp({
  sharder,
  ask,
  replies,
  registry,
  reporter,
  api,
  userHeader,
  checkHost,
}: AppParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.use(
    helmet({
      // Nothing here is a page. Whether a site is HTTPS only is for the edge to say.
      contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"] } },
      strictTransportSecurity: false,
    }),
  );
  app.use((req, res, next) => {
    res.set('Cache-Control', 'no-store');
    res.on('finish', () => {
      reporter.count(routeOf(req), res.statusCode);
    });
    next();
  });

  app.get('/go{/:kind}', (req, res, next) => {
    ask({
      req,
      route: 'go',
      kind: req.params.kind ?? DEFAULT_KIND,
      reply: (answer, user) => {
        const location = destination(answer.bucket, req.query.next);
        const headers = replies.shardHeaders(answer, user, isHttps(req));
        for (let i = 0; i < headers.length; i += 2) res.set(headers[i] ?? '', headers[i + 1]);
        res.redirect(302, location);
      },
      fail: (error, name) => {
        res.locals.who = { kind: req.params.kind ?? DEFAULT_KIND, name } satisfies Who;
        next(error);
      },
    });
  });
  app.get('/healthz', (_req, res) => {
    res.type('text/plain').send('ok\n');
  });
  app.get('/readyz', async (_req, res) => {
    await sharder.check();
    res.type('text/plain').send('ready\n');
  });
  // Users come by any name, and probes by any address. The rest shows or changes more than one user's place.
  app.use((req, _res, next) => {
    checkHost(req);
    next();
  });
  app.get('/metrics', async (_req, res) => {
    res.type(registry.contentType).send(await registry.metrics());
  });

  app.use(createDocs(userHeader));
  app.use('/v1', giveId, createV1(sharder, api));

  app.use((req) => {
    const isThere = routeOf(req) !== 'other';
    throw isThere
      ? new SharderError('wrong_method', `${req.path} takes GET and HEAD, not ${req.method}`)
      : new SharderError(
          'unknown_route',
          `there is nothing at ${req.path}: the routes are /shard, /auth, /go, /healthz, /readyz, /metrics, /openapi.json, /docs and /v1`,
        );
  });
  // Express knows an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  const onError: ErrorRequestHandler = (error: unknown, req, res, _next) => {
    const who = res.locals.who as Who | undefined;
    reporter.fail(req, res, routeOf(req), understand(error), who);
  };
  app.use(onError);
  return app;
}

function routeOf({ originalUrl }: Request): Route {
  if (isApi({ originalUrl })) return 'v1';
  const path = originalUrl.replace(/\?.*$/s, '');
  const route =
    /^\/(go)(?:\/[^/]+)?\/?$/.exec(path) ??
    /^\/(healthz|readyz|metrics)\/?$/.exec(path) ??
    /^\/(openapi\.json)$/.exec(path) ??
    /^\/(docs)(?:\/[^/]*)?$/.exec(path);
  return (route?.[1] ?? 'other') as Route;
}

// What Express and its parsers of bodies throw, in our words.
function understand(error: unknown): unknown {
  if (error instanceof URIError) {
    return new SharderError('bad_request', 'the path is not valid percent-encoding');
  }
  const { type } = error as { type?: string };
  if (type === 'entity.too.large') {
    return new SharderError('too_large', 'the body is too large: at most 1 MB', { cause: error });
  }
  // `entity.parse.failed`, `encoding.unsupported`, `request.aborted` and their like
  return type !== undefined && isClientError(error)
    ? new SharderError('bad_request', `the body cannot be read: ${(error as Error).message}`, {
        cause: error,
      })
    : error;
}

function isClientError(error: unknown): boolean {
  const { status } = error as { status?: number };
  return status !== undefined && status >= 400 && status < 500;
}
