// What may stand where somebody is typing: found by walking the commands as commander has them, so that a
// new one is known at once.

import type { Argument, Command, Option } from 'commander';
import { EVERYWHERE, isHidden } from '../cli/help.js';
import type { Flags } from '../config.js';

/** A word that may stand there, and what it means. */
export interface Candidate {
  readonly value: string;
  readonly description?: string;
}

/** What may stand there. */
export type Wanted =
  | { readonly what: 'words'; readonly words: readonly Candidate[] }
  | { readonly what: 'files' }
  | WantedNames;

/** The names of kinds, or of the buckets of one. */
export interface WantedNames {
  readonly what: 'kinds' | 'buckets';
  /** Undefined where none was said. */
  readonly kind: string | undefined;
  /** What was typed of the database or the service. */
  readonly flags: Flags;
  /** Whether a name may stand there that begins with `-`. */
  readonly mayBeDashed: boolean;
}

const NOTHING: Wanted = { what: 'words', words: [] };

/** `words`: what stands after `sharder`; the last one is being typed, and may be empty. */
export function findWanted(program: Command, words: readonly string[]): Wanted {
  const typed = walk(program, words.slice(0, -1));
  const word = words.at(-1) ?? '';
  const { command, pending } = typed;
  if (pending) return valueOf(pending, typed);
  if (!typed.isOperand && word.startsWith('--') && word.includes('=')) {
    const option = findOption(command, word.slice(0, word.indexOf('=')));
    return option ? valueOf(option, typed) : NOTHING;
  }
  if (!typed.isOperand && word.startsWith('-')) return { what: 'words', words: options(typed) };
  if (command.commands.length > 0) {
    if (typed.operands > 0) return NOTHING; // there is no such command
    const words = command.commands
      .filter((each) => !isHidden(each))
      .map((each) => candidate(each.name(), each.summary() || each.description()));
    return { what: 'words', words };
  }
  const { registeredArguments: all } = command;
  const last = all.at(-1);
  const argument = all[typed.operands] ?? (last?.variadic ? last : undefined);
  return argument ? valueOf(argument, typed) : NOTHING;
}

interface Typed {
  readonly command: Command;
  /** How many arguments of the command stand there. */
  readonly operands: number;
  /** Whether a `--` was typed, after which nothing is an option. */
  readonly isOperand: boolean;
  /** The option whose value comes next. */
  readonly pending: Option | undefined;
  /** Every option that was given, of whichever command, by its name in the program. */
  readonly given: ReadonlyMap<Option, string | undefined>;
}

function walk(program: Command, words: readonly string[]): Typed {
  const given = new Map<Option, string | undefined>();
  let command = program;
  let operands = 0;
  let isOperand = false;
  let pending: Option | undefined;
  for (const word of words) {
    if (pending) {
      given.set(pending, word);
      pending = undefined;
    } else if (!isOperand && word === '--') {
      isOperand = true;
    } else if (!isOperand && word.startsWith('-')) {
      const [name = '', ...value] = word.split('=');
      const option = findOption(command, name);
      if (!option) continue;
      if (value.length > 0) given.set(option, value.join('='));
      else if (option.required) pending = option;
      else given.set(option, undefined);
    } else {
      const next = command.commands.find((each) => each.name() === word);
      if (next && !isOperand) command = next;
      else operands++;
    }
  }
  return { command, operands, isOperand, pending, given };
}

function findOption({ options }: Command, name: string): Option | undefined {
  return options.find(({ long, short }) => long === name || short === name);
}

// Those that were not given yet.
function options({ command, given }: Typed): Candidate[] {
  const names = new Set([...given.keys()].map((option) => option.attributeName()));
  return command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => !names.has(option.attributeName()))
    .map(({ long, short, description }) => candidate(long ?? short ?? '', description));
}

function candidate(value: string, description: string): Candidate {
  return { value, description };
}

// The name between its brackets says what it is: <file>, <kind>, <bucket>; the <name> of a bucket is a bucket.
function valueOf(of: Argument | Option, typed: Typed): Wanted {
  if (of.argChoices) return { what: 'words', words: of.argChoices.map((value) => ({ value })) };
  const isOption = 'flags' in of;
  const name = isOption ? /[<[]([^>\]]*)/.exec(of.flags)?.[1] : of.name();
  const { command } = typed;
  const isNew = ['add', 'create'].includes(command.name());
  const what = !isOption && name === 'name' && !isNew ? command.parent?.name() : name;
  if (what === 'file' || what === 'dir') return { what: 'files' };
  if (what !== 'kind' && what !== 'bucket') return NOTHING;
  const mayBeDashed = isOption || typed.isOperand;
  return { what: `${what}s`, kind: kindOf(typed), flags: flagsOf(typed), mayBeDashed };
}

function kindOf({ command, given }: Typed): string | undefined {
  const option = findOption(command, '--kind');
  return option && (given.get(option) ?? (option.defaultValue as string | undefined));
}

// The --url of a bucket's own is where that bucket is reached.
function flagsOf({ given }: Typed): Flags {
  const flags: Record<string, string | undefined> = {};
  for (const [option, value] of given) {
    if (option.helpGroupHeading !== EVERYWHERE) continue;
    flags[option.long === '--url' ? 'service' : option.attributeName()] = value;
  }
  return flags;
}
