// npm run jupyterhub: two real JupyterHubs behind the edge, on one machine without containers. Ctrl-C
// ends it; who is where, and everyone's notebooks, are kept in `state` for the next time.

import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askedToEnd, startEdge } from '../edge.js';
import { hasJupyterHub, JupyterHub } from './hub.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const { PORT = '8080', STATE = here('state'), USERS = 'iana brian' } = process.env;
const state = resolve(STATE);

if (!hasJupyterHub()) {
  process.stderr.write('jupyterhub is not there: run test/install-servers.sh\n');
  process.exit(1);
}
const end = askedToEnd();
const hubs = new Map<string, JupyterHub>();
try {
  for (const name of ['hub-0', 'hub-1']) {
    hubs.set(name, await JupyterHub.start(join(state, name), here('jupyterhub_config.py')));
  }
  await Promise.race([Promise.all([...hubs.values()].map((hub) => hub.answers())), end]);
  const edge = await startEdge({
    port: Number(PORT),
    database: `sqlite:${join(state, 'sharder.db')}`,
    hubs: [...hubs].map(([name, { url }]) => ({ name, url })),
    users: USERS.split(' '),
  });
  process.stdout.write(
    `Two JupyterHubs at ${edge.url}. Log in as iana with the password iana, or as brian with brian.\n`,
  );
  await end;
  process.stdout.write('Stopping the hubs and their notebooks.\n');
  await edge.stop();
} finally {
  await Promise.all([...hubs.values()].map((hub) => hub.stop()));
}
