// npm run edge: the whole edge on one machine without containers: nginx with these files, a Sharder,
// and two sample hubs that say who they are. Ctrl-C ends it, and leaves nothing behind.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createServer as createSharderServer,
  declareKinds,
  openDatabase,
  Sharder,
} from '../src/index.js';
import { renderNginx } from '../src/deploy/nginx.js';
import { listBuckets } from '../src/store/buckets.js';
import { Nginx } from '../test/nginx.js';

const PORT = Number(process.env.PORT ?? 8080);
const HUBS = ['hub-0', 'hub-1'];
const USERS = { iana: 'iana', brian: 'brian' };

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function sampleHub(name: string): Server {
  return createServer((req, res) => {
    const { remote_user: user } = req.headers;
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    res.end(
      `<!doctype html><title>${name}</title><h1>${name}</h1><p>Hello, ${String(user)}.</p>\n`,
    );
  });
}

const dir = mkdtempSync(join(tmpdir(), 'sharder-edge-'));
const database = await openDatabase(`sqlite:${join(dir, 'sharder.db')}`);
const hubs = await Promise.all(
  HUBS.map(async (name) => {
    const server = sampleHub(name);
    return { name, server, url: `http://127.0.0.1:${await listen(server)}` };
  }),
);
await declareKinds(
  database,
  { hub: { buckets: hubs.map(({ name, url }) => ({ name, url })) } },
  'edge',
);
const service = createSharderServer(await Sharder.start(database), {
  trustedProxies: ['loopback'],
});
const { text } = renderNginx(await database.read((knex) => listBuckets(knex)));
const nginx = await Nginx.start({
  port: PORT,
  sharders: [await listen(service)],
  upstreams: text,
  users: USERS,
});
process.stdout.write(
  `The edge listens on ${nginx.url}. Log in as iana with the password iana, or as brian with brian.\n`,
);

await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
await nginx.stop();
for (const server of [service, ...hubs.map((hub) => hub.server)]) {
  server.close();
  server.closeAllConnections();
}
await database.close();
rmSync(dir, { recursive: true });
