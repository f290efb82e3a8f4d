// The options that commands share, and how what was given is read.

import { InvalidArgumentError, Option, type Command } from 'commander';
import { DEFAULT_KIND } from '../names.js';
import { EVERYWHERE } from './help.js';
import { parseTime } from '../time.js';

/** Tells each command where it works: the settings, the database, or a running service. */
export function addPlaces(command: Command): void {
  command.enablePositionalOptions(); // so that --url before `bucket add` is not the bucket's
  for (const [flags, text] of [
    ['--config-file <file>', 'settings; default: sharder.yml, if it is there'],
    ['--database <url>', 'sqlite:FILE, postgres://…; else DATABASE_URL or settings'],
    ['--url <url>', 'a running service, in its place; default: SHARDER_URL'],
  ] as const) {
    const option = new Option(flags, text).helpGroup(EVERYWHERE);
    const isTaken = command.options.some(({ long }) => long === option.long);
    if (!isTaken && !(option.long === '--url' && isLocal(command))) command.addOption(option);
  }
  for (const each of command.commands) if (!PLACELESS.includes(each.name())) addPlaces(each);
}

// They know of no database and no service.
const PLACELESS = ['run'];

// They work on the database itself, or serve it.
const LOCAL = ['serve', 'migrate', 'adopt', 'backup', 'render', 'nginx'];
// They ask nobody.
const ALONE = ['kubernetes', 'compose', 'systemd', 'kubernetes-sharder'];

function isLocal(command: Command): boolean {
  return LOCAL.includes(command.name()) || ALONE.includes(command.name());
}

/** What a command was given, wherever it stands: `service` is the --url of a running service. */
// As commander's own `optsWithGlobals`, the caller knows what it has asked for.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function optionsOf<T extends object>(command: Command): T {
  const isOfBucket = command.options.some(
    ({ long, helpGroupHeading }) => long === '--url' && helpGroupHeading !== EVERYWHERE,
  );
  const { url, ...own } = command.opts<Record<string, unknown>>();
  const given: Record<string, unknown> = isOfBucket ? { ...own, url } : { ...own, service: url };
  for (let up = command.parent; up; up = up.parent) {
    const { url: service, ...rest } = up.opts<Record<string, unknown>>();
    for (const [key, value] of Object.entries({ ...rest, service })) given[key] ??= value;
  }
  if (isLocal(command) && given.service !== undefined) {
    const what = ALONE.includes(command.name())
      ? 'asks nobody: leave --url out'
      : 'works on the database itself, not through --url';
    command.error(`error: ${command.name()} ${what}`);
  }
  const isGiven = ([, value]: [string, unknown]) => value !== undefined;
  return Object.fromEntries(Object.entries(given).filter(isGiven)) as T;
}

// Where its page has groups of its own, as the overview, it is in one already.
function grouped(command: Command, heading: string): Command {
  return command.helpGroup() === '' ? command.helpGroup(heading) : command;
}

/** A command that changes nothing. */
export function listing(command: Command): Command {
  return grouped(command, 'Look:').option('--json', 'for programs');
}

export function ofKind(command: Command): Command {
  return command.option('--kind <kind>', 'the kind it is of', DEFAULT_KIND);
}

/** A command whose change is in the history. */
export function changing(command: Command): Command {
  return grouped(command, 'Change:')
    .option('--reason <text>', 'why, for the history')
    .option('--dry-run', 'only say what would be done')
    .option('--json', 'for programs');
}

export function whole(value: string): number {
  if (!/^\d{1,10}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

export function number(value: string): number {
  if (!/^\d{1,10}(\.\d{1,10})?$/.test(value))
    throw new InvalidArgumentError('It must be a number.');
  return Number(value);
}

export function time(value: string): Date {
  const at = parseTime(value);
  if (!at) {
    throw new InvalidArgumentError(
      'It must be a time with its zone, such as 2026-11-21T14:00:00Z, or a date, such as 2026-11-21.',
    );
  }
  return at;
}

export function format(choices: readonly string[]): Option {
  return new Option('--format <format>', 'where the name does not tell').choices(choices);
}

/** The words of an option's value, separated by commas or white space. */
export function words(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}
