// What somebody may have written into the table of buckets, by a command or by hand: names and URLs with
// what means something to nginx or to HTTP. None of it means anything there.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderCookies } from '../src/deploy/nginx-cookies.js';
import { assertNothing, assertOwn, Edge, edgeWith, words } from './edge.js';
import { exchange, get } from './http/wire.js';
import { needsNginx } from './nginx.js';

describe('what somebody wrote into the table by hand injects nothing', needsNginx, () => {
  const NAMES = [
    'a\nb',
    'a\r\nX-Evil: 1',
    '"; } evil on; #',
    'a b',
    ...words('a"b a;b a\\ a%0d%0ab ž'),
  ];
  const HARMLESS_NAMES = words("$evil ${evil} a}b a'b { #evil");
  const URLS = words(String.raw`
    http://127.0.0.1:1;evil http://127.0.0.1:1}evil http://$evil/ http://127.0.0.1:0 http://unix:80
    unix:/run/evil javascript:evil http:// http://u:p@127.0.0.1 http://127.0.0.1:1/?evil
    http://127.0.0.1:1/#evil http://127.0.0.1:99999`);
  URLS.push(
    '',
    'http://127.0.0.1:1 evil',
    'http://127.0.0.1:1\n;evil',
    `http://127.0.0.1/${'a'.repeat(5_000)}`,
  );
  const HARMLESS_URLS = words(String.raw`
    http://127.0.0.1:1/";evil;" http://127.0.0.1:1/';evil;' http://127.0.0.1:1/;evil; http://127.0.0.1:1/\"
    http://127.0.0.1:1/$evil$\{evil} http://127.0.0.1:1/}evil{`);
  HARMLESS_URLS.push('http://127.0.0.1:1/\r\nX-Evil: 1', 'http://127.0.0.1:1/"; evil "');

  const named = [...NAMES, ...HARMLESS_NAMES].map((name) => [name, 'http://127.0.0.1:1'] as const);
  const addressed = [...URLS, ...HARMLESS_URLS].map((url, i) => [`url-${i}`, url] as const);
  const odd = [...named, ...addressed];
  const users = odd.map((_, i) => `of-odd-${i}`);
  const edge = edgeWith({
    users,
    byHand: async ({ knex }) => {
      await knex('kind').insert({ name: 'a"; evil' });
      await knex('bucket').insert({ kind: 'a"; evil', name: 'x', url: 'http://127.0.0.1:1' });
      for (const [i, [name, url]] of odd.entries()) {
        await knex('bucket').insert({ kind: 'hub', name, url, state: 'cordoned' });
        await knex('shard').insert({ kind: 'hub', bucket: name, name: users[i] });
      }
    },
  });

  it('`sharder render nginx` writes lines of its own alone', () => {
    const LINES = [
      /^(#.*| {4}keepalive 32;| {4}keepalive_timeout 4s;| {4}volatile;| {4}default "";|\}|)$/,
      /^map \$http_upgrade \$sharder_ws \{$/,
      /^ {4}websocket \._ws;$/,
      /^upstream sharder(\.[a-z0-9_-]+){2}(\._ws)? \{$/,
      /^ {4}server [a-z0-9.:[\]_-]+;$/,
      /^map "\$sharder_kind\/\$sharder_bucket" \$sharder_(base|host) \{$/,
      /^ {4}"[^"\\]+" "http:\/\/sharder\.[a-z0-9._-]+\$sharder_ws[^"\\$]*";$/,
      /^ {4}"[^"\\]+" "[^"\\$]+";$/,
    ];
    // The maps of cookies have the names of kinds, and nothing of a bucket.
    const cookies = renderCookies({ kinds: ['hub'], keys: [] });
    const { stdout } = edge().rendered;
    assert.ok(stdout.includes(cookies));
    for (const line of stdout.replace(cookies, '').split('\n')) {
      const isOwn = LINES.some((own) => own.test(line));
      assert.ok(isOwn, line);
    }
  });

  it('`sharder render nginx` leaves out what cannot be used, with a note', () => {
    const left = [...NAMES, 'x', ...URLS.map((_, i) => `url-${i}`)].map((name) =>
      JSON.stringify(name),
    );
    const notes = edge().rendered.stderr.matchAll(
      /^note: left out bucket (".*") of kind .+: .+$/gm,
    );
    assert.deepEqual(new Set([...notes].map(([, name]) => name)), new Set(left));
  });

  it('the Sharder answers with headers of its own alone', async () => {
    const OWN =
      /^(content-|cache-|x-(shard|content|dns|download|frame|permitted|xss)-|set-cookie$|date|connection|keep-alive|location|referrer-|cross-origin-|origin-|vary)/;
    for (const user of users) {
      for (const path of ['/shard', '/auth', '/go']) {
        const response = await exchange(edge().port, get(path, `REMOTE_USER: ${user}`));
        assert.ok(response && response.status < 500);
        for (const header of response.headers.keys()) assert.match(header, OWN);
        const cookie = response.headers.get('set-cookie') ?? '';
        assert.match(cookie, /^(hub=[^;\s]+; Path=\/; HttpOnly; SameSite=Lax)?$/);
      }
    }
  });

  it('nginx says 503 to the users of such buckets, and serves all others', async () => {
    await assertNothing(edge(), async () => {
      for (const user of users) assert.equal((await edge().visit(user))?.status, 503, user);
    });
    const user = edge().newUser();
    await assertOwn(edge(), user, await edge().visit(user));
  });
});

describe('a bucket may be called what it likes, and its users arrive there', needsNginx, () => {
  const buckets = words(`
    Hub-0 hub-0 HUB-0 hub_0 hub.0 default include volatile hostnames ~.* ~^hub ~*hub * *.hub .hub ..
    $host \${host} a$ a'b {} #x ! ( [a-z] [^a] ^ | +? a/b / <> \` http://evil.example hub/hub-0 0
    upstream @sharder_unavailable ${'x'.repeat(256)} ${'Y'.repeat(255)}`);
  for (const route of ['asked', 'signed'] as const) {
    it(`where the bucket is ${route}`, async () => {
      const edge = await Edge.start({ buckets, route });
      for (const user of buckets.map(() => edge.newUser())) {
        const { cookie } = await edge.shard(user);
        await assertOwn(edge, user, await edge.visit(user));
        await assertOwn(edge, user, await edge.visit(user, [`Cookie: hub=${cookie}`]));
      }
      assert.deepEqual(new Set(edge.received.map(({ bucket }) => bucket)), new Set(buckets));
    });
  }
});
