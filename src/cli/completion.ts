// sharder completion, and what its scripts ask.

import { Argument, type Command } from 'commander';
import type { Shell } from '../commands/completion.js';

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .summary('have your shell complete what you type')
    .description(
      "print a script that has your shell complete commands, options, and the kinds' and buckets' names",
    )
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: Shell) => {
      const { printCompletion } = await import('../commands/completion.js');
      printCompletion(shell);
    });
  program
    .command('__complete')
    .argument('<shell>')
    .argument('[words...]')
    .action(async (shell: Shell, words: string[]) => {
      const { complete } = await import('../commands/completion.js');
      await complete(program, shell, words);
    });
}
