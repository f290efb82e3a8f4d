// A proxy before servers that answer at once: `router`, that of `sharder run`, or `plain`, the library
// that it uses, before one of them. Arguments: which, and the servers' ports.

import { Agent, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createProxyServer } from 'httpxy';
import { KeyPattern } from '../src/key-pattern.js';
import { Router } from '../src/run/router.js';

const [, , which, ...ports] = process.argv;
const targets = ports.map((port, i) => ({
  ...{ name: `server-${i}`, host: '127.0.0.1', port: Number(port) },
  trouble: undefined,
}));

if (which === 'router') {
  const pattern = new KeyPattern(String.raw`^\/users\/([^\/]*)\/.*`);
  const router = new Router({ host: '127.0.0.1', port: 0, pattern, targets });
  console.log(await router.listen());
} else {
  const [target] = targets;
  if (!target) throw new Error('no port');
  const { host, port } = target;
  const proxy = createProxyServer({ agent: new Agent({ keepAlive: true }) });
  const server = createServer((req, res) => {
    void proxy.web(req, res, { target: { host, port } });
  });
  server.listen(0, '127.0.0.1', () => {
    console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
}
