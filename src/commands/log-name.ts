// sharder object find --log-name: which object the log means by a hash.

import type { Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { LOG_NAME, logName } from '../log-names.js';
import { listBuckets } from '../store/buckets.js';
import { searchObject } from '../store/search.js';
import { withDatabase } from './open.js';
import { Progress } from './progress.js';
import { remoteOf } from './service.js';
import { printable, table } from './table.js';

const PAGE_SIZE = 5_000;

export interface LogNameOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

export async function findLogName(hash: string, options: LogNameOptions): Promise<void> {
  const { kind, json = false, ...flags } = options;
  if (!LOG_NAME.test(hash)) {
    throw new SharderError(
      'settings',
      `--log-name: ${JSON.stringify(hash)} is none: the log has u: and 24 hexadecimal digits`,
    );
  }
  if (remoteOf(flags)) {
    throw new SharderError(
      'settings',
      '--log-name: looks in the database itself, not through --url',
    );
  }
  const progress = new Progress('names compared');
  const match = await withDatabase(flags, async (database, { logKey }) => {
    if (logKey === undefined) {
      throw new SharderError('settings', 'SHARDER_LOG_KEY: is not set; it is that of the service');
    }
    const fits = (of: string, name: string) => logName(logKey, of, name) === hash;
    const buckets = await database.read((knex) => listBuckets(knex, kind));
    const objects = buckets.reduce((sum, { members }) => sum + members, 0);
    progress.outOf(objects);
    return searchObject(database, fits, kind, PAGE_SIZE, (count) => {
      if (count > objects) progress.outOf(0); // those of the history nobody has counted
      progress.at(count);
    });
  }).finally(() => {
    progress.end();
  });
  if (!match) throw nobody(hash, kind);
  const { object, ...named } = match;
  const row = object ?? { ...named, bucket: null, assigned_at: null, pinned: false };
  process.stdout.write(
    json
      ? `${JSON.stringify([row])}\n`
      : table(
          ['KIND', 'OBJECT', 'BUCKET', 'ASSIGNED', 'PINNED'],
          [[row.kind, row.name, row.bucket, row.assigned_at, row.pinned ? 'yes' : null]],
        ),
  );
  if (!object) {
    const note = `there is no object of that name any more: \`sharder object history ${match.name} --kind ${match.kind}\` tells`;
    process.stderr.write(`note: ${printable(note)}\n`);
  }
}

function nobody(hash: string, kind: string | undefined): SharderError {
  const where = kind === undefined ? 'of any kind' : `of kind ${kind}`;
  return new SharderError(
    'unknown_object',
    `no object ${where}, and no name in the history, is ${hash}: it was never assigned, or was removed or renamed and its history pruned, or SHARDER_LOG_KEY is another than then`,
  );
}
