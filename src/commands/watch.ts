// sharder watch: what happens to a kind, a line for each event as it comes. On the database itself, or
// with --url by a running service.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { followRemote, type Told } from '../client/watch.js';
import type { Flags } from '../config.js';
import { DEFAULT_KIND } from '../names.js';
import { formatPlace, type KindEvent } from '../store/events.js';
import { concerns, follow } from '../watch/follow.js';
import { Ticker } from '../watch/ticker.js';
import { inFull } from './history.js';
import { withDatabase } from './open.js';
import { remoteOf } from './service.js';
import { stoppable, type Stop } from './stop.js';
import { Table, type Cell } from './table.js';

export interface WatchOptions extends Flags {
  readonly kind: string;
  /** A version of the kind, or the id of an event. */
  readonly since?: string;
  /** Only what comes to it, leaves it, or is done to it. */
  readonly bucket?: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

export async function watch(options: WatchOptions): Promise<void> {
  const { kind, since, bucket, once, json = false } = options;
  const print = async (told: AsyncIterable<Told>, stop: Stop): Promise<void> => {
    const lines = linesOf(told, options, stop, json ? toJson : toRows());
    await pipeline(Readable.from(lines), process.stdout, { end: false });
  };
  const remote = remoteOf(options);
  const words = { before: 'nothing was told; the same command begins again' };
  if (remote) {
    await stoppable(words, (stop) =>
      print(followRemote(remote, kind, { since, bucket, once }), stop),
    );
    return;
  }
  const { signal } = new AbortController();
  await withDatabase(
    options,
    (database, _config, stop) =>
      print(told(follow(new Ticker(database), kind, { since, once, signal }), options), stop),
    { words },
  );
}

async function* told(
  pages: ReturnType<typeof follow>,
  { since, bucket }: WatchOptions,
): AsyncGenerator<Told> {
  let place = since;
  for await (const { events, next } of pages) {
    place = events.at(-1)?.id ?? place ?? formatPlace(next);
    const part = events.filter((event) => bucket === undefined || concerns(event, bucket));
    yield { events: part, place };
  }
}

// What is asked for has been written: the stream takes a line when it has given the one before away.
async function* linesOf(
  told: AsyncIterable<Told>,
  { kind, bucket, once = false }: WatchOptions,
  stop: Stop,
  format: (events: readonly KindEvent[]) => string,
): AsyncGenerator<string> {
  let isFirst = true;
  const ofKind = kind === DEFAULT_KIND ? '' : ` --kind ${kind}`;
  const of = bucket === undefined ? ofKind : `${ofKind} --bucket ${bucket}`;
  for await (const { events, place } of told) {
    if (isFirst && !once) {
      process.stderr.write(`watching kind ${kind} from ${place} on; Ctrl-C ends it\n`);
    }
    isFirst = false;
    if (events.length > 0) yield format(events);
    stop.say(`\`sharder watch${of} --since ${place}\` goes on`);
  }
}

const HEADINGS = ['AT', 'ACTOR', 'ACTION', 'OBJECT', 'FROM', 'TO', 'REASON'];

function toRows(): (events: readonly KindEvent[]) => string {
  const table = new Table(HEADINGS);
  return (events) => table.page(events.map(toCells));
}

function toCells(event: KindEvent): Cell[] {
  const { at, actor, name, from_bucket, to_bucket, reason } = event;
  return [at, actor, inFull(event), name, from_bucket, to_bucket, reason];
}

function toJson(events: readonly KindEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}
