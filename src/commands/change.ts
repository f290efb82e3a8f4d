// What every command that changes something does: one transaction, or with --dry-run none; then a
// line for people, or with --json an object for programs.

import { userInfo } from 'node:os';
import type { Knex } from 'knex';
import type { Config, Flags } from '../config.js';
import type { By } from '../store/changes.js';
import { withDatabase } from './open.js';
import { printable } from './table.js';

export interface ChangeOptions extends Flags {
  readonly reason?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export interface Done {
  /** False where all was so already. */
  readonly changed: boolean;
  /** For people: what was done, to what. */
  readonly text: string;
  /** For programs: what the history says. */
  readonly data: Readonly<Record<string, unknown>>;
  /** What the person should know beside. */
  readonly notes?: readonly string[];
}

/** `did('move')` is "moved", or "would move" where nothing is done. */
export type Did = (verb: string) => string;

/** Calls `work` in one transaction, and prints what it did. */
export async function change(
  options: ChangeOptions,
  work: (trx: Knex.Transaction, by: By, did: Did, config: Config) => Promise<Done>,
): Promise<void> {
  const isDry = options.dryRun ?? false;
  const by = { actor: actor(), reason: options.reason };
  const done = await withDatabase(options, (database, config) => {
    const inOne = (trx: Knex.Transaction) => work(trx, by, isDry ? wouldDo : hasDone, config);
    return isDry ? database.rehearse(inOne) : database.write(inOne);
  });
  print(done, isDry, options.json ?? false);
}

/** Prints what was done, or would be. */
export function print({ changed, text, data, notes = [] }: Done, isDry: boolean, isJson: boolean) {
  process.stdout.write(
    isJson ? `${JSON.stringify({ ...data, changed, dry_run: isDry })}\n` : `${printable(text)}\n`,
  );
  for (const note of notes) process.stderr.write(`note: ${printable(note)}\n`);
}

/** Who the history says did it: the person at the command line. */
export function actor(): string {
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

export function hasDone(verb: string): string {
  if (verb === 'set') return verb;
  if (verb.endsWith('pin')) return `${verb}ned`;
  return verb.endsWith('e') ? `${verb}d` : `${verb}ed`;
}

export function wouldDo(verb: string): string {
  return `would ${verb}`;
}
