// sharder kind list | show.

import type { Flags } from '../config.js';
import * as operations from '../operations/kinds.js';
import type { OutputOf } from '../operations/operation.js';
import { withService } from './service.js';
import { table } from './table.js';

interface ListOptions extends Flags {
  readonly json?: boolean;
}

export async function listKinds({ json, ...flags }: ListOptions): Promise<void> {
  const { items } = await withService(flags, (perform) => perform(operations.listKinds, {}));
  process.stdout.write(json ? `${JSON.stringify(items, null, 2)}\n` : asTable(items));
}

export async function showKind(kind: string, { json, ...flags }: ListOptions): Promise<void> {
  const shown = await withService(flags, (perform) => perform(operations.showKind, { kind }));
  process.stdout.write(json ? `${JSON.stringify(shown)}\n` : asTable([shown]));
}

type Kind = OutputOf<typeof operations.showKind>;

function asTable(kinds: readonly Kind[]): string {
  const rows = kinds.map(({ name, policy, buckets, objects }) => [
    name,
    policy,
    buckets.length,
    objects,
  ]);
  return table(['KIND', 'POLICY', 'BUCKETS', 'OBJECTS'], rows);
}
