// sharder kind list.

import type { Flags } from '../config.js';
import * as store from '../store/kinds.js';
import { withDatabase } from './open.js';
import { table } from './table.js';

export async function listKinds({ json, ...flags }: Flags & { json?: boolean }): Promise<void> {
  const kinds = await withDatabase(flags, (database) => database.read(store.listKinds));
  process.stdout.write(
    json
      ? `${JSON.stringify(kinds, null, 2)}\n`
      : table(
          ['KIND', 'POLICY', 'BUCKETS', 'OBJECTS'],
          kinds.map(({ name, policy, buckets, objects }) => [
            name,
            policy,
            buckets.length,
            objects,
          ]),
        ),
  );
}
