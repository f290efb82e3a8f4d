// The kinds of the policy `hash` that a process has in memory. They are trusted as answers are: see
// cache.ts.

import { DEAF, type Engine } from '../store/engine.js';
import type { HashTable } from '../store/hash-table.js';
import type { Answers } from './answer.js';
import { Batch } from './batch.js';
import { HashKind } from './hash-kind.js';

interface Entry {
  readonly hashKind: HashKind;
  generation: number;
}

// A kind that is being read: what is heard of it meanwhile may not be in what comes.
interface Reading {
  readonly kind: string;
  readonly generation: number;
  isOld: boolean;
}

type Tables = Pick<Engine, 'generation' | 'hashTables'>;

export class HashKinds {
  readonly #engine: Tables;
  readonly #answers: Answers;
  readonly #kinds = new Map<string, Entry>();
  readonly #readings = new Set<Reading>();
  readonly #reads: Batch<HashKind | undefined>;

  constructor(engine: Tables, answers: Answers) {
    this.#engine = engine;
    this.#answers = answers;
    this.#reads = new Batch((kinds) => Promise.all(kinds.map((kind) => this.#readSoon(kind))), {
      maxSize: 100,
      joinRunning: false, // what it reads may be older than the question
    });
  }

  /** The kind, if it was read in this generation and nothing was heard of it since. */
  get(kind: string, generation: number): HashKind | undefined {
    const entry = this.#kinds.get(kind);
    if (entry?.generation !== generation || generation === DEAF) return undefined;
    return entry.hashKind;
  }

  /** The kind, however long ago it was read. */
  getStale(kind: string): HashKind | undefined {
    return this.#kinds.get(kind)?.hashKind;
  }

  /**
   * Reads the kind: at once where the engine does, else once for all who ask meanwhile. Undefined where
   * it has another policy. Throws or rejects with a `database_…` code.
   */
  read(kind: string): HashKind | undefined | Promise<HashKind | undefined> {
    const { hashTables } = this.#engine;
    if (!('atOnce' in hashTables)) return this.#reads.add(kind).promise;
    const generation = this.#engine.generation(); // before it is read
    return this.#keep(kind, hashTables.atOnce(kind), generation);
  }

  async #readSoon(kind: string): Promise<HashKind | undefined> {
    const { hashTables } = this.#engine;
    if ('atOnce' in hashTables) return undefined;
    const reading = { kind, generation: this.#engine.generation(), isOld: false };
    this.#readings.add(reading);
    try {
      const table = await hashTables.soon(kind);
      return this.#keep(kind, table, reading.isOld ? DEAF : reading.generation);
    } finally {
      this.#readings.delete(reading);
    }
  }

  #keep(kind: string, table: HashTable | undefined, generation: number): HashKind | undefined {
    const hashKind = table && new HashKind(kind, table, this.#answers);
    if (hashKind) this.#kinds.set(kind, { hashKind, generation });
    else this.#kinds.delete(kind);
    return hashKind;
  }

  /** Somebody has changed something of the kind. */
  drop(kind: string): void {
    const entry = this.#kinds.get(kind);
    if (entry) entry.generation = DEAF;
    for (const reading of this.#readings) if (reading.kind === kind) reading.isOld = true;
  }
}
