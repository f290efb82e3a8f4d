// What comes from outside, and what must happen: settings, hosts, paths, JSON and names. A table for each
// kind of fault.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readConfig } from '../src/config.js';
import { createServer } from '../src/http/server.js';
import { createMatchNetwork } from '../src/networks.js';
import { declareKinds, type SharderError } from '../src/index.js';
import { whyNotStrict } from '../src/names.js';
import { normalizeName } from '../src/normalize.js';
import { eventually, replicaOf } from './asking.js';
import { engines, open, startSharder, temporaryDirectory, type TestEngine } from './engines.js';
import { run } from './commands/run.js';
import { start, type Running } from './http/start.js';
import { exchange } from './http/wire.js';
import { aliasesOf, PROXY_HEADERS } from '../src/run/forwarded.js';
import { checkOptions } from '../src/run/options.js';
import { freePorts } from '../src/run/probe.js';
import { needsNginx } from './nginx.js';
import { TestRun } from './run/start.js';
import { Service } from './service.js';

const isSettings = { name: 'SharderError', code: 'settings' };
const [sqlite] = engines as readonly [TestEngine, TestEngine];
const many = (count: number, text: string) => text.repeat(count);

describe('trusted_proxies names the networks that it trusts, or is refused', () => {
  const refused = [
    ...['010.0.0.0/8', '010.0.0.1', '10.1', '10', '0x7f.1', '0x0a000001', '167772161', '1.2.3.4.5'],
    ...['10.0.0.0/08', '10.0.0.0/+8', '10.0.0.0/255.0.0.0', '10.0.0.0/', '10.0.0.0/8/8', '/8', ''],
    ...['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8.0', '10.0.0.0/0x8', '10.0.0.0/1e1', ' 10.0.0.1'],
    ...['2001:db8::/129', '2001:db8::/032', '2001:db8::/ffff::', '[2001:db8::1]', '::1::', ':::'],
    ...[
      'fe80::1%eth0',
      'fe80::%eth0/10',
      '::ffff:10.0.0.1',
      '::ffff:10.0.0.0/104',
      '::ffff:a00:0/104',
    ],
    ...['10.1.2.3/8', '127.0.0.1/8', '2001:db8::1/32', 'localhost', 'example.org', 'LOOPBACK', '*'],
    ...['constructor', '__proto__', '１０.0.0.1', '10.0.0.1\n', '10.0.0.1:80', 'private'],
  ];
  for (const proxy of refused) {
    it(`${JSON.stringify(proxy)} is refused, by the settings and by createServer`, async () => {
      const env = { SHARDER_TRUSTED_PROXIES: proxy };
      // What separates a list is no part of its items.
      if (/\S/.test(proxy) && !/\s/.test(proxy)) {
        assert.throws(() => readConfig({}, env), isSettings);
      }
      const sharder = await startSharder(sqlite);
      assert.throws(() => createServer(sharder, { trustedProxies: [proxy] }), isSettings);
    });
  }

  it('an address inside a range is told the range', () => {
    assert.throws(() => createMatchNetwork(['10.1.2.3/8']), /write 10\.0\.0\.0\/8 for the range/);
    assert.throws(() => createMatchNetwork(['fd12:3456::1/16']), /write fd12::\/16 for the range/);
  });

  const trusted: readonly [network: string, inside: string[], outside: string[]][] = [
    [
      '10.0.0.0/8',
      ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::ffff:a01:203'],
      ['8.0.0.1'],
    ],
    ['192.0.2.1', ['192.0.2.1', '::ffff:192.0.2.1'], ['192.0.2.2', '::c000:201']],
    ['192.0.2.1/32', ['192.0.2.1'], ['192.0.2.0']],
    ['0.0.0.0/0', ['1.2.3.4', '::ffff:1.2.3.4'], ['::1', '2001:db8::1']],
    ['::/0', ['::1', '2001:db8::1'], ['1.2.3.4', '::ffff:1.2.3.4']],
    ['2001:db8::/32', ['2001:db8::1', '2001:0DB8:0:0::ffff'], ['2001:db9::1', '32.1.13.184']],
    ['fe80::1', ['fe80::1', 'fe80::1%eth0'], ['fe80::2%eth0']],
    ['loopback', ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'], ['10.0.0.1', '::2', '']],
    ['linklocal', ['169.254.1.1', 'fe80::1%eth0'], ['169.255.0.1', 'fec0::1']],
    [
      'uniquelocal',
      ['10.1.1.1', '172.31.0.1', '192.168.0.1', 'fd00::1'],
      ['172.32.0.1', '127.0.0.1'],
    ],
  ];
  for (const [network, inside, outside] of trusted) {
    it(`${network} trusts what is in it, and nothing else`, () => {
      const matches = createMatchNetwork([network]);
      assert.deepEqual(
        inside.filter((each) => !matches(each)),
        [],
      );
      assert.deepEqual(outside.filter(matches), []);
    });
  }
});

describe('a page that rebinds its name reaches users only', () => {
  const TOKEN = many(2, '0123456789abcdef');
  let service: Running;
  before(async () => {
    service = await start({
      adminTokens: [{ name: 'ops', scope: 'write', token: TOKEN }],
      hosts: ['sharder.internal', '2001:db8::1', 'bücher.example'],
    });
  });

  const guarded = [
    '/v1/kinds',
    '/metrics',
    '/openapi.json',
    '/docs',
    '/docs/',
    '/docs/x',
    '/nothing',
  ];
  const status = async (target: string, ...hosts: string[]) => {
    const lines = [...hosts, `Authorization: Bearer ${TOKEN}`, 'REMOTE_USER: iana'];
    const bytes = `GET ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
    return (await exchange(service.port, bytes))?.status;
  };

  for (const path of guarded) {
    it(`${path} is 421 for a foreign host`, async () => {
      assert.equal(await status(path, 'Host: evil.example:8888'), 421);
    });
  }
  for (const path of ['/healthz', '/readyz', '/shard', '/auth']) {
    it(`${path} is answered for any host`, async () => {
      assert.equal(await status(path, 'Host: evil.example'), 200);
    });
  }

  const hosts: Record<string, number> = {
    'Host: localhost': 200,
    'Host: LocalHost:1234': 200,
    'Host: localhost.': 200,
    'host: 127.0.0.1:8888': 200,
    'HOST:127.1.2.3': 200,
    'Host: [::1]:8888': 200,
    'Host: [0:0:0:0:0:0:0:1]': 200,
    'Host: [::ffff:127.0.0.1]': 200,
    'Host: sharder.internal': 200,
    'Host: SHARDER.internal.:80': 200,
    'Host: [2001:DB8:0::1]': 200,
    'Host: xn--bcher-kva.example': 200,
    'Host: evil.example': 421,
    'Host: localhost.evil.example': 421,
    'Host: evil-localhost': 421,
    'Host: sharder.internal.evil.example': 421,
    'Host: x.sharder.internal': 421,
    'Host: localhost@evil.example': 421,
    'Host: evil.example@localhost': 421,
    'Host: localhost:80@evil.example': 421,
    'Host: localhost:80:80': 421,
    'Host: localhost:x': 421,
    'Host: localhost..': 421,
    'Host: localhost, evil.example': 421,
    'Host: localhost evil.example': 421,
    'Host: localhost/': 421,
    'Host: 127.0.0.1.evil.example': 421,
    'Host: 0x7f.0.0.1': 421,
    'Host: 127.1': 421,
    'Host: 2130706433': 421,
    'Host: 0.0.0.0': 421,
    'Host: 192.0.2.1': 421,
    'Host: ::1': 421,
    'Host: [::1%25lo]': 421,
    'Host: [::2]': 421,
    'Host: [127.0.0.1]': 421,
    'Host: []': 421,
    'Host: ': 421,
    'Host: constructor': 421,
    'Host: b\xfccher.example': 421,
    [`Host: ${many(2_000, 'a')}`]: 421,
  };
  for (const [line, expected] of Object.entries(hosts)) {
    it(`${line.slice(0, 60)}: ${expected}`, async () => {
      assert.equal(await status('/v1/kinds', line), expected);
    });
  }

  it('two Host headers are refused, in either order', async () => {
    const [ours, foreign] = ['Host: localhost', 'Host: evil.example'];
    for (const lines of [
      [ours, foreign],
      [foreign, ours],
      [ours, ours],
    ]) {
      assert.equal(await status('/v1/kinds', ...lines), 400);
    }
  });

  it('an absolute target counts as well as the Host, and neither excuses the other', async () => {
    const ours = 'http://localhost:8888/v1/kinds';
    const rows: [target: string, host: string, expected: number][] = [
      [ours, 'localhost', 200],
      ['HTTP://LOCALHOST/v1/kinds', 'localhost', 200],
      [ours, 'evil.example', 421],
      ['http://evil.example/v1/kinds', 'localhost', 421],
      ['http://localhost@evil.example/v1/kinds', 'localhost', 421],
      ['http://evil.example/metrics', 'localhost', 421],
    ];
    for (const [target, host, expected] of rows) {
      assert.equal(await status(target, `Host: ${host}`), expected, `${target}, ${host}`);
    }
  });

  it('no Host is no browser: HTTP/1.0 is answered', async () => {
    const bytes = `GET /v1/kinds HTTP/1.0\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: keep-alive\r\n\r\n`;
    assert.equal((await exchange(service.port, bytes))?.status, 200);
  });

  it('the refusal names the setting, and its code is wrong_host', async () => {
    const request = 'GET /v1/kinds HTTP/1.1\r\nHost: prometheus.example:9\r\n\r\n';
    const { error } = JSON.parse((await exchange(service.port, request))?.body ?? '') as {
      error: { code: string; message: string };
    };
    assert.equal(error.code, 'wrong_host');
    assert.match(error.message, /"prometheus\.example:9".*hosts \(SHARDER_HOSTS\)/);
  });

  it('the address that the connection arrived at is a host, and another one is not', async (t) => {
    const own = Object.values(networkInterfaces())
      .flatMap((each) => each ?? [])
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    if (own === undefined) {
      t.skip('this machine has no address but loopback');
      return;
    }
    const sharder = await startSharder(sqlite);
    const server = createServer(sharder, {}).listen(0, '0.0.0.0');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const ask = async (to: string) => (await fetch(`http://${to}:${port}/metrics`)).status;
    assert.equal(await ask(own), 200);
    const throughLoopback = await exchange(port, `GET /metrics HTTP/1.1\r\nHost: ${own}\r\n\r\n`);
    assert.equal(throughLoopback?.status, 421);
    server.closeAllConnections();
    server.close();
  });

  for (const host of [
    'http://x',
    'x:80',
    '',
    'a b',
    'x/y',
    '*',
    '*.example',
    '[::1',
    'a..b',
    '[x]',
  ]) {
    it(`the setting hosts refuses ${JSON.stringify(host)}`, async () => {
      const sharder = await startSharder(sqlite);
      assert.throws(() => createServer(sharder, { hosts: [host] }), isSettings);
      if (host !== '' && host !== 'a b') {
        assert.throws(() => readConfig({}, { SHARDER_HOSTS: host }), isSettings);
      }
    });
  }

  it('the setting hosts comes from the environment as a list', () => {
    const { hosts: read } = readConfig({}, { SHARDER_HOSTS: 'sharder, sharder.internal' });
    assert.deepEqual(read, ['sharder', 'sharder.internal']);
  });
});

describe("/go leads below the bucket's path, however often a server decodes", () => {
  let service: Running;
  before(async () => {
    service = await start({ buckets: { 'hub-0': { url: 'https://hub-0.example/base' } } });
  });
  const go = (next: string) => service.ask(`/go?next=${encodeURIComponent(next)}`, 'iana');

  const encode = (text: string, times: number): string =>
    times === 0
      ? text
      : encode(
          text.replaceAll(/[^a-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`),
          times - 1,
        );
  const parts = [
    '/../',
    '/..',
    '/..;/',
    '/..;x=1/',
    '/.%2e/',
    '/%2E./',
    '/..%2f',
    '/..%5c',
    '/..%23',
  ];
  const refused = [
    ...parts.flatMap((part) => [part, `/lab${part}`]),
    ...[
      '/..%252f',
      '/..%252Fother',
      '/%252e%252e/other',
      '/..%25252f',
      '/..%253b/',
      '/..%255cother',
    ],
    ...[
      '/lab%2f..%2f..%2fother',
      '/lab%252f..',
      '/x%3f/../y',
      '/x%3f/%252e%252e/',
      '/x%253f/%252e%252e/',
    ],
    ...['/x%23/%252e%252e/', '/%25%32%65%25%32%65/', '/%%32%65%%32%65/', '/..%253f', '/..%%32%66'],
    ...[1, 2, 3, 5, 8].map((times) => `/a${encode('/../x', times)}`),
    `/${encode('%', 12)}`,
    `/a%${many(4_000, '25')}2e`,
  ];
  for (const next of refused) {
    it(`${next.slice(0, 60)} is refused`, async () => {
      const response = await go(next);
      assert.equal(response.status, 400);
      assert.equal(response.headers.has('location'), false);
    });
  }

  const led = [
    ...[
      '/',
      '/lab',
      '/a..b/',
      '/..a',
      '/a../',
      '/...',
      '/.../x',
      '/.',
      '/a/%2e%2e%2ea',
      '/lab?next=/../x',
    ],
    ...[
      '/lab#/../x',
      '/100%',
      '/50%25',
      '/a%20b',
      '/%C5%BE',
      '/a%252fb',
      '/lab?x=..%252f',
      '/;/..x',
    ],
  ];
  for (const next of led) {
    it(`${next} is led to`, async () => {
      assert.equal((await go(next)).status, 302);
    });
  }
});

describe('what is nested too deep is refused, and nothing fails', () => {
  const DEPTHS = [65, 2_000, 40_000];
  const list = (depth: number) => many(depth, '[') + many(depth, ']');
  const object = (depth: number) => `${many(depth, '{"a":')}1${many(depth, '}')}`;
  const TOKEN = many(2, '0123456789abcdef');
  let service: Running;
  before(async () => {
    service = await start({
      kinds: ['homedir'],
      adminTokens: [{ name: 'ops', scope: 'write', token: TOKEN }],
    });
    await service.sharder.database
      .knex('kind')
      .where('name', 'homedir')
      .update({ settings: '{"leased":true}' });
  });
  const send = async (method: string, path: string, body: string, type = 'application/json') => {
    const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': type };
    const response = await service.ask(path, undefined, { method, headers, body });
    return { status: response.status, text: await response.text() };
  };

  const bodies: readonly [method: string, path: string, body: (nested: string) => string][] = [
    ['PUT', '/v1/kinds/hub/objects/iana', (nested) => nested],
    ['PUT', '/v1/kinds/hub/objects/iana', (nested) => `{"reason":${nested}}`],
    ['PATCH', '/v1/kinds/hub', (nested) => `{"key":${nested}}`],
    ['PUT', '/v1/kinds/homedir/objects/a/spec', (nested) => `{"spec":${nested}}`],
    ['PUT', '/v1/kinds/homedir/specs', (nested) => `{"objects":[{"name":"a","spec":${nested}}]}`],
    ['PUT', '/v1/kinds/homedir/leases/w', (nested) => `{"holder":"h","ttl":30,"data":${nested}}`],
  ];
  for (const [method, path, body] of bodies) {
    it(`${method} ${path} of ${body('…')}: 400`, async () => {
      for (const depth of DEPTHS) {
        for (const nested of [list(depth), object(depth)]) {
          const { status, text } = await send(method, path, body(nested));
          assert.equal(status, 400, text);
          assert.match(text, /nested more than 64 deep/);
        }
      }
    });
  }

  it('a spec of 60 levels is taken, in any encoding of Unicode, and 65 are not', async () => {
    const path = '/v1/kinds/homedir/objects/a/spec';
    assert.equal((await send('PUT', path, `{"spec":${list(60)}}`)).status, 200);
    const type = 'application/json; charset=utf-16le';
    const body = Buffer.from(`{"spec":${list(65)}}`, 'utf16le');
    const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': type };
    const response = await service.ask(path, undefined, { method: 'PUT', headers, body });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /nested/);
  });

  it('brackets in a text are no nesting', async () => {
    const path = '/v1/kinds/homedir/objects/a/spec';
    assert.equal((await send('PUT', path, `{"spec":"${many(5_000, '[')}"}`)).status, 200);
  });

  it('a line of NDJSON is refused, and those beside it are answered', async () => {
    for (const nested of [list(2_000), `{"name":"x","y":${list(2_000)}}`]) {
      const body = `{"name":"before"}\n${nested}\n{"name":"behind"}\n`;
      const { status, text } = await send(
        'POST',
        '/v1/kinds/hub/objects',
        body,
        'application/x-ndjson',
      );
      assert.equal(status, 200);
      const [before, refused, behind] = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { name?: string; error?: { code: string } });
      assert.equal(before?.name, 'before');
      assert.equal(refused?.error?.code, 'bad_request');
      assert.equal(behind?.name, 'behind');
    }
  });

  it("a list's place is refused", async () => {
    const after = Buffer.from(list(5_000)).toString('base64url');
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const path = `/v1/kinds/hub/objects?after=${after}`;
    assert.equal((await service.ask(path, undefined, { headers })).status, 400);
  });

  it('an import refuses the line, and names it', async () => {
    const dir = temporaryDirectory();
    const database = `sqlite:${join(dir, 'x.db')}`;
    assert.equal((await run(['migrate', '--database', database])).code, 0);
    const file = join(dir, 'deep.ndjson');
    for (const nested of [
      list(2_000),
      `{"type":"kind","kind":"hub","settings":${object(2_000)}}`,
      `{"name":"a","bucket":"hub-0","more":${object(9_000)}}`,
    ]) {
      writeFileSync(file, `{"name":"iana","bucket":"hub-0"}\n${nested}\n`);
      const { code, stderr } = await run(['import', file, '--database', database]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /line 2.*nested more than 64 deep/s);
      assert.doesNotMatch(stderr, / at .*\.js/);
    }
  });

  it('the command line refuses a spec, as a mistake in its use', async () => {
    for (const nested of [list(65), object(10_000)]) {
      const { code, stderr } = await run(['spec', 'set', 'a', '--kind', 'hub', '--spec', nested]);
      assert.equal(code, 2);
      assert.match(stderr, /nested more than 64 deep/);
    }
  });

  const a = 'a: &a [x,x,x,x,x,x,x,x,x]';
  const bomb = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].reduce(
    (text, name, i) => `${text}\n${name}: &${name} [${many(9, `*${'abcdefghi'[i]},`)}]`,
    a,
  );
  const yaml: Record<string, string> = {
    'lists in the flow': `kinds: ${list(2_000)}`,
    'many lists in the flow': `kinds: ${list(100_000)}`,
    'lists in a block': `kinds: ${many(3_000, '- ')}x`,
    'mappings in the flow': `kinds: ${many(3_000, '{a: ')}1${many(3_000, '}')}`,
    'a list of 70 levels': `kinds: ${list(70)}`,
    'an alias bomb': bomb,
    'a circle of aliases': 'kinds: &k { hub: *k }',
    'an alias of itself': 'kinds: &k [*k]',
  };
  for (const [title, text] of Object.entries(yaml)) {
    it(`sharder.yml with ${title} is refused as settings`, () => {
      const configFile = join(temporaryDirectory(), 'sharder.yml');
      writeFileSync(configFile, text);
      assert.throws(() => readConfig({ configFile }, {}), isSettings);
    });
  }
});

describe('a new name that could be taken for another is refused by names: strict', () => {
  const TOKEN = many(2, '0123456789abcdef');
  const strange: readonly [title: string, name: string, why: RegExp][] = [
    ['a list of names', 'iana, root', /comma/],
    ['a list without a space', 'iana,root', /comma/],
    ['a comma at the end', 'iana,', /comma/],
    ['a distinguished name', 'cn=iana,dc=example', /comma/],
    ['a zero-width space', 'ia\u200bna', /U\+200B/],
    ['a zero-width joiner', 'iana\u200d', /U\+200D/],
    ['a zero-width non-joiner', 'ia\u200cna', /U\+200C/],
    ['a byte order mark', '\ufeffiana', /U\+FEFF|white space/],
    ['a soft hyphen', 'ia\u00adna', /U\+00AD/],
    ['a word joiner', 'ia\u2060na', /U\+2060/],
    ['an override of direction', 'ia\u202ena', /U\+202E/],
    ['an isolate of direction', 'ia\u2066na', /U\+2066/],
    ['an Arabic letter mark', 'ia\u061cna', /U\+061C/],
    ['a variation selector', 'iana\ufe0f', /U\+FE0F/],
    ['a tag', 'iana\u{e0041}', /U\+E0041/],
    ['a Hangul filler', 'iana\u3164', /U\+3164/],
    ['a grapheme joiner', 'ia\u034fna', /U\+034F/],
    ['a Mongolian vowel separator', 'ia\u180ena', /U\+180E/],
    ['an annotation', 'ia\ufff9na', /U\+FFF9/],
    ['a blank of Braille', 'ia\u2800na', /U\+2800/],
    ['a no-break space', 'ia\u00a0na', /U\+00A0/],
    ['an ideographic space', 'ia\u3000na', /U\+3000/],
    ['a line separator', 'ia\u2028na', /U\+2028/],
    ['an accent that was not composed', 'cafe\u0301', /NFC, which is .*"caf\u00e9/],
    ['the sign for ohm', '\u2126', /NFC, which is .*"\u03a9/],
    ['a space at the end', 'iana ', /white space/],
    ['a control character', 'ia\u0085na', /control/],
  ];
  const good = [
    "O'Neil Jane",
    'i.a+n_a@uni.example',
    'caf\u00e9',
    '\u540d\u524d',
    '\u{1f984}',
    'a;b',
    '..',
  ];

  for (const engine of engines) {
    describe(engine.name, engine.options, () => {
      let service: Running;
      before(async () => {
        const names = ['hub-0', 'hub-1', 'hub-2', 'hub-3', 'hub-4'];
        service = await start({
          engine,
          buckets: Object.fromEntries(names.map((name) => [name, { url: `http://${name}` }])),
          adminTokens: [{ name: 'ops', scope: 'write', token: TOKEN }],
        });
        await declareKinds(
          service.sharder.database,
          {
            any: { names: 'any', buckets: [{ name: 'any-0' }] },
            hash: { policy: 'hash', buckets: [{ name: 'hash-0' }] },
            key: { policy: 'hash', key: { header: 'X-Key' }, buckets: [{ name: 'key-0' }] },
            task: { leased: true, buckets: [] },
            local: { normalize: 'lower-local', buckets: [{ name: 'local-0' }] },
          },
          'test',
        );
      });
      const api = async (method: string, path: string, body: object) => {
        const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' };
        const init = { method, headers, body: JSON.stringify(body) };
        const response = await service.ask(`/v1/kinds${path}`, undefined, init);
        return { status: response.status, text: await response.text() };
      };
      const rows = () =>
        service.sharder.database.knex('shard').orderBy('name').pluck<string[]>('name');

      for (const [title, name, why] of strange) {
        it(`${title} is no new user, by any way, and nothing is stored`, async () => {
          await service.ask('/shard', 'kim');
          const stored = (await rows()).filter((each) => each !== 'iana');
          const path = `/objects/${encodeURIComponent(name)}`;
          const pin = { to: 'hash-0' };
          const refused = [
            (await service.ask('/shard', name)).status,
            (await service.ask('/go', name)).status,
            (await service.ask('/shard/hash', name)).status,
            (await api('PUT', `/hub${path}`, {})).status,
            (await api('PUT', `/hub${path}`, { dry_run: true })).status,
            (await api('POST', '/hub/objects/kim/rename', { to: name })).status,
            (await api('POST', `/hash${path}/pin`, pin)).status,
            (await api('PUT', `/task${path}/spec`, {})).status,
          ];
          // fetch takes the white space off a header.
          const isTrimmed = name.trim() !== name;
          assert.deepEqual(
            isTrimmed ? refused.slice(3) : refused,
            Array(isTrimmed ? 5 : 8).fill(400),
          );
          if (!isTrimmed) assert.equal((await service.ask('/auth', name)).status, 403);
          assert.match((await api('PUT', `/hub${path}`, {})).text, why);
          assert.deepEqual(
            (await rows()).filter((each) => each !== 'iana'),
            stored,
          );
        });
      }

      for (const name of good) {
        it(`${JSON.stringify(name)} is a name`, async () => {
          assert.equal((await service.ask('/shard', name)).status, 200);
          assert.equal((await service.ask('/shard/hash', name)).status, 200);
        });
      }

      it('a kind with names: any takes what it took before', async () => {
        for (const [, name] of strange) {
          if (name.trim() !== name || /\p{Cc}/u.test(name)) continue;
          assert.equal((await service.ask('/shard/any', name)).status, 200, name);
        }
      });

      it('a key that is not the user is no name', async () => {
        const headers = { 'X-Key': 'a,b' };
        assert.equal((await service.ask('/shard/key', undefined, { headers })).status, 200);
      });

      it('who is there already is answered, by every way, and under any name they had', async () => {
        const { knex } = service.sharder.database;
        const odd = 'old, user\u200b';
        const normalOdd = 'old\u200d';
        await knex('shard').insert([
          { kind: 'hub', bucket: 'hub-3', name: odd, pinned: false },
          { kind: 'local', bucket: 'local-0', name: normalOdd, pinned: false },
          { kind: 'hash', bucket: 'hash-0', name: odd, pinned: true },
        ]);
        const at = encodeURIComponent(odd);
        for (const route of ['/shard', '/auth', '/go', '/shard']) {
          const response = await service.ask(route, odd);
          assert.equal(response.headers.get('x-shard-bucket'), 'hub-3', route);
        }
        assert.equal((await service.ask('/shard/local', 'OLD\u200d@uni.example')).status, 200);
        await eventually(async () => {
          assert.equal((await service.ask('/shard/hash', odd)).status, 200);
        });
        assert.equal((await api('PUT', `/hub/objects/${at}`, {})).status, 200);
        assert.equal((await api('PUT', `/hub/objects/${at}`, { dry_run: true })).status, 200);
        assert.equal((await api('POST', `/hub/objects/${at}/move`, { to: 'hub-4' })).status, 200);
        // A replica that has just started knows nobody, and one that asks for many at once asks together.
        const replica = await replicaOf(service.sharder);
        const [known, fresh, refused] = await Promise.allSettled([
          replica.assign('hub', odd),
          replica.assign('hub', 'newcomer'),
          replica.assign('hub', 'new, comer'),
        ]);
        assert.equal(known.status === 'fulfilled' && known.value.bucket.name, 'hub-4');
        assert.equal(fresh.status, 'fulfilled');
        assert.equal(
          refused.status === 'rejected' && (refused.reason as SharderError).code,
          'bad_name',
        );
        assert.equal(
          (await api('POST', `/hub/objects/${at}/rename`, { to: 'mended' })).status,
          200,
        );
        assert.equal((await service.ask('/shard', odd)).status, 400);
      });

      it('an import refuses new ones by their lines, and takes those that are there', async () => {
        const { knex } = service.sharder.database;
        await knex('shard').insert({ kind: 'any', bucket: 'any-0', name: 'there, before' });
        await declareKinds(
          service.sharder.database,
          { any: { names: 'strict', buckets: [] } },
          'test',
        );
        const line = (name: string) =>
          `${JSON.stringify({ kind: 'any', name, bucket: 'any-0' })}\n`;
        const stdin = ['there, before', 'new, one', 'plain', 'ze\u200bro'].map(line).join('');
        const database = service.sharder.database.location;
        const importing = (...args: string[]) =>
          run(['import', '-', '--format', 'ndjson', '--database', database, ...args], { stdin });
        const refused = await importing();
        assert.equal(refused.code, 1, refused.stderr);
        assert.match(refused.stderr, /line 2.*comma/);
        assert.match(refused.stderr, /line 4.*U\+200B/);
        assert.doesNotMatch(refused.stderr, /line [13]\b/);
        const taken = await importing('--skip-errors');
        assert.match(taken.stdout + taken.stderr, /1/);
        const names = await knex('shard').where({ kind: 'any' }).pluck<string[]>('name');
        assert.equal(names.includes('plain'), true);
        assert.equal(names.includes('new, one'), false);
      });
    });
  }

  it('a list of addresses is not cut to its first name by normalize: lower-local', () => {
    for (const name of ['iana@x, root', 'iana@x,root@x', 'iana@x, y@z']) {
      assert.throws(() => normalizeName(name, 'lower-local'), { code: 'bad_name' });
    }
    assert.equal(normalizeName('Doe, Jane@x', 'lower-local'), 'doe, jane');
  });

  it('whatever is strict is one line of visible text, composed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), (name) => {
        fc.pre(whyNotStrict(name) === undefined);
        assert.equal(name.normalize('NFC'), name);
        assert.doesNotMatch(name, /[,\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
      }),
    );
  });
});

describe('an export for a spreadsheet has no formulas', () => {
  const evil = [
    ...[
      '=1+1',
      '+1',
      '-1',
      '@SUM(A1)',
      '=HYPERLINK("http://evil.example")',
      'a;=1+1',
      'a|-1',
      '-x,y',
    ],
    ...['\uff1d1', 'a;;+1', "'=1", '=cmd|x!A0', 'plain', 'a=b', 'a-b', 'iana@uni.example'],
  ];
  const cells = /(^|[,;|\t\r\n])"?[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/m;

  for (const engine of engines) {
    it(
      `from ${engine.name} and through the service, and no import takes it`,
      engine.options,
      async () => {
        const TOKEN = many(2, '0123456789abcdef');
        const { database } = await startSharder(engine, { '-0': {}, '=1': {} });
        const insert = evil.map((name, i) => ({ kind: 'hub', bucket: ['-0', '=1'][i % 2], name }));
        await database.knex('shard').insert(insert);
        const service = await Service.start(database.location, {
          env: { SHARDER_ADMIN_TOKEN: TOKEN },
        });
        const here = ['--database', database.location];
        const there = ['--url', service.url];
        for (const where of [here, there]) {
          const env = { SHARDER_TOKEN: TOKEN };
          const plain = await run(['export', '-', '--format', 'csv', ...where], { env });
          assert.match(plain.stdout, cells, 'without it there are some');
          const shown = await run(
            ['export', '-', '--format', 'csv', '--for-spreadsheet', ...where],
            { env },
          );
          assert.equal(shown.code, 0, shown.stderr);
          assert.doesNotMatch(shown.stdout, cells);
          assert.match(shown.stdout, /,plain,.*/);
          assert.match(shown.stdout, /,iana@uni\.example,/);
          const again = await run(['import', '-', '--format', 'csv', ...where], {
            env,
            stdin: shown.stdout,
          });
          assert.equal(again.code, 1);
          assert.match(again.stderr, /one of them must be name/);
          const ndjson = await run(
            ['export', '-', '--format', 'ndjson', '--for-spreadsheet', ...where],
            { env },
          );
          assert.equal(ndjson.code, 2);
        }
        const query = 'format=ndjson&for_spreadsheet=true';
        const headers = { Authorization: `Bearer ${TOKEN}` };
        assert.equal((await fetch(`${service.url}/v1/export?${query}`, { headers })).status, 400);
      },
    );
  }
});

describe('a file with the names of users is for its owner alone', () => {
  const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
  // Of the process, so nothing runs beside it.
  const withUmask = async <T>(mask: number, work: () => Promise<T>): Promise<T> => {
    const before = process.umask(mask);
    try {
      return await work();
    } finally {
      process.umask(before);
    }
  };

  for (const mask of [0o022, 0o000]) {
    it(`with the umask ${mask.toString(8).padStart(3, '0')}, whatever makes it`, async () => {
      await withUmask(mask, async () => {
        const dir = temporaryDirectory();
        const path = join(dir, 'deep', 'er', 'sharder.db');
        const url = `sqlite:${path}`;
        const database = await open(url);
        await declareKinds(
          database,
          { hub: { buckets: [{ name: 'hub-0', url: 'http://h' }] } },
          'test',
        );
        assert.deepEqual(
          [path, `${path}-wal`, `${path}-shm`, join(dir, 'deep', 'er'), join(dir, 'deep')].map(
            mode,
          ),
          ['600', '600', '600', '700', '700'],
        );
        const files = ['all.csv', 'all.ndjson', 'all.csv.gz', 'copy.db'];
        for (const file of files) {
          const command = file === 'copy.db' ? 'backup' : 'export';
          const done = await run([command, join(dir, file), '--database', url]);
          assert.equal(done.code, 0, done.stderr);
          assert.equal(mode(join(dir, file)), '600', file);
          assert.equal(existsSync(join(dir, `${file}.part`)), false);
        }
        // It names no user, and nginx may be another one.
        const conf = join(dir, 'upstreams.conf');
        assert.equal((await run(['render', 'nginx', '--output', conf, '--database', url])).code, 0);
        assert.equal(mode(conf), '644');
      });
    });
  }

  it('what is there keeps its mode', async () => {
    await withUmask(0o022, async () => {
      const dir = temporaryDirectory();
      const path = join(dir, 'sharder.db');
      writeFileSync(path, '');
      chmodSync(path, 0o640);
      const database = await open(`sqlite:${path}`);
      await declareKinds(database, { hub: { buckets: [{ name: 'hub-0' }] } }, 'test');
      assert.deepEqual([path, `${path}-wal`].map(mode), ['640', '640']);
      for (const [file, command] of [
        ['all.csv', 'export'],
        ['copy.db', 'backup'],
      ] as const) {
        writeFileSync(join(dir, file), '');
        chmodSync(join(dir, file), 0o644);
        const done = await run([
          command,
          join(dir, file),
          '--overwrite',
          '--database',
          `sqlite:${path}`,
        ]);
        assert.equal(done.code, 0, done.stderr);
        assert.equal(mode(join(dir, file)), '644');
      }
    });
  });

  it('a link in the place of a draft leads nowhere', async () => {
    const dir = temporaryDirectory();
    const url = `sqlite:${join(dir, 'sharder.db')}`;
    const database = await open(url);
    await declareKinds(
      database,
      { hub: { buckets: [{ name: 'hub-0', url: 'http://h' }] } },
      'test',
    );
    const victim = join(dir, 'victim');
    const commands: readonly [draft: string, args: string[]][] = [
      ['all.csv.part', ['export', join(dir, 'all.csv')]],
      ['copy.db.part', ['backup', join(dir, 'copy.db')]],
      ['up.conf.new', ['render', 'nginx', '--output', join(dir, 'up.conf')]],
    ];
    for (const [draft, args] of commands) {
      writeFileSync(victim, 'untouched');
      symlinkSync(victim, join(dir, draft));
      const done = await run([...args, '--database', url]);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(readFileSync(victim, 'utf8'), 'untouched');
      assert.equal(lstatSync(join(dir, draft.replace(/\.\w+$/, ''))).isFile(), true);
    }
  });
});

describe('a client says nothing of its connection to a copy behind sharder run', () => {
  const echo = `
    require('http').createServer((req, res) => res.end(JSON.stringify(req.rawHeaders)))
      .listen(process.env.PORT)`;
  const command = [process.execPath, '-e', echo];
  const forms = (name: string) => [name, name.toLowerCase(), ...aliasesOf(name)];
  const claims = [...PROXY_HEADERS.flatMap(forms), 'X-FORWARDED-HOST'];
  const claim = (port: number) =>
    Buffer.from(
      `GET / HTTP/1.1\r\nHost: a.example\r\nX-Mine: yes\r\nREMOTE_USER: iana\r\n${claims
        .map((name) => `${name}: evil\r\n`)
        .join('')}Connection: close\r\n\r\n`.replace('PORT', String(port)),
    );
  const seenBy = async (options: { nginx?: boolean; trustedProxies?: string[] }) => {
    const [port = 0] = options.nginx ? await freePorts(1) : [0];
    const test = await TestRun.start({ ...options, shards: 1, port, command });
    const at = Number(new URL(test.run.url).port);
    await eventually(async () => {
      assert.equal((await fetch(test.run.url)).status, 200);
    });
    const { body = '' } = (await exchange(at, claim(at))) ?? {};
    await test.stop();
    const raw = JSON.parse(body.slice(body.indexOf('['), body.lastIndexOf(']') + 1)) as string[];
    const headers = raw.flatMap((name, i) =>
      i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]]] : [],
    );
    return headers as [string, string][];
  };

  for (const nginx of [false, true]) {
    describe(nginx ? 'with nginx' : 'with our router', nginx ? needsNginx : {}, () => {
      it('nor from an address that is not trusted', async () => {
        for (const trustedProxies of [undefined, ['10.0.0.0/8', '::1']]) {
          const headers = await seenBy({ nginx, ...(trustedProxies && { trustedProxies }) });
          assert.deepEqual(
            headers.filter(([, value]) => value.includes('evil')),
            [],
          );
          const said = Object.fromEntries(headers);
          assert.equal(said['x-forwarded-for'], '127.0.0.1');
          assert.equal(said['x-forwarded-proto'], 'http');
          assert.equal(said['x-forwarded-host'], 'a.example');
          assert.equal(said['x-mine'], 'yes');
          assert.equal(said.remote_user, 'iana');
        }
      });

      it('but a proxy that is trusted does', async () => {
        const said = Object.fromEntries(await seenBy({ nginx, trustedProxies: ['loopback'] }));
        assert.match(said['x-forwarded-for'] ?? '', /evil.*, 127\.0\.0\.1$/);
        assert.match(said['x-forwarded-proto'] ?? '', /^evil/);
        assert.match(said['x-forwarded-host'] ?? '', /^evil/);
        assert.match(said.forwarded ?? '', /^evil/);
      });
    });
  }

  it('a trusted proxy is a network that is written in full', () => {
    const options = { shards: 1, urlPattern: '^/(.*)', port: 0, command: ['x'] };
    assert.throws(() => checkOptions({ ...options, trustedProxies: ['010.0.0.0/8'] }), isSettings);
  });
});
