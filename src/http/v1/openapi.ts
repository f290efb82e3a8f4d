// GET /openapi.json: all routes, as OpenAPI 3.1. What is under /v1 is described by the operations
// themselves, with the schemas that check the requests.

import { STATUS_CODES } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import * as z from 'zod';
import { OPERATIONS } from '../../operations/all.js';
import { isReading, type Operation } from '../../operations/operation.js';
import { pathFields, type Route } from '../../operations/route.js';
import { STREAMS, type Streamed } from '../../operations/streams.js';
import { API_ERRORS, errorAnswer, ERROR_SCHEMA, header } from '../error-answers.js';
import { describeRoutes, SERVICE_TAG, USERS_TAG } from '../routes.js';
import { readVersion } from '../version.js';
import { Schemas, type Fields, type Piece } from './schemas.js';

const TAGS: Readonly<Record<string, string>> = {
  Kinds: 'Namespaces of objects that are spread over the same buckets.',
  Buckets: 'What objects are put into, and which of them take new ones.',
  Objects: 'Where each object is, and how to change that.',
  Plans: 'Lists of moves, worked out and shown before any is made.',
  Leases: "Workers' claims on buckets, which lapse unless they are renewed.",
  History: 'Who changed what, when and why; and as it happens.',
  Data: 'All of it: in, out, and whether it is sound.',
  [USERS_TAG]: 'For the proxy in front, which names the user.',
  [SERVICE_TAG]: 'Open to everybody who reaches the service.',
};

const ABOUT = `
Which bucket does an object live in? Everything here can be tried out: press **Authorize** and give the
token once (\`SHARDER_ADMIN_TOKEN\` of the service). \`sharder object move iana hub-1\` is
\`POST /v1/kinds/hub/objects/iana/move\`: the command line has the same operations, with the same words.

- \`dry_run\` says what a change would do, and does not do it.
- An answer may have more fields than are described, one day. A request may not.
- An error is \`{"error": {"code", "message"}}\`: decide on the code, show the message.
`.trim();

/** Makes the document. `userHeader` is the header in which the proxy names the user. */
export async function createDocument(userHeader: string): Promise<Piece> {
  const schemas = new Schemas();
  schemas.components.Error = ERROR_SCHEMA;

  const paths: Record<string, Record<string, Piece>> = {};
  const add = ({ method, path }: Route, described: Piece): void => {
    (paths[path] ??= {})[method.toLowerCase()] = described;
  };
  const under = ({ method, path }: Route): Route => ({ method, path: `/v1${path}` });
  for (const each of OPERATIONS) {
    add(under(each), describeOperation(each, schemas));
    await setImmediate(); // so that no user waits for all of it
  }
  for (const each of Object.values(STREAMS)) add(under(each), describeStream(each, schemas));
  for (const { described, ...route } of describeRoutes(userHeader)) add(route, described);

  return {
    openapi: '3.1.0',
    info: {
      title: 'Sharder',
      version: readVersion(),
      summary: 'Which bucket does this user live in? One durable answer per user.',
      description: ABOUT,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: './', description: 'Where this document came from.' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    security: [{ token: [] }],
    paths,
    components: {
      schemas: schemas.components,
      parameters: PARAMETERS,
      headers: HEADERS,
      responses: errorResponses(),
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description:
            'A token of the management API. Scope `read` changes nothing; `assign` finds and assigns objects, and does nothing else; `lease` reads, and holds the leases of workers; `write` does everything. A token can be limited to kinds: other kinds are 403 (`other_kind`).',
        },
      },
    },
  };
}

const REQUEST_ID = { $ref: '#/components/headers/RequestId' };

const HEADERS = {
  RequestId: header("The request's own X-Request-Id where it sent one. It is in the log."),
  Version: header('The version of the kind, for If-Match.'),
};

const PARAMETERS = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Such as a UUID: with the same key the same change is made once, and answered as the first time.',
    schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' },
  },
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    description:
      'The version that the kind must have, such as `"7"`: nothing is changed if somebody was quicker.',
    schema: { type: 'string', pattern: '^"?\\d{1,15}"?$' },
  },
  LastEventId: {
    name: 'Last-Event-ID',
    in: 'header',
    description: 'The `id` of the last event that has come; it goes before `since`.',
    schema: { type: 'string', pattern: '^\\d{1,15}(\\.\\d{1,15})?$' },
  },
  RequestId: {
    name: 'X-Request-Id',
    in: 'header',
    description: 'Comes back with the answer, and is in the log.',
    schema: { type: 'string', pattern: '^[\\w.:-]{1,128}$' },
  },
};

function describeOperation(operation: Operation, schemas: Schemas): Piece {
  const { name, method, summary } = operation;
  const output = operation.output as z.ZodType;
  const input = schemas.fields(operation.input as z.ZodRawShape);
  const example = operation.example as Readonly<Record<string, unknown>>;
  const hasBody = !['GET', 'DELETE'].includes(method);
  const isConditional = 'write' in operation;
  const hasVersion = output instanceof z.ZodObject && 'version' in output.shape;
  return {
    ...heading(name, summary),
    parameters: [
      ...parameters(operation, input, example, hasBody ? [] : undefined),
      ...(isConditional ? [parameter('IdempotencyKey')] : []),
      ...(isConditional && 'kind' in input.properties ? [parameter('IfMatch')] : []),
      parameter('RequestId'),
    ],
    ...(hasBody && { requestBody: jsonBody(operation, input, example) }),
    responses: {
      200: {
        description: isReading(operation) ? 'What is asked for.' : 'What was done.',
        headers: {
          'X-Request-Id': REQUEST_ID,
          ...(hasVersion && { ETag: { $ref: '#/components/headers/Version' } }),
        },
        content: { 'application/json': { schema: schemas.answer(output) } },
      },
      ...errors((status) => {
        if (status === 404) return Object.keys(input.properties).length > 0;
        if (status === 409) return !isReading(operation);
        if (status === 412 || status === 422) return isConditional;
        if (status === 413) return hasBody;
        return status !== 501;
      }),
    },
  };
}

function describeStream(stream: Streamed<z.ZodRawShape>, schemas: Schemas): Piece {
  const { name, summary, description, body, answer, refusal, example = { kind: 'hub' } } = stream;
  const input = schemas.fields(stream.input);
  const content = Object.fromEntries(
    Object.entries(answer).map(([type, schema]) => [
      type,
      { schema: schema ? schemas.answer(schema) : { type: 'string' } },
    ]),
  );
  const headers = { 'X-Request-Id': REQUEST_ID };
  return {
    ...heading(name, summary),
    description,
    parameters: [
      ...parameters(stream, input, example),
      ...('text/event-stream' in answer ? [parameter('LastEventId')] : []),
      parameter('RequestId'),
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: Object.fromEntries(
          Object.entries(body).map(([type, example]) => [
            type,
            { schema: { type: 'string' }, example },
          ]),
        ),
      },
    }),
    responses: {
      200: { description: 'What is asked for.', headers, content },
      ...errors((status) => {
        if (status === 404) return Object.keys(input.properties).length > 0;
        if (status === 413) return body !== undefined;
        return ![409, 412, 422].includes(status);
      }),
      ...(refusal !== undefined && {
        [refusal]: { description: 'Nothing was done, and why.', headers, content },
      }),
    },
  };
}

// `object find-everywhere` is objectFindEverywhere.
function heading(name: string, summary: string) {
  const [noun = ''] = name.split(' ');
  const tag = `${noun.charAt(0).toUpperCase()}${noun.slice(1)}s`;
  return {
    operationId: name.replace(/[ -](\w)/g, (_, letter: string) => letter.toUpperCase()),
    tags: [/history|watch/.test(name) ? 'History' : tag in TAGS ? tag : 'Data'],
    summary,
  };
}

// Those of the path, and of the query: all others, or those that are named.
function parameters(
  route: Route,
  { properties, required }: Fields,
  example: Readonly<Record<string, unknown>>,
  inQuery = Object.keys(properties),
): Piece[] {
  const inPath = pathFields(route);
  const described = (name: string, where: 'path' | 'query'): Piece => {
    const { description, ...schema } = properties[name] ?? {};
    const isRequired = where === 'path' || required.includes(name);
    const value = example[name];
    return {
      name,
      in: where,
      required: isRequired,
      ...(description !== undefined && { description }),
      // The page fills an `example` in, which is not meant where a field may be left out.
      schema: {
        ...schema,
        ...(!isRequired && value !== undefined && { examples: [value] }),
      },
      ...(isRequired && value !== undefined && { example: value }),
    };
  };
  return [
    ...inPath.map((name) => described(name, 'path')),
    ...inQuery.filter((name) => !inPath.includes(name)).map((name) => described(name, 'query')),
  ];
}

function jsonBody(
  route: Route,
  { properties, required }: Fields,
  example: Readonly<Record<string, unknown>>,
): Piece {
  const inPath = pathFields(route);
  const inBody = (fields: Piece): Piece =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !inPath.includes(name)));
  const needed = required.filter((name) => !inPath.includes(name));
  const schema = {
    type: 'object',
    properties: inBody(properties),
    ...(needed.length > 0 && { required: needed }),
    additionalProperties: false,
  };
  return {
    required: needed.length > 0,
    content: {
      'application/json': {
        schema,
        example: inBody(example),
      },
    },
  };
}

function parameter(name: keyof typeof PARAMETERS): Piece {
  return { $ref: `#/components/parameters/${name}` };
}

function errors(applies: (status: number) => boolean): Piece {
  return Object.fromEntries(
    [...API_ERRORS.keys()]
      .filter(applies)
      .map((status) => [status, { $ref: `#/components/responses/${nameOf(status)}` }]),
  );
}

function errorResponses(): Piece {
  return Object.fromEntries(
    [...API_ERRORS].map(([status, codes]) => {
      const { headers, ...rest } = errorAnswer(status, codes);
      return [nameOf(status), { ...rest, headers: { 'X-Request-Id': REQUEST_ID, ...headers } }];
    }),
  );
}

// The name of a status, as a component's: BadRequest.
function nameOf(status: number): string {
  return (STATUS_CODES[status] ?? '').replace(/\W/g, '');
}
