// sharder serve | migrate | adopt.

import type { Command } from 'commander';
import { changing, optionsOf } from './options.js';

export function addService(program: Command, version: string): void {
  program
    .command('serve')
    .summary('answer requests')
    .description('bring the schema up to date, declare the kinds, and answer requests')
    .option('--listen <host:port>', 'default: 127.0.0.1:8888')
    .action(async (_options, command: Command) => {
      const { serve } = await import('../commands/serve.js');
      await serve(optionsOf(command), version);
    });
  program
    .command('migrate')
    .description("bring the database's schema up to date")
    .action(async (_options, command: Command) => {
      const { migrate } = await import('../commands/migrate.js');
      await migrate(optionsOf(command));
    });
}

export function addAdopt(program: Command): void {
  changing(program.command('adopt'))
    .summary("take over the Python sharder's database, in place")
    .description("take over the Python sharder's database, in place: every user keeps the bucket")
    .argument('[database]', 'its URL: sqlite:FILE or postgres://…; default: the settings')
    .action(async (url: string | undefined, _options, command: Command) => {
      if (url !== undefined && optionsOf<{ database?: string }>(command).database) {
        command.error('error: give the database as an argument or by --database, not both');
      }
      const { adopt } = await import('../commands/adopt.js');
      await adopt(url, optionsOf(command));
    });
}
