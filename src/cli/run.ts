// sharder run.

import type { Command } from 'commander';
import type { RunFlags } from '../commands/run.js';
import { whole, words } from './options.js';

export function addRun(program: Command): void {
  program
    .enablePositionalOptions() // what stands after the program is the program's
    .command('run')
    .summary('run a program as shards behind a router')
    .description(
      'run copies of a program, and a router that sends each request to the copy of its key; each has its PORT, SHARD_INDEX, NUM_SHARDS and HOSTNAME in its environment',
    )
    .usage('--shards <n> --url-pattern <pattern> [options] -- COMMAND [ARGS…]')
    .argument('<command...>', 'the program and its arguments, after --')
    .requiredOption('--shards <n>', 'how many copies', whole)
    .requiredOption('--url-pattern <pattern>', 'its first group is the key in the path (RE2)')
    .option('--port <port>', 'where the router listens', whole, 8080)
    .option('--host <address>', 'and on which address', '127.0.0.1')
    .option('--name <name>', 'of the copies: server-0 and so on', 'server')
    .option('--health <path>', 'a copy that answers no 2xx or 3xx there gets no requests')
    .option(
      '--trusted-proxies <networks>',
      'proxies in front, separated by commas, whose X-Forwarded-… headers are passed on (default: none)',
      words,
    )
    .option('--nginx', 'with a real nginx as the router')
    .passThroughOptions()
    .action(async (command: string[], options: RunFlags) => {
      const { run } = await import('../commands/run.js');
      await run(command, options);
    });
}
