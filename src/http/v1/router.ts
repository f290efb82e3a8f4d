// The management API: /v1, and every operation beneath it. A bearer token opens it.

import { randomUUID } from 'node:crypto';
import express, { Router, type RequestHandler } from 'express';
import { SharderError } from '../../errors.js';
import { checkDepth } from '../../json.js';
import { OPERATIONS } from '../../operations/all.js';
import { CallTargets } from '../../workers/call-target.js';
import { Renewals } from '../../workers/renewals.js';
import { rightOf, type Context, type Operation } from '../../operations/operation.js';
import { perform } from '../../operations/perform.js';
import type { Sharder } from '../../sharder.js';
import type { AdminToken } from '../../secrets.js';
import type { Right } from '../../scopes.js';
import type { Who } from '../report.js';
import type { Commands } from './commands.js';
import {
  callerOf,
  conditionsOf,
  inputOf,
  toExpress,
  type ApiChange,
  type Caller,
} from './request.js';
import { addStreams } from './streams.js';
import { createAuthorize } from './tokens.js';
import { addWatch, type Watchers } from './watch.js';

export interface ApiOptions {
  readonly tokens: readonly AdminToken[];
  /** What the settings declare. */
  readonly declared: Context['declared'];
  /** What takes long is done by processes of their own; without this, not at all. */
  readonly commands?: Commands | undefined;
  readonly watchers: Watchers;
  /** Where workers may be called. Default: nowhere. */
  readonly callbackNetworks?: readonly string[] | undefined;
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
    (right?: Right): RequestHandler =>
    (req, res, next) => {
      const { name, ...permission } = authorize(req.get('Authorization'), right);
      const requestId = res.get('X-Request-Id') ?? '';
      res.locals.caller = { actor: `api:${name}`, permission, requestId } satisfies Caller;
      next();
    };
  const targets = new CallTargets(options.callbackNetworks);
  const { renew } = new Renewals(sharder.database);
  const parse = [express.json({ limit: MAX_BODY, type: 'application/json' }), refuseDepth];

  const handle =
    (operation: Operation): RequestHandler =>
    async (req, res) => {
      const { actor, permission, requestId } = callerOf(res);
      const context: Context = {
        database: sharder.database,
        declared: options.declared,
        actor,
        permission,
        targets,
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
    const method = operation.method.toLowerCase() as Lowercase<Operation['method']>;
    router[method](toExpress(operation.path), admit(rightOf(operation)), parse, handle(operation));
  }
  addWatch(router, options.watchers, admit);
  addStreams(router, { sharder, admit, ...options });

  for (const layer of methodsByPath(router)) {
    const { path, methods } = layer;
    router.all(path, admit(), (req, res) => {
      res.set('Allow', methods.join(', '));
      throw new SharderError('wrong_method', `${req.originalUrl} takes ${methods.join(', ')}`);
    });
  }
  router.use(admit(), (req) => {
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
