// sharder object …

import { Option, type Command } from 'commander';
import { DEFAULT_KIND } from '../names.js';
import { changing, listing, ofKind, optionsOf, time } from './options.js';

export function addObject(program: Command): void {
  const object = program.command('object').description('list, find, assign and move objects');
  listing(object.command('list'))
    .description('all objects and their buckets')
    .option('--kind <kind>', 'only those of this kind')
    .option(
      '--bucket <bucket>',
      `only those of this bucket (of kind ${DEFAULT_KIND}, if none is given)`,
    )
    .option('--prefix <text>', 'only names that begin so')
    .option('--pinned', 'only those that are pinned')
    .option('--no-pinned', 'only those that are not')
    .option('--at <time>', `where they were then (of kind ${DEFAULT_KIND}, if none is given)`, time)
    .action(async (_options, command: Command) => {
      const { listObjects } = await import('../commands/object.js');
      await listObjects(optionsOf(command));
    });
  listing(object.command('find'))
    .description('where an object is; nothing is created')
    .argument('[name]')
    .option('--kind <kind>', 'only in this kind')
    .option('--log-name <hash>', 'in place of a name: what the log calls it, with SHARDER_LOG_KEY')
    .action(async (name: string | undefined, options: { logName?: string }, command: Command) => {
      if ((name === undefined) === (options.logName === undefined)) {
        command.error('error: give either a name or --log-name');
      }
      if (name === undefined) {
        const { findLogName } = await import('../commands/log-name.js');
        await findLogName(options.logName ?? '', optionsOf(command));
      } else {
        const { findObject } = await import('../commands/object.js');
        await findObject(name, optionsOf(command));
      }
    });
  ofKind(object.command('assign'))
    .helpGroup('Change:')
    .summary('put an object into the emptiest bucket')
    .description('put an object into the emptiest bucket, as its first request would')
    .argument('<name>', 'or - for many: a name to a line of standard input')
    .option('--dry-run', 'only say what would be done')
    .option('--json', 'for programs')
    .action(async (name: string, _options, command: Command) => {
      if (name === '-') {
        const { assignObjects } = await import('../commands/assign.js');
        await assignObjects(optionsOf(command));
        return;
      }
      const { assignObject } = await import('../commands/object.js');
      await assignObject(name, optionsOf(command));
    });
  ofKind(changing(object.command('move')))
    .summary('move an object to another bucket')
    .description('move an object to another bucket; the running service answers it at once')
    .argument('<name>')
    .argument('<bucket>')
    .option('--force', 'even if the bucket is cordoned or full')
    .action(async (name: string, bucket: string, _options, command: Command) => {
      const { moveObject } = await import('../commands/object.js');
      await moveObject(name, bucket, optionsOf(command));
    });
  ofKind(changing(object.command('rename')))
    .description('give an object another name; it keeps its bucket')
    .argument('<name>')
    .argument('<to>')
    .action(async (name: string, to: string, _options, command: Command) => {
      const { renameObject } = await import('../commands/object.js');
      await renameObject(name, to, optionsOf(command));
    });
  ofKind(changing(object.command('merge')))
    .summary('make one of two objects')
    .description('make one of two objects: the second lives on, the first is no more')
    .argument('<name>')
    .argument('<into>')
    .addOption(
      new Option('--keep <whose>', 'whose bucket stays; older: of the one assigned earlier')
        .choices(['into', 'from', 'older'])
        .default('into'),
    )
    .action(async (name: string, into: string, _options, command: Command) => {
      const { mergeObjects } = await import('../commands/object.js');
      await mergeObjects(name, into, optionsOf(command));
    });
  ofKind(changing(object.command('pin')))
    .summary('no plan moves this object; a person may')
    .description(
      'no plan moves this object; a person may. In a kind with the policy hash: it is in this bucket',
    )
    .argument('<name>')
    .argument('[bucket]', 'with the policy hash; default: where it is')
    .action(async (name: string, bucket: string | undefined, _options, command: Command) => {
      const { pinObject } = await import('../commands/object.js');
      await pinObject(name, bucket, optionsOf(command));
    });
  ofKind(changing(object.command('unpin')))
    .summary('plans may move this object again')
    .description(
      'plans may move this object again. In a kind with the policy hash: it is where the hash says',
    )
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { unpinObject } = await import('../commands/object.js');
      await unpinObject(name, optionsOf(command));
    });
  ofKind(listing(object.command('history')))
    .description('what has become of an object: who did what, when and why')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { showHistory } = await import('../commands/history.js');
      await showHistory(name, optionsOf(command));
    });
  ofKind(listing(object.command('explain')))
    .summary('why an object is where it is, or would go')
    .description('why an object is where it is, or where a new one would go')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { explainObject } = await import('../commands/history.js');
      await explainObject(name, optionsOf(command));
    });
  ofKind(changing(object.command('remove')))
    .summary('forget where an object is')
    .description('forget where an object is; asked for again, it is new')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const { removeObject } = await import('../commands/object.js');
      await removeObject(name, optionsOf(command));
    });
}
