// One of the processes that share the queue. It knows nothing of the others but its part: an index out
// of a count.

import { ShardRegistrar } from '../../src/client/index.js'; // for you: 'sharder/client'
import { endsWithin } from '../local.js';
import { complain, findService } from '../workers.js';
import { Queue } from './queue.js';

const LOOK_EVERY_MS = 100;

/** Handles its part of the queue in `dir` until it is asked to end. */
export async function work(dir: string, end: Promise<void>): Promise<void> {
  const name = `worker-${process.pid}`;
  const queue = new Queue(dir);
  const registrar = new ShardRegistrar({
    ...findService(dir),
    ...{ cluster: 'notifications', name },
    heartbeatInterval: 1,
    gracePeriod: 1,
    reshardInterval: 1,
  });
  const say = (what: string) => process.stdout.write(`${name} ${what}\n`);
  registrar.on('shardChanged', ({ shard, numShards }) => say(`is ${shard}/${numShards} now`));
  registrar.on('lost', () => say('stops until it has a part again'));
  registrar.on('error', complain);
  await registrar.start();

  do {
    // Asked anew each time: it is undefined as soon as this process cannot be sure of its part.
    const part = registrar.shardInfo();
    if (part) queue.handle(`${name} ${part.shard}/${part.numShards}`, part);
  } while (!(await endsWithin(LOOK_EVERY_MS, end)));
  await registrar.stop().catch(complain);
  queue.close();
}
