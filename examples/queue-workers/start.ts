// npm run queue-workers: notifications of a thousand users, a hundred a second, shared by worker
// processes that come and go. Ctrl-C ends it, and leaves nothing behind.

import { askedToEnd, endsWithin } from '../local.js';
import { startService, startWorkers, stopWorkers } from '../workers.js';
import { Queue } from './queue.js';
import { work } from './worker.js';

const USERS = 1_000;
const EACH_SECOND = 100;

async function show(end: Promise<void>): Promise<void> {
  const service = await startService('queue');
  const queue = new Queue(service.dir);
  const workers = startWorkers(3, service.dir);
  const [one] = workers;
  process.stdout.write(
    `Three workers share the notifications of ${USERS} users. Every second: who has handled how many, as which part.
End one:         kill -9 ${one?.pid ?? ''}
Add another:     npm run queue-workers -- worker ${service.dir}
Ctrl-C ends all.
`,
  );
  do {
    const handled = [...queue.takeHandled()].map(([by, count]) => `${by}: ${count}`);
    process.stdout.write(`${[...handled, `waiting: ${queue.waiting}`].join('   ')}\n`);
    queue.add(Array.from({ length: EACH_SECOND }, () => Math.floor(Math.random() * USERS)));
  } while (!(await endsWithin(1_000, end)));
  await stopWorkers(workers);
  queue.close();
  await service.stop();
}

const end = askedToEnd();
const [, , what, dir] = process.argv;
if (what === 'worker' && dir !== undefined) await work(dir, end);
else await show(end);
process.exit(); // whoever was forked is held by the channel to its parent
