// What always holds, by name.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { engines, startSharder } from './engines.js';

for (const engine of engines) {
  describe(`assignment on ${engine.name}`, engine.options, () => {
    it('a thousand first requests at once for one name leave one row and give one answer', async () => {
      const sharder = await startSharder(engine);
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async () => sharder.assign('hub', 'iana')),
      );
      assert.equal(new Set(answers.map(({ bucket }) => bucket.name)).size, 1);
      assert.equal(answers.filter(({ reason }) => reason === 'assigned').length, 1);
      const rows = await sharder.database.knex('shard').select('kind', 'bucket', 'name');
      assert.deepEqual(rows, [{ kind: 'hub', bucket: 'hub-0', name: 'iana' }]);
    });
  });
}
