// sharder history list | prune: the lines of the history, whatever object they are about.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Flags } from '../config.js';
import { listChanges, type ChangeFilter } from '../store/change-pages.js';
import type { Database } from '../store/database.js';
import type { ChangeRow } from '../store/history.js';
import * as store from '../store/prune.js';
import { actor, hasDone, print, wouldDo, type ChangeOptions } from './change.js';
import { inFull } from './history.js';
import { asJson, asTable } from './object.js';
import { withDatabase } from './open.js';
import { Table } from './table.js';

const PAGE_SIZE = 1_000;

export interface ListOptions extends Flags, Omit<ChangeFilter, 'name' | 'plan'> {
  readonly object?: string;
  readonly limit: number;
  readonly json?: boolean;
}

export async function listHistory(options: ListOptions): Promise<void> {
  const { kind, object: name, bucket, actor, action, since, until, limit, json } = options;
  const filter = { kind, name, bucket, actor, action, since, until };
  await withDatabase(options, async (database) => {
    const pages = firstOf(database, filter, limit);
    const table = new Table(['AT', 'ACTOR', 'ACTION', 'KIND', 'OBJECT', 'FROM', 'TO', 'REASON']);
    const text = json ? asJson(pages) : asTable(table, pages, toCells);
    await pipeline(Readable.from(text), process.stdout, { end: false });
  });
}

async function* firstOf(
  database: Database,
  filter: ChangeFilter,
  limit: number,
): AsyncGenerator<readonly ChangeRow[]> {
  let left = limit;
  for (let after: number | null = null; left > 0;) {
    const page = await listChanges(database, filter, after, Math.min(left, PAGE_SIZE));
    yield page.changes;
    left -= page.changes.length;
    after = page.next;
    if (after === null) break;
  }
}

function toCells(line: ChangeRow) {
  const { at, actor, kind, name, from_bucket, to_bucket, reason } = line;
  return [at, actor, inFull(line), kind, name, from_bucket, to_bucket, reason];
}

export interface PruneOptions extends ChangeOptions {
  readonly before: Date;
  readonly kind?: string;
}

export async function pruneHistory(options: PruneOptions): Promise<void> {
  const { before, kind, reason, dryRun: isDry = false, json = false } = options;
  const kinds = await withDatabase(options, (database) =>
    store.pruneHistory(database, { before, kind, isDry }, { actor: actor(), reason }),
  );
  const lines = kinds.reduce((sum, each) => sum + each.lines, 0);
  const changed = lines > 0;
  const did = isDry ? wouldDo : hasDone;
  const time = before.toISOString();
  const counts = kinds.map((each) => `${each.lines} of kind ${each.kind}`).join(', ');
  const text = changed
    ? `${did('prune')} ${lines} ${lines === 1 ? 'line' : 'lines'} of the history from before ${time}: ${counts}`
    : `there is no line from before ${time}: nothing was changed`;
  const data = { action: 'history prune', before: time, lines, kinds };
  print({ changed, text, data }, isDry, json);
}
