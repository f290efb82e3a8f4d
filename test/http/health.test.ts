// /healthz, /readyz, what is not there, and what an unexpected error shows: nothing.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { before, describe, it } from 'node:test';
import { pino } from 'pino';
import supertest from 'supertest';
import { createLogNames } from '../../src/log-names.js';
import { start, type Running } from './start.js';

describe('the routes without a user', () => {
  let service: Running;
  before(async () => {
    service = await start();
  });

  for (const [path, text] of [
    ['/healthz', 'ok\n'],
    ['/readyz', 'ready\n'],
  ] as const) {
    it(`${path} is 200, for no cache to keep`, async () => {
      const { headers } = await supertest(service.url)
        .get(path)
        .expect(200, text)
        .expect('Content-Type', 'text/plain; charset=utf-8')
        .expect('Cache-Control', 'no-store');
      assert.equal(headers['set-cookie'], undefined);
    });
  }

  it('what is not there is 404 and says what is, in text or JSON', async () => {
    const message =
      'there is nothing at /nothing: the routes are /shard, /auth, /go, /healthz, /readyz, /metrics, /openapi.json, /docs and /v1';
    await supertest(service.url)
      .get('/nothing?x=1')
      .expect(404, `${message}\n`)
      .expect('Content-Type', 'text/plain; charset=utf-8');
    await supertest(service.url)
      .get('/nothing')
      .accept('application/json')
      .expect(404, { error: { code: 'unknown_route', message } });
  });

  it('other methods are 405 with what is allowed', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics', '/metrics/']) {
      await supertest(service.url).post(path).send('x').expect(405).expect('Allow', 'GET, HEAD');
    }
  });

  it('Express says nothing of itself, and a browser is told to run nothing', async () => {
    for (const path of ['/healthz', '/nothing', '/go']) {
      const { headers } = await supertest(service.url)
        .get(path)
        .expect('Content-Security-Policy', "default-src 'none'")
        .expect('X-Content-Type-Options', 'nosniff');
      assert.equal(headers['x-powered-by'], undefined);
    }
  });
});

describe('an error that nobody expected', () => {
  const SECRET = 'SELECT secret FROM /var/lib/place';

  for (const path of ['/shard', '/auth', '/go', '/readyz']) {
    it(`on ${path} is 500 and "internal error" to the client, and all of it in the log`, async () => {
      const lines = new PassThrough({ encoding: 'utf8' });
      const service = await start({ log: pino(lines) });
      const fail = () => {
        throw new Error(SECRET);
      };
      Object.assign(service.sharder, { assign: fail, check: fail });

      const plain = await service.ask(path, 'iana');
      assert.equal(plain.status, 500);
      assert.equal(await plain.text(), 'internal error\n');
      for (const value of plain.headers.values()) assert.ok(!value.includes('secret'));
      const headers = { Accept: 'application/json' };
      const json = await service.ask(path, 'iana', { headers });
      assert.deepEqual(await json.json(), {
        error: { code: 'internal', message: 'internal error' },
      });

      const line = JSON.parse(String(lines.read()).split('\n', 1)[0] ?? '') as LogLine;
      assert.equal(line.level, 50);
      assert.equal(line.err.message, SECRET);
      assert.match(line.err.stack, /health\.test/);
    });
  }

  it('that rejects rather than throws is the same', async () => {
    const service = await start();
    Object.assign(service.sharder, { assign: () => Promise.reject(new Error(SECRET)) });
    for (const path of ['/shard', '/auth', '/go']) {
      const response = await service.ask(path, 'iana');
      assert.equal(response.status, 500);
      assert.equal(await response.text(), 'internal error\n');
    }
  });
});

interface LogLine {
  readonly level: number;
  readonly err: { readonly message: string; readonly stack: string };
}

describe('the log', () => {
  async function logOf(options: { level: string; names: 'plain' | 'none' }): Promise<string> {
    const lines = new PassThrough({ encoding: 'utf8' });
    const log = pino({ level: options.level }, lines);
    const buckets = { 'hub-0': { capacity: 1 } };
    const service = await start({ log, logNames: createLogNames(options.names), buckets });
    for (const name of ['iana', 'jude', 'iana']) await service.ask('/shard', name);
    await service.ask('/shard/nosuch', 'jude');
    await service.ask('/shard');
    return String(lines.read() ?? '');
  }

  it('names no user, unless a setting asks for it', async () => {
    const quiet = await logOf({ level: 'info', names: 'none' });
    assert.match(quiet, /"code":"no_room"/);
    assert.doesNotMatch(quiet, /iana|jude/);
    assert.doesNotMatch(await logOf({ level: 'debug', names: 'none' }), /iana|jude/);
    assert.match(await logOf({ level: 'info', names: 'plain' }), /"user":"jude"/);
  });

  it('has every answer and refusal at debug, with the user where names may stand there', async () => {
    const all = await logOf({ level: 'debug', names: 'plain' });
    assert.match(all, /"route":"shard","kind":"hub","user":"iana","bucket":"hub-0"/);
    assert.match(all, /"code":"unknown_kind","user":"jude"/);
    assert.match(all, /"code":"no_identity"/);
  });

  it('has a stack for no expected failure', async () => {
    assert.doesNotMatch(await logOf({ level: 'debug', names: 'plain' }), /"stack"/);
  });
});
