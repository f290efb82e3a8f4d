// What the tests of ShardServer begin with: a service with a leased kind, and workers that keep a ledger.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import type { TestContext } from 'node:test';
import { ShardServer, SharderClient, type ShardServerOptions } from '../../src/client/index.js';
import { Callbacks } from '../../src/workers/callbacks.js';
import { Controller } from '../../src/workers/controller.js';
import type { TestEngine } from '../engines.js';
import { start } from '../http/start.js';

const TOKEN = 'a-token-for-the-workers-of-this-test-0123456789';
export const KIND = 'jobs';
const NETWORKS = ['loopback'];

/** Who has what, as the workers themselves say; tells `changed` of each step. */
export class Ledger extends EventEmitter<{ changed: [] }> {
  readonly owners = new Map<string, string>();
  readonly epochs = new Map<string, number>();

  add(worker: string, id: string, epoch: number): void {
    assert.equal(this.owners.get(id), undefined, `${id} is begun by ${worker}`);
    assert.equal(epoch > (this.epochs.get(id) ?? -1), true, `${id} has epoch ${epoch}`);
    this.owners.set(id, worker);
    this.epochs.set(id, epoch);
    this.emit('changed');
  }

  drop(worker: string, id: string): void {
    assert.equal(this.owners.get(id), worker);
    this.owners.delete(id);
    this.emit('changed');
  }

  count(worker: string): number {
    return [...this.owners.values()].filter((each) => each === worker).length;
  }

  /** Resolves when the workers have so many each. */
  async is(counts: Readonly<Record<string, number>>): Promise<void> {
    const isSo = () =>
      Object.entries(counts).every(([worker, count]) => this.count(worker) === count);
    while (!isSo()) await once(this, 'changed');
  }
}

/** A service and its controller; workers that write down in the ledger what they have. */
export async function prepare(engine: TestEngine, t: TestContext) {
  const toStop: { stop(): Promise<void> }[] = [];
  t.after(async () => {
    for (const each of toStop.reverse()) await each.stop();
  });
  const { url, sharder } = await start({
    engine,
    adminTokens: [{ name: 'w', scope: 'write', token: TOKEN }],
    callbackNetworks: NETWORKS,
  });
  const failed: unknown[] = [];
  const controller = new Controller(sharder.database, { onError: (why) => failed.push(why) });
  const events = { onRefused: () => undefined };
  const callbacks = new Callbacks(sharder.database, () => controller.leads, events, {
    networks: NETWORKS,
  });
  for (const each of [callbacks, controller]) {
    each.start();
    toStop.push(each);
  }
  const client = new SharderClient({ url, token: TOKEN });
  await client.createKind({ kind: KIND, leased: true, grace: 0, cooldown: 0, reshard_interval: 0 });
  const ledger = new Ledger();
  const errors: unknown[] = [];
  return {
    ...{ url, database: sharder.database, client, ledger, errors },
    register: (count: number) =>
      client.setSpecs({
        kind: KIND,
        objects: Array.from({ length: count }, (_, i) => ({ name: `job-${i}`, spec: { i } })),
      }),
    worker: (bucket: string, options: Partial<ShardServerOptions> = {}) => {
      const worker = new ShardServer({
        ...{ url, token: TOKEN, kind: KIND, bucket, ttl: 2 },
        add: (id, _spec, epoch) => {
          ledger.add(bucket, id, epoch);
        },
        drop: (id) => {
          ledger.drop(bucket, id);
        },
        ...options,
      });
      worker.on('error', (why) => errors.push(why));
      toStop.push(worker);
      worker.start();
      return worker;
    },
  };
}

/** Resolves with the next event; errors are no matter, they are tried again. */
export function told(worker: ShardServer, event: 'held' | 'lost'): Promise<void> {
  return new Promise((resolve) => {
    worker.once(event, () => {
      resolve();
    });
  });
}
