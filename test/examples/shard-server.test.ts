// `npm run shard-server` as the README has it: rooms follow their workers, one of which is in Python.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { SharderClient } from '../../src/client/index.js';
import { findService } from '../../examples/workers.js';
import { Example } from '../examples.js';
import { eventually } from '../load.js';

const ROOMS = 12;

/** What the screen shows last: the rooms of each worker, with their epochs. */
function screen(lines: readonly string[]): Map<string, Map<string, number>> {
  const start = lines.findLastIndex((line) => !/^ {2}|^\w+-\d+ /.test(line));
  const shown = lines.slice(start).flatMap((line) => {
    const [, worker = '', rooms = ''] = /^ {2}(\S+?)(?: \(silent\))?: (.*)$/.exec(line) ?? [];
    const epochs = [...rooms.matchAll(/(room-\d+)@(\d+)(?= room|$)/g)].map(
      ([, room = '', epoch]) => [room, Number(epoch)] as const,
    );
    return worker === '' ? [] : [[worker, new Map(epochs)] as const];
  });
  return new Map(shown);
}

/** Resolves when these workers, or so many of any, have all rooms, each the same number. */
function share(example: Example, who: number | readonly string[]) {
  return example.prints((lines) => {
    const shown = screen(lines);
    const count = typeof who === 'number' ? who : who.length;
    const isDone =
      shown.size === count &&
      [...shown.values()].every((rooms) => rooms.size === ROOMS / count) &&
      (typeof who === 'number' || who.every((worker) => shown.has(worker)));
    return isDone ? shown : undefined;
  });
}

/** Every room was opened with a higher epoch than before, by a worker when the one before had closed it. */
function holdsAlways(lines: readonly string[], dead: string): void {
  const owners = new Map<string, { worker: string; epoch: number; isOpen: boolean }>();
  for (const line of lines) {
    const [, worker = '', verb = '', room = '', epoch] =
      /^(\w+-\d+) (opens|closes) (room-\d+)(?:.* epoch (\d+))?$/.exec(line) ?? [];
    if (worker === '') continue;
    const owner = owners.get(room);
    if (verb === 'opens') {
      const isFree = !owner?.isOpen || owner.worker === dead;
      assert.equal(isFree, true, `${line}, which ${owner?.worker ?? ''} has`);
      assert.equal(Number(epoch) > (owner?.epoch ?? -1), true, line);
      owners.set(room, { worker, epoch: Number(epoch), isOpen: true });
    } else if (owner?.worker === worker) owner.isOpen = false;
  }
  assert.equal(owners.size, ROOMS);
}

describe('npm run shard-server', () => {
  let example: Example;
  let dir = '';
  let victim = '';
  let survivors: string[] = [];

  before(async () => {
    example = await Example.start('shard-server');
    dir = await example.prints((lines) => /worker (\/\S+)/.exec(lines.join('\n'))?.[1]);
    victim = /kill -9 (\d+)/.exec(example.lines.join('\n'))?.[1] ?? '';
  });
  after(() => Example.stopAll());

  it('three workers have four rooms each', async () => {
    const shown = await share(example, 3);
    survivors = [...shown.keys()].filter((worker) => worker !== `worker-${victim}`);
    assert.equal(survivors.length, 2);
  });

  it('when one dies the others open its rooms, with higher epochs, and nobody ever has one twice', async () => {
    const before = screen(example.lines).get(`worker-${victim}`) ?? new Map<string, number>();
    process.kill(Number(victim), 'SIGKILL');
    const shown = await share(example, survivors);
    const now = new Map([...shown.values()].flatMap((rooms) => [...rooms]));
    for (const [room, epoch] of before) assert.equal((now.get(room) ?? 0) > epoch, true, room);
    holdsAlways(example.lines, `worker-${victim}`);
  });

  it('a worker in Python has its share, and gives it back when it ends', async () => {
    const python = spawn('python3', ['examples/shard-server/worker.py', dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(python, 'exit');
    let said = '';
    python.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    try {
      await share(example, [...survivors, `python-${python.pid ?? ''}`]);
      assert.equal([...said.matchAll(/opens room/g)].length, 4, said);
      // Who is not the Sharder is told nothing, and changes nothing, whatever it knows of the lease.
      const { items } = await new SharderClient(findService(dir)).listLeases({ kind: 'room' });
      const lease = items.find(({ bucket }) => bucket === `python-${python.pid ?? ''}`);
      const call = {
        id: 'room-99',
        spec: { topic: 'x' },
        epoch: 9_999_999,
        kind: 'room',
        ...lease,
      };
      for (const what of ['add-shard', 'drop-shard', 'nothing']) {
        const answer = await fetch(`${lease?.url ?? ''}/sm/admin/${what}`, {
          method: 'POST',
          body: JSON.stringify(call),
        });
        assert.equal(answer.status, 401);
      }
      assert.equal(said.includes('room-99'), false);
    } finally {
      python.kill('SIGTERM');
    }
    assert.deepEqual(await exited, [0, null]);
    assert.equal([...said.matchAll(/closes room/g)].length, 4, said);
    await share(example, survivors);
  });

  it('another worker is added by the command that is shown, and ends at Ctrl-C', async () => {
    const worker = await Example.start('shard-server', {}, ['worker', dir]);
    await share(example, 3);
    await worker.stop();
    await share(example, survivors);
  });

  it('leaves nothing behind at Ctrl-C', async () => {
    await example.stop();
    await eventually('the directory is gone', () => !existsSync(dir));
  });
});
