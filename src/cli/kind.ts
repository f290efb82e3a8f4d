// sharder kind …

import { InvalidArgumentError, Option, type Command } from 'commander';
import { NAME_RULES } from '../names.js';
import { NORMALIZERS } from '../normalize.js';
import { HASHES, POLICIES } from '../policies.js';
import type { RequestKey } from '../store/kind-settings.js';
import { changing, listing, number, optionsOf, whole } from './options.js';

const OF_WORKERS = 'Options of a leased kind:';
const OF_HASH = 'Options of a kind with the policy hash:';

// As commander calls them.
const SETTINGS = [
  ...['policy', 'hash', 'key', 'keyPattern'],
  ...['normalize', 'names', 'cookie', 'threshold', 'ramp', 'leased'],
  ...['grace', 'reshardInterval', 'maxMoving', 'cooldown', 'breaker'],
];

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
      if (!SETTINGS.some((setting) => setting in options)) {
        command.error(
          'error: nothing to set: give --policy, --normalize, --names, --cookie, --threshold, --ramp, --leased, or what a leased kind or one with the policy hash has',
        );
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
  command
    .addOption(
      new Option('--policy <policy>', 'how buckets are picked (default: emptiest)').choices(
        POLICIES,
      ),
    )
    .addOption(
      new Option('--normalize <how>', 'which names are the same object').choices(NORMALIZERS),
    )
    .addOption(
      new Option('--names <rule>', 'what new objects may be called (default: strict)').choices(
        NAME_RULES,
      ),
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
  for (const [flags, text, read] of [
    ['--leased', 'its buckets are workers, which hold leases on them'],
    ['--no-leased', 'they are not (default)'],
    ['--grace <seconds>', 'the place of one that is gone is kept so long (default: 30)', number],
    ['--reshard-interval <seconds>', 'places change no more often (default: 5)', number],
    ['--max-moving <n>', 'so many objects of a worker leave it at once (default: 100)', whole],
    ['--cooldown <seconds>', 'an object that was moved stays so long (default: 60)', number],
    [
      '--breaker <percent>',
      'nothing moves while more of the workers are gone; or `none` (default: 50)',
      numberOrNone,
    ],
  ] as const) {
    const option = new Option(flags, text).helpGroup(OF_WORKERS);
    command.addOption(read ? option.argParser(read) : option);
  }
  for (const option of [
    new Option('--hash <how>', 'by which hash (default: rendezvous)').choices(HASHES),
    new Option(
      '--key <what>',
      'what is hashed: user (default), header:NAME, query:NAME or cookie:NAME',
    ).argParser(requestKey),
    new Option('--key-pattern <regexp>', 'what of it: the first group; with --key'),
  ]) {
    command.addOption(option.helpGroup(OF_HASH));
  }
  return command;
}

function requestKey(value: string): 'user' | RequestKey {
  const [, where, name] = /^(header|query|cookie):(.+)$/.exec(value) ?? [];
  if (where !== undefined && name !== undefined) return { [where]: name };
  if (value === 'user') return value;
  throw new InvalidArgumentError('It must be user, header:NAME, query:NAME or cookie:NAME.');
}

// For null commander would put an empty text.
function numberOrNone(value: string): number | false {
  return value === 'none' ? false : number(value);
}
