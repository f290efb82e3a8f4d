// The management API: /v1, and every operation beneath it. A bearer token opens it.

import { randomUUID } from 'node:crypto';
import express, { Router, type RequestHandler } from 'express';
import { SharderError } from '../../errors.js';
import { checkDepth } from '../../json.js';
import { OPERATIONS } from '../../operations/all.js';
import { Renewals } from '../../workers/renewals.js';
import { isReading, type Context, type Operation } from '../../operations/operation.js';
import { perform } from '../../operations/perform.js';
import type { Sharder } from '../../sharder.js';
import type { Config } from '../../config.js';
import type { Scope } from '../../secrets.js';
import type { Who } from '../report.js';
import type { Commands } from './commands.js';
import { callerOf, conditionsOf, inputOf, toExpress, type ApiChange } from './request.js';
import { addStreams } from './streams.js';
import { createAuthorize } from './tokens.js';
import { addWatch, type Watchers } from './watch.js';

export interface ApiOptions {
  readonly tokens: Config['adminTokens'];
  /** What the settings declare. */
  readonly declared: Context['declared'];
  /** What takes long is done by processes of their own; without this, not at all. */
  readonly commands?: Commands | undefined;
  readonly watchers: Watchers;
  /** Told of every change that was asked for and answered. */
  readonly onChange: (change: ApiChange) => void;
  readonly patienceMs?: number | undefined;
}

// A thousand objects with what they ask for, or acknowledged under the longest names.
const MAX_BODY = '1mb';
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** Every answer under /v1 has the id of its request: the proxy's, where it sent one. */
export const giveId: RequestHandler = (req, res, next) => {
  const given = req.get('X-Request-Id');
  res.set('X-Request-Id', given !== undefined && REQUEST_ID.test(given) ? given : randomUUID());
  next();
};

const refuseDepth: RequestHandler = (req, _res, next) => {
  checkDepth(req.body, 'the body');
  next();
};

export function createV1(sharder: Sharder, options: ApiOptions): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const authorize = createAuthorize(options.tokens);
  const admit =
    (scope: Scope): RequestHandler =>
    (req, res, next) => {
      const name = authorize(req.get('Authorization'), scope);
      res.locals.caller = { actor: `api:${name}`, requestId: res.get('X-Request-Id') ?? '' };
      next();
    };
  const { renew } = new Renewals(sharder.database);
  const parse = [express.json({ limit: MAX_BODY, type: 'application/json' }), refuseDepth];

  const handle =
    (operation: Operation): RequestHandler =>
    async (req, res) => {
      const { actor, requestId } = callerOf(res);
      const context: Context = {
        database: sharder.database,
        declared: options.declared,
        actor,
        assign: (kind, name) => sharder.assign(kind, name),
        renew,
        cached: (kind, name) => sharder.peek(kind, name),
      };
      const input = inputOf(operation, req);
      res.locals.who = whoOf(input);
      const done = { before: false };
      const onRepeat = () => {
        done.before = true;
      };
      const conditions = { ...conditionsOf(req), onRepeat };
      const answer: unknown = await perform(operation, input, context, conditions);
      const { changed, dry_run: isDry = false } = answer as {
        changed?: boolean;
        dry_run?: boolean;
      };
      if (changed && !isDry && !done.before) {
        options.onChange({ requestId, actor, action: operation.name, input });
      }
      const version = (answer as { version?: unknown }).version;
      if (typeof version === 'number') res.set('ETag', `"${version}"`);
      res.type('json').send(`${JSON.stringify(answer)}\n`);
    };

  for (const operation of OPERATIONS) {
    const scope = isReading(operation) ? 'read' : (operation.scope ?? 'write');
    const method = operation.method.toLowerCase() as Lowercase<Operation['method']>;
    router[method](toExpress(operation.path), admit(scope), parse, handle(operation));
  }
  addWatch(router, options.watchers, admit);
  addStreams(router, { sharder, admit, ...options });

  for (const layer of methodsByPath(router)) {
    const { path, methods } = layer;
    router.all(path, admit('read'), (req, res) => {
      res.set('Allow', methods.join(', '));
      throw new SharderError('wrong_method', `${req.originalUrl} takes ${methods.join(', ')}`);
    });
  }
  router.use(admit('read'), (req) => {
    throw new SharderError(
      'unknown_route',
      `there is nothing at ${req.originalUrl}: /openapi.json describes all routes`,
    );
  });
  return router;
}

// The routes that are there by now, and with which methods.
function methodsByPath(router: Router): { path: string; methods: string[] }[] {
  const paths = new Map<string, Set<string>>();
  for (const { route } of router.stack) {
    if (!route) continue;
    const methods = paths.get(route.path) ?? new Set();
    for (const { method } of route.stack) methods.add(method.toUpperCase());
    paths.set(route.path, methods);
  }
  return [...paths].map(([path, methods]) => ({ path, methods: [...methods] }));
}

// Whom the log must not name.
function whoOf({ kind, name }: Readonly<Record<string, unknown>>): Who | undefined {
  return typeof kind === 'string' && typeof name === 'string' ? { kind, name } : undefined;
}
