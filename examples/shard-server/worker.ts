// A worker that has rooms: it opens and closes them as it is told, and says so.

import { ShardServer } from '../../src/client/index.js'; // for you: 'sharder/client'
import { complain, findService } from '../workers.js';

/** So long a room is without a worker at most if its worker dies; beside the kind's grace. */
const TTL_SECONDS = 3;

/** Has the rooms that are its until it is asked to end. */
export async function work(kind: string, dir: string, end: Promise<void>): Promise<void> {
  const bucket = `worker-${process.pid}`;
  const say = (what: string) => process.stdout.write(`${bucket} ${what}\n`);
  const server = new ShardServer({
    ...findService(dir),
    ...{ kind, bucket, ttl: TTL_SECONDS },
    add: (room, spec, epoch) => {
      const { topic } = spec as { topic: string };
      say(`opens ${room}, about ${topic}, with epoch ${epoch}`);
    },
    drop: (room) => {
      say(`closes ${room}`);
    },
  });
  server.on('lost', () => say('has lost its lease, and closes all'));
  server.on('error', complain);
  server.start();
  await end;
  await server.stop();
}
