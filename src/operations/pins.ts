// The operations that pin objects: no plan moves them; and under the policy hash, keys: they are where they
// are pinned, whatever the hash says.

import * as z from 'zod';
import { findByHash } from '../by-hash.js';
import { SharderError } from '../errors.js';
import { lockKind } from '../store/kinds.js';
import { pinObject as pinRow } from '../store/objects.js';
import { putPin, removePin } from '../store/pins.js';
import { DONE, writing } from './operation.js';
import * as fields from './fields.js';

const one = { kind: fields.kind, name: fields.name };
const PATH = '/kinds/{kind}/objects/{name}';
const example = { kind: 'hub', name: 'iana.smith' };
const done = z.object({ ...DONE, ...one });

export const pinObject = writing({
  name: 'object pin',
  method: 'POST',
  path: `${PATH}/pin`,
  summary: 'No plan moves this object; a person may. By the policy hash: it is in this bucket',
  input: {
    ...one,
    bucket: fields.bucket.optional().meta({
      description: 'Only by the policy hash; default: where the key is.',
    }),
  },
  output: done.extend({ bucket: fields.bucket.nullable() }),
  example,
  write: async (trx, { kind, name, bucket }, by) => {
    const action = 'object pin';
    const row = await lockKind(trx, kind);
    if (row.policy === 'hash') {
      const to = bucket ?? (await findByHash(trx, kind, name))?.bucket.name ?? '';
      const changed = await putPin(trx, row, name, to, by);
      return { action, kind, name, bucket: to, changed };
    }
    if (bucket !== undefined) {
      throw new SharderError(
        'bad_request',
        `bucket: kind ${kind} has the policy ${row.policy}; move the object first (\`sharder object move\`), then pin it`,
      );
    }
    const changed = await pinRow(trx, row, name, true, by);
    return { action, kind, name, bucket: null, changed };
  },
});

export const unpinObject = writing({
  name: 'object unpin',
  method: 'POST',
  path: `${PATH}/unpin`,
  summary: 'Plans may move this object again. By the policy hash: it is where the hash says',
  input: one,
  output: done.extend({ bucket: fields.bucket.nullable() }),
  example,
  write: async (trx, { kind, name }, by) => {
    const action = 'object unpin';
    const row = await lockKind(trx, kind);
    if (row.policy !== 'hash') {
      const changed = await pinRow(trx, row, name, false, by);
      return { action, kind, name, bucket: null, changed };
    }
    const changed = (await removePin(trx, row, name, by)) !== undefined;
    const bucket = (await findByHash(trx, kind, name))?.bucket.name ?? null;
    return { action, kind, name, bucket, changed };
  },
});
