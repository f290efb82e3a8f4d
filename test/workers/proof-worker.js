// A worker of proof.test.ts, a process of its own: `node proof-worker.js '{"url": …}'`. What it does stands
// in its log before it does the next thing. Ends by itself when its stdin does, as its test has died then.

import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShardServer } from '../../dist/client/index.js';

const WORK_EVERY_MS = 50;
const SLOWEST_MS = 20;

const { log, ...options } = JSON.parse(process.argv[2]);
const begun = new Map();

// Of the machine, not of the process: it is one clock for all of them.
const now = () => Number(process.hrtime.bigint()) / 1e6;

function note(what, id, epoch, t) {
  const line = { t, worker: options.bucket, pid: process.pid, what, id, epoch };
  appendFileSync(log, `${JSON.stringify(line)}\n`);
}

// Says of the moment before it asked that the object was its own. If it is stopped right after it has
// asked, nothing can keep it from writing later on; that is what epochs are for.
function noteIfOwned(what, id, epoch) {
  const t = now();
  if (!worker.owns(id, epoch)) return false;
  note(what, id, epoch, t);
  return true;
}

const worker = new ShardServer({
  ...options,
  add: async (id, _spec, epoch) => {
    if (!noteIfOwned('add', id, epoch)) throw new Error('the lease is lost');
    begun.set(id, epoch);
    await sleep(Math.random() * SLOWEST_MS);
  },
  drop: async (id) => {
    await sleep(Math.random() * SLOWEST_MS);
    if (!begun.has(id)) return;
    note('drop', id, begun.get(id), now());
    begun.delete(id);
  },
});

worker.start();
const working = setInterval(() => {
  for (const [id, epoch] of begun) noteIfOwned('work', id, epoch);
}, WORK_EVERY_MS);

process.stdin.resume().once('end', () => process.exit(1));
process.once('SIGTERM', () => {
  void worker.stop().then(() => {
    clearInterval(working);
    process.exit();
  });
});
