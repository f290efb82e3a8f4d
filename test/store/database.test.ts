// Work on SQLite, which answers at once, leaves room for everything else in the process.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { open, engines } from '../engines.js';

describe('the database, on sqlite', () => {
  it('however much work comes at once, others are heard between any two pieces of it', async () => {
    const engine = engines.find(({ name }) => name === 'sqlite');
    if (!engine) throw new Error('no engine');
    const database = await open(await engine.createDatabase());
    let heard = 0;
    const listen = (): void => {
      heard++;
      next = setImmediate(listen);
    };
    let next = setImmediate(listen);
    const COUNT = 100;
    try {
      const writes = Array.from({ length: COUNT }, () =>
        database.write((trx) => trx('kind').update({ version: 1 })),
      );
      await Promise.all(writes);
    } finally {
      clearImmediate(next);
    }
    assert.equal(heard >= COUNT, true, `heard ${heard} times`);
  });
});
