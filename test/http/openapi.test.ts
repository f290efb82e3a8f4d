// GET /openapi.json says what there is: all of it, nothing else, and as it is. Its examples are sent to
// the real service, and what comes back is held against it.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { createApp, type AppParts } from '../../src/http/app.js';
import { matchRoute, OWN_PATHS } from '../../src/http/server.js';
import { Watchers } from '../../src/http/v1/watch.js';
import { OPERATIONS } from '../../src/operations/all.js';
import { STREAMS } from '../../src/operations/streams.js';
import { directoryWith } from '../commands/run.js';
import { engines, type TestEngine } from '../engines.js';
import { Service } from '../service.js';
import { Document, type JsonSchema, type Operation, type Sending } from './described.js';
import { start } from './start.js';

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

const WRITER = 'a-token-that-changes-things-0123456789abcdef';
const READER = 'a-token-that-only-looks-0123456789abcdefghij';
const WORKER = 'a-token-that-holds-leases-0123456789abcdefghi';
const adminTokens = [
  { name: 'ops', scope: 'write', token: WRITER },
  { name: 'dashboard', scope: 'read', token: READER },
] as const;

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sends it, and asserts that the answer has this status and is as described. */
async function send(
  url: string,
  operation: Operation,
  sending: Sending,
  expected: number,
  { token = WRITER, headers = {} }: { token?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const [path, init] = operation.request(sending);
  const all = new Headers(init.headers);
  if (operation.isApi && token !== '') all.set('Authorization', `Bearer ${token}`);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const response = await fetch(url + path, { ...init, headers: all, redirect: 'manual' });
  const text = await response.text();
  const what = `${operation.method} ${path}`;
  assert.equal(response.status, expected, `${what}: ${text.slice(0, 500)}`);
  assert.deepEqual(operation.faults(response.status, response.headers, text), [], what);
  return { status: response.status, headers: response.headers, text };
}

/** The same for an error, which must have this code, and be said to have it. */
async function refused(
  url: string,
  operation: Operation,
  sending: Sending,
  [status, code]: readonly [status: number, code: string],
  how: Parameters<typeof send>[4] = {},
): Promise<string> {
  const { text } = await send(url, operation, sending, status, how);
  const { error } = JSON.parse(text) as { error: { code: string; message: string } };
  assert.equal(error.code, code, `${operation.id}: ${error.message}`);
  assert.ok(operation.codes(status).includes(code), `${operation.id} does not name ${code}`);
  return error.message;
}

describe('the description', () => {
  let url: string;
  let document: Document;
  before(async () => {
    ({ url } = await start({ adminTokens, userHeader: 'X-User' }));
    document = await Document.of(url);
  });

  it('is valid OpenAPI 3.1, and its schemas are valid JSON Schema', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate({ ...document.openapi });
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, '3.1');
    assert.deepEqual(document.schemaFaults(), []);
  });

  it('is of the version of the package, open, JSON, and the same each time', async () => {
    assert.equal(document.openapi.info.version, version);
    const [one, two] = await Promise.all([
      fetch(`${url}/openapi.json`),
      fetch(`${url}/openapi.json`),
    ]);
    assert.match(one.headers.get('content-type') ?? '', /^application\/json/);
    assert.equal(await one.text(), await two.text());
  });

  it('has every operation and every stream, each with a name of its own and a known tag', () => {
    const api = document.operations.filter(({ isApi }) => isApi);
    assert.equal(api.length, OPERATIONS.length + Object.keys(STREAMS).length);
    const ids = document.operations.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const tags = document.openapi.tags.map(({ name }) => name);
    for (const { id, described } of document.operations) {
      assert.equal(described.tags.length, 1, id);
      assert.ok(tags.includes(described.tags[0] ?? ''), id);
      assert.equal(described.security === undefined, id in API_IDS, id);
    }
  });
  const API_IDS: Readonly<Record<string, true>> = Object.fromEntries(
    [...OPERATIONS, ...Object.values(STREAMS)].map(({ name }) => [
      name.replace(/[ -](\w)/g, (_, letter: string) => letter.toUpperCase()),
      true,
    ]),
  );

  it('leaves out no operation that a file of src/operations exports', async () => {
    const folder = new URL('../../src/operations/', import.meta.url);
    for (const file of readdirSync(folder)) {
      const exported = (await import(new URL(file, folder).href)) as Record<string, unknown>;
      for (const [name, each] of Object.entries(exported)) {
        const isOperation = typeof each === 'object' && each !== null && 'example' in each;
        if (isOperation) assert.ok(OPERATIONS.includes(each as never), `${file}: ${name}`);
      }
    }
  });

  it('names the header that names the user', () => {
    assert.ok(document.operation('shard').parameters.some(({ name }) => name === 'X-User'));
  });

  it('says of every field what it may be', () => {
    for (const { id, parameters, bodySchema } of document.operations) {
      const fields = [
        ...parameters.map(({ name, schema }) => [name, schema] as const),
        ...Object.entries(bodySchema?.properties ?? {}),
      ];
      for (const [name, schema] of fields) {
        const known = ['type', 'anyOf', '$ref', 'enum'].some((key) => key in schema);
        assert.ok(known, `${id}: ${name}`);
      }
    }
  });

  it('has examples that its own schemas allow', () => {
    for (const operation of document.operations) {
      for (const { fields, body, type } of operation.examples()) {
        for (const [name, value] of Object.entries(fields)) {
          const parameter = operation.parameters.find((each) => each.name === name);
          assert.ok(parameter && allows(parameter.schema, value), `${operation.id} ${name}`);
        }
        if (type !== 'application/json') continue;
        assert.ok(allows(operation.bodySchema ?? {}, body), operation.id);
      }
    }
    function allows(schema: JsonSchema, value: unknown): boolean {
      return document.allows(schema, value);
    }
  });
});

describe('the routes', () => {
  const parts: Pick<AppParts, 'api' | 'userHeader' | 'sharder'> = {
    sharder: { database: undefined } as never,
    api: {
      tokens: [],
      declared: {},
      watchers: new Watchers(undefined as never),
      onChange: () => undefined,
    },
    userHeader: 'REMOTE_USER',
  };

  it('are all described, and all that is described is there', async () => {
    const { url } = await start();
    const document = await Document.of(url);
    const described = document.operations.map(({ method, path }) => `${method} ${path}`);
    const there = [
      ...routesOf(createApp(parts as AppParts).router as unknown as RouterLike, ''),
      ...OWN_PATHS.map((path) => `GET ${path}`),
    ];
    assert.deepEqual(described.sort(), there.sort());
  });

  it('are those that the listener answers itself, and no others', async () => {
    const { url } = await start();
    const { operations } = await Document.of(url);
    const own: readonly string[] = OWN_PATHS;
    for (const { path } of operations) {
      const isOwn = matchRoute(path.replaceAll(/[{}]/g, '')) !== undefined;
      assert.equal(isOwn, own.includes(path), path);
    }
    for (const path of ['/', '/shards', '/shard/hub/deeper', '/authentic', '/v1', '/v1/shard'])
      assert.equal(matchRoute(path), undefined, path);
  });

  it('answer with any method where the description says so, and elsewhere do not', async () => {
    const service = await start();
    const { operations } = await Document.of(service.url);
    for (const { path, described } of operations.filter(({ isApi }) => !isApi)) {
      const isAny = 'x-any-method' in described;
      const target = path.replace('{kind}', 'hub').replace('{rest}', 'x').replace('{file}', 'x');
      for (const method of ['POST', 'PUT', 'DELETE']) {
        const { status } = await service.ask(target, 'iana', { method });
        assert.equal(status, isAny ? 200 : 405, `${method} ${target}`);
      }
    }
  });
});

interface RouterLike {
  readonly stack: readonly {
    readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, true>> };
    readonly handle: { readonly stack?: RouterLike['stack'] };
    readonly rawPath: string;
  }[];
}

// Walks the router as Express has it.
function routesOf({ stack }: RouterLike, prefix: string): string[] {
  return stack.flatMap((layer) => {
    const { route, handle, rawPath } = layer;
    if (route) {
      // `all` stands beside each route of /v1, and says which methods it has.
      const methods = Object.keys(route.methods).filter((method) => method !== '_all');
      return pathsOf(prefix + route.path).flatMap((path) =>
        methods.map((method) => `${method.toUpperCase()} ${path}`),
      );
    }
    if (!handle.stack) return [];
    assert.equal(typeof rawPath, 'string');
    const mount = rawPath === '/' ? '' : rawPath;
    return routesOf({ stack: handle.stack }, prefix + mount);
  });
}

// `/go{/:kind}` is two.
function pathsOf(path: string): string[] {
  const optional = /\{([^}]*)\}/.exec(path);
  const all = optional
    ? [path.replace(optional[0], ''), path.replace(optional[0], optional[1] ?? '')]
    : [path];
  return all.map((each) => each.replace(/:(\w+)/g, '{$1}'));
}

const YAML = `kinds:
  hub:
    buckets:
      - name: hub-0
        url: http://127.0.0.1:9000
      - name: hub-1
        url: http://127.0.0.1:9001
  queue:
    leased: true
  tenant:
    policy: hash
    buckets: [server-0, server-1]
`;

async function serve(engine: TestEngine): Promise<Service> {
  return Service.start(await engine.createDatabase(), {
    cwd: directoryWith(YAML),
    env: { SHARDER_ADMIN_TOKEN: `ops=${WRITER},dashboard:read=${READER},workers:lease=${WORKER}` },
  });
}

for (const engine of engines) {
  describe(`what is described, on ${engine.name}`, engine.options, () => {
    let service: Service;
    let document: Document;
    before(async () => {
      service = await serve(engine);
      for (const name of ['iana', 'brian']) assert.equal((await service.shard(name)).status, 200);
      // So many that a plan is not done before it is paused.
      const others = Array.from({ length: 1_000 }, (_, i) => service.shard(`user-${i}`));
      for (const other of others) assert.equal((await other).status, 200);
      document = await Document.of(service.url);
    });

    it('every example, in the order of the document, is answered as described', async () => {
      const sent = new Set<string>();
      let epoch: unknown; // of the last lease that was granted
      for (const operation of document.operations) {
        const [success = ''] = Object.keys(operation.described.responses);
        assert.match(success, /^[23]/, operation.id);
        for (const example of operation.examples()) {
          // By then its example has been sent, which gives the lease back.
          if (operation.path.includes('/leases/{bucket}/')) epoch = await claim();
          const sending = withEpoch(example, epoch);
          const { text } = await send(service.url, operation, sending, Number(success));
          if (operation.id === 'leaseClaim') epoch = epochOf(text);
          sent.add(operation.id);
        }
      }
      assert.equal(sent.size, document.operations.length);
    });

    async function claim(): Promise<unknown> {
      const operation = document.operation('leaseClaim');
      const { text } = await send(service.url, operation, operation.example, 200);
      return epochOf(text);
    }

    it('nothing is told without a token, with a wrong one, or changed with one that may read', async () => {
      const { url } = service;
      for (const operation of document.operations.filter(({ isApi }) => isApi)) {
        const { example } = operation;
        await refused(url, operation, example, [401, 'no_token'], { token: '' });
        await refused(url, operation, example, [401, 'wrong_token'], { token: `${WRITER}x` });
        if (operation.method === 'GET') {
          await send(url, operation, await present(operation), 200, { token: READER });
        } else {
          await refused(url, operation, example, [403, 'read_only'], { token: READER });
        }
      }
    });

    it('a token for leases may do what workers do, and change nothing else', async () => {
      const { url } = service;
      const workers = ['leaseClaim', 'leaseAck', 'leaseRelease'];
      const changing = document.operations.filter(({ isApi, method }) => isApi && method !== 'GET');
      for (const operation of changing.filter(({ id }) => !workers.includes(id))) {
        await refused(url, operation, operation.example, [403, 'read_only'], { token: WORKER });
      }
      let epoch: unknown;
      for (const id of workers) {
        const operation = document.operation(id);
        const sending = withEpoch(operation.example, epoch);
        const { text } = await send(url, operation, sending, 200, { token: WORKER });
        epoch ??= epochOf(text);
      }
    });

    // The examples have been sent: one of them has given iana another name.
    async function present({ id, example }: Operation): Promise<Sending> {
      const { name, ...rest } = example.fields;
      if (name === undefined || id === 'objectExplain') return example;
      if (id === 'specShow') await registered('iana');
      else await service.shard('iana');
      return { ...example, fields: { ...rest, name: 'iana' } };
    }

    async function registered(name: string): Promise<void> {
      const path = `${service.url}/v1/kinds/queue/objects/${name}/spec`;
      const headers = { Authorization: `Bearer ${WRITER}`, 'Content-Type': 'application/json' };
      const { status } = await fetch(path, { method: 'PUT', headers, body: '{}' });
      assert.equal(status, 200);
    }

    it('a kind that is not there is 404 for every operation', async () => {
      for (const operation of document.operations) {
        if (!operation.path.startsWith('/v1/kinds/{kind}')) continue;
        if (operation.id === 'objectAssignMany') continue; // it answers line by line
        const { fields, ...rest } = operation.example;
        const elsewhere = { ...rest, fields: { ...fields, kind: 'nosuch' } };
        await refused(service.url, operation, elsewhere, [404, 'unknown_kind']);
      }
    });

    it('a bucket, and an object, that is not there is 404', async () => {
      const fields = { kind: 'hub', bucket: 'hub-77', name: 'nobody-at-all' };
      for (const id of ['bucketShow', 'bucketSet', 'bucketCordon', 'bucketRemove']) {
        const operation = document.operation(id);
        const sending = { ...operation.example, fields: without(fields, 'name') };
        await refused(service.url, operation, sending, [404, 'unknown_bucket']);
      }
      for (const id of ['objectFind', 'objectMove', 'objectRename', 'objectPin', 'objectRemove']) {
        const operation = document.operation(id);
        const sending = { ...operation.example, fields: without(fields, 'bucket') };
        await refused(service.url, operation, sending, [404, 'unknown_object']);
      }
    });

    it('a change for another version of the kind is 412 wherever If-Match is described', async () => {
      const version = await kindVersion();
      for (const operation of document.operations) {
        if (!operation.parameters.some(({ name }) => name === 'If-Match')) continue;
        if (operation.example.fields.kind !== 'hub') continue;
        await refused(service.url, operation, operation.example, [412, 'changed'], {
          headers: { 'If-Match': '"999999"' },
        });
      }
      assert.equal(await kindVersion(), version);
      const set = document.operation('bucketSet');
      const body = { weight: 3 };
      const headers = { 'If-Match': version };
      await send(service.url, set, { ...set.example, body }, 200, { headers });
      assert.notEqual(await kindVersion(), version);
    });

    async function kindVersion(): Promise<string> {
      const show = document.operation('kindShow');
      const { headers } = await send(service.url, show, show.example, 200);
      return headers.get('ETag') ?? '';
    }

    it('one key for two changes is 422; for one change, the same answer', async () => {
      const cordon = document.operation('bucketCordon');
      const how = { headers: { 'Idempotency-Key': 'once-and-only-once' } };
      const once = await send(service.url, cordon, cordon.example, 200, how);
      const again = await send(service.url, cordon, cordon.example, 200, how);
      assert.equal(again.text, once.text);
      assert.match(again.text, /"changed":true/);
      const other = { ...cordon.example, body: { reason: 'another' } };
      await refused(service.url, cordon, other, [422, 'key_reused'], how);
    });

    it('what is there already is 409, too large a body 413', async () => {
      const add = document.operation('bucketAdd');
      const taken = { ...add.example, body: { bucket: 'hub-0' } };
      await refused(service.url, add, taken, [409, 'exists']);
      const large = { ...add.example, body: { bucket: 'hub-8', reason: 'x'.repeat(1_100_000) } };
      await refused(service.url, add, large, [413, 'too_large']);
    });

    it('a file with wrong lines is 422, and says which', async () => {
      const load = document.operation('import');
      const body = 'user,hub\ngina,hub-0\ngina,hub-1\n';
      const sending = { ...load.example, type: 'text/csv', body };
      const { text } = await send(service.url, load, sending, 422);
      const { wrong, problems } = JSON.parse(text) as { wrong: number; problems: unknown[] };
      assert.equal(wrong, 2);
      assert.equal(problems.length, 2);
    });
  });
}

function without(fields: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name));
}

function epochOf(text: string): unknown {
  return (JSON.parse(text) as { epoch: unknown }).epoch;
}

// The lease's, wherever it is said.
function withEpoch({ fields, body, ...rest }: Sending, epoch: unknown): Sending {
  const isSaid = typeof body === 'object' && body !== null && 'epoch' in body;
  return {
    ...rest,
    fields: 'epoch' in fields ? { ...fields, epoch } : fields,
    body: isSaid ? { ...body, epoch } : body,
  };
}

// Whatever it is, it is none of these.
function wrongFor({ type, anyOf = [], enum: values, format }: JsonSchema): unknown {
  if (values) return 'none-of-them';
  if (format !== undefined) return 'yesterday';
  const types = [type, ...anyOf.map((each) => each.type)].flat();
  return types.includes('string') ? 7 : types.includes('boolean') ? 'perhaps' : 'seven';
}

function mayBeAnything({ type }: JsonSchema): boolean {
  return ['object', 'number'].every((each) => [type].flat().includes(each));
}

describe('a request that is wrong is 400 and names the field', () => {
  let url: string;
  let document: Document;
  let operations: Operation[];
  let sent: number;
  before(async () => {
    ({ url } = await start({ adminTokens }));
    document = await Document.of(url);
    operations = document.operations.filter(({ isApi }) => isApi);
    sent = 0;
  });

  async function rejects(operation: Operation, sending: Sending, field: string): Promise<void> {
    sent++;
    const message = await refused(url, operation, sending, [400, 'bad_request']);
    assert.match(message, new RegExp(`(^|; |")${field}(:|")`), operation.id);
  }

  it('for a field of a body that is not known, is of another type, is missing, or stands in the path', async () => {
    for (const operation of operations) {
      const { bodySchema: schema, example } = operation;
      if (!schema) continue;
      const body = example.body as Readonly<Record<string, unknown>>;
      const wrong: [field: string, body: object][] = [
        ['surprise', { ...body, surprise: 1 }],
        ...Object.entries(schema.properties ?? {})
          .filter(([, its]) => !mayBeAnything(its))
          .map(([field, its]) => [field, { ...body, [field]: wrongFor(its) }] as [string, object]),
        ...(schema.required ?? []).map(
          (field) => [field, without(body, field)] as [string, object],
        ),
        ...operation.parameters
          .filter((parameter) => parameter.in === 'path')
          .map(({ name }) => [name, { ...body, [name]: 'x' }] as [string, object]),
      ];
      for (const [field, body] of wrong) await rejects(operation, { ...example, body }, field);
    }
    assert.ok(sent > 50, `${sent} requests`);
  });

  it('for a field of a query that is not known, or is of another type', async () => {
    for (const operation of operations) {
      const { example } = operation;
      const hasQuery = operation.bodySchema === undefined;
      if (hasQuery) {
        const fields = { ...example.fields, surprise: 1 };
        await rejects(operation, { ...example, fields }, 'surprise');
      }
      for (const { name, schema, in: where } of operation.parameters) {
        // All text is a string.
        const isText = schema.type === 'string' && !schema.enum && schema.format === undefined;
        if (where !== 'query' || isText) continue;
        const fields = { ...example.fields, [name]: wrongFor(schema) };
        await rejects(operation, { ...example, fields }, name);
      }
    }
    assert.ok(sent > 20, `${sent} requests`);
  });

  it('for a header that cannot be', async () => {
    for (const operation of operations) {
      for (const { name } of operation.parameters) {
        if (name !== 'If-Match' && name !== 'Idempotency-Key') continue;
        const headers = { [name]: 'no, not this' };
        const how = [400, 'bad_request'] as const;
        const message = await refused(url, operation, operation.example, how, { headers });
        assert.ok(message.startsWith(`${name}:`), message);
      }
    }
  });
});
