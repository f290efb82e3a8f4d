// sharder export: all objects as CSV or NDJSON, as they are at one moment.

import { createWriteStream, fstatSync, rmSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { readConfig, type Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { listKinds } from '../operations/kinds.js';
import { listSpecs } from '../operations/specs.js';
import { STREAMS } from '../operations/streams.js';
import { listBuckets } from '../store/buckets.js';
import type { Reader } from '../store/database.js';
import { checkKind, listKindSettings } from '../store/kinds.js';
import { listObjects, type Assignment } from '../store/objects.js';
import { kindsWithSpecs } from '../store/specs.js';
import { writeCsv, writeSpreadsheet } from '../transfer/csv.js';
import { formatOf, isStandard, type Format } from '../transfer/format.js';
import { writeNdjson } from '../transfer/ndjson.js';
import { PAGE_SIZE } from '../transfer/page.js';
import { draftOf, writeWhole } from './draft.js';
import { refuseDatabase, refuseOwnFiles } from './own-files.js';
import { withDatabase } from './open.js';
import { Progress } from './progress.js';
import type { Remote } from './remote.js';
import { remoteOf } from './service.js';
import { READING, stoppable, type Stop, type StopWords } from './stop.js';

export interface ExportOptions extends Flags {
  readonly kind?: string;
  readonly format?: Format;
  readonly overwrite?: boolean;
  readonly forSpreadsheet?: boolean;
}

export async function exportObjects(
  file: string | undefined,
  { kind, format: given, overwrite = false, forSpreadsheet = false, ...flags }: ExportOptions,
): Promise<void> {
  const { format, isGzip } = formatOf(file, given);
  if (format === 'sqlite') {
    throw new SharderError('settings', 'a SQLite database is made by `sharder backup FILE`');
  }
  if (forSpreadsheet && format !== 'csv') {
    throw new SharderError('settings', '--for-spreadsheet: is for CSV alone');
  }
  if (!isStandard(file)) {
    refuseOwnFiles(readConfig(flags, process.env).database, file, [draftOf(file)]);
    refuseDatabase(file);
  }
  const what: Wanted = { format, kind, forSpreadsheet };
  const progress = new Progress('objects exported', { isQuiet: isStandard(file) && !isFile(1) });
  const write = async (text: Readable, stop: Stop): Promise<void> => {
    if (isStandard(file)) {
      await pipeline(text, process.stdout, { end: false });
      return;
    }
    await writeWhole(file, overwrite, (draft) => {
      stop.cleanUp(() => {
        rmSync(draft, { force: true });
      });
      const sink = createWriteStream(draft, { flags: 'r+' });
      return isGzip ? pipeline(text, createGzip(), sink) : pipeline(text, sink);
    });
  };
  const words = isStandard(file) ? READING : WORDS;
  const remote = remoteOf(flags);
  const exporting = remote
    ? stoppable(words, async (stop) => {
        if (!progress.isQuiet) await measureThere(remote, kind, progress);
        const text = await remote.stream(STREAMS.export, {
          ...{ format, kind, for_spreadsheet: forSpreadsheet || undefined },
        });
        await write(Readable.from(countedLines(text, progress)), stop);
        return followedThere(remote, kind);
      })
    : withDatabase(
        flags,
        (database, _config, stop) =>
          database.snapshot(async (reader) => {
            await write(Readable.from(textOf(reader, what, progress)), stop);
            return reader.read((knex) => kindsWithSpecs(knex));
          }),
        { isBulk: true, words },
      );
  const followed = await exporting.finally(() => {
    progress.end();
  });
  for (const each of followed.filter((name) => kind === undefined || name === kind)) {
    process.stderr.write(
      `note: objects of kind ${each} follow workers: what they ask for is not exported (\`sharder spec list --kind ${each} --json\` has it)\n`,
    );
  }
}

const WORDS: StopWords = { before: 'nothing was exported; the same command does it' };

// Through a pipe it may come to the terminal after all: `| less`.
function isFile(fd: number): boolean {
  return fstatSync(fd).isFile();
}

async function measureThere(
  remote: Remote,
  kind: string | undefined,
  progress: Progress,
): Promise<void> {
  const { items } = await remote.perform(listKinds, {});
  const those = items.filter(({ name }) => kind === undefined || name === kind);
  progress.outOf(those.reduce((sum, { objects }) => sum + objects, 0));
}

// The kinds whose objects follow workers.
async function followedThere(remote: Remote, kind: string | undefined): Promise<string[]> {
  const { items } = await remote.perform(listKinds, {});
  const those = items.filter(({ name, leased }) => leased && (kind === undefined || name === kind));
  const followed = [];
  for (const { name } of those) {
    const { items: first } = await remote.perform(listSpecs, { kind: name, limit: 1 });
    if (first.length > 0) followed.push(name);
  }
  return followed;
}

async function* countedLines(
  chunks: AsyncIterable<Buffer>,
  progress: Progress,
): AsyncGenerator<Buffer> {
  let lines = 0;
  for await (const chunk of chunks) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
    progress.at(lines);
    yield chunk;
  }
}

interface Wanted {
  readonly format: 'csv' | 'ndjson';
  readonly kind: string | undefined;
  readonly forSpreadsheet: boolean;
}

async function* textOf(
  reader: Reader,
  { format, kind, forSpreadsheet }: Wanted,
  progress: Progress,
): AsyncGenerator<string> {
  if (kind !== undefined) await reader.read((knex) => checkKind(knex, kind));
  const buckets = await reader.read((knex) => listBuckets(knex, kind));
  progress.outOf(buckets.reduce((sum, { members }) => sum + members, 0));
  const pages = counted(listObjects(reader, { kind }, PAGE_SIZE), progress);
  if (format === 'csv') {
    yield* forSpreadsheet ? writeSpreadsheet(pages) : writeCsv(pages);
    return;
  }
  const kinds = await reader.read((knex) => listKindSettings(knex, kind));
  yield* writeNdjson(kinds, buckets, pages);
}

async function* counted(
  pages: AsyncIterable<Assignment[]>,
  progress: Progress,
): AsyncGenerator<Assignment[]> {
  let rows = 0;
  for await (const page of pages) {
    progress.at((rows += page.length));
    yield page;
  }
}
