// sharder import: objects from CSV, NDJSON or a table of another SQLite database, all or none.

import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { SharderError } from '../errors.js';
import { STREAMS } from '../operations/streams.js';
import { isStandard, type Format } from '../transfer/format.js';
import { importPages } from '../transfer/import.js';
import { explainSource, readPages, readRaw } from '../transfer/source.js';
import type { Problem } from '../transfer/page.js';
import { actor, print, type ChangeOptions, type Done } from './change.js';
import { withDatabase } from './open.js';
import { Progress } from './progress.js';
import { Failure, type Remote } from './remote.js';
import { remoteOf } from './service.js';
import { READING, stoppable, type StopWords } from './stop.js';

// How many wrong lines people are shown.
const SHOWN = 20;

export interface ImportOptions extends ChangeOptions {
  readonly kind: string;
  readonly format?: Format;
  readonly table?: string;
  readonly createBuckets?: boolean;
  readonly move?: boolean;
  readonly skipErrors?: boolean;
}

/** What an import did, or would do. */
export interface ImportDone extends Done {
  readonly file: string;
  readonly new: number;
  readonly moved: number;
  readonly unchanged: number;
  /** Lines that are wrong; where there are any, nothing was imported, but for `skipErrors`. */
  readonly wrong: number;
  /** The first of them. */
  readonly problems: readonly Problem[];
  /** What was made. */
  readonly kinds: readonly string[];
  readonly buckets: readonly { readonly kind: string; readonly name: string }[];
}

const WORDS: StopWords = {
  before: 'nothing was imported; the same command does it',
  unsure: 'it may all be imported, or nothing; the same command does what is left',
  done: 'but it was all imported',
};

export async function importObjects(file: string, options: ImportOptions): Promise<void> {
  // What somebody types is not written over.
  const isQuiet = isStandard(file) && process.stdin.isTTY;
  const remote = remoteOf(options);
  const progress = new Progress(remote ? 'bytes sent' : 'rows read', { isQuiet });
  const importing = remote
    ? importThere(remote, file, options, progress)
    : importHere(file, options, progress);
  const done = await importing.finally(() => {
    progress.end();
  });
  const { skipErrors = false, json = false } = options;
  const isRefused = done.wrong > 0 && !skipErrors;
  if (json) print(done, '', true);
  else if (!isRefused) print({ ...done, notes: allNotes(done) }, textOf(done), false);
  if (isRefused) throw refused(done);
}

async function importHere(
  file: string,
  options: ImportOptions,
  progress: Progress,
): Promise<ImportDone> {
  const { kind, dryRun: isDry = false, skipErrors = false } = options;
  const onFile = (size: number, bytesRead: () => number): void => {
    progress.outOf(size, bytesRead);
  };
  const imported = await withDatabase(
    options,
    (database, _config, stop) =>
      importPages(database, readPages(file, { ...options, onFile }), {
        kind,
        file,
        createBuckets: options.createBuckets ?? false,
        move: options.move ?? false,
        skipErrors,
        dryRun: isDry,
        by: { actor: actor(), reason: options.reason },
        onRows: (count) => {
          progress.at(count);
        },
        onRead: async () => {
          if (database.engineName === 'sqlite') await stop.pause();
          progress.say('comparing; Ctrl-C changes nothing');
        },
        onWrite: async () => {
          await allHasCome();
          progress.say('writing; Ctrl-C undoes all of it');
        },
      }),
    { isBulk: true, words: isDry ? READING : WORDS },
  );
  const { added, moved, wrong, kinds, buckets, notes, ...rest } = imported;
  const isRefused = wrong > 0 && !skipErrors;
  return {
    action: 'import',
    file,
    new: added,
    moved,
    unchanged: rest.unchanged,
    wrong,
    problems: rest.problems,
    kinds: kinds.map(({ kind }) => kind),
    buckets: buckets.map(({ kind, name }) => ({ kind, name })),
    changed: !isRefused && added + moved + kinds.length + buckets.length > 0,
    dry_run: isDry,
    ...(notes.length > 0 && !isRefused && { notes }),
  };
}

// What the service sends may break off, which looks here like its end: it says beside that this was all.
async function allHasCome(): Promise<void> {
  if (process.env.SHARDER_SERVICE !== '1') return;
  const word = new Socket({ fd: 3 });
  if ((await text(word)) === 'all') return;
  throw new SharderError('bad_request', 'the body broke off: nothing was imported');
}

async function importThere(
  remote: Remote,
  file: string,
  { kind, format, createBuckets, move, skipErrors, dryRun, reason, table }: ImportOptions,
  progress: Progress,
): Promise<ImportDone> {
  if (table !== undefined) {
    throw new SharderError('settings', '--table: a service cannot read it; use --database');
  }
  const source = readRaw(file, format);
  const { content } = source;
  if (source.size !== undefined) progress.outOf(source.size, () => content.bytesRead);
  progress.follow(() =>
    content.readableEnded ? 'all is sent: the service checks and writes it' : content.bytesRead,
  );
  const input = {
    kind,
    create_buckets: createBuckets,
    move,
    skip_errors: skipErrors,
    dry_run: dryRun,
    reason,
  };
  const upload = {
    type: source.format === 'csv' ? 'text/csv' : 'application/x-ndjson',
    encoding: source.isGzip ? ('gzip' as const) : undefined,
    content,
  };
  try {
    return await stoppable(dryRun ? READING : WORDS, async (stop) => {
      // The service drops what breaks off.
      content.once('end', () => {
        stop.unsure();
      });
      const done = await remote.ask(STREAMS.import, input, upload);
      return { ...(done as ImportDone), file };
    });
  } catch (error) {
    const told = error instanceof Failure ? (error.body as Partial<ImportDone>) : {};
    if (told.problems) return { ...(told as ImportDone), file };
    throw explainSource(error, isStandard(file) ? 'standard input' : file);
  }
}

function textOf({ file, new: added, moved, unchanged, wrong, dry_run: isDry }: ImportDone): string {
  const counts = [`${added} new`, `${moved} moved`, `${unchanged} unchanged`];
  if (wrong > 0) counts.push(`${wrong} left out`);
  return `${isDry ? 'would import' : 'imported'} ${file}: ${counts.join(', ')}`;
}

function allNotes(done: ImportDone): string[] {
  const made = [
    ...done.kinds.map((kind) => `kind ${kind}`),
    ...done.buckets.map(({ kind, name }) => `bucket ${name} of kind ${kind}`),
  ];
  return [
    ...made.map((what) => `${done.dry_run ? 'would make' : 'made'} ${what}`),
    ...(done.notes ?? []),
    ...lines(done).map((line) => `left out ${line}`),
  ];
}

function refused(done: ImportDone): SharderError {
  const { file, wrong, new: added, moved, unchanged } = done;
  const what = wrong === 1 ? '1 line is wrong' : `${wrong} lines are wrong`;
  const rest = added + moved + unchanged;
  return new SharderError(
    'bad_request',
    [
      `${file}: ${what}, ${rest} right, and nothing was imported:`,
      ...lines(done).map((line) => `  ${line}`),
      ...hints(done),
    ].join('\n'),
  );
}

function lines({ problems, wrong }: ImportDone): string[] {
  const shown = problems.slice(0, SHOWN).map(({ line, message }) => `line ${line}: ${message}`);
  return wrong > SHOWN
    ? [...shown, `and ${wrong - SHOWN} more: --json lists up to a thousand`]
    : shown;
}

// Which option lets what is wrong pass.
function hints({ problems }: ImportDone): string[] {
  const has = (...codes: readonly Problem['code'][]) =>
    problems.some(({ code }) => codes.includes(code));
  return [
    ...(has('unknown_bucket', 'unknown_kind')
      ? ['--create-buckets makes the buckets and kinds that are not there']
      : []),
    ...(has('elsewhere') ? ['--move moves who is in another bucket already'] : []),
    '--skip-errors leaves out what is wrong, and imports the rest',
  ];
}
