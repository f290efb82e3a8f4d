// sharder bucket list | add.

import type { Flags } from '../config.js';
import * as store from '../store/buckets.js';
import { listKinds, unknownKind } from '../store/kinds.js';
import { actor, withDatabase } from './open.js';
import { table } from './table.js';

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

export async function listBuckets({ kind, json, ...flags }: ListOptions): Promise<void> {
  const buckets = await withDatabase(flags, async (database) => {
    if (kind !== undefined && !(await listKinds(database)).has(kind)) throw unknownKind(kind);
    return store.listBuckets(database, kind);
  });
  if (json) {
    process.stdout.write(`${JSON.stringify(buckets, null, 2)}\n`);
    return;
  }
  const rows = buckets.map((b) => [
    b.kind,
    b.name,
    b.members,
    b.weight,
    b.capacity,
    b.state,
    b.url,
  ]);
  const headings = ['KIND', 'BUCKET', 'MEMBERS', 'WEIGHT', 'CAPACITY', 'STATE', 'URL'];
  process.stdout.write(table(headings, rows));
}

export interface AddOptions extends Flags, store.BucketSettings {
  readonly kind: string;
}

export async function addBucket(name: string, { kind, ...options }: AddOptions): Promise<void> {
  await withDatabase(options, (database) =>
    store.addBucket(database, kind, name, options, actor()),
  );
  process.stdout.write(`added bucket ${name} to kind ${kind}\n`);
}
