// Work on a database leaves room for everything else in the process.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Database } from '../../src/index.js';
import { lockKind } from '../../src/store/kinds.js';
import { declareHub, engines, hubs, open } from '../engines.js';

async function openOn(name: 'sqlite' | 'postgres'): Promise<Database> {
  const engine = engines.find((each) => each.name === name);
  if (!engine) throw new Error('no engine');
  return open(await engine.createDatabase());
}

describe('the database, on sqlite', () => {
  it('however much work comes at once, others are heard between any two pieces of it', async () => {
    const database = await openOn('sqlite');
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

const [, postgres] = engines;
describe('the database, on postgres', postgres?.options, () => {
  it('many that wait for the lock of a kind leave connections to those that need none', async () => {
    const database = await openOn('postgres');
    await declareHub(database, hubs(1));
    const holder = await database.knex.transaction();
    await lockKind(holder, 'hub');

    const order: string[] = [];
    const writes = Array.from({ length: 30 }, async (_, i) => {
      await database.write((trx) => lockKind(trx, 'hub'), 'hub');
      order.push(`write ${i}`);
    });
    await database.read((knex) => knex('bucket').first());
    await database.write((trx) => trx('bucket').update({ url: null }));
    order.push('what needs no lock');
    await holder.rollback();
    await Promise.all(writes);
    assert.deepEqual(order, ['what needs no lock', ...writes.map((_, i) => `write ${i}`)]);
  });

  it('who waits for one that hangs is told so in seconds, and the next goes on', async () => {
    const database = await openOn('postgres');
    await declareHub(database, hubs(1));
    let goOn = (): void => undefined;
    const hanging = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    // PostgreSQL ends it, sooner or later.
    const first = database.write(() => hanging, 'hub').catch(() => undefined);
    const second = database.write((trx) => lockKind(trx, 'hub'), 'hub');
    await assert.rejects(second, { code: 'database_busy' });
    await database.write((trx) => lockKind(trx, 'hub'), 'hub');
    goOn();
    await first;
  });
});
