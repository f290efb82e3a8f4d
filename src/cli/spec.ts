// sharder spec …

import { InvalidArgumentError, Option, type Command } from 'commander';
import { SharderError } from '../errors.js';
import { parseJson } from '../json.js';
import { changing, listing, ofKind, optionsOf, whole } from './options.js';

export function addSpec(program: Command): void {
  const spec = program
    .command('spec')
    .description('list, register and remove objects that follow workers');
  listing(spec.command('list'))
    .description('the objects that follow workers, and which worker has each')
    .option('--kind <kind>', 'only those of this kind')
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([
        ...['waiting', 'adding', 'owned', 'dropping'],
      ]),
    )
    .action(async (_options, command: Command) => {
      const { listSpecs } = await import('../commands/spec.js');
      await listSpecs(optionsOf(command));
    });
  ofKind(listing(spec.command('show')))
    .description('what an object asks for, and which worker has it')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { showSpec } = await import('../commands/spec.js');
      await showSpec(name, optionsOf(command));
    });
  ofKind(changing(spec.command('set')))
    .summary('register objects, or set what they ask for')
    .description('register objects, or set what they ask for; what is not given is as it was')
    .argument('<name...>', 'one or more: all of them or none')
    .option('--spec <json>', 'whatever its worker should know, as JSON', json)
    .option('--group <group>', 'only workers of this group will do; or `none`')
    .option('--pin <bucket>', 'the worker that it wants before all others; or `none`')
    .addOption(
      new Option('--pin-rule <rule>', 'while that one is not there: wait, or take any').choices([
        ...['hold', 'any'],
      ]),
    )
    .option('--weight <n>', 'how many it counts for', whole)
    .action(async (names: string[], _options, command: Command) => {
      const { setSpecs } = await import('../commands/spec.js');
      await setSpecs(names, optionsOf(command));
    });
  ofKind(changing(spec.command('remove')))
    .summary('take an object away')
    .description('take an object away: at once, or as soon as its worker has stopped it')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeSpec } = await import('../commands/spec.js');
      await removeSpec(name, optionsOf(command));
    });
}

// In an object, for in the place of null commander would put an empty text.
function json(text: string): { readonly value: unknown } {
  try {
    return { value: parseJson(text, 'it') };
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    throw new InvalidArgumentError(`It must be JSON: ${error.message}.`);
  }
}
