#!/usr/bin/env node
// The `sharder` command: reads argv, wires, exits. 0: done, 1: refused, 2: wrong usage.

import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { SharderError } from './errors.js';
import { DEFAULT_KIND } from './names.js';

const USAGE = 2;
const REFUSED = 1;

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string };

// A command's module, with what it depends on, is loaded when the command is run.
function createProgram(): Command {
  const program = new Command('sharder')
    .description('Which bucket does this user live in? One durable answer per user.')
    .version(version)
    .option('--config-file <file>', 'settings; default: sharder.yml, if it is there')
    .option('--database <url>', 'sqlite:FILE or postgres://…; default: DATABASE_URL, the settings')
    .exitOverride()
    .showHelpAfterError('(sharder --help says what there is)')
    .configureHelp({ showGlobalOptions: true });

  program
    .command('serve')
    .description('bring the schema up to date, declare the kinds, and answer requests')
    .option('--listen <host:port>', 'default: 127.0.0.1:8888')
    .action(async (_options, command: Command) => {
      const { serve } = await import('./commands/serve.js');
      await serve(command.optsWithGlobals(), version);
    });

  program
    .command('migrate')
    .description("bring the database's schema up to date")
    .action(async (_options, command: Command) => {
      const { migrate } = await import('./commands/migrate.js');
      await migrate(command.optsWithGlobals());
    });

  const bucket = program.command('bucket').description('list and add buckets');
  bucket
    .command('list')
    .description('all buckets, with how many objects each holds')
    .option('--kind <kind>', 'only those of this kind')
    .option('--json', 'for programs')
    .action(async (_options, command: Command) => {
      const { listBuckets } = await import('./commands/bucket.js');
      await listBuckets(command.optsWithGlobals());
    });
  bucket
    .command('add')
    .description('add a bucket; new objects go to it at once')
    .argument('<name>')
    .option('--kind <kind>', 'the kind it is of', DEFAULT_KIND)
    .option('--url <url>', 'where it is reached')
    .option('--weight <n>', 'its share of new objects, relative to the others (default: 1)', whole)
    .option('--capacity <n>', 'how many objects it may hold (default: no limit)', whole)
    .action(async (name: string, _options, command: Command) => {
      const { addBucket } = await import('./commands/bucket.js');
      await addBucket(name, command.optsWithGlobals());
    });
  return program;
}

function whole(value: string): number {
  if (!/^\d{1,10}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

// What to exit with after an error that was thrown on purpose; others keep their stack.
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof SharderError) {
    process.stderr.write(`sharder: ${error.message}\n`);
    return error.code === 'settings' ? USAGE : REFUSED;
  }
  process.stderr.write(
    `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return REFUSED;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}
