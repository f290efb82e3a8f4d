// sharder export: all objects as CSV or NDJSON, as they are at one moment.

import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { STREAMS } from '../operations/streams.js';
import { listBuckets } from '../store/buckets.js';
import type { Reader } from '../store/database.js';
import { checkKind, listKindSettings } from '../store/kinds.js';
import { listObjects, type Assignment } from '../store/objects.js';
import { writeCsv } from '../transfer/csv.js';
import { formatOf, isStandard, type Format } from '../transfer/format.js';
import { writeNdjson } from '../transfer/ndjson.js';
import { PAGE_SIZE } from '../transfer/page.js';
import { writeWhole } from './draft.js';
import { withDatabase } from './open.js';
import { remoteOf } from './service.js';
import { Progress } from './progress.js';

export interface ExportOptions extends Flags {
  readonly kind?: string;
  readonly format?: Format;
  readonly overwrite?: boolean;
}

export async function exportObjects(
  file: string | undefined,
  { kind, format: given, overwrite = false, ...flags }: ExportOptions,
): Promise<void> {
  const { format, isGzip } = formatOf(file, given);
  if (format === 'sqlite') {
    throw new SharderError('settings', 'a SQLite database is made by `sharder backup FILE`');
  }
  const progress = new Progress('exported', { isQuiet: isStandard(file) && process.stdout.isTTY });
  const write = async (text: Readable): Promise<void> => {
    if (isStandard(file)) {
      await pipeline(text, process.stdout, { end: false });
      return;
    }
    await writeWhole(file, overwrite, (draft) => {
      const sink = createWriteStream(draft);
      return isGzip ? pipeline(text, createGzip(), sink) : pipeline(text, sink);
    });
  };
  const remote = remoteOf(flags);
  const done = remote
    ? remote.stream(STREAMS.export, { format, kind }).then(write)
    : withDatabase(
        flags,
        (database) =>
          database.snapshot((reader) =>
            write(Readable.from(textOf(reader, format, kind, progress))),
          ),
        { isBulk: true },
      );
  await done.finally(() => {
    progress.end();
  });
}

async function* textOf(
  reader: Reader,
  format: 'csv' | 'ndjson',
  kind: string | undefined,
  progress: Progress,
): AsyncGenerator<string> {
  if (kind !== undefined) await reader.read((knex) => checkKind(knex, kind));
  const pages = counted(listObjects(reader, { kind }, PAGE_SIZE), progress);
  if (format === 'csv') {
    yield* writeCsv(pages);
    return;
  }
  const kinds = await reader.read((knex) => listKindSettings(knex, kind));
  const buckets = await reader.read((knex) => listBuckets(knex, kind));
  yield* writeNdjson(kinds, buckets, pages);
}

async function* counted(
  pages: AsyncIterable<Assignment[]>,
  progress: Progress,
): AsyncGenerator<Assignment[]> {
  let rows = 0;
  for await (const page of pages) {
    progress.rows((rows += page.length));
    yield page;
  }
}
