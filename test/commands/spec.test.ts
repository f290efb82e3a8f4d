// sharder spec …, and `lease objects`: objects that follow their workers.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKind } from '../../src/store/kinds.js';
import { listSpecs, ownedPage } from '../../src/store/specs.js';
import { claimLease } from '../../src/workers/leases.js';
import { engines, type TestEngine } from '../engines.js';
import { contents, lastChange, prepare } from './prepare.js';
import { run } from './run.js';

const HEADINGS = ['KIND', 'NAME', 'STATE', 'BUCKET', 'HEIR', 'EPOCH', 'GROUP', 'PIN', 'WEIGHT'];

/** Beside the others a leased kind, with one worker. */
async function start(engine: TestEngine) {
  const { env, database } = await prepare(engine);
  const settings = { leased: true, reshard_interval: 0 };
  await database.write((trx) => createKind(trx, 'queue', { settings }, { actor: 'test' }));
  await claimLease(database, 'queue', 'w-0', { holder: '5f2c', ttl: 60 });
  const sharder = (...args: string[]) => run(args, { env });
  /** What it prints of kind queue, where it does what it should. */
  const prints = async (...args: string[]) => {
    const { code, stdout, stderr } = await sharder(...args, '--kind=queue');
    assert.deepEqual([code, stderr], [0, '']);
    return stdout;
  };
  const specs = () => listSpecs(database.knex, 'queue', undefined, 100);
  return { database, sharder, prints, specs };
}

function cells(text: string): string[][] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ +/));
}

for (const engine of engines) {
  describe(`on ${engine.name}, sharder spec`, engine.options, () => {
    it('set registers an object with what it asks for, which none takes away again', async () => {
      const { database, prints, specs } = await start(engine);
      const asks = ['--spec={"topic":"mail"}', '--group=eu', '--pin=w-0', '--weight=3'];
      const set = ['spec', 'set', 'job-1', ...asks, '--pin-rule=any'];
      const before = await contents(database);
      assert.equal(
        await prints(...set, '--dry-run'),
        'would set object job-1 of kind queue (worker w-0)\n',
      );
      assert.deepEqual(await contents(database), before);
      assert.equal(
        await prints(...set, '--reason=new'),
        'set object job-1 of kind queue (worker w-0)\n',
      );
      const [spec] = await specs();
      assert.deepEqual(spec?.spec, { topic: 'mail' });
      const { group, pin, pin_rule, weight } = spec;
      assert.deepEqual([group, pin, pin_rule, weight], ['eu', 'w-0', 'any', 3]);
      const reasons = await database.knex('change').where({ action: 'spec set' }).pluck('reason');
      assert.deepEqual(reasons, ['new']);
      assert.equal(
        await prints(...set),
        'object job-1 of kind queue is so already: nothing was changed\n',
      );

      await prints('spec', 'set', 'job-1', '--group=none', '--pin=none', '--spec=null');
      const [after] = await specs();
      assert.deepEqual(
        [after?.group, after?.pin, after?.spec, after?.pin_rule, after?.weight],
        [null, null, null, 'any', 3],
      );
    });

    it('set of several is all or nothing', async () => {
      const { sharder, prints, specs } = await start(engine);
      await prints('spec', 'set', 'job-1');
      assert.equal(
        await prints('spec', 'set', 'job-1', 'job-2', 'job-3', '--dry-run'),
        'would set 2 of 3 objects of kind queue (without a worker: 0)\n',
      );
      assert.equal(
        await prints('spec', 'set', 'job-2', 'job-3', '--group=eu'),
        'set 2 of 2 objects of kind queue (without a worker: 2)\n',
      );
      assert.equal(
        await prints('spec', 'set', 'job-2', 'job-3'),
        'these 2 objects of kind queue are so already: nothing was changed\n',
      );
      const twice = await sharder('spec', 'set', 'a', 'b', 'a', '--kind=queue');
      assert.equal(twice.code, 1);
      assert.match(twice.stderr, /one of them stands there twice/);
      assert.deepEqual(
        (await specs()).map(({ name }) => name),
        ['job-1', 'job-2', 'job-3'],
      );
    });

    it('list is a table of all kinds, of one, or of a state; --json is the same for programs', async () => {
      const { prints, sharder, specs } = await start(engine);
      await prints('spec', 'set', 'job-1');
      await prints('spec', 'set', 'job-2', '--group=eu', '--pin=w-9', '--weight=2');
      const [one, two] = await specs();
      const first = ['queue', 'job-1', 'adding', 'w-0', '-', String(one?.epoch), '-', '-', '1'];
      const second = ['queue', 'job-2', 'waiting', '-', '-', '-', 'eu', 'w-9', '2'];
      const all = await sharder('spec', 'list');
      assert.deepEqual(cells(all.stdout), [HEADINGS, first, second]);
      assert.deepEqual(cells(await prints('spec', 'list', '--state=waiting')), [HEADINGS, second]);
      assert.deepEqual(JSON.parse(await prints('spec', 'list', '--json')), [one, two]);
      assert.equal((await sharder('spec', 'list', '--kind=hub', '--json')).stdout, '[]\n');
    });

    it('show has beside what would make a list too long', async () => {
      const { prints, sharder, specs } = await start(engine);
      await prints('spec', 'set', 'job-1', '--spec={"topic":"mail"}');
      const [spec] = await specs();
      const [headings, row, , ...beside] = cells(await prints('spec', 'show', 'job-1'));
      assert.deepEqual(headings, HEADINGS);
      assert.deepEqual(row?.slice(0, 4), ['queue', 'job-1', 'adding', 'w-0']);
      assert.deepEqual(beside, [
        ['PIN', 'RULE', 'LEAVING', 'REGISTERED', 'SPEC'],
        ['hold', '-', spec?.registered_at ?? '', '{"topic":"mail"}'],
      ]);
      assert.deepEqual(JSON.parse(await prints('spec', 'show', 'job-1', '--json')), spec);
      const none = await sharder('spec', 'show', 'nosuch', '--kind=queue');
      assert.equal(none.code, 1);
    });

    it('remove takes away at once what waits, and else what its worker has stopped', async () => {
      const { database, prints, specs } = await start(engine);
      await prints('spec', 'set', 'job-1');
      await prints('spec', 'set', 'job-2', '--group=eu');
      assert.equal(
        await prints('spec', 'remove', 'job-2', '--dry-run'),
        'would remove object job-2 of kind queue\n',
      );
      assert.equal(await prints('spec', 'remove', 'job-2'), 'removed object job-2 of kind queue\n');
      const { action, name } = await lastChange(database);
      assert.deepEqual([action, name], ['spec remove', 'job-2']);
      assert.equal(
        await prints('spec', 'remove', 'job-1'),
        'told the worker of object job-1 of kind queue to stop it; then it is gone\n',
      );
      assert.equal(
        await prints('spec', 'remove', 'job-1'),
        'the worker of object job-1 of kind queue is to stop it already: nothing was changed\n',
      );
      assert.deepEqual(
        (await specs()).map((each) => [each.name, each.state, each.is_leaving]),
        [['job-1', 'dropping', true]],
      );
    });

    it('who waits for a worker, and for which, is seen: lease list counts, spec list names the heir', async () => {
      const { database, prints } = await start(engine);
      await prints('spec', 'set', 'job-1', 'job-2', 'job-3');
      const set = (name: string, to: object) => database.knex('spec').where({ name }).update(to);
      await set('job-1', { state: 'owned' });
      await set('job-2', { state: 'dropping', heir: 'w-1' });
      const [headings = [], worker] = cells(await prints('lease', 'list'));
      const [objects, pending] = ['OBJECTS', 'PENDING'].map((name) => headings.indexOf(name));
      assert.deepEqual([worker?.[objects ?? -1], worker?.[pending ?? -1]], ['3', '2']);
      const [, row, ...others] = cells(await prints('spec', 'list', '--state=dropping'));
      assert.deepEqual(row?.slice(1, 5), ['job-2', 'dropping', 'w-0', 'w-1']);
      assert.deepEqual(others, []);
    });

    it('set of a kind without workers is refused', async () => {
      const { sharder } = await start(engine);
      const { code, stderr } = await sharder('spec', 'set', 'job-1');
      assert.equal(code, 1);
      assert.match(stderr, /follow no workers: `sharder kind set hub --leased`/);
    });

    it('lease objects has those of one worker; --pending, those that it is told about', async () => {
      const { database, prints } = await start(engine);
      await prints('spec', 'set', 'job-1', 'job-2');
      await prints('spec', 'set', 'job-3', '--group=eu');
      await database.knex('spec').where({ name: 'job-1' }).update({ state: 'owned' });
      const table = cells(await prints('lease', 'objects', 'w-0'));
      assert.deepEqual(
        table.map((row) => row.slice(1, 4)),
        [
          ['NAME', 'STATE', 'BUCKET'],
          ['job-1', 'owned', 'w-0'],
          ['job-2', 'adding', 'w-0'],
        ],
      );
      assert.deepEqual(
        JSON.parse(await prints('lease', 'objects', 'w-0', '--pending', '--json')),
        await ownedPage(database.knex, 'queue', 'w-0', { isPending: true, limit: 9 }),
      );
      assert.deepEqual(cells(await prints('lease', 'objects', 'w-9')), [HEADINGS]);
    });
  });
}
