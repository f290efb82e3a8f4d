// The management API: who may use it, what it does, and what it refuses.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { PassThrough } from 'node:stream';
import { before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { engines, hubs, open, type TestEngine } from '../engines.js';
import { Service } from '../service.js';
import { eventually } from '../load.js';
import { directoryWith } from '../commands/run.js';
import { start, type Running } from './start.js';

const WRITE = 'w'.repeat(32);
const READ = 'r'.repeat(32);
const TOKENS = [
  { name: 'ops', scope: 'write', token: WRITE },
  { name: 'dashboard', scope: 'read', token: READ },
] as const;

interface Reply<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T & { readonly error?: { readonly code: string; readonly message: string } };
}

interface Call {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Asks `/v1` of a service; `what` is a method and a path. */
async function call<T = Record<string, unknown>>(
  url: string,
  what: string,
  { token = WRITE, headers = {}, body }: Call = {},
): Promise<Reply<T>> {
  const [method = '', path = ''] = what.split(' ');
  const response = await fetch(`${url}/v1${path}`, {
    method,
    headers: {
      ...(token !== '' && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: JSON.parse(text) as Reply<T>['body'],
  };
}

function startApi(engine?: TestEngine): Promise<Running> {
  return start({ adminTokens: TOKENS, buckets: hubs(3), ...(engine && { engine }) });
}

describe('the management API', () => {
  let url: string;
  before(async () => {
    ({ url } = await startApi());
  });

  it('is closed without a token configured, and says how to open it', async () => {
    const { url } = await start();
    const { status, body } = await call(url, 'GET /kinds');
    assert.equal(status, 403);
    assert.equal(body.error?.code, 'api_closed');
    assert.match(body.error.message, /set SHARDER_ADMIN_TOKEN \(openssl rand -hex 32\)/);
  });

  const refused: readonly [what: string, call: Call, status: number, code: string][] = [
    ['GET /kinds', { token: '' }, 401, 'no_token'],
    ['GET /kinds', { token: 'x'.repeat(32) }, 401, 'wrong_token'],
    ['GET /kinds', { token: `${WRITE}w` }, 401, 'wrong_token'],
    ['GET /kinds', { token: WRITE.slice(1) }, 401, 'wrong_token'],
    ['GET /kinds', { token: '', headers: { Authorization: `Basic ${WRITE}` } }, 401, 'no_token'],
    ['POST /kinds/hub/buckets', { token: '', body: { bucket: 'x' } }, 401, 'no_token'],
    ['POST /kinds/hub/buckets', { token: READ, body: { bucket: 'x' } }, 403, 'read_only'],
    ['PUT /kinds/hub/objects/x', { token: READ }, 403, 'read_only'],
    ['POST /import', { token: READ, body: {} }, 403, 'read_only'],
    ['POST /check', { token: READ }, 403, 'read_only'],
    ['GET /nothing', { token: '' }, 401, 'no_token'],
    ['GET /nothing', {}, 404, 'unknown_route'],
    ['PUT /kinds', {}, 405, 'wrong_method'],
    ['GET /kinds/x', {}, 404, 'unknown_kind'],
    ['GET /kinds/hub/buckets/x', {}, 404, 'unknown_bucket'],
    ['GET /kinds/hub/objects/x', {}, 404, 'unknown_object'],
    ['GET /kinds/hub/objects/%zz', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?limit=0', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?limit=1&limit=2', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?after=x', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?nothing=1', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?pinned=maybe', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?at=yesterday', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?at=2026-01-01T00:00:00Z&pinned=true', {}, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: '{' }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: '[]' }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: {} }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: { bucket: 'x', kind: 'hub' } }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: { bucket: 'x', wieght: 2 } }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: { bucket: 'x', weight: '2' } }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets', { body: { bucket: 'a b' } }, 400, 'bad_name'],
    ['POST /kinds/hub/buckets', { body: { bucket: 'hub-0' } }, 409, 'exists'],
    [
      'POST /kinds/hub/buckets',
      { body: '{"bucket":"x"}', headers: { 'Content-Type': 'text/plain' } },
      400,
      'bad_request',
    ],
    ['POST /kinds/hub/buckets', { body: { bucket: 'x'.repeat(1_100_000) } }, 413, 'too_large'],
    ['POST /kinds/hub/buckets/hub-0/cordon?dry_run=true', {}, 400, 'bad_request'],
    ['POST /kinds/hub/buckets/hub-0/cordon?toString=1', {}, 400, 'bad_request'],
    ['DELETE /kinds/hub/buckets/hub-0', { body: { dry_run: true } }, 400, 'bad_request'],
    ['POST /check', { body: { dry_run: true } }, 400, 'bad_request'],
    ['PUT /kinds/hub/objects/x', { headers: { 'If-Match': '"1"' } }, 400, 'bad_request'],
    [
      'POST /changes/prune',
      { headers: { 'Idempotency-Key': 'x' }, body: { before: '2020-01-01T00:00:00Z' } },
      400,
      'bad_request',
    ],
    ['GET /plans', { token: '' }, 401, 'no_token'],
    ['POST /kinds/hub/plans', { token: READ, body: { goal: 'rebalance' } }, 403, 'read_only'],
    ['POST /plans/1/apply', { token: READ }, 403, 'read_only'],
    ['POST /plans/1/undo', { token: READ }, 403, 'read_only'],
    ['GET /plans/1', {}, 404, 'unknown_plan'],
    ['GET /plans/1/moves', {}, 404, 'unknown_plan'],
    ['POST /plans/1/apply', {}, 404, 'unknown_plan'],
    ['POST /plans/1/pause', {}, 404, 'unknown_plan'],
    ['POST /plans/1/resume', {}, 404, 'unknown_plan'],
    ['POST /plans/1/cancel', {}, 404, 'unknown_plan'],
    ['POST /plans/1/undo', {}, 404, 'unknown_plan'],
    ['GET /plans/x', {}, 400, 'bad_request'],
    ['GET /plans/0', {}, 400, 'bad_request'],
    ['GET /plans?state=nosuch', {}, 400, 'bad_request'],
    ['GET /plans?after=x', {}, 400, 'bad_request'],
    ['POST /plans/1/apply', { body: { rate: 0 } }, 400, 'bad_request'],
    ['POST /plans/1/apply', { body: { rate: 1.5 } }, 400, 'bad_request'],
    ['POST /plans/1/apply', { body: { rate: null } }, 400, 'bad_request'],
    ['POST /plans/1/apply', { headers: { 'If-Match': '"1"' } }, 400, 'bad_request'],
    ['POST /plans/1/undo', { headers: { 'Idempotency-Key': 'x' } }, 400, 'bad_request'],
    ['POST /kinds/hub/plans', { body: { goal: 'undo' } }, 400, 'bad_request'],
    ['POST /kinds/hub/plans', { body: { goal: 'drain' } }, 400, 'bad_request'],
    ['POST /kinds/hub/plans', { body: { goal: 'rebalance', threshold: 0 } }, 400, 'bad_request'],
    [
      'POST /kinds/hub/plans',
      { body: { goal: 'rebalance' }, headers: { 'If-Match': '"1"' } },
      400,
      'bad_request',
    ],
    ['POST /kinds/hub/plans', { body: { goal: 'drain', buckets: ['x'] } }, 404, 'unknown_bucket'],
    ['POST /kinds/x/plans', { body: { goal: 'rebalance' } }, 404, 'unknown_kind'],
    ['GET /kinds/hub%00/objects', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?bucket=%00', {}, 400, 'bad_request'],
    ['GET /changes?actor=%00', {}, 400, 'bad_request'],
    ['GET /export?kind=%00', {}, 400, 'bad_request'],
    ['GET /kinds/hub/objects?bucket=hub-0&after=WyJ4Il0', {}, 400, 'bad_request'],
    ['GET /changes?after=WyJ4Il0', {}, 400, 'bad_request'],
    ['GET /changes?after=WzFlMzBd', {}, 400, 'bad_request'],
    ['POST /kinds/hub/buckets/hub-0/cordon', { body: { reason: 'a\0b' } }, 400, 'bad_request'],
    ['PUT /kinds/hub/objects/%20a', {}, 400, 'bad_name'],
    ['PUT /kinds/hub/objects/a%00', {}, 400, 'bad_name'],
    ['POST /kinds/hub/objects', { body: {} }, 400, 'bad_request'],
    ['POST /import', { body: {} }, 400, 'bad_request'],
    ['POST /kinds/hub/buckets/hub-0/cordon', { headers: { 'If-Match': 'x' } }, 400, 'bad_request'],
    [
      'POST /kinds/hub/buckets/hub-0/cordon',
      { headers: { 'Idempotency-Key': 'a b' } },
      400,
      'bad_request',
    ],
  ];
  for (const [what, how, status, code] of refused) {
    it(`${what} ${JSON.stringify(how).slice(0, 60)} is ${status}, ${code}, in JSON`, async () => {
      const reply = await call(url, what, how);
      assert.deepEqual([reply.status, reply.body.error?.code], [status, code]);
      assert.match(reply.headers.get('content-type') ?? '', /^application\/json/);
      assert.match(reply.headers.get('x-request-id') ?? '', /^[\w-]{36}$/);
      assert.equal(reply.headers.get('www-authenticate'), status === 401 ? 'Bearer' : null);
    });
  }

  it('takes a kind that is called as what every object of JavaScript has', async () => {
    const { url } = await startApi();
    const at = '/kinds/constructor';
    const changes: readonly [what: string, body?: object][] = [
      ['POST /kinds', { kind: 'constructor' }],
      [`POST ${at}/buckets`, { bucket: 'b' }],
      [`PATCH ${at}/buckets/b`, { weight: 2 }],
      [`PATCH ${at}`, { threshold: 20 }],
      [`DELETE ${at}/buckets/b`],
      [`DELETE ${at}`],
    ];
    for (const [what, body] of changes) {
      const reply = await call(url, what, body && { body });
      assert.equal(reply.status, 200, what);
      assert.doesNotMatch(JSON.stringify(reply.body), /the settings declare/);
    }
  });

  it('answers 400 to a body that is damaged, or breaks off', async () => {
    const headers = { 'Content-Type': 'application/x-ndjson', 'Content-Encoding': 'gzip' };
    const whole = gzipSync('{"name":"iana"}\n');
    for (const body of [Buffer.from('no gzip'), whole.subarray(0, -10)]) {
      const response = await fetch(`${url}/v1/kinds/hub/objects`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${WRITE}`, ...headers },
        body,
      });
      assert.deepEqual([response.status, await codeOf(response)], [400, 'bad_request']);
    }
  });

  it('names each field that is wrong', async () => {
    const body = { weight: 0, capacity: 1.5 };
    const { body: answer } = await call(url, 'POST /kinds/hub/buckets', { body });
    assert.match(answer.error?.message ?? '', /bucket: .*weight: is 0; .*capacity: is 1\.5; /);
  });

  it('answers with the id that the proxy gave the request, if it is one', async () => {
    const ask = async (id: string) =>
      (await call(url, 'GET /kinds', { headers: { 'X-Request-Id': id } })).headers.get(
        'x-request-id',
      );
    assert.equal(await ask('abc-123.4'), 'abc-123.4');
    assert.match((await ask('a b"c')) ?? '', /^[\w-]{36}$/);
  });

  it('says in Allow what a path takes', async () => {
    const { headers } = await call(url, 'PUT /kinds/hub/buckets/hub-0');
    assert.equal(headers.get('allow'), 'GET, PATCH, DELETE');
  });

  it('keeps the connection after a body, read or refused', async () => {
    for (const token of [WRITE, '']) {
      const reply = await call(url, 'POST /kinds/hub/buckets/hub-0/uncordon', { token, body: {} });
      assert.equal(reply.headers.get('connection'), 'keep-alive');
    }
  });
});

describe('the log of the management API', () => {
  const logging = async () => {
    const lines = new PassThrough({ encoding: 'utf8' });
    const log = pino({ level: 'debug' }, lines);
    const { url } = await start({ adminTokens: TOKENS, log });
    return { url, written: () => String(lines.read() ?? '') };
  };

  const refused: readonly [code: string, what: string, token: string][] = [
    ['wrong_token', 'GET /kinds', 'x'.repeat(32)],
    ['read_only', 'PUT /kinds/hub/objects/iana', READ],
  ];
  for (const [code, what, token] of refused) {
    it(`warns of ${code}, with the peer's address and without the token`, async () => {
      const { url, written } = await logging();
      const { body } = await call(url, what, { token });
      assert.equal(body.error?.code, code);
      const text = written();
      const { level, peer, ...line } = JSON.parse(text) as Record<string, unknown>;
      assert.deepEqual([level, line.code, peer], [40, code, '127.0.0.1']);
      assert.equal(text.includes(token), false);
    });
  }

  it('has one line of a change, however often it is sent with its Idempotency-Key', async () => {
    const { url, written } = await logging();
    const headers = { 'Idempotency-Key': 'once' };
    const cordon = () => call(url, 'POST /kinds/hub/buckets/hub-0/cordon', { headers });
    const first = await cordon();
    assert.equal(first.body.changed, true);
    const lines = written();
    assert.match(lines, /^[^\n]*"actor":"api:ops","action":"bucket cordon"[^\n]*"changed"}\n$/);
    assert.deepEqual((await cordon()).body, first.body);
    assert.equal(written(), '');
  });
});

for (const engine of engines) {
  describe(`on ${engine.name}, the management API`, engine.options, () => {
    it('adds, changes, cordons and removes buckets, and history says whose token it was', async () => {
      const { url, sharder } = await startApi(engine);
      const added = await call(url, 'POST /kinds/hub/buckets', {
        body: { bucket: 'b/1', url: 'http://x.example/', weight: 3, reason: 'more room' },
      });
      assert.deepEqual(added.body, {
        action: 'bucket add',
        kind: 'hub',
        bucket: 'b/1',
        changed: true,
        dry_run: false,
      });
      const at = '/kinds/hub/buckets/b%2F1';
      assert.equal((await call(url, `PATCH ${at}`, { body: { weight: 5 } })).status, 200);
      assert.equal(
        (await call(url, `POST ${at}/cordon`, { body: { reason: 'full' } })).status,
        200,
      );
      assert.deepEqual((await call(url, `GET ${at}`, { token: READ })).body, {
        kind: 'hub',
        name: 'b/1',
        url: 'http://x.example',
        weight: 5,
        capacity: null,
        state: 'cordoned',
        state_reason: 'full',
        members: 0,
        share: 0,
        over_full: false,
      });
      const dry = await call(url, `DELETE ${at}?dry_run=true`);
      assert.equal(dry.body.dry_run, true);
      assert.equal((await call(url, `DELETE ${at}?reason=gone`)).status, 200);
      assert.equal((await call(url, `GET ${at}`)).status, 404);
      const changes: unknown = await sharder.database
        .knex('change')
        .where('actor', 'api:ops')
        .orderBy('id')
        .select('action', 'reason');
      assert.deepEqual(changes, [
        { action: 'bucket add', reason: 'more room' },
        { action: 'bucket set', reason: null },
        { action: 'bucket cordon', reason: 'full' },
        { action: 'bucket remove', reason: 'gone' },
      ]);
    });

    it('reads without creating, assigns once, and moves, renames, merges, pins, removes', async () => {
      const service = await startApi(engine);
      const { url } = service;
      const at = '/kinds/hub/objects';
      assert.equal((await call(url, `GET ${at}/iana`)).status, 404);
      assert.equal((await call(url, `GET ${at}/iana/explain`)).body.next, 'hub-0');
      const first = await call(url, `PUT ${at}/iana`);
      assert.deepEqual([first.body.bucket, first.body.changed], ['hub-0', true]);
      assert.equal((await call(url, `PUT ${at}/iana`)).body.changed, false);
      assert.equal(await (await service.ask('/shard', 'iana')).text(), 'hub-0\n');

      const move = { body: { to: 'hub-2' } };
      assert.equal((await call(url, `POST ${at}/iana/move`, move)).body.from_bucket, 'hub-0');
      await eventually('it has heard of the move', async () => {
        return (await (await service.ask('/shard', 'iana')).text()) === 'hub-2\n';
      });
      const rename = { body: { to: 'a/../é' } };
      assert.equal((await call(url, `POST ${at}/iana/rename`, rename)).body.bucket, 'hub-2');
      const odd = `${at}/${encodeURIComponent('a/../é')}`;
      assert.equal((await call(url, `POST ${odd}/pin`)).body.changed, true);
      assert.equal((await call(url, `GET ${odd}`)).body.pinned, true);
      assert.equal((await call(url, `POST ${odd}/unpin`)).body.changed, true);
      await call(url, `PUT ${at}/brian`);
      const merge = { body: { into: 'a/../é' } };
      assert.equal((await call(url, `POST ${at}/brian/merge`, merge)).body.bucket, 'hub-2');
      assert.equal((await call(url, `GET ${at}/brian`)).status, 404);
      const history = await call<{ changes: { action: string }[] }>(url, `GET ${odd}/history`);
      assert.deepEqual(
        history.body.changes.map(({ action }) => action),
        ['object move', 'object rename', 'object pin', 'object unpin', 'object merge'],
      );
      assert.equal((await call(url, `DELETE ${odd}`)).body.from_bucket, 'hub-2');
    });

    it('explains what the service has in memory', async () => {
      const service = await startApi(engine);
      const { url } = service;
      const cache = async () => (await call(url, 'GET /kinds/hub/objects/iana/explain')).body.cache;
      await call(url, 'PUT /kinds/hub/objects/iana');
      assert.equal(await cache(), 'agrees');
      await call(url, 'POST /kinds/hub/objects/iana/move', { body: { to: 'hub-1' } });
      await eventually('it has heard of the move', async () => (await cache()) === 'empty');
      assert.equal(await (await service.ask('/shard', 'iana')).text(), 'hub-1\n');
      assert.equal(await cache(), 'agrees');
    });

    it('makes a change with an Idempotency-Key once, however often and at once it is sent', async () => {
      const { url, sharder } = await startApi(engine);
      await call(url, 'PUT /kinds/hub/objects/iana');
      const headers = { 'Idempotency-Key': randomUUID() };
      const move = () =>
        call(url, 'POST /kinds/hub/objects/iana/move', { headers, body: { to: 'hub-1' } });
      const replies = await Promise.all(Array.from({ length: 8 }, move));
      await call(url, 'POST /kinds/hub/objects/iana/move', { body: { to: 'hub-2' } });
      replies.push(await move());
      for (const { status, body } of replies) {
        assert.equal(status, 200);
        assert.deepEqual(body, replies[0]?.body);
      }
      assert.equal(replies[0]?.body.changed, true);
      const { body: now } = await call(url, 'GET /kinds/hub/objects/iana');
      assert.equal(now.bucket, 'hub-2');
      const changes = await sharder.database.knex('change').where({ action: 'object move' });
      assert.equal(changes.length, 2);
    });

    it('refuses a key that another request had, and forgets it where the change was refused', async () => {
      const { url } = await startApi(engine);
      await call(url, 'PUT /kinds/hub/objects/iana');
      const headers = { 'Idempotency-Key': 'once' };
      const move = (to: string, token = WRITE) =>
        call(url, 'POST /kinds/hub/objects/iana/move', { headers, body: { to }, token });
      assert.equal((await move('hub-9')).body.error?.code, 'unknown_bucket');
      assert.equal((await move('hub-1')).status, 200);
      const other = await move('hub-2');
      assert.deepEqual([other.status, other.body.error?.code], [422, 'key_reused']);
    });

    it('makes a change with If-Match only if nothing of the kind has changed since', async () => {
      const { url } = await startApi(engine);
      await call(url, 'PUT /kinds/hub/objects/iana');
      const { headers } = await call(url, 'GET /kinds/hub');
      const version = headers.get('etag') ?? '';
      assert.match(version, /^"\d+"$/);
      const cordon = (bucket: string) =>
        call(url, `POST /kinds/hub/buckets/${bucket}/cordon`, { headers: { 'If-Match': version } });
      const both = await Promise.all([cordon('hub-0'), cordon('hub-1')]);
      assert.deepEqual(both.map(({ status }) => status).toSorted(), [200, 412]);
      assert.equal((await cordon('hub-2')).body.error?.code, 'changed');
    });

    it('makes plans, lists them for who may only read, and changes their state for who may write', async () => {
      const { url, sharder } = await startApi(engine);
      for (let i = 0; i < 9; i++) await sharder.assign('hub', `user-${i}`);
      const body = { goal: 'drain', buckets: ['hub-0', 'hub-0'], reason: 'old' };
      const dry = await call(url, 'POST /kinds/hub/plans', { body: { ...body, dry_run: true } });
      assert.deepEqual([dry.body.plan, dry.body.moves], [null, 3]);
      const made = await call(url, 'POST /kinds/hub/plans', { body });
      assert.deepEqual([made.status, made.body.plan, made.body.moves], [200, 1, 3]);
      await call(url, 'POST /kinds/hub/plans', { body: { goal: 'rebalance' } });

      interface Page {
        readonly items: readonly Record<string, unknown>[];
        readonly next: string | null;
      }
      const read = { token: READ };
      const first = await call<Page>(url, 'GET /plans?kind=hub&limit=1', read);
      assert.deepEqual(first.body.items.map(({ plan, goal }) => [plan, goal]), [[2, 'rebalance']]); // prettier-ignore
      const after = first.body.next ?? '';
      const second = await call<Page>(url, `GET /plans?kind=hub&limit=1&after=${after}`, read);
      assert.deepEqual(second.body.items.map(({ plan, state, actor, reason }) => [plan, state, actor, reason]), [[1, 'planned', 'api:ops', 'old']]); // prettier-ignore
      assert.deepEqual((await call<Page>(url, 'GET /plans?state=done', read)).body.items, []);
      const moves = await call<Page>(url, 'GET /plans/1/moves?limit=2', read);
      assert.deepEqual(moves.body.items.map(({ seq, name }) => [seq, name]), [[0, 'user-6'], [1, 'user-3']]); // prettier-ignore
      const rest = await call<Page>(url, `GET /plans/1/moves?after=${moves.body.next ?? ''}`, read);
      assert.deepEqual([rest.body.items.length, rest.body.next], [1, null]);

      const step = async (what: string, body = {}) => {
        const { status, body: answer } = await call(url, `POST /plans/1/${what}`, { body });
        return [status, answer.state ?? answer.error?.code];
      };
      assert.deepEqual(await step('pause'), [409, 'plan_state']);
      assert.deepEqual(await step('apply', { dry_run: true }), [200, 'running']);
      assert.deepEqual(await step('apply', { rate: 7 }), [200, 'running']);
      assert.deepEqual(await step('apply'), [409, 'plan_state']);
      assert.deepEqual(await step('undo'), [409, 'plan_state']);
      assert.deepEqual(await step('pause'), [200, 'paused']);
      assert.deepEqual(await step('resume', { rate: 8, bucket_rate: 2 }), [200, 'running']);
      const shown = (await call(url, 'GET /plans/1', read)).body;
      assert.deepEqual([shown.rate, shown.bucket_rate, shown.started_by], [8, 2, 'api:ops']);
      assert.equal((await call(url, 'POST /plans/1/resume', { body: { rate: 8 } })).body.changed, false); // prettier-ignore
      assert.deepEqual(await step('cancel'), [200, 'cancelled']);
      assert.deepEqual(await step('cancel'), [409, 'plan_state']);
      const undo = await call(url, 'POST /plans/1/undo');
      assert.deepEqual([undo.status, undo.body.undoes, undo.body.moves], [200, 1, 0]);
    });

    it('applies a plan with an Idempotency-Key once, and not at all with If-Match', async () => {
      const { url, sharder } = await startApi(engine);
      for (let i = 0; i < 9; i++) await sharder.assign('hub', `user-${i}`);
      await call(url, 'POST /kinds/hub/plans', { body: { goal: 'drain', buckets: ['hub-0'] } });
      const version = (await call(url, 'GET /kinds/hub')).headers.get('etag') ?? '';
      const matched = await call(url, 'POST /plans/1/apply', { headers: { 'If-Match': version } });
      assert.equal(matched.body.error?.message, 'If-Match: this concerns no kind, which has a version'); // prettier-ignore
      const headers = { 'Idempotency-Key': randomUUID() };
      const apply = () => call(url, 'POST /plans/1/apply', { headers, body: { rate: 5 } });
      const replies = await Promise.all(Array.from({ length: 4 }, apply));
      await call(url, 'POST /plans/1/pause');
      replies.push(await apply());
      for (const { status, body } of replies)
        assert.deepEqual([status, body.state], [200, 'running']);
      assert.equal((await call(url, 'GET /plans/1')).body.state, 'paused');
      const lines = await sharder.database.knex('change').where({ action: 'plan apply' });
      assert.equal(lines.length, 1);
      const other = await call(url, 'POST /plans/1/apply', { headers, body: { rate: 6 } });
      assert.deepEqual([other.status, other.body.error?.code], [422, 'key_reused']);
    });

    it('lists every object once, page by page, while others come and go', async () => {
      const { url } = await startApi(engine);
      const names = Array.from({ length: 57 }, (_, i) => `user-${String(i).padStart(2, '0')}`);
      for (const name of names) await call(url, `PUT /kinds/hub/objects/${name}`);
      for (const filter of ['', '&bucket=hub-1', '&prefix=user-1', '&pinned=false']) {
        const seen: string[] = [];
        let after = '';
        for (let i = 0; ; i++) {
          const { body } = await call<{
            items: { name: string; bucket: string }[];
            next: string | null;
          }>(url, `GET /kinds/hub/objects?limit=10${filter}${after}`);
          seen.push(...body.items.map(({ name }) => name).filter((name) => names.includes(name)));
          await call(url, `PUT /kinds/hub/objects/new-${filter.slice(1, 4)}-${i}`);
          await call(url, `PUT /kinds/hub/objects/user-0${i}-new${filter.slice(1, 4)}`);
          if (body.next === null) break;
          after = `&after=${body.next}`;
        }
        const meant = names.filter(
          (name, i) =>
            (filter !== '&bucket=hub-1' || i % 3 === 1) &&
            (filter !== '&prefix=user-1' || name.startsWith('user-1')),
        );
        assert.deepEqual(seen.toSorted(), meant, filter);
      }
    });

    it('assigns 20,000 objects of one body, evenly, each line answered in its place', async () => {
      const { url, sharder } = await startApi(engine);
      const lines = Array.from({ length: 20_000 }, (_, i) =>
        i % 1_000 === 7 ? 'not JSON' : JSON.stringify({ name: `user-${i}` }),
      );
      const response = await fetch(`${url}/v1/kinds/hub/objects`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${WRITE}`, 'Content-Type': 'application/x-ndjson' },
        body: lines.join('\n'),
      });
      assert.equal(response.status, 200);
      const answers = (await response.text())
        .trimEnd()
        .split('\n')
        .map(
          (line) =>
            JSON.parse(line) as { name?: string; reason?: string; error?: { code: string } },
        );
      assert.equal(answers.length, 20_000);
      answers.forEach((answer, i) => {
        if (i % 1_000 === 7) assert.equal(answer.error?.code, 'bad_request');
        else assert.deepEqual([answer.name, answer.reason], [`user-${i}`, 'assigned']);
      });
      const members = await sharder.database
        .knex('bucket')
        .orderBy('name')
        .pluck<number[]>('members');
      assert.deepEqual(members.map(Number), [6660, 6660, 6660]);
    });
  });

  describe(`on ${engine.name}, what takes long`, engine.options, () => {
    const serve = async (): Promise<Service> =>
      Service.start(await engine.createDatabase(), {
        cwd: directoryWith('kinds: { hub: { buckets: [hub-0, hub-1] } }'),
        env: { SHARDER_ADMIN_TOKEN: `ops=${WRITE},dashboard:read=${READ}` },
      });
    const send = (
      service: Service,
      path: string,
      type: string,
      body: string | Uint8Array,
      more = {},
    ) =>
      fetch(`${service.url}/v1${path}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${WRITE}`, 'Content-Type': type, ...more },
        body,
      });
    const rows = (count: number) =>
      `user,hub\n${Array.from({ length: count }, (_, i) => `user-${i},hub-${i % 2}\n`).join('')}`;

    it('imports all of a body or nothing, and says what is wrong by line', async () => {
      const service = await serve();
      const wrong = await send(service, '/import', 'text/csv', 'user,hub\na,hub-0\nb,hub-9\n');
      assert.equal(wrong.status, 422);
      const told = (await wrong.json()) as { problems: { line: number; code: string }[] };
      assert.deepEqual(
        told.problems.map(({ line, code }) => [line, code]),
        [[3, 'unknown_bucket']],
      );
      const gz = gzipSync(rows(2_000));
      const right = await send(service, '/import?reason=term', 'text/csv', gz, {
        'Content-Encoding': 'gzip',
      });
      assert.equal(right.status, 200);
      assert.equal(((await right.json()) as { new: number }).new, 2_000);
      const bad = await send(service, '/import', 'text/csv', 'nothing');
      assert.deepEqual([bad.status, await codeOf(bad)], [400, 'bad_request']);
      const broken = await send(service, '/import', 'text/csv', gz.subarray(0, 500), {
        'Content-Encoding': 'gzip',
      });
      assert.equal(broken.status, 400);

      const csv = await get(service, '/export?format=csv');
      assert.equal(csv.headers.get('content-disposition'), 'attachment; filename=objects.csv');
      assert.equal((await csv.text()).split('\n').length, 2_002);
      const none = await get(service, '/export?kind=x');
      assert.deepEqual([none.status, await codeOf(none)], [404, 'unknown_kind']);
      const check = await get(service, '/check');
      assert.equal(((await check.json()) as { ok: boolean }).ok, true);
      const history = await call<{ changes: unknown[] }>(service.url, 'GET /kinds/hub/objects/a');
      assert.equal(history.status, 404);
    });

    it('imports nothing of a body that breaks off', async () => {
      const service = await serve();
      for (const body of [rows(10), rows(30_000)]) {
        const sending = request(`${service.url}/v1/import`, {
          method: 'POST',
          headers: { Authorization: `Bearer ${WRITE}`, 'Content-Type': 'text/csv' },
        });
        sending.on('error', () => undefined);
        await new Promise((resolve) => sending.write(body, resolve));
        sending.destroy();
        await new Promise((resolve) => sending.once('close', resolve));
      }
      // Two run at once at most: when this one is let in and done, those before it have ended.
      for (;;) {
        const reply = await send(service, '/import', 'text/csv', 'user,hub\nlast,hub-0\n');
        if (reply.status === 200) break;
        assert.equal(await codeOf(reply), 'overloaded');
      }
      const { body } = await call<{ objects: number }>(service.url, 'GET /kinds/hub');
      assert.equal(body.objects, 1);
    });

    it('imports nothing when the service dies before all of the body has come', async () => {
      const service = await serve();
      const sending = request(`${service.url}/v1/import`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${WRITE}`, 'Content-Type': 'text/csv' },
      });
      sending.on('error', () => undefined);
      await new Promise((resolve) => sending.write('user,hub\nfirst,hub-0\nthird,hub-1', resolve));
      let child = 0;
      await eventually('the import runs', async () => (child = (await importOf(service)) ?? 0) > 0);
      await service.stop('SIGKILL');
      await eventually('the import has ended', async () => !(await isRunning(child)));
      const database = await open(service.database);
      assert.deepEqual(await database.knex('shard').pluck('name'), []);
    });

    it('answers a line that is too long, and an unknown query, before all else', async () => {
      const service = await serve();
      const ndjson = 'application/x-ndjson';
      const long = await send(service, '/kinds/hub/objects', ndjson, 'x'.repeat(50_000));
      assert.deepEqual([long.status, await codeOf(long)], [413, 'too_large']);
      const odd = await send(service, '/import?dry-run=true', 'text/csv', 'user,hub\n');
      assert.equal(odd.status, 400);
    });

    it('names the token in the history, and leaves known users served meanwhile', async () => {
      const service = await serve();
      assert.equal(await (await service.shard('iana')).text(), 'hub-0\n');
      const importing = send(service, '/import', 'text/csv', rows(20_000));
      const progress = { answered: 0, isDone: false };
      void importing.finally(() => (progress.isDone = true));
      while (!progress.isDone) {
        assert.equal(await (await service.shard('iana')).text(), 'hub-0\n');
        progress.answered++;
      }
      assert.ok(progress.answered > 10);
      assert.equal((await importing).status, 200);
      await service.stop();
      assert.match(service.log, /"request_id":"[\w-]+","actor":"api:ops","action":"import"/);
    });

    async function get(service: Service, path: string): Promise<Response> {
      return fetch(`${service.url}/v1${path}`, { headers: { Authorization: `Bearer ${READ}` } });
    }
  });
}

// The process that the service has started, if there is one.
async function importOf({ process: { pid } }: Service): Promise<number | undefined> {
  const children = await readFile(`/proc/${pid ?? 0}/task/${pid ?? 0}/children`, 'utf8');
  const [child] = children.trim().split(' ').filter(Boolean);
  return child === undefined ? undefined : Number(child);
}

async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'Z');
  return !/^\S+ \([^)]*\) Z|^Z$/.test(stat);
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code;
}
