// sharder completion | __complete.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parseLine, quoted } from '../completion/bash.js';
import { findWanted, type Candidate, type Wanted } from '../completion/wanted.js';

/**
 * Each shell's script asks `__complete`, and does no more than its shell makes necessary. The answer's first
 * line is `files` or `words`; then a word to a line, and after a tab what it means.
 */
const SCRIPTS = new URL('../../completion/', import.meta.url);

/** Nobody waits longer for a key that they have pressed. */
const GIVE_UP_AFTER_MS = 1_000;

export type Shell = 'bash' | 'zsh' | 'fish';

export function printCompletion(shell: Shell): void {
  process.stdout.write(readFileSync(new URL(`sharder.${shell}`, SCRIPTS), 'utf8'));
}

/**
 * Answers a shell's script. `given`, of zsh and fish: the words up to the cursor, the program's first; of
 * bash: its COMP_WORDBREAKS, and the line up to the cursor. What cannot be found out is left out, quietly.
 */
export async function complete(
  program: Command,
  shell: Shell,
  given: readonly string[],
): Promise<void> {
  const [breaks = '', text = ''] = given;
  const line = shell === 'bash' ? parseLine(text, breaks) : undefined;
  if (line?.isRedirected) {
    answer({ what: 'files' }, []);
    return;
  }
  const words = (line?.words ?? given).slice(1);
  const wanted = findWanted(program, words);
  const candidates = await candidatesOf(wanted);

  const word = words.at(-1) ?? '';
  const before = /^--[^=]*=/.exec(word)?.[0] ?? '';
  if (line) {
    const fitting = candidates.map(({ value }) => before + value);
    answer(
      wanted,
      fitting
        .filter((value) => value.startsWith(word))
        .map((value) => quoted(value.slice(line.kept), line.quote)),
    );
  } else {
    // zsh takes off what stands before the value itself. fish writes ~ as it is, for a home directory.
    const isHome = ({ value }: Candidate) =>
      shell === 'fish' && word === '' && value.startsWith('~');
    answer(
      wanted,
      candidates
        .filter((candidate) => !isHome(candidate))
        .map(
          ({ value, description = '' }) =>
            `${shell === 'fish' ? before : ''}${value}\t${description}`,
        ),
    );
  }
}

function answer({ what }: Pick<Wanted, 'what'>, lines: readonly string[]): void {
  process.stdout.write([what === 'files' ? what : 'words', ...lines, ''].join('\n'));
}

async function candidatesOf(wanted: Wanted): Promise<readonly Candidate[]> {
  if (wanted.what === 'words') return wanted.words;
  if (wanted.what === 'files') return [];
  const late = setTimeout(() => process.exit(), GIVE_UP_AFTER_MS);
  try {
    const { readNames } = await import('../completion/names.js');
    const names = await readNames(wanted);
    return names
      .filter((name) => wanted.mayBeDashed || !name.startsWith('-'))
      .map((value) => ({ value }));
  } catch {
    return [];
  } finally {
    clearTimeout(late);
  }
}
