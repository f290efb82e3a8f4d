// npm run edge: the whole edge on one machine without containers: nginx with the files of nginx/, a
// Sharder, and two sample hubs that say who they are. Ctrl-C ends it, and leaves nothing behind.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEdge } from '../edge.js';
import { askedToEnd, close, listen } from '../local.js';

function sampleHub(name: string): Server {
  return createServer((req, res) => {
    const { remote_user: user } = req.headers;
    res.setHeader('Content-Type', 'text/html; charset=utf-8');
    res.end(
      `<!doctype html><title>${name}</title><h1>${name}</h1><p>Hello, ${String(user)}.</p>\n`,
    );
  });
}

const end = askedToEnd();
const dir = mkdtempSync(join(tmpdir(), 'sharder-edge-'));
const servers = ['hub-0', 'hub-1'].map((name) => ({ name, server: sampleHub(name) }));
try {
  const hubs = await Promise.all(
    servers.map(async ({ name, server }) => ({
      name,
      url: `http://127.0.0.1:${await listen(server)}`,
    })),
  );
  const edge = await startEdge({
    port: Number(process.env.PORT ?? 8080),
    database: `sqlite:${join(dir, 'sharder.db')}`,
    hubs,
    users: ['iana', 'brian'],
  });
  process.stdout.write(
    `The edge listens on ${edge.url}. Log in as iana with the password iana, or as brian with brian.\n`,
  );
  await end;
  await edge.stop();
} finally {
  for (const { server } of servers) close(server);
  rmSync(dir, { recursive: true });
}
