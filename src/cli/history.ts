// sharder history …, watch.

import type { Command } from 'commander';
import { changing, listing, ofKind, optionsOf, time, whole } from './options.js';

export function addHistory(program: Command): void {
  const history = program.command('history').description('read the history, and end it');
  listing(history.command('list'))
    .description('who did what, when and why: the newest lines first')
    .option('--kind <kind>', 'only of this kind')
    .option('--object <name>', 'only of the object that was called so')
    .option('--bucket <bucket>', 'only of what went from it or to it, or of itself')
    .option('--actor <actor>', 'only of theirs')
    .option('--action <action>', 'only this, such as "object move"')
    .option('--plan <plan>', 'only of this plan', whole)
    .option('--since <time>', 'only of that time or later', time)
    .option('--until <time>', 'only from before that time', time)
    .option('--limit <n>', 'so many lines at most', whole, 50)
    .action(async (_options, command: Command) => {
      const { listHistory } = await import('../commands/lines.js');
      await listHistory(optionsOf(command));
    });
  changing(history.command('prune'))
    .description('delete lines of the history for good')
    .requiredOption('--before <time>', 'those that are older than this', time)
    .option('--kind <kind>', 'only of this kind')
    .action(async (_options, command: Command) => {
      const { pruneHistory } = await import('../commands/lines.js');
      await pruneHistory(optionsOf(command));
    });
}

export function addWatch(program: Command): void {
  ofKind(listing(program.command('watch')))
    .summary('what happens to a kind, as it happens')
    .description(
      'what happens to a kind, as it happens: who is assigned, moved, and all that changes',
    )
    .option('--since <version|id>', 'tell first what has happened since then; default: now')
    .option('--bucket <bucket>', 'only what comes to it, leaves it, or is done to it')
    .option('--once', 'end when everything is told')
    .action(async (_options, command: Command) => {
      const { watch } = await import('../commands/watch.js');
      await watch(optionsOf(command));
    });
}
