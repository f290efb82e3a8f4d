// A bucket's server for tests of the edge: it answers with what reached it, and speaks WebSocket as
// far as a test needs.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { after } from 'node:test';

/** What a request looked like when it arrived. */
export interface Seen {
  readonly bucket: string;
  readonly method: string;
  readonly url: string;
  /** In lower case; the last value of each. */
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
}

const servers = new Set<Server>();
after(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

/** Starts the server of a bucket; resolves with its URL. */
export async function startUpstream(bucket: string): Promise<{ url: string; server: Server }> {
  const server = createServer((req, res) => {
    if (req.url === '/stream') {
      // The second line comes when the client has said that it has the first.
      res.write('one\n');
      req.on('data', () => res.end('two\n'));
      return;
    }
    let bytes = 0;
    req.on('data', (part: Buffer) => (bytes += part.length));
    req.on('end', () => {
      if (req.url === '/fails') res.statusCode = 500;
      res.setHeader('Content-Type', 'application/json');
      res.end(JSON.stringify(seen(bucket, req, bytes)));
    });
  });
  server.on('upgrade', (req, socket) => {
    const key = `${req.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.write(textFrame(JSON.stringify(seen(bucket, req, 0))));
    socket.on('error', () => undefined);
  });
  servers.add(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Opens a WebSocket through a proxy to such a server; resolves with what the request looked like there. */
export async function openWebSocket(
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<Seen> {
  const client = request(url, {
    headers: {
      ...headers,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    },
  }).end();
  const [, socket, head] = (await once(client, 'upgrade')) as [IncomingMessage, Socket, Buffer];
  let frame = head;
  while (frame.length < 4 || frame.length < 4 + frame.readUInt16BE(2)) {
    frame = Buffer.concat([frame, ((await once(socket, 'data')) as [Buffer])[0]]);
  }
  socket.destroy();
  return JSON.parse(frame.subarray(4).toString()) as Seen;
}

function seen(bucket: string, req: IncomingMessage, bytes: number): Seen {
  const headers: Record<string, string> = {};
  const { rawHeaders } = req;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    headers[(rawHeaders[i] ?? '').toLowerCase()] = rawHeaders[i + 1] ?? '';
  }
  return { bucket, method: req.method ?? '', url: req.url ?? '', headers, bytes };
}

// RFC 6455, section 5.2: a final frame of text, shorter than 64 KiB.
function textFrame(text: string): Buffer {
  const body = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 126, body.length >> 8, body.length & 0xff]), body]);
}
