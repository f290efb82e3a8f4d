// sharder render nginx of a kind with the policy `hash`: nginx finds the bucket of each key by itself, and
// always the same one.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Hosts } from '../../src/deploy/hosts.js';
import { renderNginx } from '../../src/deploy/nginx.js';
import type { HashedKind } from '../../src/deploy/nginx-hash.js';
import { declareKinds } from '../../src/index.js';
import { listBuckets } from '../../src/store/buckets.js';
import { DEFAULT_KIND_SETTINGS, type KindSettings } from '../../src/store/kind-settings.js';
import { run } from '../commands/run.js';
import { engines, open } from '../engines.js';
import { start } from '../http/start.js';
import { exchange, get } from '../http/wire.js';
import { needsNginx, Nginx } from '../nginx.js';
import { startUpstream, type Seen } from '../upstream.js';

const running: Nginx[] = [];
after(async () => {
  for (const nginx of running) await nginx.stop();
});

/** The edge of nginx/hash.conf, as it is, with these upstreams. */
async function startEdge(upstreams: string, edit = (text: string) => text): Promise<Nginx> {
  const nginx = await Nginx.start({
    sharders: [],
    upstreams,
    users: { iana: 'open', brian: 'open' },
    edit: {
      'nginx.conf': (text) => text.replace('include edge.conf;', 'include hash.conf;'),
      'hash.conf': edit,
    },
  });
  running.push(nginx);
  return nginx;
}

const PATTERN = '^\\/users\\/([^\\/]*)\\/.*';
const IN_PATH: KindSettings['key'] = { header: 'X-Original-URI', pattern: PATTERN };

function tenant(settings: Partial<KindSettings> = {}, pins: Record<string, string> = {}) {
  return {
    kind: 'tenant',
    settings: { ...DEFAULT_KIND_SETTINGS, key: IN_PATH, ...settings },
    pins: new Map(Object.entries(pins)),
  } satisfies HashedKind;
}

type Bucket = Parameters<typeof renderNginx>[0][number];
const bucket = (name: string, url: string | null, more: Partial<Bucket> = {}): Bucket => ({
  kind: 'tenant',
  name,
  url,
  ...more,
});

describe('render nginx of a kind by hash', () => {
  it('has the key, the ring with its weights, and the pins, by the addresses of its buckets', () => {
    const { text, leftOut } = renderNginx(
      [
        bucket('t-0', 'http://10.0.0.10:8000', { weight: 2 }),
        bucket('t-1', 'http://t-1.example', { state: 'cordoned' }),
        bucket('t-2', 'http://10.0.0.12', { state: 'draining' }),
      ],
      new Map([['t-1.example', ['10.0.0.11', '2001:db8::11']]]),
      [tenant({}, { 'a"$b': 't-2' })],
    );
    assert.deepEqual(leftOut, []);
    assert.equal(
      text.slice(text.indexOf('# Kind tenant')),
      `# Kind tenant: the key of a request, the ring of buckets, and keys that are pinned.
map $request_uri $sharder_tenant_path {
    default "";
    "~^([^?]*)" $1;
}
map $sharder_tenant_path $sharder_tenant_group {
    default "";
    "~^\\\\/users\\\\/([^\\\\/]*)\\\\/.*" $1;
}
map $sharder_tenant_group $sharder_tenant_key {
    default $sharder_tenant_group;
    "" $sharder_tenant_path;
}
upstream sharder.tenant {
    hash $sharder_tenant_key consistent;
    server 10.0.0.10:8000 weight=2 max_fails=0; # t-0
    server 10.0.0.11:80 weight=1 max_fails=0; # t-1
    keepalive 32;
    keepalive_timeout 4s;
}
upstream sharder.tenant._ws {
    hash $sharder_tenant_key consistent;
    server 10.0.0.10:8000 weight=2 max_fails=0; # t-0
    server 10.0.0.11:80 weight=1 max_fails=0; # t-1
}
map $sharder_tenant_key $sharder_tenant_base {
    default "http://sharder.tenant$sharder_ws";
    "" "";
    "~^a\\"\\\\$b\\\\z" "http://sharder.tenant.t-2$sharder_ws";
}
map $sharder_tenant_key $sharder_tenant_refused {
    default "";
    "" 1;
}

map $sharder_kind $sharder_hash {
    default "";
    "~^tenant\\\\z" $sharder_tenant_base;
}

map $sharder_kind $sharder_refused {
    default "";
    "~^tenant\\\\z" $sharder_tenant_refused;
}
`,
    );
  });

  it('has no need of the address of a draining bucket to which no key is pinned', () => {
    const draining = [
      bucket('t-0', 'http://10.0.0.10'),
      bucket('t-1', 'http://gone.invalid', { state: 'draining' }),
      bucket('t-2', null, { state: 'draining' }),
    ];
    const { text, leftOut } = renderNginx(draining, new Map(), [tenant({}, { iana: 't-0' })]);
    assert.match(
      text,
      /^upstream sharder\.tenant \{\n.*\n {4}server 10\.0\.0\.10:80 .*\n {4}keepalive/m,
    );
    assert.equal(leftOut.length, 1, leftOut.join());
    const pinned = renderNginx(draining, new Map(), [tenant({}, { iana: 't-2' })]);
    assert.match(
      pinned.leftOut.at(-1) ?? '',
      /^kind "tenant" by hash: .*"t-2" has no address here/,
    );
  });

  it('keeps the addresses of a name that is gone for kinds by hash only, over a restart too', async () => {
    const names = new Set(['a.example', 'b.example', 'c.example']);
    const kept = new Set(['a.example', 'b.example']);
    const none = new Map([...names].map((name) => [name, []]));
    const gone = () => Promise.resolve([]);
    assert.deepEqual(await new Hosts('', gone).resolve(names, kept), none);
    const before = [
      bucket('t-0', 'http://a.example'),
      bucket('t-1', 'http://a.example:81'),
      { kind: 'hub', name: 'hub-0', url: 'http://c.example' },
    ];
    const had = new Map([
      ['a.example', ['10.0.0.10', '10.0.0.11']],
      ['c.example', ['10.0.0.12']],
    ]);
    const hosts = new Hosts(renderNginx(before, had).text, gone);
    const now = new Map([...none, ['a.example', ['10.0.0.10', '10.0.0.11']]]);
    assert.deepEqual(await hosts.resolve(names, kept), now);
    const other = new Hosts(renderNginx(before, had).text, () => Promise.resolve(['10.0.0.13']));
    assert.deepEqual((await other.resolve(names, kept)).get('a.example'), ['10.0.0.13']);
  });

  const two = [bucket('t-0', 'http://10.0.0.10'), bucket('t-1', 'http://10.0.0.11')];
  for (const [why, buckets, kind] of [
    ['has no address here', [...two, bucket('t-2', null)], tenant()],
    ['has no address here', [...two, bucket('t-2', 'http://gone.invalid')], tenant()],
    ['two of its buckets have one address', [...two, bucket('t-2', 'http://10.0.0.10')], tenant()],
    ['one path', [...two, bucket('t-2', 'http://10.0.0.12/base')], tenant()],
    ['no bucket', two.map((each) => ({ ...each, state: 'draining' as const })), tenant()],
    ['weights', [...two, bucket('t-2', 'http://10.0.0.12', { weight: 999 })], tenant()],
    ['normal', two, tenant({ normalize: 'lower' })],
    ['modulo', two, tenant({ hash: 'modulo' })],
    ['none of its buckets', two, tenant({}, { iana: 't-9' })],
    ['choice', two, tenant({ key: { header: 'X-Original-URI', pattern: '^(a+)+$' } })],
    ['nginx drops', two, tenant({ key: { header: 'X_Tenant' } })],
    ['look through', two, tenant({}, Object.fromEntries(numbers(1_001).map((n) => [n, 't-0'])))],
  ] as const) {
    it(`leaves the whole kind out where nginx would send a key elsewhere: ${why}`, () => {
      const { text, leftOut } = renderNginx(buckets, new Map(), [kind]);
      assert.doesNotMatch(text, /hash \$|upstream sharder\.tenant \{/);
      assert.match(leftOut.at(-1) ?? '', new RegExp(`^kind "tenant" by hash: .*${why}`));
    });
  }
});

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

describe('nginx with a kind by hash', needsNginx, () => {
  const urls: string[] = [];
  const users = numbers(600);
  before(async () => {
    for (const i of [0, 1, 2, 3, 4]) urls.push((await startUpstream(`t-${i}`)).url);
  });
  const buckets = (count: number, more: Partial<Bucket> = {}): Bucket[] =>
    numbers(count).map((i) => bucket(`t-${i}`, urls[Number(i)] ?? '', more));

  async function seenBy(nginx: Nginx, path: string, ...headers: string[]): Promise<Seen> {
    const response = await exchange(nginx.port, get(path, ...headers));
    assert.equal(response?.status, 200, `${path}: ${response?.body ?? ''}`);
    return JSON.parse(response.body) as Seen;
  }

  async function bucketOfEach(nginx: Nginx): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const user of users) found.set(user, (await seenBy(nginx, `/users/${user}/x`)).bucket);
    return found;
  }

  function moved(from: Map<string, string>, to: Map<string, string>): string[] {
    return users.filter((user) => from.get(user) !== to.get(user));
  }

  it('keeps each key on one bucket, over a restart, and gives one more its share and no other key another', async () => {
    const four = renderNginx(buckets(4), new Map(), [tenant()]).text;
    const before = await bucketOfEach(await startEdge(four));
    assert.deepEqual(new Set(before.values()), new Set(['t-0', 't-1', 't-2', 't-3']));
    const again = await startEdge(four);
    assert.deepEqual(await bucketOfEach(again), before);
    for (const user of users.slice(0, 50))
      assert.equal((await seenBy(again, `/users/${user}/other?q=1`)).bucket, before.get(user));

    const five = await bucketOfEach(
      await startEdge(renderNginx(buckets(5), new Map(), [tenant()]).text),
    );
    const others = moved(before, five);
    for (const user of others) assert.equal(five.get(user), 't-4');
    assert.ok(others.length > 60 && others.length < 190, String(others.length));
  });

  it('sends the keys of a draining bucket, and only they, to the others; a weight counts', async () => {
    const before = await bucketOfEach(
      await startEdge(renderNginx(buckets(4), new Map(), [tenant()]).text),
    );
    const drained = buckets(4).map((each) =>
      each.name === 't-1' ? { ...each, state: 'draining' as const } : each,
    );
    const after = await bucketOfEach(
      await startEdge(renderNginx(drained, new Map(), [tenant()]).text),
    );
    for (const user of users) {
      if (before.get(user) === 't-1') assert.notEqual(after.get(user), 't-1');
      else assert.equal(after.get(user), before.get(user));
    }
    const heavy = buckets(4).map((each) => (each.name === 't-2' ? { ...each, weight: 5 } : each));
    const weighed = await bucketOfEach(
      await startEdge(renderNginx(heavy, new Map(), [tenant()]).text),
    );
    const share = [...weighed.values()].filter((name) => name === 't-2').length / users.length;
    assert.ok(share > 0.45 && share < 0.8, String(share));
  });

  it('sends a pinned key where it is pinned to, and no key that only looks like it', async () => {
    const before = await bucketOfEach(
      await startEdge(renderNginx(buckets(4), new Map(), [tenant()]).text),
    );
    const pins = { '7': before.get('7') === 't-0' ? 't-1' : 't-0', 'a.b': 't-3', $host: 't-2' };
    const nginx = await startEdge(renderNginx(buckets(4), new Map(), [tenant({}, pins)]).text);
    const after = await bucketOfEach(nginx);
    assert.deepEqual(moved(before, after), ['7']);
    assert.equal(after.get('7'), pins['7']);
    assert.equal((await seenBy(nginx, '/users/$host/')).bucket, 't-2');
    assert.equal((await seenBy(nginx, '/users/a.b/')).bucket, 't-3');
    const unpinned = await startEdge(renderNginx(buckets(4), new Map(), [tenant()]).text);
    for (const other of ['axb', 'A.B', 'a.b.c', 'a.b%20', 'x'])
      assert.equal(
        (await seenBy(nginx, `/users/${other}/`)).bucket,
        (await seenBy(unpinned, `/users/${other}/`)).bucket,
        other,
      );
  });

  it('has nobody else take the keys of a bucket that is down', async () => {
    const dead = buckets(3).map((each) =>
      each.name === 't-1' ? { ...each, url: 'http://127.0.0.1:1' } : each,
    );
    const nginx = await startEdge(renderNginx(dead, new Map(), [tenant()]).text);
    const statuses: number[] = [];
    for (let turn = 0; turn < 2; turn++)
      for (const user of users.slice(0, 60)) {
        const response = await exchange(nginx.port, get(`/users/${user}/x`));
        statuses.push(response?.status ?? 0);
        if (response?.status === 503) assert.equal(response.headers.get('retry-after'), '10');
      }
    assert.deepEqual(new Set(statuses), new Set([200, 503]));
    assert.deepEqual(statuses.slice(0, 60), statuses.slice(60));
  });

  it('takes the key from where the kind says, as the Sharder does, and refuses a request without', async () => {
    const keys: [KindSettings['key'], string, string[]][] = [
      [{ query: 'id' }, '/a?x=1&id=7', ['/b?id=7&y=2']],
      [{ query: 'a[]' }, '/?a[]=7', ['/x?a[]=7']],
      [{ query: 'id', pattern: '^t-([0-9]+)' }, '/?id=t-7-x', ['/?id=t-7-y']],
    ];
    for (const [key, path, same] of keys) {
      const nginx = await startEdge(renderNginx(buckets(4), new Map(), [tenant({ key })]).text);
      const { bucket: own } = await seenBy(nginx, path);
      for (const other of same) assert.equal((await seenBy(nginx, other)).bucket, own, other);
      for (const bad of ['/', '/?ID=7', '/?xid=7', '/?id=1&id=2', '/?id='])
        assert.equal((await exchange(nginx.port, get(bad)))?.status, 400, bad);
    }
    for (const [key, header, none] of [
      [{ cookie: 'tenant-id' }, 'Cookie: a=b; tenant-id=', 'Cookie: xtenant-id=7'],
      [{ header: 'X-Tenant' }, 'X-Tenant: ', 'X-Tenants: 7'],
    ] as const) {
      const nginx = await startEdge(renderNginx(buckets(4), new Map(), [tenant({ key })]).text);
      const found = new Set<string>();
      for (const user of users.slice(0, 60)) {
        const { bucket: own } = await seenBy(nginx, '/x', `${header}${user}`);
        assert.equal((await seenBy(nginx, '/y', `${header}${user}`)).bucket, own);
        found.add(own);
      }
      assert.equal(found.size, 4, JSON.stringify(key));
      assert.equal((await exchange(nginx.port, get('/x', none)))?.status, 400, none);
    }
  });

  it('tells the bucket the client’s address and scheme as nginx sees them, not as the client says', async () => {
    const nginx = await startEdge(renderNginx(buckets(2), new Map(), [tenant()]).text);
    const { headers } = await seenBy(
      nginx,
      '/users/iana/x',
      'X-Forwarded-For: 192.0.2.1',
      'X-Real-IP: 192.0.2.1',
      'X-Forwarded-Proto: https',
    );
    const { 'x-forwarded-for': via, 'x-real-ip': from, 'x-forwarded-proto': scheme } = headers;
    assert.deepEqual([via, from, scheme], ['127.0.0.1', '127.0.0.1', 'http']);
  });

  it('knows the user by a login, names the user to the bucket, and lets nobody else be named', async () => {
    const nginx = await startEdge(
      renderNginx(buckets(4), new Map(), [tenant({ key: 'user' }, { iana: 't-1' })]).text,
      (text) => text.replace('login/none.conf', 'login/basic.conf'),
    );
    const login = `Authorization: Basic ${btoa('iana:open')}`;
    const { bucket: own, headers } = await seenBy(nginx, '/x', login, 'REMOTE_USER: brian');
    assert.equal(own, 't-1');
    assert.equal(headers.remote_user, 'iana');
    assert.equal((await exchange(nginx.port, get('/x')))?.status, 401);
    const wrong = `Authorization: Basic ${btoa('iana:wrong')}`;
    assert.equal((await exchange(nginx.port, get('/x', wrong)))?.status, 401);
    const nobody = await startEdge(
      renderNginx(buckets(4), new Map(), [tenant({ key: 'user' })]).text,
    );
    assert.equal((await exchange(nobody.port, get('/x')))?.status, 503);
  });
});

describe('nginx that asks for a kind by hash', needsNginx, () => {
  it('sends one user’s request where its own key is, and keeps an answer for a kind by user only', async () => {
    const sharder = await start({ trustedProxies: ['127.0.0.1'] });
    const { database } = sharder.sharder;
    const two = [await startUpstream('t-0'), await startUpstream('t-1')];
    const buckets = two.map(({ url }, i) => ({ name: `t-${i}`, url }));
    await declareKinds(
      database,
      {
        session: { policy: 'hash', key: { cookie: 'session' }, buckets },
        user: { policy: 'hash', buckets },
      },
      'test',
    );
    const location = (path: string, kind: string) =>
      `location ${path} {\n set $sharder_kind ${kind};\n include sharder/route.conf;\n }\n`;
    const nginx = await Nginx.start({
      sharders: [sharder.port],
      upstreams: renderNginx(
        await database.read((knex) => listBuckets(knex)),
        undefined,
        [],
        { kinds: ['user'], keys: ['session'] }, // which is the bucket's own, and goes on to it
      ).text,
      users: { iana: 'open' },
      edit: {
        'edge.conf': (text) =>
          text
            .replace('location / {', () => `${location('/session/', 'session')}location / {`)
            .replaceAll('set $sharder_kind hub', () => 'set $sharder_kind user'),
      },
    });
    running.push(nginx);
    const login = `Authorization: Basic ${btoa('iana:open')}`;
    const bucketOf = async (path: string, n: string) => {
      const response = await exchange(nginx.port, get(path, login, `Cookie: session=${n}`));
      assert.equal(response?.status, 200);
      assert.equal(response.headers.get('x-accel-expires'), undefined);
      return (JSON.parse(response.body) as Seen).bucket;
    };
    for (const n of numbers(20)) {
      const own = await sharder.ask('/shard/session', 'iana', {
        headers: { Cookie: `session=${n}` },
      });
      assert.equal(own.headers.get('x-accel-expires'), '0');
      assert.equal(await bucketOf('/session/', n), (await own.text()).trim(), n);
      await bucketOf('/', n);
    }
    assert.equal((await sharder.ask('/shard/user', 'iana')).headers.get('x-accel-expires'), null);
    const metrics = await (await sharder.ask('/metrics')).text();
    const asked = /^sharder_requests_total\{route="auth",status="200"\} (\d+)$/m.exec(metrics);
    assert.equal(asked?.[1], '21');
  });
});

for (const engine of engines) {
  describe(`on ${engine.name}, sharder render nginx`, engine.options, () => {
    it('has the kinds by hash of the table, with their pins, and says which it leaves out', async () => {
      const url = await engine.createDatabase();
      const database = await open(url);
      const of = (name: string, port: number) => ({
        policy: 'hash',
        buckets: [{ name, url: `http://127.0.0.1:${port}` }],
      });
      await declareKinds(
        database,
        { tenant: { ...of('t-0', 81), key: IN_PATH }, users: { ...of('u-0', 82), hash: 'modulo' } },
        'test',
      );
      await database.knex('shard').insert({ kind: 'tenant', bucket: 't-0', name: 'hot' });
      const { code, stdout, stderr } = await run(['render', 'nginx'], {
        env: { DATABASE_URL: url },
      });
      assert.equal(code, 0);
      assert.match(
        stdout,
        /^upstream sharder\.tenant \{\n {4}hash \$sharder_tenant_key consistent;$/m,
      );
      assert.match(stdout, /^ {4}"~\^hot\\\\z" "http:\/\/sharder\.tenant\.t-0\$sharder_ws";$/m);
      assert.match(stderr, /^note: left out kind "users" by hash: nginx has no hash: modulo/);
    });
  });
}
