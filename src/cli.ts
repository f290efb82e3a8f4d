#!/usr/bin/env node
// The `sharder` command: reads argv, wires, exits. 0: done, 1: refused, 2: wrong usage.

import { readFileSync } from 'node:fs';
import { styleText } from 'node:util';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printable } from './commands/table.js';
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

  addAdopt(program);
  addKind(program);
  addBucket(program);
  addObject(program);
  addHistory(program);
  addTransfer(program);
  addCare(program);
  addRender(program);
  return program;
}

function addAdopt(program: Command): void {
  changing(program.command('adopt'))
    .description("take over the Python sharder's database, in place: every user keeps the bucket")
    .argument('[database]', 'its URL: sqlite:FILE or postgres://…; default: the settings')
    .action(async (url: string | undefined, _options, command: Command) => {
      if (url !== undefined && command.optsWithGlobals<{ database?: string }>().database) {
        command.error('error: give the database as an argument or by --database, not both');
      }
      const { adopt } = await import('./commands/adopt.js');
      await adopt(url, command.optsWithGlobals());
    });
}

function addKind(program: Command): void {
  const kind = program.command('kind').description('list kinds');
  listing(kind.command('list'))
    .description('all kinds, with how many buckets and objects each has')
    .action(async (_options, command: Command) => {
      const { listKinds } = await import('./commands/kind.js');
      await listKinds(command.optsWithGlobals());
    });
}

function addBucket(program: Command): void {
  const bucket = program.command('bucket').description('list, add, change and remove buckets');
  listing(bucket.command('list'))
    .description('all buckets, with how many objects each holds')
    .option('--kind <kind>', 'only those of this kind')
    .action(async (_options, command: Command) => {
      const { listBuckets } = await import('./commands/bucket.js');
      await listBuckets(command.optsWithGlobals());
    });
  ofKind(changing(bucket.command('add')))
    .description('add a bucket; new objects go to it at once')
    .argument('<name>')
    .option('--url <url>', 'where it is reached')
    .option('--weight <n>', 'its share of new objects, relative to the others (default: 1)', whole)
    .option('--capacity <n>', 'how many objects it may hold (default: no limit)', whole)
    .action(async (name: string, _options, command: Command) => {
      const { addBucket } = await import('./commands/bucket.js');
      await addBucket(name, command.optsWithGlobals());
    });
  ofKind(changing(bucket.command('set')))
    .description('change what is said of a bucket; what it holds, it keeps')
    .argument('<name>')
    .option('--url <url>', 'where it is reached')
    .option('--no-url', 'it has no URL')
    .option('--weight <n>', 'its share of new objects, relative to the others', whole)
    .option('--capacity <n>', 'how many objects it may hold', whole)
    .option('--no-capacity', 'as many as come')
    .action(async (name: string, options: Record<string, unknown>, command: Command) => {
      if (!['url', 'weight', 'capacity'].some((setting) => setting in options)) {
        command.error('error: nothing to set: give --url, --weight or --capacity');
      }
      const { setBucket } = await import('./commands/bucket.js');
      await setBucket(name, command.optsWithGlobals());
    });
  ofKind(changing(bucket.command('cordon')))
    .description('no new objects for this bucket; those that it has, it keeps')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { cordonBucket } = await import('./commands/bucket.js');
      await cordonBucket(name, command.optsWithGlobals());
    });
  ofKind(changing(bucket.command('uncordon')))
    .description('new objects may go to this bucket again')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { uncordonBucket } = await import('./commands/bucket.js');
      await uncordonBucket(name, command.optsWithGlobals());
    });
  ofKind(changing(bucket.command('remove')))
    .description('remove a bucket that holds no object')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeBucket } = await import('./commands/bucket.js');
      await removeBucket(name, command.optsWithGlobals());
    });
}

function addObject(program: Command): void {
  const object = program.command('object').description('list, find, assign and move objects');
  listing(object.command('list'))
    .description('all objects and their buckets')
    .option('--kind <kind>', 'only those of this kind')
    .option(
      '--bucket <bucket>',
      `only those of this bucket (of kind ${DEFAULT_KIND}, if none is given)`,
    )
    .option('--at <time>', `where they were then (of kind ${DEFAULT_KIND}, if none is given)`, time)
    .action(async (_options, command: Command) => {
      const { listObjects } = await import('./commands/object.js');
      await listObjects(command.optsWithGlobals());
    });
  listing(object.command('find'))
    .description('where an object is; nothing is created')
    .argument('[name]')
    .option('--kind <kind>', 'only in this kind')
    .option('--log-name <hash>', 'in place of a name: what the log calls it, with SHARDER_LOG_KEY')
    .action(async (name: string | undefined, options: { logName?: string }, command: Command) => {
      if ((name === undefined) === (options.logName === undefined)) {
        command.error('error: give either a name or --log-name');
      }
      if (name === undefined) {
        const { findLogName } = await import('./commands/log-name.js');
        await findLogName(options.logName ?? '', command.optsWithGlobals());
      } else {
        const { findObject } = await import('./commands/object.js');
        await findObject(name, command.optsWithGlobals());
      }
    });
  ofKind(object.command('assign'))
    .description('put an object into the emptiest bucket, as its first request would')
    .argument('<name>')
    .option('--dry-run', 'only say what would be done')
    .option('--json', 'for programs')
    .action(async (name: string, _options, command: Command) => {
      const { assignObject } = await import('./commands/object.js');
      await assignObject(name, command.optsWithGlobals());
    });
  ofKind(changing(object.command('move')))
    .description('move an object to another bucket; the running service answers it at once')
    .argument('<name>')
    .argument('<bucket>')
    .option('--force', 'even if the bucket is cordoned or full')
    .action(async (name: string, bucket: string, _options, command: Command) => {
      const { moveObject } = await import('./commands/object.js');
      await moveObject(name, bucket, command.optsWithGlobals());
    });
  ofKind(changing(object.command('rename')))
    .description('give an object another name; it keeps its bucket')
    .argument('<name>')
    .argument('<to>')
    .action(async (name: string, to: string, _options, command: Command) => {
      const { renameObject } = await import('./commands/object.js');
      await renameObject(name, to, command.optsWithGlobals());
    });
  ofKind(changing(object.command('merge')))
    .description('make one of two objects: the second lives on, the first is no more')
    .argument('<name>')
    .argument('<into>')
    .addOption(
      new Option('--keep <whose>', 'whose bucket stays; older: of the one assigned earlier')
        .choices(['into', 'from', 'older'])
        .default('into'),
    )
    .action(async (name: string, into: string, _options, command: Command) => {
      const { mergeObjects } = await import('./commands/object.js');
      await mergeObjects(name, into, command.optsWithGlobals());
    });
  for (const [verb, pinned, description] of [
    ['pin', true, 'no plan moves this object; a person may'],
    ['unpin', false, 'plans may move this object again'],
  ] as const) {
    ofKind(changing(object.command(verb)))
      .description(description)
      .argument('<name>')
      .action(async (name: string, _options, command: Command) => {
        const { pinObject } = await import('./commands/object.js');
        await pinObject(name, pinned, command.optsWithGlobals());
      });
  }
  ofKind(listing(object.command('history')))
    .description('what has become of an object: who did what, when and why')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { showHistory } = await import('./commands/history.js');
      await showHistory(name, command.optsWithGlobals());
    });
  ofKind(listing(object.command('explain')))
    .description('why an object is where it is, or where a new one would go')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { explainObject } = await import('./commands/history.js');
      await explainObject(name, command.optsWithGlobals());
    });
  ofKind(changing(object.command('remove')))
    .description('forget where an object is; asked for again, it is new')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeObject } = await import('./commands/object.js');
      await removeObject(name, command.optsWithGlobals());
    });
}

function addHistory(program: Command): void {
  const history = program.command('history').description('read the history, and end it');
  listing(history.command('list'))
    .description('who did what, when and why: the newest lines first')
    .option('--kind <kind>', 'only of this kind')
    .option('--object <name>', 'only of the object that was called so')
    .option('--bucket <bucket>', 'only of what went from it or to it, or of itself')
    .option('--actor <actor>', 'only of theirs')
    .option('--action <action>', 'only this, such as "object move"')
    .option('--since <time>', 'only of that time or later', time)
    .option('--until <time>', 'only from before that time', time)
    .option('--limit <n>', 'so many lines at most', whole, 50)
    .action(async (_options, command: Command) => {
      const { listHistory } = await import('./commands/lines.js');
      await listHistory(command.optsWithGlobals());
    });
  changing(history.command('prune'))
    .description('delete lines of the history for good')
    .requiredOption('--before <time>', 'those that are older than this', time)
    .option('--kind <kind>', 'only of this kind')
    .action(async (_options, command: Command) => {
      const { pruneHistory } = await import('./commands/lines.js');
      await pruneHistory(command.optsWithGlobals());
    });
}

function addTransfer(program: Command): void {
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
    .action(async (file: string | undefined, _options, command: Command) => {
      const { exportObjects } = await import('./commands/export.js');
      await exportObjects(file, command.optsWithGlobals());
    });
  changing(program.command('import'))
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
      const { importObjects } = await import('./commands/import.js');
      await importObjects(file, command.optsWithGlobals());
    });
}

function addCare(program: Command): void {
  program
    .command('backup')
    .description('copy a SQLite database while the service runs, and check the copy')
    .argument('<file>')
    .option('--overwrite', 'a file that is there')
    .action(async (file: string, _options, command: Command) => {
      const { backup } = await import('./commands/backup.js');
      await backup(file, command.optsWithGlobals());
    });
  listing(program.command('check'))
    .description('look whether the database keeps what its schema promises; 1 when it does not')
    .option('--fix', 'count again what buckets hold')
    .action(async (_options, command: Command) => {
      const { check } = await import('./commands/check.js');
      await check(command.optsWithGlobals());
    });
}

function format(choices: readonly string[]): Option {
  return new Option('--format <format>', 'where the name does not tell').choices(choices);
}

function addRender(program: Command): void {
  const render = program.command('render').description('write what others need of the buckets');
  render
    .command('nginx')
    .description("the buckets' addresses, for the block http of nginx")
    .option('--output <file>', 'write it there, at once and whole; default: standard output')
    .option('--watch', 'write it again whenever the buckets change, and have nginx read it')
    .option('--reload <command>', 'how nginx is told, with --watch', 'nginx -t && nginx -s reload')
    .action(async (_options, command: Command) => {
      const { render } = await import('./commands/render.js');
      await render(command.optsWithGlobals());
    });
}

function listing(command: Command): Command {
  return command.option('--json', 'for programs');
}

function ofKind(command: Command): Command {
  return command.option('--kind <kind>', 'the kind it is of', DEFAULT_KIND);
}

function changing(command: Command): Command {
  return command
    .option('--reason <text>', 'why, for the history')
    .option('--dry-run', 'only say what would be done')
    .option('--json', 'for programs');
}

function whole(value: string): number {
  if (!/^\d{1,10}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

function time(value: string): Date {
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) {
    throw new InvalidArgumentError('It must be a time: 2026-11-21T14:00:00Z, or a date.');
  }
  return at;
}

// What to exit with after an error that was thrown on purpose; others keep their stack.
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof SharderError) {
    const shown = error.message.split('\n').map(printable).join('\n');
    process.stderr.write(`${styleText('red', 'sharder:', { stream: process.stderr })} ${shown}\n`);
    return error.code === 'settings' ? USAGE : REFUSED;
  }
  process.stderr.write(
    `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return REFUSED;
}

// Whoever reads the output has seen enough, as `| head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
  process.stderr.write(`sharder: the output cannot be written: ${error.message}\n`);
  process.exit(REFUSED);
});

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}
