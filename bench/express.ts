// The leanest Express: one app with one route, that does what the bare server does.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { replyOfArguments } from './reply.js';

const { status, headers, body } = replyOfArguments();

const app = express();
app.disable('x-powered-by');
app.get('/shard', (req, res) => {
  if (req.headers.remote_user === undefined) {
    res.writeHead(401).end();
    return;
  }
  res.writeHead(status, [...headers]);
  res.end(body);
});
const server = createServer({ keepAliveTimeout: 75_000 }, (req, res) => {
  app(req, res);
});
server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
