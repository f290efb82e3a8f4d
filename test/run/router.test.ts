// The router before real servers, over real HTTP and WebSockets.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect, createServer as createNetServer, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, afterEach, describe, it } from 'node:test';
import { WebSocket, WebSocketServer, type RawData } from 'ws';
import { Rendezvous } from '../../src/assign/hash.js';
import { KeyPattern } from '../../src/key-pattern.js';
import type { Target } from '../../src/run/front.js';
import { Router } from '../../src/run/router.js';
import { PATTERN } from './start.js';

type Trouble = Target['trouble'];

const servers: Server[] = [];
const routers: Router[] = [];
afterEach(async () => {
  for (const router of routers.splice(0)) await router.close();
});
after(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

async function startServer(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function startRouter(targets: readonly Target[]): Promise<{ router: Router; url: string }> {
  const pattern = new KeyPattern(PATTERN);
  const router = new Router({ host: '127.0.0.1', port: 0, pattern, targets });
  routers.push(router);
  return { router, url: await router.listen() };
}

/** A router before one server. */
async function startBefore(listener: RequestListener, trouble?: Trouble) {
  const { server, port } = await startServer(listener);
  const target = { name: 'server-0', host: '127.0.0.1', port, trouble };
  return { server, target, ...(await startRouter([target])) };
}

const shown = (req: IncomingMessage, res: ServerResponse): void => {
  res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers }));
};

function ask(url: string, options: Parameters<typeof request>[1] = {}) {
  const sent = request(url, options);
  const response = once(sent, 'response').then(([response]) => response as IncomingMessage);
  return { sent, response };
}

describe('a request', () => {
  it('goes to the copy of its key, which the answer names, whatever stands around the key', async () => {
    const targets = await Promise.all(
      ['server-0', 'server-1', 'server-2'].map(async (name) => {
        const { port } = await startServer((_req, res) => res.end(name));
        return { name, host: '127.0.0.1', port, trouble: undefined };
      }),
    );
    const { url } = await startRouter(targets);
    const hash = new Rendezvous(targets.map(({ name }) => ({ name, weight: 1 })));
    for (const user of ['iana', 'brian', 'carol', 'a%2Fb', 'judy']) {
      for (const path of ['/', '/a/b?c=/users/other/', '/?x']) {
        const response = await fetch(`${url}/users/${user}${path}`);
        assert.equal(await response.text(), hash.bucketOf(user));
        assert.equal(response.headers.get('x-shard-bucket'), hash.bucketOf(user));
      }
    }
    // Where the pattern does not match, it is the whole path.
    const response = await fetch(`${url}/about?a`);
    assert.equal(await response.text(), hash.bucketOf('/about'));
  });

  it('arrives as it was sent, and says from whom', async () => {
    const { url } = await startBefore(shown);
    const headers = { Host: 'a.example', 'X-Mine': 'yes', 'X-Forwarded-For': '10.0.0.1' };
    const path = '/users/a/%2e%2e//b?c=%20&d';
    const { sent, response } = ask(url, { path, method: 'PUT', headers });
    sent.end('body');
    const seen = JSON.parse(await text(await response)) as {
      method: string;
      url: string;
      headers: Record<string, string>;
    };
    assert.equal(seen.method, 'PUT');
    assert.equal(seen.url, path);
    assert.equal(seen.headers.host, 'a.example');
    assert.equal(seen.headers['x-mine'], 'yes');
    assert.equal(seen.headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(seen.headers['x-forwarded-host'], 'a.example');
    assert.equal(seen.headers['x-forwarded-proto'], 'http');
  });

  const wholeUrls: readonly [sent: string, arrives: string][] = [
    ['http://a.example/users/a/x?b=c', '/users/a/x?b=c'],
    ['HTTPS://a.example:81//users/a/', '//users/a/'],
    ['http://a.example', '/'],
    ['http://a.example?b=/c', '/?b=/c'],
    ['/http://a.example/x', '/http://a.example/x'],
  ];
  for (const [sentUrl, arrives] of wholeUrls) {
    it(`for ${sentUrl} arrives as one for ${arrives}`, async () => {
      const { url } = await startBefore(shown);
      const { sent, response } = ask(url, { path: sentUrl });
      sent.end();
      const seen = JSON.parse(await text(await response)) as { url: string };
      assert.equal(seen.url, arrives);
    });
  }

  it('for a copy in trouble gets 503, which copy it is, and when to try again', async () => {
    const trouble = { what: 'server-0 has ended and is started again', retryAfter: 7 };
    const { url } = await startBefore(shown, trouble);
    const response = await fetch(`${url}/users/a/`);
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('retry-after'), '7');
    assert.equal(response.headers.get('x-shard-bucket'), 'server-0');
    assert.equal(await response.text(), 'server-0 has ended and is started again\n');
  });

  it('gets 503 where nobody listens, and 502 where the copy dies with it', async () => {
    const { server, url, target } = await startBefore((req) => req.socket.destroy());
    const broken = await fetch(`${url}/users/a/`);
    assert.equal(broken.status, 502);
    assert.equal(await broken.text(), 'server-0 broke the connection off\n');
    assert.equal(target.trouble, undefined);
    server.close();
    const refused = await fetch(`${url}/users/a/`);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal(await refused.text(), 'server-0 does not listen\n');
  });

  it('whose answer breaks off in the middle breaks off too, and is not taken for whole', async () => {
    const { url } = await startBefore((_req, res) => {
      res.write('half');
      setImmediate(() => res.destroy());
    });
    const response = await fetch(`${url}/users/a/`);
    await assert.rejects(response.text(), /terminated/);
  });

  it('is answered in the protocol it came in when it asks for HTTP/2, as clients in Java do', async () => {
    const { url } = await startBefore(shown);
    const headers = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': '' };
    const { sent, response } = ask(`${url}/users/a/`, { headers, agent: false });
    sent.end();
    const answer = await response;
    assert.equal(answer.statusCode, 200);
    const seen = JSON.parse(await text(answer)) as { headers: Record<string, string> };
    assert.equal(seen.headers.upgrade, undefined);
  });
});

describe('a stream', () => {
  it('of events comes as it is written, its head before the first of them', async () => {
    let events: ServerResponse | undefined;
    const { url } = await startBefore((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      events = res;
    });
    const response = await fetch(`${url}/users/a/`);
    const reader = response.body?.getReader();
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      events?.write(event);
      const piece = (await reader?.read())?.value as Uint8Array | undefined;
      assert.equal(Buffer.from(piece ?? []).toString(), event);
    }
    await reader?.cancel();
  });

  it('goes both ways at once, each piece answered before the next is sent', async () => {
    const { url } = await startBefore((req, res) => {
      req.pipe(res);
    });
    const { sent, response } = ask(`${url}/users/a/`, { method: 'POST' });
    sent.write('0');
    const answer = (await response).setEncoding('utf8');
    for (let i = 1; i < 4; i++) {
      const [piece] = (await once(answer, 'data')) as [string];
      assert.equal(piece, String(i - 1));
      sent.write(String(i));
    }
    sent.end();
    assert.equal(await text(answer), '3');
  });

  it('is not kept: a client who does not read holds the copy up', async () => {
    let written = 0;
    let onFull: () => void = () => undefined;
    const full = new Promise<void>((resolve) => (onFull = resolve));
    const { url } = await startBefore((_req, res) => {
      // Until nothing more is taken for a while; far less than there is.
      const piece = Buffer.alloc(1 << 20);
      const more = (): void => {
        written++;
        if (written === 2_000) return;
        if (res.write(piece)) setImmediate(more);
        else {
          const stuck = setTimeout(onFull, 300);
          res.once('drain', () => {
            clearTimeout(stuck);
            more();
          });
        }
      };
      more();
    });
    const { sent, response } = ask(`${url}/users/a/`);
    sent.end();
    const answer = await response;
    await full;
    assert.ok(written < 200, `${written} MB`);
    answer.destroy();
  });

  it('that the client gives up ends at the copy, while it uploads and while it reads', async () => {
    for (const method of ['GET', 'POST']) {
      let onClosed: (isComplete: boolean) => void = () => undefined;
      const closed = new Promise<boolean>((resolve) => (onClosed = resolve));
      const { url } = await startBefore((req, res) => {
        res.write('begun');
        res.once('close', () => {
          onClosed(res.writableFinished);
        });
        req.on('error', () => undefined);
        req.resume();
      });
      const { sent, response } = ask(`${url}/users/a/`, { method });
      sent.on('error', () => undefined);
      if (method === 'POST') sent.write('half of it');
      else sent.end();
      await response;
      sent.destroy();
      assert.equal(await closed, false);
    }
  });
});

describe('connections to a copy', () => {
  it('are used again, and a client that closes its own closes none of them', async () => {
    const ports = new Set<number | undefined>();
    const { url } = await startBefore((req, res) => {
      ports.add(req.socket.remotePort);
      res.end();
    });
    for (const keepAlive of [true, false, true, false]) {
      const { sent, response } = ask(`${url}/users/a/`, { agent: new Agent({ keepAlive }) });
      sent.end();
      const answer = await response;
      assert.equal(answer.headers.connection, keepAlive ? 'keep-alive' : 'close');
      await text(answer);
    }
    assert.equal(ports.size, 1);
  });
});

describe('a WebSocket', () => {
  function echo(server: Server): WebSocketServer {
    return new WebSocketServer({ server }).on('connection', (socket) => {
      socket.on('message', (data: RawData, isBinary) => {
        socket.send(data, { binary: isBinary });
      });
    });
  }

  it('reaches the copy of its key, which the answer names, and each end hears of the other', async () => {
    const { server, url } = await startBefore(shown);
    const sockets = echo(server);
    const client = new WebSocket(`${url.replace('http', 'ws')}/users/a/chat`);
    const [upgraded, opened] = [once(client, 'upgrade'), once(client, 'open')];
    const [there] = (await once(sockets, 'connection')) as [WebSocket];
    const [head] = (await upgraded) as [IncomingMessage];
    assert.equal(head.headers['x-shard-bucket'], 'server-0');
    await opened;
    for (const message of ['hello', 'x'.repeat(200_000)]) {
      client.send(message);
      const [data] = (await once(client, 'message')) as [Buffer];
      assert.equal(data.toString(), message);
    }
    const closed = once(there, 'close');
    client.terminate(); // without a word
    await closed;
    sockets.close();
  });

  it('that is asked for by a whole URL reaches the path in it', async () => {
    const { server, url } = await startBefore(shown);
    const sockets = echo(server);
    const headers = {
      ...{ Connection: 'Upgrade', Upgrade: 'websocket' },
      ...{ 'Sec-WebSocket-Version': 13, 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
    };
    const { sent } = ask(url, { path: 'http://a.example/users/a/chat?b', headers });
    const connected = once(sockets, 'connection');
    const upgraded = once(sent, 'upgrade');
    sent.end();
    const [, there] = (await connected) as [WebSocket, IncomingMessage];
    const [, socket] = (await upgraded) as [IncomingMessage, Socket];
    assert.equal(there.url, '/users/a/chat?b');
    socket.destroy();
    sockets.close();
  });

  it('ends for the client when the copy dies', async () => {
    const { server, url } = await startBefore(shown);
    const sockets = echo(server);
    const client = new WebSocket(`${url.replace('http', 'ws')}/users/a/chat`);
    const opened = once(client, 'open');
    const [there] = (await once(sockets, 'connection')) as [WebSocket];
    await opened;
    const closed = once(client, 'close');
    there.terminate();
    const [code] = (await closed) as [number];
    assert.equal(code, 1006);
    sockets.close();
  });

  it('is refused as any request: by a copy that has none, in trouble, or gone', async () => {
    const refused = async (url: string): Promise<[number, string]> => {
      const client = new WebSocket(`${url.replace('http', 'ws')}/users/a/chat`);
      client.on('error', () => undefined);
      const [, response] = (await once(client, 'unexpected-response')) as [
        unknown,
        IncomingMessage,
      ];
      return [response.statusCode ?? 0, await text(response)];
    };
    const none = await startBefore((_req, res) => res.writeHead(404).end('no such thing'));
    assert.deepEqual(await refused(none.url), [404, 'no such thing']);
    none.server.close();
    none.server.closeAllConnections();
    assert.deepEqual(await refused(none.url), [503, 'server-0 does not listen\n']);
    const trouble = { what: 'server-0 is starting', retryAfter: 1 };
    const starting = await startBefore(shown, trouble);
    assert.deepEqual(await refused(starting.url), [503, 'server-0 is starting\n']);
  });
});

describe('a router that stops', () => {
  it('lets running requests end, refuses new ones, and waits for no WebSocket and no events', async () => {
    let finish: () => void = () => undefined;
    const { server, router, url } = await startBefore((req, res) => {
      if (req.url?.endsWith('events')) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      } else {
        res.write('begun, ');
        finish = () => res.end('ended');
      }
    });
    new WebSocketServer({ server });
    const client = new WebSocket(`${url.replace('http', 'ws')}/users/a/`);
    await once(client, 'open');
    const events = await fetch(`${url}/users/a/events`);
    const running = await fetch(`${url}/users/a/`);
    // A connection that is there already, and sends its request too late.
    const late = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('utf8');
    await once(late, 'connect');
    late.write('GET /users/a/ HTTP/1.1\r\n');
    await fetch(`${url}/users/a/events`).then((response) => response.body?.cancel());

    let isDrained = false;
    const drained = router.drain(60_000).then(() => (isDrained = true));
    await assert.rejects(fetch(`${url}/users/a/`));
    late.write('Host: x\r\n\r\n');
    const [refusal] = (await once(late, 'data')) as [string];
    assert.match(refusal, /^HTTP\/1\.1 503 [^]*the router is stopping\n$/);
    late.destroy();
    assert.equal(isDrained, false);
    finish();
    assert.equal(await running.text(), 'begun, ended');
    await drained;
    assert.equal(client.readyState, WebSocket.OPEN);

    const closed = once(client, 'close');
    await router.close();
    await closed;
    await assert.rejects(events.text());
  });

  it('waits for a request no longer than it is told to', async () => {
    const { router, url } = await startBefore((_req, res) => {
      res.write('begun');
    });
    const running = await fetch(`${url}/users/a/`);
    await router.drain(10);
    await router.close();
    await assert.rejects(running.text());
  });
});

describe('a router that cannot listen', () => {
  it('says why', async () => {
    const { port } = await startServer(shown);
    const router = new Router({
      ...{ host: '127.0.0.1', port, targets: [] },
      pattern: new KeyPattern(PATTERN),
    });
    await assert.rejects(router.listen(), {
      code: 'settings',
      message: `port: http://127.0.0.1:${port}: another program listens there already; stop it, or give another port`,
    });
  });
});

describe('nothing that a client or a server sends ends the router', () => {
  /** What comes back first for these bytes. */
  async function sent(url: string, bytes: string): Promise<string> {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write(bytes);
    const first = once(socket, 'data').then(([data]: unknown[]) => String(data));
    const answer = await Promise.race([first, once(socket, 'close').then(() => '')]);
    socket.destroy();
    return answer;
  }

  const requests: Readonly<Record<string, readonly [bytes: string, answer: RegExp]>> = {
    'a trailer without chunks': [
      'GET /users/iana/ HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 200/,
    ],
    'a trailer of an upgrade': [
      'GET /users/iana/ HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
      /^HTTP\/1.1 /,
    ],
    'a trailer of another upgrade': [
      'GET /users/iana/ HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n',
      /^HTTP\/1.1 200/,
    ],
    'chunks with a trailer': [
      'POST /users/iana/ HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\nx: y\r\n\r\n',
      /^HTTP\/1.1 200/,
    ],
    'an upgrade behind a request that is not answered yet': [
      'GET /users/iana/ HTTP/1.1\r\nHost: a\r\n\r\nGET /users/iana/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n',
      /^(HTTP\/1.1 |$)/,
    ],
    'HTTP/1.0 without a host': ['GET /users/iana/ HTTP/1.0\r\n\r\n', /^HTTP\/1.1 200/],
  };
  for (const [title, [bytes, answer]] of Object.entries(requests)) {
    it(title, async () => {
      const { url } = await startBefore(shown);
      assert.match(await sent(url, bytes), answer);
      assert.equal((await fetch(`${url}/users/iana/`)).status, 200);
    });
  }

  const answers: Readonly<Record<string, string>> = {
    'a status of 000': 'HTTP/1.1 000 x',
    'a status of 099': 'HTTP/1.1 099 OK',
    'a control character in the reason': 'HTTP/1.1 200 O\x01K',
    'no HTTP at all': 'SSH-2.0-OpenSSH_9.2',
    'a 101 that nobody asked for': 'HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade',
    'a bare 101': 'HTTP/1.1 101 X',
  };
  for (const [title, line] of Object.entries(answers)) {
    for (const upgrade of ['', 'Upgrade: websocket\r\nConnection: upgrade\r\n']) {
      it(`${title}${upgrade && ', for an upgrade'}`, async () => {
        const server = createNetServer((socket) => {
          socket.on('error', () => undefined);
          socket.once('data', () => socket.end(`${line}\r\nContent-Length: 0\r\n\r\n`));
        }).listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address() as AddressInfo;
        const { url } = await startRouter([
          { name: 'server-0', host: '127.0.0.1', port, trouble: undefined },
        ]);
        const head = `GET /users/iana/ HTTP/1.1\r\nHost: a\r\n${upgrade || 'Connection: close\r\n'}\r\n`;
        const answer = await sent(url, head);
        if (upgrade === '') assert.match(answer, /^HTTP\/1.1 502/);
        assert.equal((await fetch(`${url}/users/iana/`)).status, 502);
        server.close();
      });
    }
  }

  it('a trailer that a server announces, however it answers', async () => {
    const server = createNetServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () =>
        socket.end('HTTP/1.1 200 OK\r\nTrailer: x\r\nContent-Length: 2\r\n\r\nok'),
      );
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { url } = await startRouter([
      { name: 'server-0', host: '127.0.0.1', port, trouble: undefined },
    ]);
    assert.equal(await (await fetch(`${url}/users/iana/`)).text(), 'ok');
    assert.match(await sent(url, 'GET /users/iana/ HTTP/1.0\r\nHost: a\r\n\r\n'), /^HTTP\/1.1 200/);
    server.close();
  });
});
