// sharder history list | prune: the lines of the history, whatever object they are about.

import type { Flags } from '../config.js';
import * as operations from '../operations/history.js';
import type { OutputOf } from '../operations/operation.js';
import { change, type ChangeOptions } from './change.js';
import { inFull } from './history.js';
import { pages, printPages } from './lists.js';
import { Progress } from './progress.js';
import { withService } from './service.js';
import type { StopWords } from './stop.js';

const PAGE_SIZE = 1_000;

type Line = OutputOf<typeof operations.listHistory>['items'][number];

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly object?: string;
  readonly bucket?: string;
  readonly actor?: string;
  readonly action?: string;
  readonly plan?: number;
  readonly since?: Date;
  readonly until?: Date;
  readonly limit: number;
  readonly json?: boolean;
}

const HEADINGS = ['AT', 'ACTOR', 'ACTION', 'KIND', 'OBJECT', 'FROM', 'TO', 'REASON'];

export async function listHistory(options: ListOptions): Promise<void> {
  const {
    kind,
    object: name,
    bucket,
    actor,
    action,
    plan,
    since,
    until,
    limit,
    json = false,
  } = options;
  const filter = {
    ...{ kind, name, bucket, actor, action, plan },
    since: since?.toISOString(),
    until: until?.toISOString(),
    limit: Math.min(Math.max(limit, 1), PAGE_SIZE),
  };
  await withService(options, (perform) => {
    const all = pages((after) => perform(operations.listHistory, { ...filter, after }));
    return printPages(first(all, limit), json, HEADINGS, toCells);
  });
}

async function* first(
  all: AsyncIterable<readonly Line[]>,
  limit: number,
): AsyncGenerator<readonly Line[]> {
  let left = limit;
  for await (const page of all) {
    yield page.slice(0, left);
    left -= page.length;
    if (left <= 0) return;
  }
}

function toCells(line: Line) {
  const { at, actor, kind, name, from_bucket, to_bucket, reason } = line;
  return [at, actor, inFull(line), kind, name, from_bucket, to_bucket, reason];
}

export interface PruneOptions extends ChangeOptions {
  readonly before: Date;
  readonly kind?: string;
}

const SO_FAR = 'what was pruned so far stays pruned; the same command goes on';
const PRUNING: StopWords = {
  before: 'nothing was pruned; the same command does it',
  unsure: SO_FAR,
  done: SO_FAR,
};

export async function pruneHistory(options: PruneOptions): Promise<void> {
  const time = options.before.toISOString();
  const input = { before: time, kind: options.kind };
  const progress = new Progress('lines looked at');
  const onProgress = (done: number, total: number): void => {
    progress.outOf(total);
    progress.at(done);
  };
  const pruning = change(
    operations.pruneHistory,
    input,
    options,
    ({ changed, lines, kinds }, did) => {
      progress.end();
      const counts = kinds.map((each) => `${each.lines} of kind ${each.kind}`).join(', ');
      const what = lines === 1 ? 'line' : 'lines';
      return changed
        ? `${did('prune')} ${lines} ${what} of the history from before ${time}: ${counts}`
        : `there is no line from before ${time}: nothing was changed`;
    },
    { words: PRUNING, onProgress },
  );
  await pruning.finally(() => {
    progress.end();
  });
}
