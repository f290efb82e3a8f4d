// What the examples have in common: nginx with the files of nginx/, and a Sharder, on one machine.

import { randomBytes } from 'node:crypto';
import { renderNginx } from '../src/deploy/nginx.js';
import {
  createServer as createSharderServer,
  declareKinds,
  openDatabase,
  Sharder,
} from '../src/index.js';
import { listBuckets } from '../src/store/buckets.js';
import { Nginx } from '../test/nginx.js';
import { close, listen } from './local.js';

export interface Hub {
  readonly name: string;
  readonly url: string;
}

export interface EdgeOptions {
  readonly port: number;
  /** As in `DATABASE_URL`. */
  readonly database: string;
  readonly hubs: readonly Hub[];
  /** Each of them has the own name for a password. */
  readonly users: readonly string[];
  /** Login keys are derived from it. */
  readonly loginSecret?: string;
}

export interface Edge {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { port, database: url, hubs, users, loginSecret } = options;
  // Nobody else on this machine can name a user.
  const proxySecret = randomBytes(32).toString('hex');
  const database = await openDatabase(url);
  await declareKinds(database, { hub: { buckets: [...hubs] } }, 'example');
  const service = createSharderServer(await Sharder.start(database), {
    trustedProxies: ['loopback'],
    proxySecrets: [proxySecret],
    ...(loginSecret !== undefined && { loginSecrets: [loginSecret] }),
  });
  const stopService = async (): Promise<void> => {
    close(service);
    await database.close();
  };
  try {
    const nginx = await Nginx.start({
      port,
      sharders: [await listen(service)],
      upstreams: renderNginx(await database.read((knex) => listBuckets(knex))).text,
      proxySecret,
      users: Object.fromEntries(users.map((name) => [name, name])),
    });
    return {
      url: nginx.url,
      async stop() {
        await nginx.stop();
        await stopService();
      },
    };
  } catch (error) {
    await stopService();
    throw error;
  }
}
