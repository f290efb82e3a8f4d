// The routes outside /v1, as OpenAPI describes them. A test holds them against those that are there.

import { REASONS } from '../assign/answer.js';
import { DEFAULT_KIND } from '../names.js';
import type { Route } from '../operations/route.js';
import { byStatus, errorAnswer, header, type Code } from './error-answers.js';
import { ASSETS, OWN_SCRIPT } from './page.js';
import type { Piece } from './v1/schemas.js';

export const USERS_TAG = 'Users';
export const SERVICE_TAG = 'Service';

export interface DescribedRoute extends Route {
  readonly described: Piece;
}

const KIND = {
  name: 'kind',
  in: 'path',
  required: true,
  schema: { type: 'string' },
  example: DEFAULT_KIND,
};
const REST = {
  name: 'rest',
  in: 'path',
  required: true,
  description: 'Whatever the proxy adds, slashes too.',
  schema: { type: 'string' },
  example: 'lab',
};
const NEXT = {
  name: 'next',
  in: 'query',
  description: "A path below the bucket's URL, with its query. It leads nowhere else.",
  schema: { type: 'string', examples: ['/lab'] },
};
const FILE = {
  name: 'file',
  in: 'path',
  required: true,
  schema: { type: 'string', enum: [...ASSETS, OWN_SCRIPT] },
};

const SHARD_HEADERS = {
  'X-Shard-Bucket': header("The bucket's name."),
  'X-Shard-Url': header('Where it is reached, if it has a URL.'),
  'X-Shard-Reason': header(
    '`existing`, or `assigned` just now; by the policy `hash`: `hashed`, or `pinned` by a row.',
  ),
  'X-Shard-Stale': header('`1` where the database is down and this is what was known before.'),
  'Set-Cookie': header(
    "Named after the kind, over HTTPS with `__Host-` before it; its value begins with the bucket's name.",
  ),
};

const LOGIN_HEADER = header(
  'The login proof, a JWT that holds for a minute, for a proxy that has proved itself. Pass it on to the login path of the hub alone.',
);

const ANSWER = {
  type: 'object',
  required: ['kind', 'name', 'bucket', 'url', 'reason'],
  properties: {
    kind: { type: 'string' },
    name: { type: 'string' },
    bucket: { type: 'string' },
    url: { type: ['string', 'null'] },
    reason: { enum: [...REASONS] },
    stale: { const: true, description: 'What was known before: the database is down.' },
  },
};

const TEXT = { 'text/plain': { schema: { type: 'string' } } };

const USER_ERRORS: readonly Code[] = [
  ...([
    'bad_name',
    'bad_identity',
    'bad_key',
    'no_identity',
    'untrusted_peer',
    'unknown_kind',
  ] as const),
  ...(['no_room', 'overloaded', 'database_busy', 'database_full'] as const),
  ...(['database_unavailable', 'internal'] as const),
];

// Of what answers to its own hosts alone; see hosts.ts.
const HOST_ERRORS: readonly Code[] = ['bad_request', 'wrong_host'];

/** All of them; `userHeader` names the user. One that takes any method is described by its GET, with `x-any-method`. */
export function describeRoutes(userHeader: string): DescribedRoute[] {
  const user = {
    name: userHeader,
    in: 'header',
    required: true,
    description: 'The user, as the proxy in front names them. Nobody else may.',
    schema: { type: 'string' },
    example: 'iana',
  };
  const shard = {
    summary: "The user's bucket; the first time, it is assigned",
    responses: {
      200: {
        description: "The bucket's name and a line's end, or more where JSON is asked for.",
        headers: SHARD_HEADERS,
        content: { ...TEXT, 'application/json': { schema: ANSWER } },
      },
      ...plainErrors(USER_ERRORS),
    },
  };
  const auth = {
    summary: "The same for a proxy's forward-auth, with any method",
    description: 'Whatever is wrong with the name is 403: a proxy knows 401 and 403 only.',
    'x-any-method': true,
    responses: {
      200: {
        description: 'The headers tell; the body is empty.',
        headers: { ...SHARD_HEADERS, 'X-Shard-Login': LOGIN_HEADER },
      },
      ...plainErrors(USER_ERRORS, { bad_name: 403, bad_identity: 403, bad_key: 403 }),
    },
  };
  const go = {
    summary: "Sends the browser to the user's bucket",
    responses: {
      302: {
        description: 'To the bucket.',
        headers: { ...SHARD_HEADERS, Location: header('The address in the bucket.') },
      },
      ...plainErrors(['bad_request', 'no_url', ...USER_ERRORS]),
    },
  };
  const users: [path: string, operationId: string, parameters: Piece[], rest: Piece][] = [
    ['/shard', 'shard', [], shard],
    ['/shard/{kind}', 'shardOfKind', [KIND], shard],
    ['/auth', 'auth', [], auth],
    ['/auth/{kind}', 'authOfKind', [KIND], auth],
    ['/auth/{kind}/{rest}', 'authOfPath', [KIND, REST], auth],
    ['/go', 'go', [NEXT], go],
    ['/go/{kind}', 'goOfKind', [KIND, NEXT], go],
  ];

  const ok = (description: string, content?: Piece): Piece => ({
    200: { description, ...(content && { content }) },
  });
  const service: [path: string, operationId: string, summary: string, responses: Piece][] = [
    ['/healthz', 'healthz', 'Whether the process runs', ok('It does.', TEXT)],
    [
      '/readyz',
      'readyz',
      'Whether the database can be used',
      { ...ok('It can.', TEXT), ...plainErrors(['database_busy', 'database_unavailable']) },
    ],
    [
      '/metrics',
      'metrics',
      'For Prometheus',
      { ...ok('No metric names a user.', TEXT), ...plainErrors(HOST_ERRORS) },
    ],
    [
      '/openapi.json',
      'openapi',
      'This document',
      {
        ...ok('OpenAPI 3.1.', { 'application/json': { schema: { type: 'object' } } }),
        ...plainErrors(HOST_ERRORS),
      },
    ],
    [
      '/docs',
      'docsRedirect',
      'To the page',
      {
        301: { description: 'To the page.', headers: { Location: header('`docs/`') } },
        ...plainErrors(HOST_ERRORS),
      },
    ],
    [
      '/docs/',
      'docs',
      'This document as a page, on which everything can be tried out',
      {
        ...ok('The page.', { 'text/html': { schema: { type: 'string' } } }),
        ...plainErrors(HOST_ERRORS),
      },
    ],
  ];
  const file = {
    operationId: 'docsFile',
    summary: 'What the page is made of',
    parameters: [FILE],
    responses: { ...ok('The file.'), ...plainErrors([...HOST_ERRORS, 'unknown_route']) },
  };

  const get = (path: string, described: Piece): DescribedRoute => ({
    ...{ method: 'GET', path, described },
  });
  return [
    ...users.map(([path, operationId, parameters, rest]) =>
      get(path, {
        ...{ operationId, tags: [USERS_TAG], ...rest },
        ...{ parameters: [...parameters, user], security: [] },
      }),
    ),
    ...service.map(([path, operationId, summary, responses]) =>
      get(path, { operationId, tags: [SERVICE_TAG], summary, responses, security: [] }),
    ),
    get('/docs/{file}', { tags: [SERVICE_TAG], ...file, security: [] }),
  ];
}

function plainErrors(codes: readonly Code[], statuses: Partial<Record<Code, number>> = {}): Piece {
  return Object.fromEntries(
    [...byStatus(codes, statuses)].map(([status, those]) => [
      status,
      errorAnswer(status, those, { isPlain: true }),
    ]),
  );
}
