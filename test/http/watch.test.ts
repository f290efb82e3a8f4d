// GET /v1/kinds/{kind}/watch: events as they come, to readers of every pace, through everything that can
// happen to a service and its database.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pino } from 'pino';
import { moveObject } from '../../src/store/objects.js';
import { engines, hubs, needsPostgres, type TestEngine } from '../engines.js';
import { eventually, names } from '../load.js';
import { PostgresServer } from '../postgres.js';
import { start, type Running, type StartOptions } from './start.js';

const TOKEN = 'r'.repeat(32);
const adminTokens = [{ name: 'dashboard', scope: 'read', token: TOKEN }] as const;
const Authorization = `Bearer ${TOKEN}`;

function startApi(options: StartOptions = {}): Promise<Running> {
  return start({ adminTokens, buckets: hubs(3), ...options });
}

interface Event {
  readonly id: string;
  readonly action: string;
  readonly name: string | null;
  readonly to_bucket: string | null;
}

/** A stream that is read as it comes. */
class Stream {
  readonly response: IncomingMessage;
  /** All that has come. */
  text = '';
  hasEnded = false;

  private constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8').on('data', (text: string) => (this.text += text));
    response.once('end', () => (this.hasEnded = true));
    response.on('error', () => undefined);
  }

  static async open(url: string, query = '', headers: Record<string, string> = {}) {
    const request = get(`${url}/v1/kinds/hub/watch${query}`, {
      headers: { Authorization, ...headers },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Stream(response);
  }

  get events(): Event[] {
    return [...this.text.matchAll(/^data: (.*)\n\n/gm)].map(
      ([, json = '']) => JSON.parse(json) as Event,
    );
  }

  async has(what: string): Promise<void> {
    await eventually(`it has ${what}: ${this.text}`, () => this.text.includes(what));
  }

  close(): void {
    this.response.destroy();
  }
}

const move = ({ sharder }: Running, name: string, to: string) =>
  sharder.database.write((trx) => moveObject(trx, 'hub', name, to, { actor: 'test' }));

describe('a stream of events', () => {
  it('begins with where it begins, and has each event as it comes, with its id', async () => {
    const service = await startApi();
    const stream = await Stream.open(service.url);
    assert.equal(stream.response.statusCode, 200);
    const { headers } = stream.response;
    assert.match(headers['content-type'] ?? '', /^text\/event-stream/);
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['x-accel-buffering'], 'no');
    await stream.has('retry: 1000\nid: ');
    const [, begin = ''] = /^id: (\d+)$/m.exec(stream.text) ?? [];

    await service.ask('/shard', 'iana');
    await move(service, 'iana', 'hub-2');
    await stream.has('object move');
    assert.match(
      stream.text,
      /\n\nid: (\S+)\nevent: object assign\ndata: \{"id":"\1","kind":"hub",.*\}\n\nid: (\S+)\nevent: object move\ndata: \{"id":"\2",.*\}\n\n$/,
    );
    const told = stream.events;
    stream.close();

    // From anywhere: the header goes before the query.
    const [first] = told;
    for (const [query, last, expected] of [
      [`?since=${begin}`, '', told],
      [`?since=${first?.id ?? ''}`, '', told.slice(1)],
      ['?since=0', begin, told],
      ['', begin, told],
      ['', first?.id ?? '', told.slice(1)],
    ] as const) {
      const again = await Stream.open(
        service.url,
        query,
        last === '' ? {} : { 'Last-Event-ID': last },
      );
      await again.has('object move');
      assert.deepEqual(again.events, expected);
      again.close();
    }
    const all = await Stream.open(service.url, `?since=${begin}&once=true`);
    await eventually('it ends', () => all.hasEnded);
    assert.deepEqual(all.events, told);
  });

  it('that cannot begin is an error like any other', async () => {
    const service = await startApi();
    const { database } = service.sharder;
    const refused = async (path: string, headers: Record<string, string> = { Authorization }) => {
      const response = await fetch(`${service.url}/v1/kinds/${path}`, { headers });
      const { error } = (await response.json()) as { error: { code: string } };
      return [response.status, error.code];
    };
    assert.deepEqual(await refused('nosuch/watch'), [404, 'unknown_kind']);
    assert.deepEqual(await refused('hub/watch?since=x'), [400, 'bad_request']);
    assert.deepEqual(await refused('hub/watch?since=99'), [400, 'bad_request']);
    assert.deepEqual(await refused('hub/watch', {}), [401, 'no_token']);
    const wrong = { Authorization, 'Last-Event-ID': 'x' };
    assert.deepEqual(await refused('hub/watch?since=1', wrong), [400, 'bad_request']);
    await database.knex('arrival').insert({
      ...{ kind: 'hub', version: 2, previous: 1, total: 0, names: '[]', buckets: '[]' },
    });
    assert.deepEqual(await refused('hub/watch?since=0'), [410, 'forgotten']);
  });

  it('answers HEAD with its headers alone', async () => {
    const { url } = await startApi();
    const response = await fetch(`${url}/v1/kinds/hub/watch`, {
      method: 'HEAD',
      headers: { Authorization },
    });
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  });

  it('is kept open by a word now and then', async () => {
    const { url } = await startApi({ watch: { heartbeatMs: 20 } });
    const stream = await Stream.open(url);
    await stream.has(':\n\n:\n\n:\n\n');
    stream.close();
  });

  it('past the limit is refused, until another ends; and they are counted', async () => {
    const { url } = await startApi({ watch: { limit: 2 } });
    const metric = async () =>
      /^sharder_watchers (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
    const streams = [await Stream.open(url), await Stream.open(url)];
    assert.equal(await metric(), '2');
    const refused = await fetch(`${url}/v1/kinds/hub/watch`, { headers: { Authorization } });
    assert.equal(refused.status, 503);
    assert.notEqual(refused.headers.get('retry-after'), null);
    assert.match(await refused.text(), /"overloaded"/);
    streams[0]?.close();
    await eventually('there is room again', async () => (await metric()) === '1');
    const third = await Stream.open(url);
    assert.equal(third.response.statusCode, 200);
    for (const stream of [...streams, third]) stream.close();
    await eventually('nobody is left', async () => (await metric()) === '0');
  });

  it('whose place is forgotten meanwhile ends with an event that says so', async () => {
    const service = await startApi();
    const { knex } = service.sharder.database;
    const stream = await Stream.open(service.url);
    await stream.has('id: ');
    await knex.transaction(async (trx) => {
      await trx('kind').increment('version', 5);
      const version = Number((await trx('kind').pluck<number[]>('version'))[0]);
      const row = {
        kind: 'hub',
        version,
        previous: version - 1,
        total: 1,
        names: '[]',
        buckets: '[]',
      };
      await trx('arrival').insert(row);
    });
    await eventually('it ends', () => stream.hasEnded);
    assert.match(
      stream.text,
      /\n\nevent: forgotten\ndata: \{"error":\{"code":"forgotten","message":".*"\}\}\n\n$/,
    );
  });

  it('ends when the service is closed, and holds nobody up', async () => {
    const service = await startApi();
    const stream = await Stream.open(service.url);
    await stream.has('id: ');
    const closed = once(service.server, 'close');
    service.server.close();
    await eventually('it ends', () => stream.hasEnded);
    service.server.closeIdleConnections();
    await closed;
  });
});

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** A reader who asks for everything since the beginning, and takes nothing of it. */
async function askAndTakeNothing({ port }: Running) {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.write(
    `GET /v1/kinds/hub/watch?since=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${Authorization}\r\n\r\n`,
  );
  socket.pause();
  return socket;
}

describe('who takes nothing', () => {
  it('is cut off, with a line in the log, and costs no memory; who takes little at a time is not', async () => {
    let log = '';
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        log += chunk.toString();
        done();
      },
    });
    const service = await startApi({ watch: { patienceMs: 3_000 }, log: pino(sink) });
    const { sharder, url } = service;
    const all = [...names('a-name-that-is-somewhat-longer-than-most-are', 60_000)];
    for (let i = 0; i < all.length; i += 1_000) {
      await Promise.all(all.slice(i, i + 1_000).map(async (name) => sharder.assign('hub', name)));
    }
    const slow = await Stream.open(url, '?since=0');
    slow.response.pause();
    const pace = { isSlow: true };
    const taking = (async () => {
      while (pace.isSlow) {
        slow.response.resume();
        await once(slow.response, 'data');
        slow.response.pause();
        await sleep(20);
      }
      slow.response.resume();
    })();

    collectGarbage();
    const before = process.memoryUsage();
    const idle = await Promise.all(Array.from({ length: 20 }, () => askAndTakeNothing(service)));
    for (const socket of idle) socket.on('error', () => undefined);
    const closed = Promise.all(idle.map((socket) => once(socket, 'close')));
    await eventually('all are cut off', () => log.split('cut off').length - 1 >= idle.length);
    collectGarbage();
    const after = process.memoryUsage();
    // All of it, for each of them, would be 300 MB.
    const grown = after.heapUsed + after.external - before.heapUsed - before.external;
    assert.equal(grown < 60_000_000, true, `${grown} bytes`);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /^sharder_watchers 1$/m, 'the slow one is left');
    for (const socket of idle) socket.destroy();
    await closed;
    assert.equal(log.split('cut off').length - 1, idle.length, log);
    assert.match(log, /"actor":"api:dashboard","msg":"cut off: /);

    pace.isSlow = false;
    await taking;
    await eventually('the slow one has all', () => slow.text.includes(all.at(-1) ?? ''));
    assert.equal(slow.events.filter(({ action }) => action === 'object assign').length, all.length);
    slow.close();
  });
});

for (const engine of engines) {
  describe(`watchers on ${engine.name}`, engine.options, () => {
    it('are told all the same, however many, and the database is asked once for all', async () => {
      const service = await startApi({ engine });
      const { sharder, url } = service;
      const streams = await Promise.all(Array.from({ length: 100 }, () => Stream.open(url)));
      for (const stream of streams) await stream.has('id: ');
      let queries = 0;
      sharder.database.knex.on('query', () => queries++);
      const began = performance.now();
      const all = [...names('user', 300)];
      for (const name of all) await sharder.assign('hub', name);
      for (const stream of streams) await stream.has('user-299');
      const seconds = (performance.now() - began) / 1000;
      for (const { events } of streams) {
        assert.deepEqual(
          events.map(({ name }) => name),
          all,
        );
      }
      // At a tick a poll and a page, which is some statements on PostgreSQL; for each, it would be 100 times that.
      assert.equal(queries < 30 + seconds * 5 * 30, true, `${queries} queries in ${seconds} s`);
      for (const stream of streams) stream.close();
    });
  });
}

describe('a stream while PostgreSQL is killed and started again', needsPostgres, () => {
  it('stays open, and goes on without a gap', async () => {
    const server = await PostgresServer.start({ isDurable: true });
    const engine: TestEngine = {
      name: 'postgres',
      options: { skip: false },
      createDatabase: () => server.createDatabase(),
    };
    const service = await startApi({ engine });
    const { sharder, url } = service;
    const stream = await Stream.open(url);
    await sharder.assign('hub', 'before');
    await stream.has('"before"');
    const down = once(sharder, 'down');
    await server.kill();
    await down;
    await eventually('it starts again', () =>
      server.start().then(
        () => true,
        () => false,
      ),
    );
    await eventually('new users are placed', () =>
      Promise.resolve(sharder.assign('hub', 'after')).then(
        () => true,
        () => false,
      ),
    );
    await stream.has('"after"');
    assert.deepEqual(
      stream.events.map(({ name }) => name),
      ['before', 'after'],
    );
    assert.equal(stream.hasEnded, false);
    stream.close();
    await sharder.database.close();
    await server.stop();
  });
});
