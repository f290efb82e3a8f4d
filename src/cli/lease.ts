// sharder lease …

import type { Command } from 'commander';
import { changing, listing, ofKind, optionsOf, whole } from './options.js';

export function addLease(program: Command): void {
  const lease = program
    .command('lease')
    .description('see which workers are there; drain one, and end a claim');
  listing(lease.command('list'))
    .description('the workers of all leased kinds, each with its place')
    .option('--kind <kind>', 'only those of this kind')
    .action(async (_options, command: Command) => {
      const { listLeases } = await import('../commands/lease.js');
      await listLeases(optionsOf(command));
    });
  ofKind(listing(lease.command('objects')))
    .description('the objects of a worker')
    .argument('<bucket>')
    .option('--pending', 'only those that it is to begin or to stop')
    .action(async (bucket: string, _options, command: Command) => {
      const { listOwned } = await import('../commands/spec.js');
      await listOwned(bucket, optionsOf(command));
    });
  ofKind(changing(lease.command('drain')))
    .summary('have a worker hand over all that it has')
    .description(
      'have a worker hand over all that it has; `bucket uncordon` lets it have objects again',
    )
    .argument('<bucket>')
    .action(async (bucket: string, _options, command: Command) => {
      const { drainLease } = await import('../commands/lease.js');
      await drainLease(bucket, optionsOf(command));
    });
  ofKind(changing(lease.command('release')))
    .summary('say that a worker is gone for good')
    .description('say that a worker is gone for good: nobody waits for the end of its lease')
    .argument('<bucket>')
    .option('--holder <holder>', 'only if this one has it; default: whoever does')
    .option('--epoch <n>', 'only if it has this epoch; default: whichever it has', whole)
    .action(async (bucket: string, _options, command: Command) => {
      const { releaseLease } = await import('../commands/lease.js');
      await releaseLease(bucket, optionsOf(command));
    });
}
