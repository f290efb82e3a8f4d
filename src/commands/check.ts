// sharder check: whether the tables keep what the schema promises; 1 when they do not.

import { SharderError } from '../errors.js';
import type { Flags } from '../config.js';
import { checkDatabase, fixMembers, type Findings } from '../store/check.js';
import { actor } from './change.js';
import { withDatabase } from './open.js';
import { printable, table } from './table.js';

export interface CheckOptions extends Flags {
  readonly fix?: boolean;
  readonly json?: boolean;
}

export async function check({ fix = false, json = false, ...flags }: CheckOptions): Promise<void> {
  const { found, fixed, location } = await withDatabase(
    flags,
    async (database) => {
      const before = await checkDatabase(database);
      const mendable = before.faults.filter(({ rule }) => rule === 'members').length;
      if (!fix || mendable === 0) return { found: before, fixed: 0, location: database.location };
      await fixMembers(database, { actor: actor() });
      const found = await checkDatabase(database);
      const left = found.faults.filter(({ rule }) => rule === 'members').length;
      return { found, fixed: mendable - left, location: database.location };
    },
    { isBulk: true },
  );
  process.stdout.write(json ? asJson(found, fixed) : asText(found, fixed, location));
  for (const note of json ? [] : found.notes) process.stderr.write(`note: ${printable(note)}\n`);
  const { length } = found.faults;
  if (length > 0) {
    const what = length === 1 ? '1 thing is' : `${length} things are`;
    throw new SharderError('bad_request', `${what} wrong in ${location}`);
  }
}

function asJson({ faults, notes, ...counts }: Findings, fixed: number): string {
  return `${JSON.stringify({ ok: faults.length === 0, ...counts, fixed, faults, notes }, null, 2)}\n`;
}

function asText(found: Findings, fixed: number, location: string): string {
  const { faults, kinds, buckets, objects } = found;
  const lines = [];
  if (fixed > 0) lines.push(`set right the members of ${count(fixed, 'bucket')}\n`);
  if (faults.length === 0) {
    const all = [count(kinds, 'kind'), count(buckets, 'bucket'), count(objects, 'object')].join(
      ', ',
    );
    lines.push(`${location}: nothing is wrong with its ${all}\n`);
  } else {
    lines.push(
      table(
        ['KIND', 'BUCKET', 'OBJECT', 'WHAT IS WRONG', 'WHAT TO DO'],
        faults.map(({ kind, bucket, name, message, remedy }) => [
          kind,
          bucket,
          name,
          message,
          remedy,
        ]),
      ),
    );
  }
  return lines.join('');
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
