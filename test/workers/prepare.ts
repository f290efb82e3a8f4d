// What the tests of objects that follow workers begin with: a leased kind, and workers that do as they are
// told.

import type { Database } from '../../src/index.js';
import type { KindChanges } from '../../src/store/kind-settings.js';
import { createKind } from '../../src/store/kinds.js';
import { ownedPage, readSpecs, type Spec } from '../../src/store/specs.js';
import { runRound } from '../../src/workers/controller.js';
import { claimLease, releaseLease, type LeaseClaim } from '../../src/workers/leases.js';
import { registerObjects, type Wish } from '../../src/workers/register.js';
import { acknowledge } from '../../src/workers/hand-over.js';
import { open, type TestEngine } from '../engines.js';

export const KIND = 'queue';
export const BY = { actor: 'test' };

/** A worker that does what it is told, when it is asked to look. */
export class TestWorker {
  readonly #database: Database;
  readonly bucket: string;
  readonly #holder: string;
  epoch = -1;
  readonly has = new Map<string, number>();

  constructor(database: Database, bucket: string, holder = bucket) {
    this.#database = database;
    this.bucket = bucket;
    this.#holder = holder;
  }

  async claim(says: Partial<LeaseClaim> = {}): Promise<void> {
    const claim = { holder: this.#holder, ttl: 10, ...says };
    const epoch = this.epoch < 0 ? undefined : this.epoch;
    this.epoch = (await claimLease(this.#database, KIND, this.bucket, { ...claim, epoch })).epoch;
  }

  /** Begins and stops what it is told, and says so; `slow`: it begins, but stops nothing yet. */
  async look({ slow = false } = {}): Promise<string[]> {
    const how = { isPending: true, limit: 1_000 };
    const page = await ownedPage(this.#database.knex, KIND, this.bucket, how);
    const added = page.filter(({ state }) => state === 'adding');
    const dropped = slow ? [] : page.filter(({ state }) => state === 'dropping');
    for (const { name, epoch } of added) this.has.set(name, epoch ?? 0);
    for (const { name } of dropped) this.has.delete(name);
    await this.#database.write((trx) =>
      acknowledge(
        trx,
        KIND,
        this.bucket,
        { holder: this.#holder, epoch: this.epoch },
        {
          added: added.map(({ name, epoch }) => ({ name, epoch: epoch ?? 0 })),
          dropped: dropped.map(({ name, epoch }) => ({ name, epoch: epoch ?? 0 })),
        },
      ),
    );
    return [...this.has.keys()].sort();
  }

  release(): Promise<void> {
    const { epoch } = this;
    const holder = this.#holder;
    return this.#database.write((trx) => releaseLease(trx, KIND, this.bucket, { holder, epoch }));
  }
}

/** A leased kind, its workers, and what may be done with it. */
export async function start(engine: TestEngine, settings: KindChanges = {}) {
  const url = await engine.createDatabase();
  const database = await open(url);
  const leased = { leased: true, grace: 5, reshard_interval: 0, cooldown: 0, ...settings };
  await database.write((trx) => createKind(trx, KIND, { settings: leased }, BY));
  return {
    url,
    database,
    worker: async (bucket: string, says: Partial<LeaseClaim> = {}) => {
      const worker = new TestWorker(database, bucket);
      await worker.claim(says);
      return worker;
    },
    register: (...wishes: Wish[]) =>
      database.write((trx) => registerObjects(trx, KIND, wishes, BY)),
    round: () => database.write((trx) => runRound(trx, KIND)),
    spec: async (name: string): Promise<Spec> => {
      const spec = (await readSpecs(database.knex, KIND, [name])).get(name);
      if (!spec) throw new Error(`there is no ${name}`);
      return spec;
    },
  };
}

export const names = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `job-${i}` }));
