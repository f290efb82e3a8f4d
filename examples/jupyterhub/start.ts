// npm run jupyterhub: two real JupyterHubs behind the edge, on one machine without containers. Ctrl-C
// ends it; who is where, and everyone's notebooks, are kept in `state` for the next time.

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deriveLoginKey } from '../../src/login-proof.js';
import { startEdge } from '../edge.js';
import { askedToEnd } from '../local.js';
import { hasJupyterHub, JupyterHub } from './hub.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const { PORT = '8080', STATE = here('state'), USERS = 'iana brian' } = process.env;
const state = resolve(STATE);

if (!hasJupyterHub()) {
  process.stderr.write('jupyterhub is not there: run test/install-servers.sh\n');
  process.exit(1);
}
// Each hub gets a key that is derived from it, and by which it knows who has come through the edge.
function readLoginSecret(): string {
  const file = join(state, 'login-secret');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

async function run(): Promise<void> {
  const loginSecret = readLoginSecret();
  const config = here('jupyterhub_config.py');
  for (const name of ['hub-0', 'hub-1']) {
    const env = {
      SHARDER_LOGIN_KEY: deriveLoginKey(loginSecret, 'hub', name),
      SHARDER_BUCKET: name,
    };
    hubs.set(name, await JupyterHub.start(join(state, name), config, env));
  }
  const areUp = Promise.all([...hubs.values()].map((hub) => hub.answers())).then(() => true);
  areUp.catch(() => undefined); // once it has been asked to end, that is no news
  if (!(await Promise.race([areUp, end]))) return;
  const edge = await startEdge({
    port: Number(PORT),
    database: `sqlite:${join(state, 'sharder.db')}`,
    hubs: [...hubs].map(([name, { url }]) => ({ name, url })),
    users: USERS.split(' '),
    loginSecret,
  });
  process.stdout.write(
    `Two JupyterHubs at ${edge.url}. Log in as iana with the password iana, or as brian with brian.\n`,
  );
  await end;
  await edge.stop();
}

const end = askedToEnd();
const hubs = new Map<string, JupyterHub>();
try {
  await run();
} finally {
  process.stdout.write('Stopping the hubs and their notebooks.\n');
  await Promise.all([...hubs.values()].map((hub) => hub.stop()));
}
