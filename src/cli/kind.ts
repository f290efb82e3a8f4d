// sharder kind …

import { Option, type Command } from 'commander';
import { NORMALIZERS } from '../normalize.js';
import { changing, listing, number, optionsOf, whole } from './options.js';

export function addKind(program: Command): void {
  const kind = program.command('kind').description('list, create, change and remove kinds');
  listing(kind.command('list'))
    .description('all kinds, with how many buckets and objects each has')
    .action(async (_options, command: Command) => {
      const { listKinds } = await import('../commands/kind.js');
      await listKinds(optionsOf(command));
    });
  listing(kind.command('show'))
    .description('one kind, with its settings')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { showKind } = await import('../commands/kind.js');
      await showKind(name, optionsOf(command));
    });
  settings(changing(kind.command('create')))
    .description('add a kind; it takes objects as soon as it has a bucket')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { createKind } = await import('../commands/kind.js');
      await createKind(name, optionsOf(command));
    });
  settings(changing(kind.command('set')))
    .description('change the settings of a kind; refused where two names would fall together')
    .argument('<name>')
    .action(async (name: string, options: Record<string, unknown>, command: Command) => {
      if (!['normalize', 'cookie', 'threshold', 'ramp'].some((setting) => setting in options)) {
        command.error('error: nothing to set: give --normalize, --cookie, --threshold or --ramp');
      }
      const { setKind } = await import('../commands/kind.js');
      await setKind(name, optionsOf(command));
    });
  changing(kind.command('remove'))
    .description('remove a kind that has no buckets')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeKind } = await import('../commands/kind.js');
      await removeKind(name, optionsOf(command));
    });
}

function settings(command: Command): Command {
  return command
    .addOption(
      new Option('--normalize <how>', 'which names are the same object').choices(NORMALIZERS),
    )
    .option('--cookie', '/shard, /auth and /go set its cookie (default)')
    .option('--no-cookie', 'they do not')
    .option('--threshold <percent>', 'over-full: so much above the fair share (default: 10)', whole)
    .option(
      '--ramp <multiple>',
      'a bucket that lags gets so many times its fair share of new objects at most',
      number,
    )
    .option('--no-ramp', 'all of them, until it has caught up (default)');
}
