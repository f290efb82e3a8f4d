// sharder kind list | show.

import type { Flags } from '../config.js';
import * as operations from '../operations/kinds.js';
import { withService } from './service.js';
import { table } from './table.js';

interface ListOptions extends Flags {
  readonly json?: boolean;
}

export async function listKinds({ json, ...flags }: ListOptions): Promise<void> {
  const { items } = await withService(flags, (perform) => perform(operations.listKinds, {}));
  const rows = items.map(({ name, policy, buckets, objects }) => [
    name,
    policy,
    buckets.length,
    objects,
  ]);
  process.stdout.write(
    json
      ? `${JSON.stringify(items, null, 2)}\n`
      : table(['KIND', 'POLICY', 'BUCKETS', 'OBJECTS'], rows),
  );
}
