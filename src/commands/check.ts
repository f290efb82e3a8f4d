// sharder check: whether the tables keep what the schema promises; 1 when they do not.

import { SharderError } from '../errors.js';
import type { Flags } from '../config.js';
import { STREAMS } from '../operations/streams.js';
import { listBuckets } from '../store/buckets.js';
import { checkDatabase, fixMembers, type Findings } from '../store/check.js';
import type { Database } from '../store/database.js';
import { actor } from './change.js';
import { withDatabase } from './open.js';
import { Progress } from './progress.js';
import type { Remote } from './remote.js';
import { remoteOf } from './service.js';
import { stoppable, type StopWords } from './stop.js';
import { printable, table } from './table.js';

// So many objects take about as long as a person notices.
const MANY = 200_000;

export interface CheckOptions extends Flags {
  readonly fix?: boolean;
  readonly json?: boolean;
}

interface Checked extends Findings {
  /** How many buckets were counted again. */
  readonly fixed: number;
}

export async function check({ fix = false, json = false, ...flags }: CheckOptions): Promise<void> {
  const remote = remoteOf(flags);
  const { checked, location } = remote
    ? await checkThere(remote, fix)
    : await checkHere(flags, fix);
  process.stdout.write(json ? asJson(checked) : asText(checked, location));
  for (const note of json ? [] : checked.notes) process.stderr.write(`note: ${printable(note)}\n`);
  const { length } = checked.faults;
  if (length > 0) {
    const what = length === 1 ? '1 thing is' : `${length} things are`;
    throw new SharderError('bad_request', `${what} wrong in ${location}`);
  }
}

const WORDS: StopWords = {
  before: 'nothing was changed, and not all was checked',
  done: 'what was set right so far stays so; the same command goes on',
};

async function checkHere(
  flags: Flags,
  fix: boolean,
): Promise<{ checked: Checked; location: string }> {
  const progress = new Progress('objects checked');
  const checkAll = (database: Database): Promise<Findings> =>
    checkDatabase(database, (count) => {
      progress.at(count);
    });
  return withDatabase(
    flags,
    async (database, _config, stop) => {
      const { location } = database;
      const buckets = await database.read((knex) => listBuckets(knex));
      const objects = buckets.reduce((sum, { members }) => sum + members, 0);
      progress.outOf(objects);
      // Most statements read a whole table.
      if (database.engineName === 'sqlite') {
        await stop.pause(objects > MANY ? 'reading all tables; Ctrl-C changes nothing' : undefined);
      }
      const before = await checkAll(database);
      const mendable = before.faults.filter(({ rule }) => rule === 'members').length;
      if (!fix || mendable === 0) return { checked: { ...before, fixed: 0 }, location };
      await fixMembers(database, { actor: actor() });
      const after = await checkAll(database);
      const left = after.faults.filter(({ rule }) => rule === 'members').length;
      return { checked: { ...after, fixed: mendable - left }, location };
    },
    { isBulk: true, words: WORDS },
  ).finally(() => {
    progress.end();
  });
}

async function checkThere(
  remote: Remote,
  fix: boolean,
): Promise<{ checked: Checked; location: string }> {
  const words = fix ? { ...WORDS, unsure: 'it may go on there; the same command tells' } : WORDS;
  const checked = await stoppable(words, async (stop) => {
    stop.unsure();
    return remote.ask(fix ? STREAMS.fix : STREAMS.check, {});
  });
  return { checked: checked as Checked, location: remote.location };
}

function asJson({ faults, notes, kinds, buckets, objects, fixed }: Checked): string {
  const all = { ok: faults.length === 0, kinds, buckets, objects, fixed, faults, notes };
  return `${JSON.stringify(all, null, 2)}\n`;
}

function asText(checked: Checked, location: string): string {
  const { faults, kinds, buckets, objects, fixed } = checked;
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
