// `npm run queue-workers` as the README has it: workers share a queue, and come and go.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { knuthHash, rangeOf } from '../../examples/queue-workers/queue.js';
import { Example } from '../examples.js';
import { eventually } from '../load.js';

interface Second {
  /** The part of the work, such as `0/3`, of each worker that has handled anything. */
  readonly parts: ReadonlyMap<string, string>;
  readonly waiting: number;
}

function parse(line: string): Second | undefined {
  const waiting = /waiting: (\d+)$/.exec(line)?.[1];
  if (waiting === undefined) return undefined;
  const parts = [...line.matchAll(/(worker-\d+) (\d+\/\d+): \d+/g)];
  return {
    parts: new Map(parts.map(([, worker = '', part = '']) => [worker, part])),
    waiting: Number(waiting),
  };
}

/** Resolves with the workers of a second in which these were the parts, and nobody else had any. */
function share(example: Example, parts: readonly string[]): Promise<string[]> {
  const from = example.lines.length;
  return example.prints((lines) => {
    const seconds = lines.slice(from).flatMap((line) => parse(line) ?? []);
    const found = seconds.find(
      (each) => String([...each.parts.values()].sort()) === String(parts) && each.waiting === 0,
    );
    return found && [...found.parts.keys()];
  });
}

describe('npm run queue-workers', () => {
  let example: Example;
  let dir = '';
  let victim = '';

  before(async () => {
    example = await Example.start('queue-workers');
    dir = await example.prints((lines) => /worker (\/\S+)/.exec(lines.join('\n'))?.[1]);
    victim = /kill -9 (\d+)/.exec(example.lines.join('\n'))?.[1] ?? '';
  });
  after(() => Example.stopAll());

  it('three workers share the queue, and each has another part', async () => {
    const workers = await share(example, ['0/3', '1/3', '2/3']);
    assert.equal(workers.includes(`worker-${victim}`), true);
  });

  it('when one dies the others have all of it', async () => {
    process.kill(Number(victim), 'SIGKILL');
    const workers = await share(example, ['0/2', '1/2']);
    assert.equal(workers.includes(`worker-${victim}`), false);
  });

  it('another one is added by the command that is shown, and ends at Ctrl-C', async () => {
    const worker = await Example.start('queue-workers', {}, ['worker', dir]);
    await share(example, ['0/3', '1/3', '2/3']);
    await worker.stop();
    await share(example, ['0/2', '1/2']);
  });

  it('leaves nothing behind at Ctrl-C', async () => {
    assert.equal(existsSync(dir), true);
    await example.stop();
    await eventually('the directory is gone', () => !existsSync(dir));
  });
});

describe('the parts of the queue', () => {
  it('each user is in one of them, however many there are', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 50 }), (userId, numShards) => {
        const hash = knuthHash(userId);
        const its = Array.from({ length: numShards }, (_, shard) => rangeOf({ shard, numShards }));
        assert.equal(its.filter(([from, to]) => hash >= from && hash < to).length, 1);
      }),
    );
  });

  it('users one after the other are spread evenly', () => {
    const counts = [0, 0, 0];
    for (let user = 0; user < 3_000; user++) {
      const shard = Math.floor((knuthHash(user) * 3) / 2 ** 32);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    assert.equal(Math.max(...counts) - Math.min(...counts) < 100, true, String(counts));
  });
});
