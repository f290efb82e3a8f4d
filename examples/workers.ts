// What the examples with workers have in common: a Sharder on SQLite, and processes that come and go.
// All of it is in a temporary directory, and service.json there says where the Sharder is.

import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SharderClient } from '../src/client/index.js';
import { createServer, openDatabase, Sharder } from '../src/index.js';
import { Callbacks } from '../src/workers/callbacks.js';
import { Controller } from '../src/workers/controller.js';
import { close, listen } from './local.js';

/** Where workers may be called: `callback_networks` in sharder.yml. */
const NETWORKS = ['127.0.0.1'];

/** Where a Sharder is, and a token that may write. */
export interface Address {
  readonly url: string;
  readonly token: string;
}

export interface Service {
  readonly dir: string;
  readonly address: Address;
  readonly client: SharderClient;
  /** Leaves nothing behind. */
  stop(): Promise<void>;
}

export async function startService(name: string): Promise<Service> {
  const dir = mkdtempSync(join(tmpdir(), `sharder-${name}-`));
  const token = randomBytes(32).toString('hex');
  const database = await openDatabase(`sqlite:${join(dir, 'sharder.db')}`);
  const server = createServer(await Sharder.start(database), {
    adminTokens: [{ name: 'example', scope: 'write', token }],
    callbackNetworks: NETWORKS,
  });
  const address = { url: `http://127.0.0.1:${await listen(server)}`, token };
  writeFileSync(join(dir, 'service.json'), JSON.stringify(address), { mode: 0o600 });
  const controller = new Controller(database, { onError: complain });
  const onRefused = ({ bucket }: { readonly bucket: string }, why: unknown): void => {
    complain(`${bucket} was not told of its objects: ${String(why)}`);
  };
  const callbacks = new Callbacks(
    database,
    () => controller.leads,
    { onRefused, onBlocked: onRefused },
    { networks: NETWORKS },
  );
  controller.start();
  callbacks.start();
  return {
    ...{ dir, address, client: new SharderClient(address) },
    async stop() {
      await Promise.all([controller.stop(), callbacks.stop()]);
      close(server);
      await database.close();
      rmSync(dir, { recursive: true });
    },
  };
}

/** Where the Sharder of such a directory is. */
export function findService(dir: string): Address {
  return JSON.parse(readFileSync(join(dir, 'service.json'), 'utf8')) as Address;
}

/** So many processes that run this script anew, with `worker` and the directory as its arguments. */
export function startWorkers(count: number, dir: string): ChildProcess[] {
  const [, script = ''] = process.argv;
  return Array.from({ length: count }, () => fork(script, ['worker', dir]));
}

/** Resolves when all have stopped, also those that somebody has killed. */
export async function stopWorkers(workers: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    workers.map(async (worker) => {
      if (worker.exitCode !== null || worker.signalCode !== null) return;
      const exited = once(worker, 'exit');
      worker.kill('SIGTERM');
      await exited;
    }),
  );
}

export function complain(why: unknown): void {
  process.stderr.write(`${why instanceof Error ? why.message : String(why)}\n`);
}
