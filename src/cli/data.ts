// sharder export | import | backup | check.

import type { Command } from 'commander';
import { DEFAULT_KIND } from '../names.js';
import { changing, format, listing, optionsOf } from './options.js';

export function addTransfer(program: Command): void {
  program
    .command('export')
    .description('write all objects as CSV or NDJSON')
    .argument(
      '[file]',
      'its name tells the format: .csv, .ndjson, .jsonl, each with .gz; default: - (standard output)',
    )
    .option('--kind <kind>', 'only those of this kind')
    .addOption(format(['csv', 'ndjson']))
    .option('--overwrite', 'a file that is there')
    .option('--for-spreadsheet', 'CSV that is safe to open in a spreadsheet; cannot be imported')
    .action(async (file: string | undefined, _options, command: Command) => {
      const { exportObjects } = await import('../commands/export.js');
      await exportObjects(file, optionsOf(command));
    });
  changing(program.command('import'))
    .summary('read objects from CSV, NDJSON or a SQLite database')
    .description(
      'read objects from CSV, NDJSON or a SQLite database: all, or none if a line is wrong',
    )
    .argument('[file]', 'its name tells the format, as in export; default: - (standard input)', '-')
    .option('--kind <kind>', 'the kind of lines that name none', DEFAULT_KIND)
    .addOption(format(['csv', 'ndjson', 'sqlite']))
    .option('--table <table>', 'of a SQLite database, the table to read')
    .option('--create-buckets', 'make the kinds and buckets that are not there')
    .option('--move', 'move objects that are in another bucket already')
    .option('--skip-errors', 'leave out the lines that are wrong, and import the others')
    .action(async (file: string, _options, command: Command) => {
      const { importObjects } = await import('../commands/import.js');
      await importObjects(file, optionsOf(command));
    });
}

export function addCare(program: Command): void {
  program
    .command('backup')
    .summary('copy a SQLite database while the service runs')
    .description('copy a SQLite database while the service runs, and check the copy')
    .argument('<file>')
    .option('--overwrite', 'a file that is there')
    .action(async (file: string, _options, command: Command) => {
      const { backup } = await import('../commands/backup.js');
      await backup(file, optionsOf(command));
    });
  listing(program.command('check'))
    .summary('look whether the database keeps what it promises')
    .description('look whether the database keeps what its schema promises; 1 when it does not')
    .option('--fix', 'count again what buckets hold')
    .action(async (_options, command: Command) => {
      const { check } = await import('../commands/check.js');
      await check(optionsOf(command));
    });
}
