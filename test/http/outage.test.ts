// While PostgreSQL is down: a signed cookie serves its user, everyone else unknown is told when to
// come again, and /readyz and /metrics say so. It is over when the database is back.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, describe, it } from 'node:test';
import { engines, hubs, needsPostgres, postgresServer } from '../engines.js';
import type { PostgresServer } from '../postgres.js';
import { start, type Running } from './start.js';

const onPostgres = engines[1];

describe('while PostgreSQL is down', needsPostgres, () => {
  let postgres: PostgresServer;
  let service: Running;
  let cookie: string;
  let otherCookie: string;

  before(async () => {
    postgres = await postgresServer();
    const url = 'http://hub-0.example';
    service = await start({
      engine: onPostgres,
      buckets: { 'hub-0': { url } },
      kinds: ['homedir'],
      cookie: { secrets: ['a secret of at least thirty-two characters'] },
      limits: { cacheSize: 2 },
    });
    cookie = await cookieOf('iana');
    otherCookie = await cookieOf('root');
    for (const name of ['filler-1', 'filler-2']) await cookieOf(name); // iana and root leave the cache
    const isDown = once(service.sharder, 'down');
    await postgres.kill();
    await isDown;
  });

  async function cookieOf(user: string): Promise<string> {
    const response = await service.ask('/shard', user);
    return (response.headers.get('set-cookie') ?? '').split(';', 1)[0] ?? '';
  }
  const ask = (path: string, user: string, Cookie: string) =>
    service.ask(path, user, { headers: Cookie === '' ? {} : { Cookie } });

  it('a user whom the cache knows is answered, marked as stale', async () => {
    const response = await ask('/shard', 'filler-2', '');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-shard-stale'), '1');
    assert.equal(response.headers.get('x-shard-url'), 'http://hub-0.example');
  });

  it('a user whom only the cookie knows is answered, marked as stale', async () => {
    const texts = [];
    for (const path of ['/shard', '/auth', '/auth/hub/x']) {
      const response = await ask(path, 'iana', cookie);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('x-shard-bucket'), 'hub-0');
      assert.equal(response.headers.get('x-shard-reason'), 'existing');
      assert.equal(response.headers.get('x-shard-stale'), '1');
      texts.push(await response.text());
    }
    assert.deepEqual(texts, ['hub-0\n', '', '']);
    const go = await ask('/go?next=/lab', 'iana', cookie);
    assert.equal(go.status, 302);
    assert.equal(go.headers.get('location'), 'http://hub-0.example/lab');
    assert.equal(go.headers.get('x-shard-stale'), '1');
  });

  it('says so in JSON too', async () => {
    const headers = { Cookie: cookie, Accept: 'application/json' };
    const response = await service.ask('/shard', 'iana', { headers });
    assert.deepEqual(await response.json(), {
      kind: 'hub',
      name: 'iana',
      bucket: 'hub-0',
      url: 'http://hub-0.example',
      reason: 'existing',
      stale: true,
    });
  });

  it('a cookie among others is found, whichever other host has set one of the same name', async () => {
    const status = async (header: string) => (await ask('/shard', 'iana', header)).status;
    assert.equal(await status(`session=x; ${cookie}; theme=dark`), 200);
    assert.equal(await status(`${cookie}; hub=hub-1`), 200);
    assert.equal(await status(`hub=hub-1; ${cookie}`), 200);
    assert.equal(await status(`hub=junk; hub=; ${cookie}; hub=%zz`), 200);
    assert.equal(await status(`__Host-${cookie}; hub=junk`), 200);
    assert.equal(await status(`__Secure-${cookie}`), 503);
    assert.equal(await status(`=; ;;${cookie}`), 200);
  });

  it('without a cookie, or with one that proves nothing, it is 503 and when to come again', async () => {
    const value = cookie.slice('hub='.length);
    const cookies: readonly [user: string, cookie: string][] = [
      ['nobody', ''],
      ['iana', ''],
      ['iana', otherCookie],
      ['nobody', cookie],
      ['iana', 'hub=hub-0'],
      ['iana', cookie.slice(0, -1)],
      ['iana', `hub=${value}${value}`],
      ['iana', `homedir=${value}`],
      ['iana', `hub=${value.replace('hub-0', 'hub-1')}`],
      ['iana', 'hub=j:{"toString":1}'],
      ['iana', 'hub=%zz'],
    ];
    for (const path of ['/shard', '/auth', '/go']) {
      for (const [user, sent] of cookies) {
        const response = await ask(path, user, sent);
        assert.equal(response.status, 503, `${path} ${user} ${sent}`);
        assert.equal(response.headers.get('retry-after'), '2');
        assert.equal(response.headers.get('x-shard-bucket'), null);
        assert.equal(response.headers.get('set-cookie'), null);
      }
    }
    for (const sent of [cookie, `homedir=${value}`, `${cookie}; homedir=${value}`])
      assert.equal((await ask('/shard/homedir', 'iana', sent)).status, 503, sent);
  });

  it('the cookie is no way around the identity', async () => {
    const response = await service.ask('/shard', undefined, { headers: { Cookie: cookie } });
    assert.equal(response.status, 401);
  });

  it('/healthz is 200, and /readyz is 503 with the reason', async () => {
    assert.equal((await service.ask('/healthz')).status, 200);
    const ready = await service.ask('/readyz');
    assert.equal(ready.status, 503);
    assert.equal(ready.headers.get('retry-after'), '2');
    assert.equal(await ready.text(), 'the database cannot be reached; try again\n');
    const Accept = 'application/json';
    const json = await service.ask('/readyz', undefined, { headers: { Accept } });
    assert.deepEqual(await json.json(), {
      error: {
        code: 'database_unavailable',
        message: 'the database cannot be reached; try again',
      },
    });
  });

  it('/metrics tells, with stale answers counted and no members made up', async () => {
    const response = await service.ask('/metrics');
    assert.equal(response.status, 200);
    const metrics = await response.text();
    assert.match(metrics, /^sharder_database_up 0$/m);
    assert.match(metrics, /^sharder_stale_answers_total\{kind="hub"\} [1-9]/m);
    assert.doesNotMatch(metrics, /^sharder_bucket_members\{/m);
  });

  it('it is over when the database is back, by itself', async () => {
    const isUp = once(service.sharder, 'up');
    await postgres.start();
    await isUp;
    assert.equal((await service.ask('/readyz')).status, 200);
    assert.match(await (await service.ask('/metrics')).text(), /^sharder_database_up 1$/m);
    const known = await ask('/shard', 'iana', '');
    assert.equal(known.headers.get('x-shard-reason'), 'existing');
    assert.equal(known.headers.get('x-shard-stale'), null);
    assert.equal((await ask('/shard', 'nobody', '')).status, 200);
  });
});

describe('a service without a cookie secret', needsPostgres, () => {
  it('believes no cookie, signed or not, while the database is down', async () => {
    const service = await start({ engine: onPostgres, buckets: hubs(1) });
    const isDown = once(service.sharder, 'down');
    await (await postgresServer()).kill();
    await isDown;
    for (const Cookie of ['hub=hub-0', `hub=hub-0.9999999999.${'A'.repeat(43)}`]) {
      assert.equal((await service.ask('/shard', 'iana', { headers: { Cookie } })).status, 503);
    }
  });
});
