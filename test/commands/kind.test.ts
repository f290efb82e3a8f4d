// sharder kind …: what a kind says of its workers; what else there is, other tests of commands have.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { getKind } from '../../src/store/kinds.js';
import { engines, open, temporaryDirectory } from '../engines.js';
import { Service } from '../service.js';
import { prepare } from './prepare.js';
import { directoryWith, run } from './run.js';
import { everything } from './transfer.js';

const SAID = {
  leased: true,
  grace: 0.5,
  reshard_interval: 7,
  max_moving: 9,
  cooldown: 11,
  breaker: null,
};
const FLAGS = [
  ...['--leased', '--grace=0.5', '--reshard-interval=7', '--max-moving=9'],
  ...['--cooldown=11', '--breaker=none'],
];

for (const engine of engines) {
  describe(`on ${engine.name}, a leased kind`, engine.options, () => {
    it('is created with what is said of its workers, and shown with it', async () => {
      const { env, database } = await prepare(engine);
      const made = await run(['kind', 'create', 'queue', ...FLAGS], { env });
      assert.deepEqual([made.code, made.stdout], [0, 'created kind queue\n']);
      const { json } = await getKind(database.knex, 'queue');
      assert.deepEqual(json, SAID);
      const shown = await run(['kind', 'show', 'queue'], { env });
      assert.equal(
        shown.stdout,
        [
          'KIND   POLICY    NORMALIZE  NAMES   COOKIE  THRESHOLD  RAMP  BUCKETS  OBJECTS',
          'queue  emptiest  none       strict  yes     10%        -           0        0',
          '',
          'GRACE  RESHARD INTERVAL  MAX MOVING  COOLDOWN  BREAKER',
          '0.5 s  7 s                        9  11 s      -',
          '',
        ].join('\n'),
      );
    });

    it('is one by kind set, and is none again', async () => {
      const { env } = await prepare(engine);
      const set = await run(['kind', 'set', 'hub', '--leased', '--breaker=20'], { env });
      assert.equal(set.stdout, 'set kind hub: leased false → true, breaker 50 → 20\n');
      const again = await run(['kind', 'set', 'hub', '--breaker=none'], { env });
      assert.equal(again.stdout, 'set kind hub: breaker 20 → none\n');
      const none = await run(['kind', 'set', 'hub', '--no-leased'], { env });
      assert.equal(none.stdout, 'set kind hub: leased true → false\n');
      const wrong = await run(['kind', 'set', 'hub', '--max-moving=0'], { env });
      assert.equal(wrong.code, 1);
      assert.match(wrong.stderr, /max_moving: .*>=1/);
    });

    it('is declared in sharder.yml', async () => {
      const url = await engine.createDatabase();
      await Service.start(url, { cwd: directoryWith(`kinds: { queue: ${JSON.stringify(SAID)} }`) });
      const database = await open(url);
      assert.deepEqual((await getKind(database.knex, 'queue')).json, SAID);
    });

    it('is exported and imported as it is', async () => {
      const { env } = await prepare(engine);
      await run(['kind', 'create', 'queue', ...FLAGS], { env });
      const text = await everything(env);
      const other = { DATABASE_URL: await engine.createDatabase() };
      const database = await open(other.DATABASE_URL);
      const cwd = temporaryDirectory();
      writeFileSync(join(cwd, 'all.ndjson'), text);
      const done = await run(['import', 'all.ndjson', '--create-buckets'], { env: other, cwd });
      assert.equal(done.code, 0, done.stderr);
      assert.deepEqual((await getKind(database.knex, 'queue')).json, SAID);
      assert.equal(await everything(other), text);
    });
  });
}
