// sharder lease …: which workers are there; that one is to hand over what it has, or is gone for good.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKind } from '../../src/store/kinds.js';
import { listLeases } from '../../src/store/leases.js';
import { claimLease } from '../../src/workers/leases.js';
import { engines, type TestEngine } from '../engines.js';
import { contents, lastChange, prepare } from './prepare.js';
import { run } from './run.js';

const BEFORE = ['KIND', 'BUCKET', 'INDEX', 'EPOCH'];
const SAYS = ['active', '0', '0', 'eu', '0.25'];

/** Beside the others a leased kind, with two workers. */
async function start(engine: TestEngine) {
  const { env, database } = await prepare(engine);
  const settings = { leased: true, reshard_interval: 0 };
  await database.write((trx) => createKind(trx, 'queue', { settings }, { actor: 'test' }));
  const claim = (bucket: string, holder: string) =>
    claimLease(database, 'queue', bucket, { holder, ttl: 60, group: 'eu', load: 0.25 });
  const leases = [await claim('w-0', '5f2c'), await claim('w-1', '77aa')] as const;
  const sharder = (...args: string[]) => run(args, { env });
  return { database, claim, leases, sharder };
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder lease`, engine.options, () => {
    it('list is a table of the workers of all leased kinds, with their places', async () => {
      const { leases, sharder } = await start(engine);
      const [a, b] = leases;
      const { code, stdout, stderr } = await sharder('lease', 'list');
      assert.deepEqual([code, stderr], [0, '']);
      assert.deepEqual(
        stdout.split('\n').map((line) => line.split(/ +/)),
        [
          [...BEFORE, 'STATE', 'OBJECTS', 'PENDING', 'GROUP', 'LOAD', 'HOLDER', 'UNTIL'],
          ['queue', 'w-0', '0', String(a.epoch), ...SAYS, '5f2c', a.expires_at],
          ['queue', 'w-1', '1', String(b.epoch), ...SAYS, '77aa', b.expires_at],
          [''],
        ],
      );
    });

    it('list says whose lease has ended; --json is the same for programs', async () => {
      const { database, sharder } = await start(engine);
      const before = new Date(Date.now() - 1_000).toISOString();
      await database.knex('lease').where({ bucket: 'w-1' }).update({ expires_at: before });
      const { stdout } = await sharder('lease', 'list', '--kind=queue');
      assert.match(stdout, /77aa +20\S+Z \(ended\)\n$/);
      const json = await sharder('lease', 'list', '--json');
      assert.deepEqual(JSON.parse(json.stdout), await listLeases(database.knex, 'queue'));
    });

    it('list tells, as kind show does, where nothing moves', async () => {
      const { database, sharder } = await start(engine);
      const isHalted = async () => {
        const { stdout } = await sharder('kind', 'show', 'queue', '--json');
        return (JSON.parse(stdout) as { halted: boolean }).halted;
      };
      assert.equal(await isHalted(), false);
      await database.knex('kind').where({ name: 'queue' }).update({ halted: true });
      assert.equal(await isHalted(), true);
      assert.match((await sharder('kind', 'show', 'queue')).stdout, / 50% \(halted\)\n$/);
      const note =
        'note: nothing moves in kind queue, for too many of its workers are silent at once\n';
      assert.equal((await sharder('lease', 'list')).stderr, note);
      assert.equal((await sharder('lease', 'list', '--kind=queue')).stderr, note);
      assert.equal((await sharder('lease', 'list', '--kind=hub')).stderr, '');
    });

    it('drain tells a worker to hand over all that it has, once', async () => {
      const { database, sharder } = await start(engine);
      const drain = (...args: string[]) => sharder('lease', 'drain', '--kind=queue', ...args);
      const before = await contents(database);
      const dry = await drain('w-0', '--dry-run');
      assert.equal(
        dry.stdout,
        'would tell worker w-0 of kind queue to hand over all that it has\n',
      );
      assert.deepEqual(await contents(database), before);
      const told = await drain('w-0', '--reason=old');
      assert.deepEqual(
        [told.code, told.stdout],
        [0, 'told worker w-0 of kind queue to hand over all that it has\n'],
      );
      const { action, reason } = await lastChange(database);
      assert.deepEqual([action, reason], ['bucket drain', 'old']);
      assert.match((await sharder('lease', 'list')).stdout, /^queue +w-0 .* draining /m);
      const again = await drain('w-0', '--reason=old');
      assert.equal(
        again.stdout,
        'worker w-0 of kind queue is draining already: nothing was changed\n',
      );
      const none = await drain('w-9');
      assert.equal(none.code, 1);
      assert.match(none.stderr, /kind queue has no bucket "w-9"/);
      const user = await sharder('lease', 'drain', 'hub-1');
      assert.equal(user.code, 1);
      assert.match(user.stderr, /the buckets of kind hub are no workers/);
    });

    it('list of a kind without workers is empty, and of none is refused', async () => {
      const { sharder } = await start(engine);
      assert.equal((await sharder('lease', 'list', '--kind=hub', '--json')).stdout, '[]\n');
      const { code, stderr } = await sharder('lease', 'list', '--kind=nosuch');
      assert.equal(code, 1);
      assert.match(stderr, /there is no kind "nosuch"/);
    });

    it('release frees the place at once, and the bucket that the worker brought goes with it', async () => {
      const { database, claim, sharder } = await start(engine);
      const before = await contents(database);
      const dry = await sharder('lease', 'release', 'w-0', '--kind=queue', '--dry-run');
      assert.equal(dry.stdout, 'would release bucket w-0 of kind queue from 5f2c\n');
      assert.deepEqual(await contents(database), before);
      const { code, stdout } = await sharder('lease', 'release', 'w-0', '--kind=queue');
      assert.deepEqual([code, stdout], [0, 'released bucket w-0 of kind queue from 5f2c\n']);
      const [left, ...others] = await listLeases(database.knex, 'queue');
      assert.deepEqual([left?.bucket, left?.index, others.length], ['w-1', 0, 0]);
      // w-1 has not heard yet that its place is another.
      assert.equal((await claim('w-0', 'another')).index, null);
    });

    it('release is refused where nobody has it, or another than was said', async () => {
      const { database, leases, sharder } = await start(engine);
      const before = await contents(database);
      const epoch = String(leases[0].epoch + 1);
      const refused: [args: string[], says: RegExp][] = [
        [['w-9'], /nobody has the lease of bucket "w-9" of kind queue: `sharder lease list`/],
        [['w-0', '--holder=77aa'], /the lease with epoch \d+ is lost/],
        [
          ['w-0', '--epoch', epoch],
          /the lease with epoch \d+ is lost: it was taken again, with epoch \d+/,
        ],
        [['w-0', '--holder=5f2c', '--epoch', epoch], /the lease with epoch \d+ is lost/],
      ];
      for (const [args, says] of refused) {
        const { code, stdout, stderr } = await sharder('lease', 'release', '--kind=queue', ...args);
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(stderr, says);
      }
      assert.deepEqual(await contents(database), before);
      assert.equal((await lastChange(database)).action, 'lease place');
    });
  });
}
