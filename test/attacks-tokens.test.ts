// What somebody with a token tries, and what must happen: tokens of narrow scopes, tokens that are limited
// to kinds, leases that would change what a person has set, and calls to addresses that nobody has named.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, it, type TestContext } from 'node:test';
import { createServer } from '../src/http/server.js';
import { createCommands } from '../src/http/v1/commands.js';
import { declareKinds, Sharder, type Database } from '../src/index.js';
import { OPERATIONS } from '../src/operations/all.js';
import type { Operation } from '../src/operations/operation.js';
import { pathFields, type Route } from '../src/operations/route.js';
import { STREAMS } from '../src/operations/streams.js';
import { RIGHTS, SCOPES, type Scope } from '../src/scopes.js';
import { CallVerifier, SharderClient } from '../src/client/index.js';
import { readAdminTokens } from '../src/secrets.js';
import { getKind } from '../src/store/kinds.js';
import { readSpecs } from '../src/store/specs.js';
import { Callbacks, type CallbackOptions } from '../src/workers/callbacks.js';
import { contents } from './commands/prepare.js';
import { engines, open, type TestEngine } from './engines.js';
import { eventually } from './load.js';
import { CLI, Service } from './service.js';

const servers = new Set<Server>();
after(() => {
  for (const each of servers) each.close().closeAllConnections();
});

async function listening(server: Server): Promise<string> {
  servers.add(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const tokenOf = (name: string) => `${name}-`.padEnd(40, 'x');
const FULL = tokenOf('full');
const SECRET = 'payroll';
const MINE = ['mine', 'yours'];

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly code: string | undefined;
}

type Ask = (token: string, route: Route, input?: object, init?: Sending) => Promise<Reply>;

interface Sending {
  readonly type?: string;
  readonly content?: string;
}

/** A service with three kinds, a token of each scope, and the same limited to the kinds `mine` and `yours`. */
async function start(engine: TestEngine, callbackNetworks: readonly string[] = []) {
  const address = await engine.createDatabase();
  const database = await open(address);
  const buckets = [{ name: 'hub-0', url: 'http://hub-0.example', weight: 2 }, { name: 'hub-1' }];
  const kind = { leased: true, reshard_interval: 0, buckets };
  await declareKinds(database, { [SECRET]: kind, mine: kind, yours: kind, hub: { buckets } }, 'sharder.yml'); // prettier-ignore
  const sharder = await Sharder.start(database);
  const server = createServer(sharder, {
    adminTokens: [
      { name: 'full', scope: 'write', token: FULL },
      ...SCOPES.flatMap((scope) => [
        { name: `all-${scope}`, scope, token: tokenOf(`all-${scope}`) },
        { name: `few-${scope}`, scope, kinds: MINE, token: tokenOf(`few-${scope}`) },
      ]),
    ],
    callbackNetworks,
    commands: createCommands(CLI, { ...process.env, DATABASE_URL: address }),
  });
  const url = await listening(server);
  const ask: Ask = async (token, route, input = {}, { type, content } = {}) => {
    const fields = { ...input } as Record<string, unknown>;
    const inPath = pathFields(route);
    const path = route.path.replace(/\{(\w+)\}/g, (_, field: string) =>
      encodeURIComponent(String(fields[field])),
    );
    const rest = Object.fromEntries(
      Object.entries(fields).filter(([key]) => !inPath.includes(key)),
    );
    const hasBody = content === undefined && !['GET', 'DELETE'].includes(route.method);
    const query = hasBody
      ? ''
      : `?${new URLSearchParams(rest as Record<string, string>).toString()}`;
    const body = hasBody ? JSON.stringify(rest) : content;
    const response = await fetch(`${url}/v1${path}${query}`, {
      method: route.method,
      headers: {
        Authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'Content-Type': type ?? 'application/json' }),
      },
      ...(body !== undefined && { body }),
    });
    const answer = await response.text();
    const code = /^\{"error":\{"code":"(\w+)"/.exec(answer)?.[1];
    return { status: response.status, body: answer, code };
  };
  return { database, ask, url };
}

const isOf = (kind: string) => (operation: { readonly example?: unknown }) => ({
  ...(operation.example as object),
  ...(operation.example !== undefined && 'kind' in (operation.example as object) && { kind }),
});

/** An input that names a kind, if the operation can. */
function aimed(operation: Operation, kind: string): Record<string, unknown> {
  const input = isOf(kind)(operation) as Record<string, unknown>;
  return 'kind' in (operation.input as object) ? { ...input, kind } : input;
}

const named = (name: string): Operation => {
  const found = OPERATIONS.find((each) => each.name === name);
  if (!found) throw new Error(name);
  return found;
};

describe('a token that is limited to kinds', () => {
  let database: Database;
  let ask: Ask;
  let plan = 0;
  before(async () => {
    const [engine] = engines;
    if (!engine) throw new Error('no engine');
    ({ database, ask } = await start(engine));
    const assign = named('object assign');
    for (const kind of [SECRET, 'mine', 'yours']) {
      await ask(FULL, assign, { kind, name: `iana-of-${kind}` });
      await ask(FULL, assign, { kind, name: 'iana' });
    }
    await ask(FULL, named('object move'), {
      kind: SECRET,
      name: 'iana',
      to: 'hub-1',
      reason: SECRET,
    });
    const created = await ask(FULL, named('plan create'), { kind: SECRET, goal: 'drain', buckets: ['hub-1'] }); // prettier-ignore
    plan = (JSON.parse(created.body) as { plan: number }).plan;
  });

  // Every one of them, also those that are added later.
  for (const operation of OPERATIONS) {
    const isOfKind = 'kind' in (operation.input as object);
    const isOfPlan = pathFields(operation).includes('plan');
    if (!isOfKind && !isOfPlan) continue;
    it(`${operation.name}: 403 for another kind, and nothing is changed`, async () => {
      const earlier = await contents(database);
      for (const kind of isOfPlan ? [SECRET] : [SECRET, 'nowhere', 'min', 'mine+yours', 'MINE']) {
        const { status, code, body } = await ask(tokenOf('few-write'), operation, {
          ...aimed(operation, kind),
          ...(isOfPlan && { plan }),
        });
        assert.deepEqual([status, code], [403, 'other_kind'], body);
        assert.equal(body.includes('iana'), false);
      }
      assert.deepEqual(await contents(database), earlier);
    });
  }

  for (const operation of OPERATIONS.filter(({ input }) => 'kind' in (input as object))) {
    it(`${operation.name}: not refused for its own kind`, async () => {
      for (const kind of MINE) {
        const input = {
          ...aimed(operation, kind),
          ...('dry_run' in (operation.input as object) && { dry_run: true }),
        };
        const { code } = await ask(tokenOf('few-write'), operation, input);
        assert.ok(!['other_kind', 'read_only'].includes(code ?? ''), code);
      }
    });
  }

  // Those that need not name a kind: an answer, or 403.
  const wide: Readonly<Record<string, number>> = {
    'kind list': 200,
    'object find-everywhere': 200,
    'plan list': 200,
    'history list': 200,
    'history prune': 403,
  };
  for (const operation of OPERATIONS) {
    const [, field] = Object.entries(operation.input as Record<string, { safeParse(x: unknown): { success: boolean } }>).find(([key]) => key === 'kind') ?? []; // prettier-ignore
    if (field?.safeParse(undefined).success === false) continue;
    if (pathFields(operation).includes('plan')) continue;
    it(`${operation.name} without a kind: nothing of others`, async () => {
      const expected = wide[operation.name];
      assert.notEqual(expected, undefined, 'say here what must happen');
      const input = { ...(operation.example as object), kind: undefined, action: undefined };
      const given = JSON.parse(JSON.stringify(input)) as object;
      for (const scope of ['read', 'write'] as const) {
        if (scope === 'read' && operation.method !== 'GET') continue;
        const { status, body } = await ask(tokenOf(`few-${scope}`), operation, given);
        assert.equal(status, expected, body);
        assert.equal(body.includes(SECRET), false, body);
        if (status === 200 && operation.name !== 'plan list')
          assert.equal(body.includes('mine'), true, body);
      }
    });
  }

  const history: readonly object[] = [
    { actor: 'api:full' },
    { action: 'object move' },
    { name: 'iana' },
    { name: `iana-of-${SECRET}` },
    { bucket: 'hub-1' },
    { plan: 1 },
    { since: '2000-01-01T00:00:00Z' },
  ];
  for (const filter of history) {
    it(`history list with ${JSON.stringify(filter)}: nothing of others`, async () => {
      const seen = await ask(FULL, named('history list'), filter);
      if (!('name' in filter)) assert.equal(seen.body.includes(SECRET), true); // it is there
      const { status, body } = await ask(tokenOf('few-read'), named('history list'), filter);
      assert.deepEqual([status, body.includes(SECRET)], [200, false], body);
    });
  }

  it('does all that can be done with a plan of its own kind', async () => {
    const few = tokenOf('few-write');
    const create = { kind: 'mine', goal: 'drain', buckets: ['hub-0'] };
    const created = await ask(few, named('plan create'), create);
    const input = { plan: (JSON.parse(created.body) as { plan: number }).plan };
    for (const name of ['show', 'moves', 'apply', 'pause', 'resume', 'cancel', 'undo']) {
      const { status, body } = await ask(few, named(`plan ${name}`), input);
      assert.equal(status, 200, `${name}: ${body}`);
    }
    const missing = await ask(few, named('plan show'), { plan: 999 });
    assert.deepEqual([missing.status, missing.code], [404, 'unknown_plan']);
  });

  const csv = { type: 'text/csv', content: `kind,user,hub\n${SECRET},eve,hub-0\n` };
  const ndjson = { type: 'application/x-ndjson', content: '"eve"\n' };
  const streams: readonly [string, Route, object, Sending, status: number][] = [
    ['watch another kind', STREAMS.watch, { kind: SECRET, once: true }, {}, 403],
    [
      'watch another kind from its begin',
      STREAMS.watch,
      { kind: SECRET, since: '0', once: true },
      {},
      403,
    ],
    ['watch its own kind', STREAMS.watch, { kind: 'mine', once: true }, {}, 200],
    ['assign many to another kind', STREAMS.assign, { kind: SECRET }, ndjson, 403],
    ['assign many to its own kind', STREAMS.assign, { kind: 'yours' }, ndjson, 200],
    ['export all', STREAMS.export, {}, {}, 403],
    ['export all as NDJSON', STREAMS.export, { format: 'ndjson' }, {}, 403],
    ['export another kind', STREAMS.export, { kind: SECRET }, {}, 403],
    ['export its own kind', STREAMS.export, { kind: 'mine', format: 'ndjson' }, {}, 200],
    ['import into another kind', STREAMS.import, { kind: SECRET }, csv, 403],
    ['import into its own kind, a line of another', STREAMS.import, { kind: 'mine' }, csv, 403],
    ['check', STREAMS.check, {}, {}, 403],
    ['check --fix', STREAMS.fix, {}, {}, 403],
  ];
  for (const [title, stream, input, sending, expected] of streams) {
    it(`${title}: ${expected}`, async () => {
      const theirs = async () =>
        JSON.stringify(await database.knex('shard').where({ kind: SECRET }));
      const earlier = await theirs();
      const { status, body, code } = await ask(tokenOf('few-write'), stream, input, sending);
      assert.equal(status, expected, body);
      if (expected === 403) assert.equal(code, 'other_kind');
      assert.equal(body.includes(SECRET), false, body);
      assert.equal(await theirs(), earlier);
    });
  }

  it('every stream is in the list above', () => {
    const listed = new Set(streams.map(([, stream]) => stream));
    assert.deepEqual(
      Object.values(STREAMS).filter((stream) => !listed.has(stream)),
      [],
    );
  });
});

describe('a scope is a set of rights', () => {
  let ask: Ask;
  before(async () => {
    const [engine] = engines;
    if (!engine) throw new Error('no engine');
    ({ ask } = await start(engine));
  });

  const all: readonly {
    readonly name: string;
    readonly route: Route;
    readonly input: object;
    readonly sending: Sending;
  }[] = [
    // prettier-ignore
    ...OPERATIONS.map((each) => ({ name: each.name, route: each as Route, input: aimed(each, 'hub'), sending: {} })), // prettier-ignore
    ...Object.values(STREAMS).map((stream) => ({
      name: stream.name,
      route: stream,
      input: 'kind' in stream.input && stream.path.includes('{kind}') ? { kind: 'hub', ...(stream.name === 'watch' && { once: true }) } : {}, // prettier-ignore
      sending: stream === STREAMS.assign ? { type: 'application/x-ndjson', content: '"x"\n' } : {},
    })),
  ];
  const isReading = ({ route }: { readonly route: Route }) => route.method === 'GET';
  const finds = ['object find'];
  const assigns = ['object assign', 'object assign-many'];
  const leases = ['lease claim', 'lease release', 'lease ack'];
  const may: Readonly<Record<Exclude<Scope, 'write'>, (each: (typeof all)[number]) => boolean>> = {
    read: isReading,
    assign: ({ name }) => [...finds, ...assigns].includes(name),
    lease: (each) => isReading(each) || leases.includes(each.name),
  };
  for (const scope of ['read', 'assign', 'lease'] as const) {
    it(`${scope} may do what it is for, and is told 403 of all else`, async () => {
      for (const each of all) {
        const { status, code, body } = await ask(tokenOf(`all-${scope}`), each.route, each.input, each.sending); // prettier-ignore
        const isRefused = status === 403 && code === 'read_only';
        assert.equal(isRefused, !may[scope](each), `${each.name}: ${status} ${body}`);
      }
    });
  }

  it('assign gets no more than 404 of what is not there', async () => {
    const nowhere: Route = { method: 'GET', path: '/nowhere' };
    assert.equal((await ask(tokenOf('all-assign'), nowhere)).status, 404);
  });

  it('no scope has a right that write has not', () => {
    for (const scope of SCOPES) {
      for (const right of RIGHTS[scope]) assert.equal(RIGHTS.write.has(right), true);
    }
  });
});

describe('an entry of SHARDER_ADMIN_TOKEN', () => {
  const token = 't'.repeat(32);
  const read = (entry: string) => readAdminTokens({ SHARDER_ADMIN_TOKEN: entry });
  const good: readonly [entry: string, expected: object][] = [
    [token, { name: 'admin', scope: 'write', token }],
    [`${token}==`, { name: 'admin', scope: 'write', token: `${token}==` }],
    [`ops=${token}`, { name: 'ops', scope: 'write', token }],
    [`ops=${token}=`, { name: 'ops', scope: 'write', token: `${token}=` }],
    [`d:read=${token}`, { name: 'd', scope: 'read', token }],
    [`h:assign@homedir=${token}`, { name: 'h', scope: 'assign', kinds: ['homedir'], token }],
    [
      `w:lease@queue+rooms=${token}`,
      { name: 'w', scope: 'lease', kinds: ['queue', 'rooms'], token },
    ],
    [`o@hub=${token}`, { name: 'o', scope: 'write', kinds: ['hub'], token }],
  ];
  for (const [entry, expected] of good) {
    it(`${entry.replace(token, '…')} is taken`, () => {
      assert.deepEqual(read(entry), [expected]);
    });
  }

  // Before, such a mistake made a token that may do everything.
  const wrong = [
    ...['d:raed=', 'd:=', ':read=', 'd:READ=', 'd:read:write=', 'd:admin=', 'd:read@=', 'd@='],
    ...['d:read@+=', 'd:read@hub+=', 'd:read@hub/x=', 'd:read@hub:write=', '@hub='],
    ...['d:lease@a+@b=', '-d=', '=', 'd:read@hub%20=', 'd:constructor='],
  ];
  for (const head of wrong) {
    it(`${head}… is refused, and does not quote the token`, () => {
      assert.throws(
        () => read(head + token),
        (error: Error) => error.message.includes('SHARDER_ADMIN_TOKEN: number 1') && !error.message.includes(token), // prettier-ignore
      );
    });
  }
});

/** A promise, and what resolves it. */
function signal() {
  let give: () => void = () => undefined;
  const given = new Promise<void>((resolve) => (give = resolve));
  return {
    given,
    give: () => {
      give();
    },
  };
}

const CLAIM = named('lease claim');
const lease = (bucket: string, says: object = {}) => ({ kind: 'mine', bucket, holder: 'h-5f2c', ttl: 60, ...says }); // prettier-ignore

for (const engine of engines) {
  describe(`a lease, on ${engine.name}`, engine.options, () => {
    const worker = tokenOf('few-lease');

    it('cannot change what a person has set, and the error says what to do', async () => {
      const { database, ask } = await start(engine);
      await ask(FULL, named('bucket add'), { kind: 'mine', bucket: 'b', url: 'http://b.example', capacity: 9 }); // prettier-ignore
      const tries: readonly [bucket: string, says: object, field: string, command: string][] = [
        ['hub-0', { url: 'http://evil.example' }, 'url', 'bucket set hub-0 --url http://evil.example --kind mine'], // prettier-ignore
        ['hub-0', { url: null }, 'url', 'bucket set hub-0 --no-url --kind mine'],
        ['hub-0', { weight: 1_000_000 }, 'weight', 'bucket set hub-0 --weight 1000000 --kind mine'],
        ['hub-0', { url: 'http://hub-0.example/', weight: 3 }, 'weight', 'bucket set'],
        ['hub-1', { weight: 7 }, 'weight', 'bucket set hub-1 --weight 7 --kind mine'],
        ['b', { capacity: 10 }, 'capacity', 'bucket set b --capacity 10 --kind mine'],
        ['b', { capacity: null }, 'capacity', 'bucket set b --no-capacity --kind mine'],
        ['b', { url: 'http://evil.example' }, 'url', 'bucket set b --url'],
      ];
      const earlier = await contents(database);
      for (const token of [worker, FULL]) {
        for (const [bucket, says, field, command] of tries) {
          const { status, code, body } = await ask(token, CLAIM, lease(bucket, says));
          assert.deepEqual([status, code], [403, 'declared'], body);
          assert.match(body, new RegExp(`a person has set the ${field} of bucket ${bucket} to`));
          assert.equal(body.includes(command), true, body);
        }
      }
      assert.deepEqual(await contents(database), earlier);
      // As a renewal too.
      const taken = await ask(worker, CLAIM, lease('hub-0', { url: 'http://hub-0.example/', weight: 2 })); // prettier-ignore
      const { epoch } = JSON.parse(taken.body) as { epoch: number };
      const renewed = await ask(worker, CLAIM, lease('hub-0', { epoch, url: 'http://evil.example' })); // prettier-ignore
      assert.equal(renewed.code, 'declared');
    });

    it('cannot change what a person sets of a bucket that a lease has made', async () => {
      const { ask, database } = await start(engine);
      const first = await ask(worker, CLAIM, lease('w', { url: 'http://w.example', weight: 2 }));
      const { epoch } = JSON.parse(first.body) as { epoch: number };
      // The same value: it is the person's from now on, and that is a change.
      const set = await ask(FULL, named('bucket set'), { kind: 'mine', bucket: 'w', weight: 2 });
      assert.equal((JSON.parse(set.body) as { changed: boolean }).changed, true);
      const [line] = await database
        .knex('change')
        .orderBy('id', 'desc')
        .limit(1)
        .pluck<string[]>('action');
      assert.equal(line, 'bucket set');
      assert.equal((await ask(worker, CLAIM, lease('w', { epoch, weight: 3 }))).code, 'declared');
      // What the person has not set is the worker's, still.
      assert.equal((await ask(worker, CLAIM, lease('w', { epoch, url: 'http://x.example' }))).status, 200); // prettier-ignore
      // It does not go with its worker, to come again as that likes.
      const release = { kind: 'mine', bucket: 'w', holder: 'h-5f2c', epoch };
      assert.equal((await ask(worker, named('lease release'), release)).status, 200);
      assert.equal((await ask(worker, CLAIM, lease('w', { weight: 3 }))).code, 'declared');
      // A person gives a setting back.
      await ask(FULL, named('bucket set'), { kind: 'mine', bucket: 'w', url: 'http://y.example' });
      assert.equal((await ask(worker, CLAIM, lease('w', { url: 'http://z.example' }))).code, 'declared'); // prettier-ignore
      await ask(FULL, named('bucket set'), { kind: 'mine', bucket: 'w', url: null });
      assert.equal((await ask(worker, CLAIM, lease('w', { url: 'http://z.example' }))).status, 200);
    });

    it('what it sets is in the history, under the name of its token, without its holder', async () => {
      const { database, ask } = await start(engine);
      const from = await database.knex('change').max<{ n: number | string }[]>('id as n');
      const last = Number(from[0]?.n ?? 0);
      const first = await ask(worker, CLAIM, lease('w', { url: 'http://w.example', weight: 2 }));
      const { epoch } = JSON.parse(first.body) as { epoch: number };
      await ask(worker, CLAIM, lease('w', { epoch, url: 'http://v.example', capacity: 5 }));
      await ask(worker, named('lease release'), { kind: 'mine', bucket: 'w', holder: 'h-5f2c', epoch }); // prettier-ignore
      const { body } = await ask(FULL, named('history list'), { kind: 'mine' });
      const { items } = JSON.parse(body) as {
        items: { id: number; actor: string; action: string; detail: object }[];
      };
      const lines = items
        .filter(({ id, actor }) => id > last && actor !== 'sharder')
        .reverse()
        .map(({ actor, action, detail }) => [actor, action, detail]);
      const who = 'api:few-lease';
      assert.deepEqual(lines, [
        [who, 'bucket add', { url: 'http://w.example', weight: 2 }],
        [who, 'lease take', { epoch }],
        [who, 'bucket set', { url: { from: 'http://w.example', to: 'http://v.example' }, capacity: { from: null, to: 5 } }], // prettier-ignore
        [who, 'lease release', { epoch }],
        [who, 'bucket remove', null],
      ]);
      assert.equal(body.includes('h-5f2c'), false);
    });

    it('a renewal that says the same again takes no lock, and writes no line', async () => {
      const { database, ask } = await start(engine, ['10.0.0.0/8']);
      const says = {
        url: 'http://10.0.0.7:9000/',
        weight: 2,
        capacity: 5,
        group: 'gpu',
        calls: true,
      };
      const first = await ask(worker, CLAIM, lease('w', says));
      const { epoch } = JSON.parse(first.body) as { epoch: number };
      const state = async () => {
        const { version } = await getKind(database.knex, 'mine');
        return [version, (await contents(database)).changes];
      };
      const earlier = await state();
      for (let i = 0; i < 3; i++) {
        const { status, body } = await ask(worker, CLAIM, lease('w', { epoch, ...says }));
        assert.equal(status, 200, body);
        assert.equal((JSON.parse(body) as { is_new: boolean }).is_new, false);
      }
      assert.deepEqual(await state(), earlier);
      await ask(worker, CLAIM, lease('w', { epoch, ...says, weight: 3 }));
      assert.notDeepEqual(await state(), earlier);
    });

    it('its holder is shown to nobody who may not do everything', async () => {
      const { ask } = await start(engine);
      const first = await ask(worker, CLAIM, lease('w'));
      const { epoch } = JSON.parse(first.body) as { epoch: number };
      await ask(FULL, named('spec set'), { kind: 'mine', name: 'job' });
      const theft = { kind: 'mine', bucket: 'w', holder: 'somebody-else', ttl: 60 };
      const tries: readonly [string, Route, object, Sending?][] = [
        ['few-read', named('lease list'), { kind: 'mine' }],
        ['all-read', named('lease list'), { kind: 'mine' }],
        ['few-lease', named('lease list'), { kind: 'mine' }],
        ['few-lease', CLAIM, theft],
        ['few-lease', CLAIM, { ...theft, epoch }],
        ['few-lease', CLAIM, { ...theft, epoch: epoch + 1 }],
        ['few-lease', named('lease release'), { kind: 'mine', bucket: 'w', holder: 'x', epoch }],
        ['few-lease', named('lease ack'), { kind: 'mine', bucket: 'w', holder: 'x', epoch }],
        ['all-read', named('history list'), {}],
        ['all-read', STREAMS.watch, { kind: 'mine', since: '0', once: true }],
        ['all-read', named('spec list'), { kind: 'mine' }],
        ['all-read', named('spec show'), { kind: 'mine', name: 'job' }],
        ['all-read', named('lease objects'), { kind: 'mine', bucket: 'w' }],
        ['all-read', named('bucket show'), { kind: 'mine', bucket: 'w' }],
        ['all-read', named('bucket list'), { kind: 'mine' }],
        ['all-read', named('kind list'), {}],
        ['all-read', named('object explain'), { kind: 'mine', name: 'job' }],
        ['all-read', named('object history'), { kind: 'mine', name: 'job' }],
        ['all-read', STREAMS.export, { format: 'ndjson' }],
        ['all-read', STREAMS.check, {}],
        ['all-write', named('bucket remove'), { kind: 'mine', bucket: 'w' }],
      ];
      for (const [token, route, input] of tries) {
        const { body } = await ask(tokenOf(token), route, input);
        assert.equal(body.includes('5f2c'), false, `${route.method} ${route.path}: ${body}`);
      }
      // A person who may do everything sees it, and can say that the worker is gone.
      const { body } = await ask(FULL, named('lease list'), { kind: 'mine' });
      assert.equal(body.includes('h-5f2c'), true);
    });

    it('its secret is told once, to the claimer, and is another for every lease', async () => {
      const { ask, database } = await start(engine, ['10.0.0.0/8']);
      const says = { url: 'http://10.0.0.7:9000', calls: true };
      const secretOf = async (claim: object) => {
        const { body } = await ask(worker, CLAIM, claim);
        return JSON.parse(body) as { epoch: number; secret?: string };
      };
      const first = await secretOf(lease('w', says));
      assert.match(first.secret ?? '', /^[0-9a-f]{64}$/);
      const { epoch } = first;
      assert.equal((await secretOf(lease('w', { epoch, ...says }))).secret, undefined);
      assert.equal((await secretOf(lease('w', { epoch, weight: 3 }))).secret, undefined);
      assert.equal((await secretOf(lease('w', { epoch, ...says, weight: 4 }))).secret, undefined);
      const [stored] = await database.knex('lease').pluck<string[]>('secret');
      assert.equal(stored, first.secret); // a renewal keeps it
      for (const route of [named('lease list'), named('history list')]) {
        const { body } = await ask(FULL, route, { kind: 'mine' });
        assert.equal(body.includes(first.secret ?? '-'), false);
      }
      const second = await secretOf(lease('w', says));
      assert.notEqual(second.secret, first.secret);
      // One that is not called has none, and gets none by a renewal.
      const other = await secretOf(lease('v'));
      assert.equal(other.secret, undefined);
      const late = await ask(worker, CLAIM, lease('v', { epoch: other.epoch, calls: true, url: 'http://10.0.0.8' })); // prettier-ignore
      assert.match(
        late.body,
        /calls: a worker that was not called until now must take a new lease/,
      );
    });

    it('is not told to others who are called at the same URL, however it is written', async () => {
      const { ask } = await start(engine, ['10.0.0.0/8']);
      const url = 'http://10.0.0.7:9000';
      await ask(worker, CLAIM, lease('a', { url, calls: true }));
      const tries = [
        lease('b', { url, calls: true }),
        lease('b', { url: `${url}/`, calls: true }),
        lease('b', { url: 'HTTP://10.0.0.7:9000', calls: true }),
        lease('b', { url: 'http://0x0a000007:9000', calls: true }),
      ];
      for (const each of tries) assert.equal((await ask(worker, CLAIM, each)).code, 'lease_held');
      // Nor by way of a URL that comes later.
      const later = await ask(worker, CLAIM, lease('c', { url: 'http://10.0.0.8', calls: true }));
      const { epoch } = JSON.parse(later.body) as { epoch: number };
      assert.equal((await ask(worker, CLAIM, lease('c', { epoch, url }))).code, 'lease_held');
    });
  });

  describe(`where workers may be called, on ${engine.name}`, engine.options, () => {
    const worker = tokenOf('few-lease');

    it('nothing set: a worker that wants to be called is refused, and told what to set', async () => {
      const { ask, database } = await start(engine);
      const tries = [
        lease('w', { url: 'http://127.0.0.1:9', calls: true }),
        lease('w', { calls: true }),
        lease('w', { url: 'http://worker.example', calls: true }),
        lease('hub-0', { calls: true }),
      ];
      const earlier = await contents(database);
      for (const each of tries) {
        const { status, body } = await ask(worker, CLAIM, each);
        assert.equal(status, 400, body);
        assert.match(
          body,
          /callback_networks is not set: .*`callback_networks: \[10\.1\.0\.0\/16\]`/,
        );
      }
      assert.deepEqual(await contents(database), earlier);
      assert.equal(
        (await ask(worker, CLAIM, lease('w', { url: 'http://127.0.0.1:9' }))).status,
        200,
      );
    });

    const outside = [
      ...[
        '127.0.0.1',
        '127.1',
        '2130706433',
        '0x7f.1',
        '0177.0.0.1',
        '[::1]',
        '[::ffff:127.0.0.1]',
      ],
      ...['[::ffff:7f00:1]', '169.254.169.254', '10.2.0.1', '0.0.0.0', '[::]', '[fd00::1]'],
    ];
    it('an address outside of the networks is refused at the claim, however it is written', async () => {
      const { ask } = await start(engine, ['10.1.0.0/16']);
      for (const host of outside) {
        const { status, body } = await ask(worker, CLAIM, lease('w', { url: `http://${host}:8080`, calls: true })); // prettier-ignore
        assert.equal(status, 400, `${host}: ${body}`);
        assert.match(body, /is in none of the callback_networks/, host);
      }
      for (const host of ['10.1.2.3', '[::ffff:10.1.2.4]', 'a.example']) {
        const { status, body } = await ask(worker, CLAIM, lease(`w-${host.length}`, { url: `http://${host}:8080`, calls: true })); // prettier-ignore
        assert.equal(status, 200, `${host}: ${body}`);
      }
    });

    /** A worker that is called at a URL of the service's own making, and what becomes of it. */
    async function called(t: TestContext, url: string, options: CallbackOptions) {
      const { ask, database } = await start(engine, ['0.0.0.0/0', '::/0']);
      const taken = await ask(worker, CLAIM, lease('w', { url, calls: true }));
      assert.equal(taken.status, 200, taken.body);
      await ask(FULL, named('spec set'), { kind: 'mine', name: 'job' });
      const blocked: string[] = [];
      const unblocked: unknown[] = [];
      const refused: unknown[] = [];
      const told = signal();
      const events = {
        onBlocked: (_worker: unknown, why: string) => {
          blocked.push(why);
          told.give();
        },
        onUnblocked: (worker: unknown) => unblocked.push(worker),
        onRefused: (_worker: unknown, why: unknown) => {
          refused.push(why);
          told.give();
        },
      };
      const callbacks = new Callbacks(database, () => true, events, options);
      callbacks.start();
      t.after(() => callbacks.stop());
      const stateIs = async () =>
        (await readSpecs(database.knex, 'mine', ['job'])).get('job')?.state;
      return { blocked, unblocked, refused, told: told.given, stateIs };
    }

    /** A server that keeps what reached it. */
    async function trap(
      answer: (path: string) => [status: number, headers?: Record<string, string>],
    ) {
      const hits: string[] = [];
      const hit = signal();
      const server = createHttpServer((req, res) => {
        void text(req).then(() => {
          hits.push(`${req.headers.host} ${req.url}`);
          res.writeHead(...answer(req.url ?? '')).end();
          hit.give();
        });
      });
      return { url: await listening(server), hits, hit: hit.given };
    }

    const cases: readonly [
      title: string,
      networks: string[],
      host: string | undefined,
      addresses: string[],
    ][] = [
      // prettier-ignore
      ['the setting was taken out', [], undefined, []],
      ['the address is in no network any more', ['10.1.0.0/16'], undefined, []],
      ['the name has an address outside', ['10.1.0.0/16'], 'worker.example', ['127.0.0.1']],
      [
        'one of its addresses is outside',
        ['10.1.0.0/16'],
        'worker.example',
        ['10.1.0.1', '127.0.0.1'],
      ],
      ['an address is outside, as IPv6', ['10.1.0.0/16'], 'worker.example', ['::ffff:127.0.0.1']],
    ];
    for (const [title, networks, host, addresses] of cases) {
      it(`a stored worker is not called if ${title}, which is told once`, async (t) => {
        const { url, hits } = await trap(() => [204]);
        const at = host === undefined ? url : url.replace('127.0.0.1', host);
        let lookups = 0;
        const again = signal();
        const resolve = () => {
          if (++lookups === 3) again.give();
          return Promise.resolve(
            addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
          );
        };
        const { blocked, refused, told, stateIs } = await called(t, at, { networks, resolve });
        await (host === undefined ? told : again.given);
        assert.deepEqual([hits, refused, await stateIs()], [[], [], 'adding']);
        assert.equal(blocked.length, 1);
        const why =
          networks.length === 0
            ? /callback_networks is not set/
            : /in none of the callback_networks/;
        assert.match(blocked[0] ?? '', why);
      });
    }

    it('a worker whose address comes into the networks is called then, and that is told', async (t) => {
      const { url, hits, hit } = await trap(() => [204]);
      let lookups = 0;
      const resolve = () =>
        Promise.resolve([{ address: ++lookups < 3 ? '127.0.0.2' : '127.0.0.1', family: 4 }]);
      const at = url.replace('127.0.0.1', 'worker.example');
      const { blocked, unblocked } = await called(t, at, { networks: ['127.0.0.1'], resolve });
      await hit;
      assert.deepEqual([blocked.length, unblocked.length, hits.length], [1, 1, 1]);
    });

    it('a name is looked up once: what it is afterwards changes nothing', async (t) => {
      const { url, hits, hit } = await trap(() => [204]);
      let lookups = 0;
      const resolve = () => {
        lookups++;
        const address = lookups === 1 ? '127.0.0.1' : '127.0.0.2';
        return Promise.resolve([{ address, family: 4 }]);
      };
      const at = url.replace('127.0.0.1', 'worker.example');
      await called(t, at, { networks: ['127.0.0.1'], resolve });
      await hit;
      const { host } = new URL(at);
      assert.deepEqual(hits, [`${host} /sm/admin/add-shard`]);
      assert.equal(lookups, 1);
    });

    it('a worker that answers with an upgrade is refused, and holds nothing up', async (t) => {
      const server = createHttpServer();
      server.on('upgrade', (_req, socket) => socket.destroy());
      server.on('request', (_req, res) => {
        res.socket?.end(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
        );
      });
      const { told, refused } = await called(t, await listening(server), {
        networks: ['127.0.0.1'],
      });
      await told;
      assert.match(String(refused[0]), /101|without an answer/);
    });

    it('no redirect is followed', async (t) => {
      const other = await trap(() => [204]);
      for (const status of [301, 302, 303, 307, 308]) {
        const { url, hits } = await trap(() => [status, { Location: `${other.url}/x` }]);
        const { told, refused, stateIs } = await called(t, url, { networks: ['127.0.0.1'] });
        await told;
        assert.match(String(refused[0]), new RegExp(`it answered ${status}`));
        assert.deepEqual([hits.length, other.hits, await stateIs()], [1, [], 'adding']);
      }
    });
  });
}

describe('sharder serve', () => {
  it('calls workers in the networks of its settings, signed, and says once that it does not call others', async () => {
    const [engine] = engines;
    if (!engine) throw new Error('no engine');
    const database = await engine.createDatabase();
    const SHARDER_ADMIN_TOKEN = FULL;
    const calls = new CallVerifier();
    const taken: string[] = [];
    const server = createHttpServer((req, res) => {
      void text(req).then((body) => {
        const { method, url, headers } = req;
        const isGenuine = calls.refusal({ method, url, headers, body }) === undefined;
        if (isGenuine) taken.push((JSON.parse(body) as { id: string }).id);
        res.writeHead(isGenuine ? 204 : 401).end();
      });
    });
    const url = await listening(server);
    const kind = 'queue';
    const stateOf = async (client: SharderClient, name: string) =>
      (await client.showSpec({ kind, name })).state;

    const networks = { SHARDER_CALLBACK_NETWORKS: '10.0.0.0/8, 127.0.0.1' };
    const first = await Service.start(database, { env: { SHARDER_ADMIN_TOKEN, ...networks } });
    const client = new SharderClient({ url: first.url, token: FULL });
    await client.createKind({ kind, leased: true });
    const claim = { kind, bucket: 'w', holder: 'h', ttl: 3_600, url, calls: true };
    const { epoch, secret = '' } = await client.claimLease(claim);
    calls.lease = { epoch, secret };
    await client.setSpec({ kind, name: 'one' });
    await eventually('it has begun', async () => (await stateOf(client, 'one')) === 'owned');
    assert.deepEqual(taken, ['one']);
    await first.stop();

    const second = await Service.start(database, { env: { SHARDER_ADMIN_TOKEN } });
    const again = new SharderClient({ url: second.url, token: FULL });
    await again.setSpec({ kind, name: 'two' });
    const lines = () =>
      second.log.split('\n').filter((line) => line.includes('a worker is not called'));
    await eventually('the log says so', () => lines().length > 0);
    assert.match(lines()[0] ?? '', /"bucket":"w".*callback_networks is not set/);
    await again.setSpec({ kind, name: 'three' });
    assert.equal(await stateOf(again, 'two'), 'adding');
    assert.deepEqual([taken, lines().length], [['one'], 1]);
    assert.equal((first.log + second.log).includes(secret), false);
    await second.stop();
  });
});
