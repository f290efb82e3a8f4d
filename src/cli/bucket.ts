// sharder bucket …

import type { Command } from 'commander';
import { changing, listing, ofKind, optionsOf, whole } from './options.js';

export function addBucket(program: Command): void {
  const bucket = program.command('bucket').description('list, add, change and remove buckets');
  listing(bucket.command('list'))
    .description('all buckets, with how many objects each holds')
    .option('--kind <kind>', 'only those of this kind')
    .action(async (_options, command: Command) => {
      const { listBuckets } = await import('../commands/bucket.js');
      await listBuckets(optionsOf(command));
    });
  ofKind(listing(bucket.command('show')))
    .description('one bucket')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { showBucket } = await import('../commands/bucket.js');
      await showBucket(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('add')))
    .description('add a bucket; new objects go to it at once')
    .argument('<name>')
    .option('--url <url>', 'where it is reached')
    .option('--weight <n>', 'its share of new objects, relative to the others (default: 1)', whole)
    .option('--capacity <n>', 'how many objects it may hold (default: no limit)', whole)
    .action(async (name: string, _options, command: Command) => {
      const { addBucket } = await import('../commands/bucket.js');
      await addBucket(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('set')))
    .description('change what is said of a bucket; what it holds, it keeps')
    .argument('<name>')
    .option('--url <url>', 'where it is reached')
    .option('--no-url', 'it has no URL')
    .option('--weight <n>', 'its share of new objects, relative to the others', whole)
    .option('--capacity <n>', 'how many objects it may hold', whole)
    .option('--no-capacity', 'as many as come')
    .action(async (name: string, options: Record<string, unknown>, command: Command) => {
      if (!['url', 'weight', 'capacity'].some((setting) => setting in options)) {
        command.error('error: nothing to set: give --url, --weight or --capacity');
      }
      const { setBucket } = await import('../commands/bucket.js');
      await setBucket(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('cordon')))
    .description('no new objects for this bucket; those that it has, it keeps')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { cordonBucket } = await import('../commands/bucket.js');
      await cordonBucket(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('uncordon')))
    .description('new objects, or the keys of one that was draining, may go to it again')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { uncordonBucket } = await import('../commands/bucket.js');
      await uncordonBucket(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('drain')))
    .summary('its keys go to the others, in a kind with the policy hash')
    .description(
      'its keys, and only they, go to the others, in a kind with the policy hash; elsewhere see plan drain',
    )
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { drainBucket } = await import('../commands/bucket.js');
      await drainBucket(name, optionsOf(command));
    });
  ofKind(bucket.command('login-key'))
    .description('print the key by which the hub of a bucket verifies login proofs')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { printLoginKey } = await import('../commands/login-key.js');
      await printLoginKey(name, optionsOf(command));
    });
  ofKind(changing(bucket.command('remove')))
    .description('remove a bucket that holds no object')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeBucket } = await import('../commands/bucket.js');
      await removeBucket(name, optionsOf(command));
    });
}
