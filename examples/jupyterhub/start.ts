// npm run jupyterhub: two real JupyterHubs behind the edge, on one machine without containers. Ctrl-C
// ends it; who is where, and everyone's notebooks, are kept in `state` for the next time.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/postgres.js';
import { askedToEnd, startEdge, type Hub } from '../edge.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const { PORT = '8080', STATE = here('state'), USERS = 'iana brian' } = process.env;
const state = resolve(STATE);
const end = askedToEnd();
const hubs: JupyterHub[] = [];

interface JupyterHub extends Hub {
  readonly process: ChildProcess;
  readonly log: string;
}

async function startHub(name: string): Promise<JupyterHub> {
  const dir = join(state, name);
  mkdirSync(join(dir, 'home'), { recursive: true, mode: 0o700 });
  const [port, apiPort, proxyApiPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const log = join(dir, 'log');
  const output = openSync(log, 'a', 0o600);
  const child = spawn('jupyterhub', ['--config', here('jupyterhub_config.py')], {
    cwd: dir,
    env: {
      ...process.env,
      HUB_STATE: dir,
      HUB_PORT: String(port),
      HUB_API_PORT: String(apiPort),
      HUB_PROXY_API_PORT: String(proxyApiPort),
      HUB_PROXY_COMMAND: here('../../node_modules/.bin/configurable-http-proxy'),
    },
    stdio: ['ignore', output, output],
    detached: true, // Ctrl-C is for us: a hub that is told twice does not stop its notebooks
  });
  return { name, url: `http://127.0.0.1:${port}`, process: child, log };
}

/** Resolves when it answers through its proxy. */
async function answers({ name, url, process: child, log }: JupyterHub): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended: see ${log}`);
    const response = await fetch(`${url}/hub/health`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(100);
  }
}

async function stopHub({ process: child }: JupyterHub): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM'); // ends the notebooks and the proxy with it
  await exited;
}

if (spawnSync('jupyterhub', ['--version']).status !== 0) {
  process.stderr.write('jupyterhub is not there: run test/install-servers.sh\n');
  process.exit(1);
}
try {
  for (const name of ['hub-0', 'hub-1']) hubs.push(await startHub(name));
  await Promise.race([Promise.all(hubs.map(answers)), end]);
  const edge = await startEdge({
    port: Number(PORT),
    database: `sqlite:${join(state, 'sharder.db')}`,
    hubs: hubs.map(({ name, url }) => ({ name, url })),
    users: USERS.split(' '),
  });
  process.stdout.write(
    `Two JupyterHubs at ${edge.url}. Log in as iana with the password iana, or as brian with brian.\n`,
  );
  await end;
  process.stdout.write('Stopping the hubs and their notebooks.\n');
  await edge.stop();
} finally {
  await Promise.all(hubs.map(stopHub));
}
