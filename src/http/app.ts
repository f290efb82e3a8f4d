// The Express app: everything that is not answered by server.ts.
//   GET /go, /go/{kind}?next=/path   302 to the user's bucket
//   GET /healthz                     200 while the process runs
//   GET /readyz                      200 while the database can be used, else 503 with the reason
//   GET /metrics                     for Prometheus

import express, { type ErrorRequestHandler, type Express, type Request } from 'express';
import helmet from 'helmet';
import type { Registry } from 'prom-client';
import { SharderError } from '../errors.js';
import { DEFAULT_KIND } from '../names.js';
import type { Sharder } from '../sharder.js';
import type { Asker } from './ask.js';
import { destination } from './go.js';
import type { Route } from './metrics.js';
import { isHttps, type Replies } from './reply.js';
import type { Reporter, Who } from './report.js';

export interface AppParts {
  readonly sharder: Sharder;
  readonly ask: (asker: Asker) => void;
  readonly replies: Replies;
  readonly registry: Registry;
  readonly reporter: Reporter;
}

export function createApp({ sharder, ask, replies, registry, reporter }: AppParts): Express {
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
  app.get('/metrics', async (_req, res) => {
    res.type(registry.contentType).send(await registry.metrics());
  });

  app.use((req) => {
    const isThere = routeOf(req) !== 'other';
    throw isThere
      ? new SharderError('wrong_method', `${req.path} takes GET and HEAD, not ${req.method}`)
      : new SharderError(
          'unknown_route',
          `there is nothing at ${req.path}: the routes are /shard, /auth, /go, /healthz, /readyz and /metrics`,
        );
  });
  // Express knows an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  const onError: ErrorRequestHandler = (error: unknown, req, res, _next) => {
    const who = res.locals.who as Who | undefined;
    reporter.fail(req, res, routeOf(req), isBadUrl(error) ? badUrl() : error, who);
  };
  app.use(onError);
  return app;
}

function routeOf({ path }: Request): Route {
  const route = /^\/(?:(go)(?:\/[^/]+)?|(healthz|readyz|metrics))\/?$/.exec(path);
  return (route?.[1] ?? route?.[2] ?? 'other') as Route;
}

// Express' word for a path that cannot be decoded.
function isBadUrl(error: unknown): boolean {
  return error instanceof URIError;
}

function badUrl(): SharderError {
  return new SharderError('bad_request', 'the path is not valid percent-encoding');
}
