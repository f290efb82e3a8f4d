// The end of the history: lines that are older than anybody needs are deleted when a person says so.
// What is deleted for good is told by a line that stays: `history prune`, one for each kind and time.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { recordChange, type By } from './changes.js';
import type { Database } from './database.js';
import { checkKind } from './kinds.js';

const ACTION = 'history prune';

// Of one transaction: a few milliseconds, and everybody else's work is done between two.
const CHUNK_SIZE = 2_000;

export interface PruneOptions {
  /** Lines of this time and later stay. */
  readonly before: Date;
  /** Default: all kinds. */
  readonly kind?: string | undefined;
  /** Only counts. */
  readonly isDry?: boolean;
  readonly chunkSize?: number;
  /** Told how many lines were looked at, of about so many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** How many lines of a kind were deleted. */
export interface Pruned {
  readonly kind: string;
  readonly lines: number;
}

/**
 * Deletes the lines that are older, by kind, and resolves with how many of each kind that had any.
 *
 * Where everyone was at `before` or later is still told: `objectsAt` asks for lines that are later
 * than its time alone, and all of those stay, whatever their order. So no line is kept for another's
 * sake. For an earlier time it is refused, by the line `history prune`, which is written with the
 * first lines deleted, in their transaction, and counts on with the others: however the process ends,
 * nothing is missing untold. It takes no kind's lock, for nobody else changes a line.
 *
 * Throws `unknown_kind`, or `bad_request` for a time that is not over.
 */
export async function pruneHistory(
  database: Database,
  { before, kind, isDry = false, chunkSize = CHUNK_SIZE, onProgress }: PruneOptions,
  by: By,
): Promise<Pruned[]> {
  if (before.getTime() > Date.now()) {
    throw new SharderError(
      'bad_request',
      `the history before ${before.toISOString()} is not over: it can be pruned up to now`,
    );
  }
  if (kind !== undefined) await database.read((knex) => checkKind(knex, kind));
  // As the column has it: text on SQLite.
  const time = database.engineName === 'sqlite' ? before.toISOString() : before;
  const pruned = new Map<string, Pruned & { readonly id?: number; readonly version?: number }>();
  const ids = onProgress && (await database.read(readIds));
  for (let last = 0; ;) {
    const chunk = await database.readPage((knex) => readChunk(knex, last, chunkSize, time));
    const upTo = chunk.at(-1)?.id;
    if (upTo === undefined) break;
    const old = chunk.filter((line) => line.isOld && (kind ?? line.kind) === line.kind);
    for (const each of new Set(old.map((line) => line.kind))) {
      const { id, lines = 0, version = 0 } = pruned.get(each) ?? {};
      if (isDry) {
        const more = old.filter((line) => line.kind === each).length;
        pruned.set(each, { kind: each, lines: lines + more });
        continue;
      }
      const after = last;
      const now = await database.write(async (trx) => {
        const detail = { before: before.toISOString(), lines };
        // Before the others are deleted: SQLite gives the id of a deleted last line again.
        const line = id ?? (await recordChange(trx, { ...by, action: ACTION, kind: each, detail }));
        const pruning = () =>
          trx('change')
            .whereBetween('id', [after + 1, upTo])
            .where({ kind: each })
            .where('at', '<', time)
            .whereNot({ action: ACTION });
        // Read in the transaction that deletes, so that whoever watches misses nothing untold.
        const highest = Math.max(version, await highestVersion(pruning()));
        const more = await pruning().delete();
        const counted = { ...detail, lines: lines + more };
        await trx('change')
          .where({ id: line })
          .update({ detail: JSON.stringify(counted), version: highest });
        return { kind: each, lines: lines + more, id: line, version: highest };
      });
      pruned.set(each, now);
    }
    last = upTo;
    if (ids) onProgress(last - ids.first + 1, ids.last - ids.first + 1);
  }
  return [...pruned.values()]
    .map(({ kind: each, lines }) => ({ kind: each, lines }))
    .sort((a, b) => (a.kind < b.kind ? -1 : 1));
}

async function highestVersion(lines: Knex.QueryBuilder): Promise<number> {
  const [row]: { version: number | string | null }[] = await lines.max({ version: 'version' });
  return Number(row?.version ?? 0); // older lines have none
}

async function readIds(knex: Knex): Promise<{ first: number; last: number }> {
  const [row] = await knex('change').min({ first: 'id' }).max({ last: 'id' });
  return { first: Number(row?.first), last: Number(row?.last) };
}

interface Line {
  readonly id: number;
  readonly kind: string;
  readonly isOld: boolean;
}

async function readChunk(
  knex: Knex,
  last: number,
  size: number,
  time: string | Date,
): Promise<Line[]> {
  const rows = await knex('change')
    .where('id', '>', last)
    .orderBy('id')
    .limit(size)
    .select<{ id: number | string; kind: string; old: number }[]>(
      'id',
      'kind',
      knex.raw('case when at < ? and action <> ? then 1 else 0 end as old', [time, ACTION]),
    );
  return rows.map(({ id, kind, old }) => ({ id: Number(id), kind, isOld: old === 1 }));
}

/** The highest version of a kind of which a line was pruned; 0 where none was. */
export async function highestPruned(knex: Knex, kind: string): Promise<number> {
  // Written out, for the index that has these lines alone.
  return highestVersion(knex('change').where({ kind }).whereRaw(`action = 'history prune'`));
}

/** The time from which on the history of a kind is whole; undefined where nothing was pruned. */
export async function readHorizon(knex: Knex, kind: string): Promise<Date | undefined> {
  const details = await knex('change')
    .where({ kind, action: ACTION })
    .whereNull('name') // for the index
    .pluck<(string | { before: string })[]>('detail');
  const times = details.map((detail) => {
    const { before } =
      typeof detail === 'string' ? (JSON.parse(detail) as { before: string }) : detail;
    return new Date(before).getTime();
  });
  return times.length === 0 ? undefined : new Date(Math.max(...times));
}
