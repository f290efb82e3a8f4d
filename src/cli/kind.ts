// sharder kind …

import type { Command } from 'commander';
import { listing, optionsOf } from './options.js';

export function addKind(program: Command): void {
  const kind = program.command('kind').description('list kinds');
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
}
