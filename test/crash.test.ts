// An answer that a client got is for ever: the service is killed at random moments while new users
// come in, and started again on the same database. With the same seed it is killed at the same moments, as
// nearly as a machine can.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engines, hubs, temporaryDirectory } from './engines.js';
import { assertKept, eventually, Load, names } from './load.js';
import { Random, seed } from './random.js';
import { Service } from './service.js';

const ROUNDS = { sqlite: 30, postgres: 10 };

for (const engine of engines) {
  const rounds = ROUNDS[engine.name];
  describe(`kill -9 on ${engine.name}`, engine.options, () => {
    it(`loses no answer of a service killed ${rounds} times under load (seed ${seed})`, async (t) => {
      const database = await engine.createDatabase();
      const cwd = temporaryDirectory();
      const kinds = { hub: { buckets: Object.keys(hubs(7)) } };
      writeFileSync(join(cwd, 'sharder.yml'), JSON.stringify({ kinds }));
      const random = new Random(seed);
      const load = new Load();
      t.after(() => {
        load.close();
      });

      let asked: string[] = [];
      for (let round = 0; round < rounds; round++) {
        const service = await Service.start(database, { cwd });
        await load.run(service.url, asked);
        assert.deepEqual(load.contradictions, [], 'the answers of the last round still hold');

        const before = load.answers.size;
        const enough = before + 1 + Math.floor(random.between(0, 1500));
        const running = load.run(service.url, names(`round-${round}`));
        await eventually('new users are answered', () => load.answers.size >= enough);
        // So that the kill comes at any point of a transaction, not only right after one.
        await sleep(random.between(0, 4));
        await service.stop('SIGKILL');
        assert.ok((await running) > 0, 'clients were waiting for an answer when it was killed');
        asked = [...load.answers.keys()].slice(before);
      }

      const service = await Service.start(database, { cwd });
      assert.equal(await load.run(service.url, [...load.answers.keys()]), 0);
      assert.deepEqual(load.contradictions, [], 'the answers of all rounds still hold');
      assert.deepEqual(load.refusals, []);
      await service.stop('SIGKILL');
      await assertKept(database, load.answers);
    });
  });
}
