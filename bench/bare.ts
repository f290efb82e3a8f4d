// The bare server: `node:http` that reads the user's header and sends the bytes it was given.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { replyOfArguments } from './reply.js';

const { status, headers, body } = replyOfArguments();

// As long as the service's, for the header Keep-Alive says it.
const server = createServer({ keepAliveTimeout: 75_000 }, (req, res) => {
  if (req.headers.remote_user === undefined) {
    res.writeHead(401).end();
    return;
  }
  res.writeHead(status, [...headers]);
  res.end(body);
});
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
