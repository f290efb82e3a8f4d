// A bucket's server for tests of the edge: it answers with what reached it, and speaks WebSocket as
// far as a test needs.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
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
