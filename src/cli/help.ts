// How help looks: the overview on one screen, commands in groups, and last what every command takes.

import { styleText } from 'node:util';
import type { Command, Help, HelpConfiguration, Option } from 'commander';

/** The heading of what every command takes. */
export const EVERYWHERE = 'Options of every command:';

const OPTIONS = 'Options:';

/** For `configureHelp` of the program, before it has commands: they take it over. */
export const HELP: HelpConfiguration = {
  // `sharder help COMMAND` works, but need not be told on every page.
  visibleCommands: (command) => command.commands.filter((each) => !isHidden(each)),
  // In the overview its name is enough: what it takes stands on its own page.
  subcommandTerm: (command) =>
    [command.name(), ...(isTop(command.parent) ? [] : argumentsOf(command))].join(' '),
  // commander takes it out again where the output has no colours
  styleTitle: (title) => styleText('bold', title),
  formatHelp,
};

/** A command that is for programs, and on no page. */
export function isHidden(command: Command): boolean {
  return command.name().startsWith('__');
}

function isTop(command: Command | null): boolean {
  return command !== null && command.parent === null;
}

// --help and --version of the overview stand in its usage, and the others in a line.
function optionsOf(command: Command, helper: Help): Option[] {
  return isTop(command) ? [] : helper.visibleOptions(command);
}

function everywhere(command: Command): string {
  const options = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === EVERYWHERE);
  return options.map(({ long }) => long).join(', ');
}

// In order of appearance.
function groups<T>(
  items: readonly T[],
  headingOf: (item: T) => string | undefined,
  otherwise: string,
): [heading: string, items: T[]][] {
  const all = new Map<string, T[]>();
  for (const item of items) {
    const heading = headingOf(item) ?? otherwise;
    all.set(heading, [...(all.get(heading) ?? []), item]);
  }
  return [...all];
}

function argumentsOf(command: Command): string[] {
  return command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
}

function formatHelp(command: Command, helper: Help): string {
  const width = helper.padWidth(command, helper);
  const item = (term: string, text: string) => helper.formatItem(term, width, text, helper);
  const ofOption = (term: string) => helper.styleOptionTerm(term);

  const commands = groups(
    helper.visibleCommands(command),
    (each) => each.helpGroup() || undefined,
    'Commands:',
  );
  const options = groups(optionsOf(command, helper), (each) => each.helpGroupHeading, OPTIONS);
  const sections: [heading: string, items: string[]][] = [
    [
      'Arguments:',
      helper
        .visibleArguments(command)
        .map((each) => item(helper.argumentTerm(each), helper.argumentDescription(each))),
    ],
    ...commands.map(([heading, all]): [string, string[]] => [
      heading,
      all.map((each) => item(helper.subcommandTerm(each), helper.subcommandDescription(each))),
    ]),
    ...options
      .sort(([a], [b]) => Number(a === EVERYWHERE) - Number(b === EVERYWHERE))
      .map(([heading, all]): [string, string[]] => [
        heading,
        all.map((each) => item(ofOption(helper.optionTerm(each)), helper.optionDescription(each))),
      ]),
  ];
  const blocks = [
    `${helper.styleTitle('Usage:')} ${helper.commandUsage(command)}`,
    // The overview has no line to spare.
    ...(isTop(command)
      ? []
      : [helper.boxWrap(helper.commandDescription(command), helper.helpWidth ?? 80)]),
    ...sections
      .filter(([, items]) => items.length > 0)
      .map(([heading, items]) => [helper.styleTitle(heading), ...items].join('\n')),
    ...(isTop(command)
      ? [`${helper.styleTitle(EVERYWHERE)} ${everywhere(command)} (see check --help)`]
      : []),
  ];
  // Blank lines would push the overview off a small screen.
  return `${blocks.join(isTop(command) ? '\n' : '\n\n')}\n`;
}
