// What an attacker tries, and what must happen: a list. Real nginx with the files of nginx/, a real
// Sharder, and a server for each bucket that keeps what reached it.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createServer } from '../src/http/server.js';
import { declareKinds } from '../src/index.js';
import {
  assertNothing,
  assertOwn,
  edgeWith,
  naming,
  pour,
  readings,
  SECRET,
  signed,
  soon,
  words,
  type EdgeOptions,
} from './edge.js';
import { engines, startSharder } from './engines.js';
import { exchange, get, Wire } from './http/wire.js';
import { needsNginx } from './nginx.js';

const many = <T>(count: number, item: T) => Array.from({ length: count }, () => item);
const basic = (text: string) => `Authorization: Basic ${Buffer.from(text).toString('base64')}`;

describe('a header that names somebody changes nothing and reaches no bucket', needsNginx, () => {
  const headers = words(`
    REMOTE_USER Remote-User REMOTE-USER X-Remote-User X_Remote_User X-Forwarded-User X_Forwarded_User
    X-Forwarded_User X-Forwarded-Email X-Forwarded-Preferred-Username X-Forwarded-Groups Forwarded
    X-Forwarded-Access-Token X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups
    X-Auth-Request-Preferred-Username X-Auth-Request-Access-Token Remote-Name Remote-Email Remote-Groups
    X-Authenticated-User X-WebAuth-User X-Shard-Bucket X_Shard_Bucket X-Shard-Url X-Shard-Reason X-Shard-Stale`);
  const odd = (name: string) =>
    name.replaceAll(/..?/g, (two) => two.toLowerCase().replace(/^./, (c) => c.toUpperCase()));
  // Before the Host, by which nginx knows the server that is meant, and behind the login.
  const forms: Record<string, (name: string) => [first: string[], last: string[]]> = {
    'before the login': (name) => [[`${name}: root`], []],
    'behind it': (name) => [[], [`${name}: iana`]],
    twice: (name) => [[`${name}: root`], [`${name}: iana`]],
    'in odd case': (name) => [[`${odd(name)}: iana`], []],
    'with every bucket': (name) => [words('hub-0 hub-1 hub-2').map((b) => `${name}: ${b}`), []],
    'as one of the connection': (name) => [[`${name}: root`], [`Connection: close, ${name}`]],
  };
  // A site's own server at the same address, which is first and has other rules.
  const edit = {
    'edge.conf': (text: string) =>
      text.replace(
        /\nserver \{\n[^]*?( {4}listen \S+)/,
        '\nserver {\n$1;\nserver_name other;\nunderscores_in_headers on;\nreturn 204;\n}$&',
      ),
  };
  const logins: Record<string, EdgeOptions> = {
    'by password': {},
    'by password, beside a server that lets underscores in': { edit },
    'by a signed cookie, beside a server that lets underscores in': { edit, route: 'signed' },
    'by a proxy in front, beside a server that lets underscores in': { login: 'header', edit },
  };
  for (const [title, options] of Object.entries(logins)) {
    describe(title, () => {
      const edge = edgeWith(options);
      before(() => edge().shard('iana'));
      for (const name of headers) {
        if (options.login && name === 'X-Forwarded-User') continue; // the login itself
        it(name, async () => {
          for (const [form, lines] of Object.entries(forms)) {
            const user = edge().newUser();
            const known = await edge().names();
            const [first, last] = lines(name);
            const all = [...first, 'Host: x', edge().login(user).toString(), ...last];
            const request = `GET / HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n`;
            await assertOwn(edge(), user, await exchange(edge().nginx.port, request));
            assert.deepEqual(await edge().names(), [...known, user], form);
          }
        });
      }
    });
  }
});

describe('who is not logged in is nobody, and nothing is stored', needsNginx, () => {
  const strangers: readonly [title: string, status: number, ...headers: string[]][] = [
    ['no password', 401],
    ['a wrong password', 401, basic('user-0:wrong')],
    ['an empty password', 401, basic('user-0:')],
    ['a user whom nobody knows', 401, basic('root:pass')],
    ['a name with a line end', 401, basic('user-0\nREMOTE_USER: root:pass')],
    ['no base64', 401, 'Authorization: Basic %%%'],
    ['a token', 401, 'Authorization: Bearer user-0'],
    ['a good login twice', 400, basic('user-0:pass'), basic('user-0:pass')],
    ['a good login and another', 400, basic('user-0:pass'), basic('user-1:pass')],
    ['headers that name somebody', 401, 'REMOTE_USER: iana', 'X-Forwarded-User: iana'],
    ['a cookie', 401, 'Cookie: hub=hub-0'],
    ['a cookie that was signed for somebody', 401, `Cookie: hub=${signed('user-0', 'hub-0')}`],
  ];
  const asked = edgeWith();
  const signing = edgeWith({ route: 'signed' });
  for (const [title, status, ...headers] of strangers) {
    it(`${title}: ${status}`, async () => {
      for (const edge of [asked(), signing()]) {
        await assertNothing(edge, async () => {
          assert.equal((await exchange(edge.nginx.port, get('/', ...headers)))?.status, status);
        });
      }
    });
  }

  const HERE = '127.0.0.1';
  const ELSEWHERE = '127.0.0.2';
  // A site that believes what proxies say of their clients' addresses.
  const edit = {
    'nginx.conf': (text: string) =>
      text.replace(
        'server_tokens off;',
        'server_tokens off; set_real_ip_from 127.0.0.0/8; real_ip_header X-Real-IP;',
      ),
  };
  const behind = edgeWith({ login: 'header', edit });
  const fronts: readonly [title: string, status: number, from: string, ...headers: string[]][] = [
    ['the proxy in front without a name', 401, HERE],
    ['the proxy in front with an empty name', 401, HERE, 'X-Forwarded-User: '],
    ['the proxy in front with another header', 401, HERE, 'REMOTE_USER: root'],
    ['somebody else', 403, ELSEWHERE, 'X-Forwarded-User: root'],
    ['somebody else, as if', 403, ELSEWHERE, 'X-Forwarded-User: root', `X-Real-IP: ${HERE}`],
  ];
  for (const [title, status, from, ...headers] of fronts) {
    it(`${title}: ${status}`, () =>
      assertNothing(behind(), async () => {
        const response = await exchange(behind().nginx.port, get('/', ...headers), from);
        assert.equal(response?.status, status);
      }));
  }

  for (const path of ['/shard', '/auth', '/auth/hub/x', '/go', '/go/hub']) {
    it(`past nginx to ${path}, from an address that is not trusted: 403`, () =>
      assertNothing(asked(), async () => {
        for (const lie of ['X: y', `X-Forwarded-For: ${HERE}`, `Forwarded: for=${HERE}`]) {
          const request = get(path, 'REMOTE_USER: root', lie);
          assert.equal((await exchange(asked().port, request, ELSEWHERE))?.status, 403);
        }
      }));
  }
});

/** A user, the bucket that the database says, and the cookie that the Sharder gave, `hub=…`. */
interface Holder {
  readonly user: string;
  readonly bucket: string;
  readonly other: string;
  readonly good: string;
}

describe('a signed cookie takes the user to the own bucket, or proves nothing', needsNginx, () => {
  type Cookies = Record<string, (holder: Holder) => string | string[]>;
  const edge = edgeWith({ route: 'signed' });
  const forged = ({ user, other }: Holder) => `hub=${signed(user, other, { secret: 'x' })}`;
  const sign = ({ user, other }: Holder, expiry: number) =>
    `hub=${signed(user, other, { expiry })}`;

  const believed: Cookies = {
    'as it was given': ({ good }) => good,
    'among others': ({ good }) => `a=b; ${good}; c=d`,
    'in the second header': ({ good }) => ['a=b', good],
    // Another host of the same site can add a cookie of the same name: it must not hide the right one.
    'behind one that another host has set': (holder) => `${forged(holder)}; ${holder.good}`,
    'before one that another host has set': (holder) => `${holder.good}; ${forged(holder)}`,
    'behind junk': ({ good }) => `hub=junk; hub=; hub; ${good}`,
    'among a hundred': ({ good }) =>
      [...many(50, 'hub=junk'), good, ...many(50, 'hub=x')].join('; '),
    'twice the same': ({ good }) => `${good}; ${good}`,
    'in two headers, before a forged one': (holder) => [holder.good, forged(holder)],
    'in two headers, behind a forged one': (holder) => [forged(holder), holder.good],
    'under the name that it has behind TLS': ({ good }) => `__Host-${good}`,
    'under both names, one of them forged': (holder) => `__Host-${forged(holder)}; ${holder.good}`,
  };
  const proveNothing: Cookies = {
    'another secret': forged,
    'a letter of the signature changed': ({ good }) => good.replace(/[^A](?=.{20}$)/, 'A'),
    'expired a second ago': (holder) => sign(holder, soon(-1)),
    'expired long ago': (holder) => sign(holder, 1),
    'a later expiry, the old signature': ({ good }) => good.replace(/\.\d+/, `.${soon(1e6)}`),
    'another bucket, the old signature': ({ good, bucket, other }) => good.replace(bucket, other),
    'another user': ({ other }) => `hub=${signed('iana', other)}`,
    'a user whose name begins the same': ({ user, other }) => `hub=${signed(`${user}0`, other)}`,
    nobody: ({ other }) => `hub=${signed('', other)}`,
    'another kind': ({ user, other }) => `hub=${signed(user, other, { kind: 'homedir' })}`,
    'the name of another kind': ({ good }) => good.replace('hub', 'homedir'),
    'a name in capitals': ({ good }) => good.replace('hub', 'HUB'),
    'cut behind the bucket': ({ good }) => good.replace(/\..*/, ''),
    'cut behind the first dot': ({ good }) => good.replace(/(?<=\.).*/, ''),
    'cut inside the expiry': ({ good }) => good.replace(/...\.[^.]*$/, ''),
    'cut behind the expiry': ({ good }) => good.replace(/\.[^.]*$/, ''),
    'cut behind the second dot': ({ good }) => good.replace(/[^.]*$/, ''),
    'cut to one letter of signature': ({ good }) => good.slice(0, -42),
    'cut by a letter': ({ good }) => good.slice(0, -1),
    'longer by a letter': ({ good }) => `${good}A`,
    empty: () => 'hub=',
    'no value': () => 'hub',
    'percent-encoded': ({ good }) => good.replace('=h', '=%68'),
    'two forged ones': (holder) => `${forged(holder)}; __Host-${forged(holder)}`,
    'another prefix': ({ good }) => `__Secure-${good}`,
    'an encoded line end': ({ good, other }) => good.replace('=', `=${other}%0A`),
    'in quotes': ({ good }) => `${good.replace('=', '="')}"`,
    'a space inside': ({ good }) => good.replace('.', ' .'),
    '7,000 bytes': ({ other }) => `hub=${other}.${'9'.repeat(7_000)}`,
  };
  const refused: Cookies = {
    'a control character': ({ good }) => `${good}\x01`,
    'a NUL': ({ good }) => `${good}\0`,
    '9,000 bytes': ({ other }) => `hub=${other}.${'9'.repeat(9_000)}`,
  };
  for (const [cookies, promise, questions] of [
    [believed, 'believed, and the Sharder is not asked', 0],
    [proveNothing, 'proves nothing, and the Sharder is asked', 1],
  ] as const) {
    for (const [title, cookie] of Object.entries(cookies)) {
      it(`${title}: ${promise}`, async () => {
        const holder = await newHolder();
        const asked = await edge().questions();
        await assertOwn(edge(), holder.user, await visit(holder, cookie));
        assert.equal((await edge().questions()) - asked, questions);
      });
    }
  }
  for (const [title, cookie] of Object.entries(refused)) {
    it(`${title}: refused`, async () => {
      const holder = await newHolder();
      await assertNothing(edge(), async () => {
        assert.ok(((await visit(holder, cookie))?.status ?? 0) >= 400);
      });
    });
  }

  async function newHolder(): Promise<Holder> {
    const user = edge().newUser();
    const { bucket, cookie } = await edge().shard(user);
    return { user, bucket, other: bucket === 'hub-0' ? 'hub-1' : 'hub-0', good: `hub=${cookie}` };
  }

  function visit(holder: Holder, cookie: Cookies[string]) {
    const values = [cookie(holder)].flat();
    return edge().visit(
      holder.user,
      values.map((value) => `Cookie: ${value}`),
    );
  }

  const plain = edgeWith();
  for (const cookie of words('hub=hub-0 hub=hub-1 hub=hub-2 hub=hub-1;hub=hub-0 hub=evil')) {
    it(`where none is signed, ${cookie} says nothing`, async () => {
      for (const user of many(3, plain()).map((edge) => edge.newUser())) {
        await assertOwn(plain(), user, await plain().visit(user, [`Cookie: ${cookie}`]));
      }
    });
  }
});

describe('/go leads to no other site', needsNginx, () => {
  const edge = edgeWith({ isShared: true }); // the bucket's URL has a path, which it does not leave
  const nexts = words(String.raw`
    //evil.example ///evil.example https://evil.example https:evil javascript:x @evil :80@evil .evil
    /\evil \/evil \\evil %2f%2fevil /%2fevil /%5cevil %5c%5cevil /%09/evil %09//evil /..//evil
    /%2e%2e//evil /../hub-1 /%0d%0aLocation:%20https://evil /%0aSet-Cookie:%20hub=x /a&next=//evil /a&next=/b`);
  for (const next of ['', ...nexts]) {
    it(`next=${next}: 400`, async () => {
      const response = await exchange(edge().port, get(`/go?next=${next}`, 'REMOTE_USER: iana'));
      assert.equal(response?.status, 400);
      assert.equal(response.headers.get('location'), undefined);
    });
  }
});

describe('a path, a host or an upgrade leads to no other bucket', needsNginx, () => {
  const asked = edgeWith();
  for (const path of words(`/_sharder/auth /_sharder/auth?x /%5fsharder/auth //_sharder//auth
      /_sharder/./auth /_sharder%2fauth`)) {
    it(`${path}: 404, and nobody is asked`, async () => {
      const questions = await asked().questions();
      await assertNothing(asked(), async () => {
        const response = await asked().visit('user-0', [], path);
        assert.equal(response?.status, 404);
        assert.doesNotMatch([...response.headers.keys()].join(' '), /x-shard|set-cookie/);
      });
      assert.equal(await asked().questions(), questions);
    });
  }

  for (const order of words('/_sharder/auth @sharder_unavailable /other http://evil.example/')) {
    it(`X-Accel-Redirect: ${order}, from a bucket, is not obeyed`, async () => {
      const user = asked().newUser();
      await assertOwn(asked(), user, await asked().visit(user, [], `/?accel=${order}`));
    });
  }

  for (const protocol of ['h2c', 'HTTP/2.0', 'websocket, h2c', 'anything']) {
    it(`Upgrade: ${protocol} is not passed on`, async () => {
      const user = asked().newUser();
      const lines = [`Upgrade: ${protocol}`, 'Connection: Upgrade, Keep-Alive'];
      const { headers } = await assertOwn(asked(), user, await asked().visit(user, lines));
      assert.ok(!headers.some(([name]) => /^(upgrade|connection)$/i.test(name)));
    });
  }

  const shared = edgeWith({ isShared: true }); // all buckets on one server, each below its own path
  const targets = words(String.raw`
    /../other/ /..%2fother/ /%2e%2e/other/ /a/../../other/ /a%2fb/../../other/ /a%2Fb/%2E./.%2e/other/
    /..;/other/ /..%3b/other/ /..\other\ /a%5c..%5c..%5cother/ /..#/other /..?/../other
    /a%2f..%2f..%2fother/ //../other/ /a//..//../other/ /_sharder/auth/.. //evil.example/ ///
    /@evil.example/ /.../ /..a/b /a.. /?/../../other http://evil.example/ http://evil.example
    http://evil.example?x https://evil.example/x http://sharder/shard http://a@evil.example/
    evil.example:443 * @ ?x # /%00 /% /%zz`);
  const hosts = words('sharder sharder.hub.hub-1 a/../b a@b [:: a:99999 ..').concat('', 'a b');
  const requests = [
    ...targets.concat('/\x01', '/ /', '/a HTTP/1.1 /').map((target) => ({ target, host: 'x' })),
    ...hosts.map((host) => ({ target: '/', host })),
  ];
  for (const { target, host } of requests) {
    it(`${JSON.stringify(target)} on "${host}" stays on the own path, or is refused`, async () => {
      const user = shared().newUser();
      const { bucket } = await shared().shard(user);
      const { length } = shared().received;
      const login = shared().login(user).toString();
      const request = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${login}\r\n\r\n`;
      const response = await exchange(shared().nginx.port, request);
      const reached = shared().received.slice(length);
      assert.ok(response?.status === (reached.length === 1 ? 200 : 400), String(response?.status));
      for (const received of reached) {
        for (const reading of readings(received.path))
          assert.ok(`${reading}/`.startsWith(`/${bucket}/`), reading);
        assert.deepEqual(naming(received), [['REMOTE_USER', user]]);
      }
    });
  }
});

describe('an answer for one is never given to another', needsNginx, () => {
  const names = words('a ab abc A a|b "a" https hub a%20b a+b $user ${user} a;b a,b a:b á a\\b -');
  names.push('a b', 'a  b', 'a hub', 'hub a', 'http hub a', 'https hub a');
  const schemes = ['https', 'http', 'HTTPS', 'https, http', 'https hub a', 'javascript', ''];
  const edge = edgeWith({
    login: 'header',
    secret: SECRET, // each answer has a cookie for one user
    byHand: (database) => declareKinds(database, { hub: { names: 'any', buckets: [] } }, 'test'),
  });

  it('however many ask at once, whatever they are called, whatever the scheme', async () => {
    const visits = [...names, ...names].flatMap((user) =>
      schemes.map(async (scheme) => {
        const response = await edge().visit(user, [`X-Forwarded-Proto: ${scheme}`]);
        const { bucket } = await assertOwn(edge(), user, response);
        const [cookie = '', ...attributes] = response?.headers.get('set-cookie')?.split('; ') ?? [];
        const name = /^https$/i.test(scheme) ? '__Host-hub' : 'hub';
        assert.equal(
          cookie,
          `${name}=${signed(user, bucket, { expiry: Number(cookie.split('.')[1]) })}`,
        );
        assert.equal(attributes.includes('Secure'), /^https$/i.test(scheme), `${user}, ${scheme}`);
      }),
    );
    await Promise.all(visits);
    assert.deepEqual(new Set(await edge().names()), new Set(names));
    assert.equal(await edge().questions(), 2 * names.length); // once by http, once by https
  });

  it('on one connection of many users, each answer belongs to its request', async () => {
    const wire = await Wire.connect(edge().nginx.port);
    wire.send(Buffer.concat([...names, ...names].map((user) => get('/', edge().login(user)))));
    for (const user of [...names, ...names]) await assertOwn(edge(), user, await wire.next());
    wire.destroy();
  });

  it('past nginx, too', async () => {
    const wire = await Wire.connect(edge().port);
    const line = (user: string) => Buffer.from(`REMOTE_USER: ${user}`);
    wire.send(Buffer.concat(names.map((user) => get('/auth', line(user)))));
    for (const user of names) {
      const cookie = (await wire.next())?.headers.get('set-cookie')?.split(/[=;]/)[1] ?? '';
      const [bucket = '', expiry] = cookie.split('.');
      assert.equal(cookie, signed(user, bucket, { expiry: Number(expiry) }));
    }
    wire.destroy();
  });
});

describe('no request hides in another', needsNginx, () => {
  const edge = edgeWith();
  const hidden = 'GET /shard?hidden HTTP/1.1\r\nHost: x\r\nREMOTE_USER: root\r\n\r\n';
  const length = hidden.length;
  const CHUNKED = 'Transfer-Encoding: chunked';
  const END = '0\r\n\r\n';
  const shapes: readonly [title: string, head: string, body: string][] = [
    ['a length and chunks', `Content-Length: ${length + 5}\r\n${CHUNKED}`, END],
    ['chunks and a length', `${CHUNKED}\r\nContent-Length: 5`, END],
    ['two lengths', `Content-Length: 0\r\nContent-Length: ${length}`, ''],
    ['two lengths in one', `Content-Length: 0, ${length}`, ''],
    ['a length with a sign', 'Content-Length: +0', ''],
    ['a length below zero', 'Content-Length: -1', ''],
    ['a length in hex', 'Content-Length: 0x0', ''],
    ['a length of nothing', 'Content-Length:', ''],
    ['a length behind a space', 'Content-Length : 0', ''],
    ['chunks behind a space', 'Transfer-Encoding : chunked', END],
    ['a folded line', 'Transfer-Encoding:\r\n chunked', END],
    ['chunks in a folded line', `X: y\r\n ${CHUNKED}`, ''],
    ['bare line feeds', `X: y\nREMOTE_USER: root\n${CHUNKED}`, `0\n\n`],
    ['a bare carriage return', `X: y\r${CHUNKED}`, END],
    ['a NUL in a value', `X: y\0\r\n${CHUNKED}`, END],
    ['a NUL in a name', `X\0: y\r\n${CHUNKED}`, END],
    ['chunks twice', 'Transfer-Encoding: chunked, chunked', END],
    ['chunks in two headers', `${CHUNKED}\r\n${CHUNKED}`, END],
    ['chunks that are not last', 'Transfer-Encoding: chunked, identity', END],
    ['chunks by another name', 'Transfer-Encoding: xchunked', END],
    ['chunks behind a vertical tab', 'Transfer-Encoding: \x0bchunked', END],
    ['chunks in quotes', 'Transfer-Encoding: "chunked"', END],
    ['a chunk past all numbers', CHUNKED, `${'f'.repeat(20)}1\r\n`],
    ['a chunk below zero', CHUNKED, '-1\r\n\r\n'],
    ['a chunk in 0x', CHUNKED, '0x0\r\n\r\n'],
    ['a chunk longer than it says', CHUNKED, `1\r\nabc\r\n${END}`],
    ['a chunk between line feeds', CHUNKED, '0\n\n'],
    ['a body as long as the request', `Content-Length: ${length}`, ''],
    ['a body that is waited for', `Content-Length: ${length}\r\nExpect: 100-continue`, ''],
  ];
  for (const [title, head, body] of shapes) {
    it(title, async () => {
      const user = edge().newUser();
      const bytes = (start: string, login: string) =>
        `${start} HTTP/1.1\r\nHost: x\r\n${login}\r\n${head}\r\n\r\n${body}${hidden}`;
      const { port, nginx } = edge();
      const direct = ['GET /shard', 'GET /auth', 'POST /auth', 'GET /go', 'GET /healthz'];
      const login = edge().login(user).toString();
      await Promise.all([
        ...direct.map((start) => pour(port, bytes(start, `REMOTE_USER: ${user}`))),
        ...['GET /', 'POST /'].map((start) => pour(nginx.port, bytes(start, login))),
      ]);
      for (let i = 0; i < 3; i++) await assertOwn(edge(), user, await edge().visit(user));
      assert.ok(!(await edge().names()).includes('root'));
      assert.ok(!edge().received.some(({ path }) => path.includes('hidden')));
    });
  }
});

describe('too much is refused, and the others are answered', needsNginx, () => {
  const edge = edgeWith();
  const HUGE = 'a'.repeat(100_000);
  const heaps: readonly [title: string, path: string, lines: string[]][] = [
    ['a header of 100 kB', '/shard', [`X: ${HUGE}`]],
    ['a header name of 100 kB', '/shard', [`${HUGE}: x`]],
    ['a user of 10 kB', '/shard', [`REMOTE_USER: ${HUGE.slice(0, 10_000)}`]],
    ['a cookie of 100 kB', '/shard', [`Cookie: hub=${HUGE}`]],
    ['a path of 100 kB', `/${HUGE}`, []],
    ['ten thousand headers', '/shard', many(10_000, 'a: b')],
    ['a hundred thousand headers', '/shard', many(100_000, 'a:')],
    ['a thousand cookies', '/shard', many(1_000, `Cookie: hub=${HUGE.slice(0, 100)}`)],
  ];
  for (const [title, path, lines] of heaps) {
    it(title, async () => {
      await assertNothing(edge(), async () => {
        for (const port of [edge().port, edge().nginx.port]) {
          const request = get(path, ...lines, edge().login('user-199'));
          // A server that has seen enough may close before its answer was read.
          const status = (await exchange(port, request))?.status ?? 400;
          assert.ok([400, 414, 431].includes(status), String(status));
        }
      });
      await assertAnswered();
    });
  }

  it('a hundred clients that send a byte at a time', async () => {
    const wires = await connections(100);
    for (const byte of get('/shard', 'X: y').subarray(0, -2).toString()) {
      for (const wire of wires) wire.send(byte);
      await assertAnswered();
    }
    for (const wire of wires) wire.destroy();
  });

  it('slow clients: the Sharder waits a minute for headers, and half an hour for an import', async () => {
    const [engine] = engines;
    assert.ok(engine);
    const server = createServer(await startSharder(engine));
    assert.deepEqual([server.headersTimeout, server.requestTimeout], [60_000, 1_800_000]);
  });

  it('a thousand connections to each that send nothing, and then half a request', async () => {
    const wires = await connections(1_000);
    await assertAnswered();
    for (const wire of wires) wire.send('GET / HTTP/1.1\r\nHost: x\r\nX: ');
    await assertAnswered();
    for (const wire of wires) wire.destroy();
  });

  /** So many to the Sharder, and so many to nginx. */
  function connections(count: number): Promise<Wire[]> {
    const ports = [...many(count, edge().port), ...many(count, edge().nginx.port)];
    return Promise.all(ports.map((port) => Wire.connect(port)));
  }

  async function assertAnswered(): Promise<void> {
    const user = edge().newUser();
    await assertOwn(edge(), user, await edge().visit(user));
    assert.equal((await edge().shard(user)).bucket, await edge().bucketOf(user));
    assert.equal(edge().service.process.exitCode, null);
  }
});
