// A SQLite database on a disk that fills up: new users are told so, known users do not notice,
// nothing breaks, and once there is room again the service goes on by itself.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hubs, temporaryDirectory } from './engines.js';
import { again, assertKept, eventually, Load } from './load.js';
import { Service } from './service.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.CI) throw new Error('only root can mount a small disk: run as root');

describe('a full disk', { skip: !isRoot && 'only root can mount a small disk' }, () => {
  it('is said to new users with 503, is not felt by known ones, breaks nothing, and is recovered from', async (t) => {
    const disk = temporaryDirectory();
    run('mount', '-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk);
    const cwd = temporaryDirectory();
    const kinds = { hub: { buckets: Object.keys(hubs(7)) } };
    writeFileSync(join(cwd, 'sharder.yml'), JSON.stringify({ kinds }));
    const database = `sqlite:${join(disk, 'sharder.db')}`;
    const ballast = join(disk, 'ballast');
    writeFileSync(ballast, Buffer.alloc(3 << 20));

    const load = new Load(16);
    const services: Service[] = [];
    t.after(async () => {
      load.close();
      for (const service of services) await service.stop('SIGKILL');
      run('umount', disk);
    });
    const service = await Service.start(database, { cwd });
    services.push(service);

    await fill(service, load, 'first');
    const known = [...load.answers.keys()];
    assert.ok(known.length > 100);
    for (const { status, retryAfter, text } of load.refusals) {
      assert.equal(status, 503);
      assert.equal(retryAfter, '10');
      assert.match(text, /^the disk that holds the database is full/);
    }
    const refused = load.refusals.length;
    assert.equal(await load.run(service.url, known), 0);
    assert.equal(load.refusals.length, refused, 'known users are answered');

    rmSync(ballast);
    await eventually('new users are placed again', async () => {
      return (await load.ask(service.url, 'after')).status === 200;
    });
    assert.equal(await load.run(service.url, known), 0);
    assert.match(service.log, /the database is down/);
    await eventually('the log says so', () => service.log.includes('the database is back'));

    // Full once more, and killed while it is.
    await fill(service, load, 'second');
    await service.stop('SIGKILL');
    run('mount', '-o', 'remount,size=32m', disk);
    const next = await Service.start(database, { cwd });
    services.push(next);
    assert.equal(await load.run(next.url, [...load.answers.keys(), 'at last']), 0);
    await next.stop();

    assert.equal(load.counts.stale, 0);
    assert.deepEqual(load.contradictions, []);
    await assertKept(database, load.answers);
  });
});

// Places new users with long names until the disk is full, while known ones are answered.
async function fill(service: Service, load: Load, prefix: string): Promise<void> {
  function* untilFull(): Generator<string> {
    const enough = load.refusals.length + 200;
    for (let i = 0; load.refusals.length < enough; i++) {
      assert.ok(i < 40_000, 'more names were taken than the disk can hold');
      yield `${prefix}-${i}-${'x'.repeat(200)}`;
    }
  }
  const readers = new Load(4);
  const known = ['known-0', 'known-1', 'known-2', 'known-3'];
  for (const name of known) await load.ask(service.url, name);
  const reading = readers.run(service.url, again(known));
  assert.equal(await load.run(service.url, untilFull()), 0);
  readers.stop();
  await reading;
  readers.close();
  assert.deepEqual(readers.refusals, []);
  assert.deepEqual(readers.contradictions, []);
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}
