// npm run shard-server: twelve rooms that follow their workers, processes that come and go. Whenever
// anything is otherwise, the screen shows who has which room, with its epoch. Ctrl-C ends it, and
// leaves nothing behind.

import type { SharderClient } from '../../src/client/index.js';
import { askedToEnd, endsWithin } from '../local.js';
import { startService, startWorkers, stopWorkers } from '../workers.js';
import { work } from './worker.js';

const KIND = 'room';
const TOPICS = ['chess', 'tea', 'trains'];
const MARKS = { waiting: '', adding: ' (is told)', owned: '', dropping: ' (is to close it)' };

/** A line for each worker: the rooms that it has. */
async function whoHasWhat(client: SharderClient): Promise<string> {
  const { items: leases } = await client.listLeases({ kind: KIND });
  const { items: rooms } = await client.listSpecs({ kind: KIND, limit: 1_000 });
  const lines = leases.map(({ bucket, has_ended }) => {
    const its = rooms
      .filter((room) => room.bucket === bucket)
      .map(({ name, epoch, state }) => `${name}@${epoch ?? ''}${MARKS[state]}`);
    return `  ${bucket}${has_ended ? ' (silent)' : ''}: ${its.join(' ')}`;
  });
  const waiting = rooms.filter(({ state }) => state === 'waiting').map(({ name }) => name);
  if (waiting.length > 0) lines.push(`  nobody: ${waiting.join(' ')}`);
  return lines.join('\n');
}

async function show(end: Promise<void>): Promise<void> {
  const service = await startService('rooms');
  const { dir, client } = service;
  await client.createKind({ kind: KIND, leased: true, cookie: false, grace: 1, cooldown: 5 });
  const objects = Array.from({ length: 12 }, (_, i) => ({
    name: `room-${String(i + 1).padStart(2, '0')}`,
    spec: { topic: TOPICS[i % TOPICS.length] },
  }));
  await client.setSpecs({ kind: KIND, objects });
  const workers = startWorkers(3, dir);
  process.stdout.write(
    `Three workers share twelve rooms. Whenever that changes: who has which, each with its epoch.
End one:            kill -9 ${workers[0]?.pid ?? ''}
Add another:        npm run shard-server -- worker ${dir}
Add one in Python:  python3 examples/shard-server/worker.py ${dir}
Ctrl-C ends all.
`,
  );
  let before = '';
  do {
    const now = await whoHasWhat(client);
    if (now !== before) process.stdout.write(`${new Date().toLocaleTimeString()}\n${now}\n`);
    before = now;
  } while (!(await endsWithin(500, end)));
  await stopWorkers(workers);
  await service.stop();
}

const end = askedToEnd();
const [, , what, dir] = process.argv;
if (what === 'worker' && dir !== undefined) await work(KIND, dir, end);
else await show(end);
process.exit(); // whoever was forked is held by the channel to its parent
