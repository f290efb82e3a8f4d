// sharder import: objects from CSV, NDJSON or a table of another SQLite database, all or none.

import { SharderError } from '../errors.js';
import type { Format } from '../transfer/format.js';
import { importPages, type Imported } from '../transfer/import.js';
import { readPages } from '../transfer/source.js';
import type { Problem } from '../transfer/page.js';
import { actor, print, type ChangeOptions } from './change.js';
import { withDatabase } from './open.js';
import { Progress } from './progress.js';

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

export async function importObjects(file: string, options: ImportOptions): Promise<void> {
  const { kind, dryRun: isDry = false, json: isJson = false, skipErrors = false } = options;
  const progress = new Progress('read');
  const imported = await withDatabase(
    options,
    (database) =>
      importPages(database, readPages(file, options), {
        kind,
        file,
        createBuckets: options.createBuckets ?? false,
        move: options.move ?? false,
        skipErrors,
        dryRun: isDry,
        by: { actor: actor(), reason: options.reason },
        onRows: (count) => {
          progress.rows(count);
        },
        onWrite: () => {
          progress.say('all lines are read and checked, writing');
        },
      }),
    { isBulk: true },
  ).finally(() => {
    progress.end();
  });
  const isRefused = imported.wrong > 0 && !skipErrors;
  if (!isRefused || isJson) printImported(imported, file, isRefused, options);
  if (isRefused) throw refused(imported, file);
}

function printImported(
  imported: Imported,
  file: string,
  isRefused: boolean,
  { dryRun: isDry = false, json: isJson = false }: ImportOptions,
): void {
  const { added, moved, unchanged, wrong, problems, kinds, buckets } = imported;
  const made = [
    ...kinds.map(({ kind }) => `kind ${kind}`),
    ...buckets.map(({ kind, name }) => `bucket ${name} of kind ${kind}`),
  ];
  const counts = [`${added} new`, `${moved} moved`, `${unchanged} unchanged`];
  if (wrong > 0) counts.push(`${wrong} left out`);
  const done = {
    changed: !isRefused && added + moved + made.length > 0,
    text: `${isDry ? 'would import' : 'imported'} ${file}: ${counts.join(', ')}`,
    data: {
      action: 'import',
      file,
      new: added,
      moved,
      unchanged,
      wrong,
      problems,
      kinds: kinds.map(({ kind }) => kind),
      buckets: buckets.map(({ kind, name }) => ({ kind, name })),
    },
    notes: [
      ...made.map((what) => `${isDry ? 'would make' : 'made'} ${what}`),
      ...imported.notes,
      ...(isJson ? [] : lines(imported).map((line) => `left out ${line}`)),
    ],
  };
  print(isRefused ? { ...done, notes: [] } : done, isDry, isJson);
}

function refused(imported: Imported, file: string): SharderError {
  const { wrong, added, moved, unchanged } = imported;
  const what = wrong === 1 ? '1 line is wrong' : `${wrong} lines are wrong`;
  const rest = added + moved + unchanged;
  return new SharderError(
    'bad_request',
    [
      `${file}: ${what}, ${rest} right, and nothing was imported:`,
      ...lines(imported).map((line) => `  ${line}`),
      ...hints(imported),
    ].join('\n'),
  );
}

function lines({ problems, wrong }: Imported): string[] {
  const shown = problems.slice(0, SHOWN).map(({ line, message }) => `line ${line}: ${message}`);
  return wrong > SHOWN
    ? [...shown, `and ${wrong - SHOWN} more: --json lists up to a thousand`]
    : shown;
}

// Which option lets what is wrong pass.
function hints({ problems }: Imported): string[] {
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
