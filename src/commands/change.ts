// What every command that changes something does: the operation, or with --dry-run what it would do;
// then a line for people, or with --json an object for programs.

import { userInfo } from 'node:os';
import type { Flags } from '../config.js';
import { DEFAULT_KIND } from '../names.js';
import type { InputOf, Operation, OutputOf } from '../operations/operation.js';
import { withService, type ServiceOptions } from './service.js';
import type { StopWords } from './stop.js';
import { printable } from './table.js';

export interface ChangeOptions extends Flags {
  readonly reason?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** What was done, or would be: what the history says, and what the person should know beside. */
export interface Done {
  readonly action: string;
  /** False where all was so already. */
  readonly changed: boolean;
  readonly dry_run: boolean;
  readonly notes?: readonly string[] | undefined;
}

/** `did('move')` is "moved", or "would move" where nothing was done. */
export type Did = (verb: string) => string;

/** Does an operation, and prints what it did: `text` tells people, in one line or more. */
export async function change<P extends Operation>(
  operation: P,
  input: Omit<InputOf<P>, 'reason' | 'dry_run'>,
  options: ChangeOptions,
  text: (done: OutputOf<P>, did: Did) => string | readonly string[],
  service: ServiceOptions = {},
): Promise<void> {
  const { reason, dryRun: dry_run = false, json = false } = options;
  const done = await withService(
    options,
    (perform) => perform(operation, { ...input, reason, dry_run } as unknown as InputOf<P>),
    { words: wordsOf(operation.name, input, dry_run), ...service },
  );
  print(done, text(done, didOf(dry_run)), json);
}

function wordsOf(
  operation: string,
  { kind = DEFAULT_KIND, name }: { kind?: string; name?: string },
  isDry: boolean,
): StopWords {
  const before = 'nothing was changed; the same command does it';
  if (isDry) return { before };
  const of = kind === DEFAULT_KIND ? '' : ` --kind ${kind}`;
  const [noun = ''] = operation.split(' ');
  const look =
    noun === 'kind'
      ? 'kind list'
      : `${['lease', 'spec'].includes(noun) ? noun : 'bucket'} list${of}`;
  const tells = `\`sharder ${name === undefined ? look : `object history${of} ${typed(name)}`}\` tells`;
  return {
    before,
    unsure: `it may have been done, or not: ${tells}`,
    done: `but it was done: ${tells}`,
  };
}

// As it can be typed.
function typed(name: string): string {
  return /^[\w.@+][\w.@+-]*$/.test(name) ? name : `-- '${name.replaceAll("'", String.raw`'\''`)}'`;
}

/** Prints what was done, or would be. */
export function print(done: Done, text: string | readonly string[], isJson: boolean): void {
  const lines = [text].flat().map(printable);
  process.stdout.write(isJson ? `${JSON.stringify(done)}\n` : `${lines.join('\n')}\n`);
  if (isJson) return;
  for (const note of done.notes ?? []) process.stderr.write(`note: ${printable(note)}\n`);
}

/** Who the history says did it: SHARDER_ACTOR, or the person at the command line. */
export function actor(): string {
  const given = process.env.SHARDER_ACTOR ?? '';
  if (given !== '') return given;
  const before = process.env.SUDO_USER ?? '';
  return `cli:${before === '' ? userName() : before}`;
}

// In a container the process may run as a number that has no name.
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? ''}`;
  }
}

/** How a change is told. */
export function didOf(isDry: boolean): Did {
  return isDry ? wouldDo : hasDone;
}

const IRREGULAR: Readonly<Record<string, string>> = {
  apply: 'applied',
  cancel: 'cancelled',
  plan: 'planned',
  set: 'set',
  tell: 'told',
  undo: 'undid',
};

function hasDone(verb: string): string {
  const past = IRREGULAR[verb];
  if (past !== undefined) return past;
  if (verb.endsWith('pin')) return `${verb}ned`;
  return verb.endsWith('e') ? `${verb}d` : `${verb}ed`;
}

function wouldDo(verb: string): string {
  return `would ${verb}`;
}
