// Keys of kinds with the policy `hash`, whose buckets are computed for each request anew.

import { declareKinds, openDatabase } from '../src/index.js';
import { KIND } from './engines.js';
import { load, runInTurn, warming, withService, type Bench, type Run } from './measure.js';
import type { Table } from './tables.js';
import type { Names } from './load.js';

// Each key once: nothing that was computed is of use again.
const FRESH = { how: 'random' } as const;
const KNOWN = { how: 'known', count: 10_000 } as const;

/** What is asked for; the first is what the others are compared with. */
export const HASHES: readonly {
  readonly what: string;
  readonly kind: string;
  readonly names: Names;
}[] = [
  { what: 'known user, in the cache', kind: KIND, names: KNOWN },
  { what: 'hashed key, 5 buckets', kind: 'hash-5', names: FRESH },
  { what: 'hashed key, 5 buckets of unequal weight', kind: 'hash-weighted', names: FRESH },
  { what: 'hashed key, 100 buckets', kind: 'hash-100', names: FRESH },
  { what: 'hashed key, 5 buckets, modulo', kind: 'hash-modulo', names: FRESH },
  { what: 'hashed key by a pattern, 5 buckets', kind: 'hash-pattern', names: FRESH },
];

/** Adds the kinds to a table. */
export async function addHashKinds(table: Table): Promise<void> {
  const database = await openDatabase(table.url);
  const buckets = (count: number, weight = 1) =>
    Array.from({ length: count }, (_, i) => ({
      name: `server-${i}`,
      weight: 1 + i * (weight - 1),
    }));
  // The load names a user and nothing else, so that is the header.
  const key = { header: 'REMOTE_USER', pattern: '^([0-9a-f]*)' };
  const hashed = { policy: 'hash' } as const;
  await declareKinds(
    database,
    {
      'hash-5': { ...hashed, buckets: buckets(5) },
      'hash-weighted': { ...hashed, buckets: buckets(5, 2) },
      'hash-100': { ...hashed, buckets: buckets(100) },
      'hash-modulo': { ...hashed, hash: 'modulo', buckets: buckets(5) },
      'hash-pattern': { ...hashed, key, buckets: buckets(5) },
    },
    'bench',
  );
  await database.close();
}

/** The runs of each of `HASHES`, on one service. Rejects if anything was stored. */
export function measureHashes(
  bench: Bench,
  table: Table,
  route: 'shard' | 'auth',
  connections: number,
): Promise<Run[][]> {
  return withService(bench, table, async (service) => {
    const all: Run[][] = [];
    for (const { kind, names } of HASHES) {
      const path = `/${route}/${kind}`;
      const before = await table.members();
      await load(bench, service, { connections, names, path, until: () => warming(bench) });
      const runs: Run[] = [];
      for (let i = 0; i < bench.settings.runs.reported; i++) {
        runs.push((await runInTurn(bench, service, { connections, names, path })).run);
      }
      all.push(runs);
      const stored = await table.read(`select count(*) from shard where kind <> '${KIND}'`);
      if (stored > 0 || (await table.members()) !== before) {
        throw new Error(`keys of kind ${kind} were stored`);
      }
    }
    return all;
  });
}
