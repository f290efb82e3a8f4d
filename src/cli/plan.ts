// sharder plan …

import { Option, type Command } from 'commander';
import { PLAN_STATES } from '../store/plan-state.js';
import { changing, listing, number, ofKind, optionsOf, whole } from './options.js';

export function addPlan(program: Command): void {
  const plan = program.command('plan').description('move many: planned, shown, at a pace, undone');
  addLists(plan);
  ofKind(changing(plan.command('rebalance')))
    .description('plan the fewest moves after which no bucket is over-full')
    .option('--threshold <percent>', "above the even share; default: the kind's", number)
    .action(async (_options, command: Command) => {
      const { planRebalance } = await import('../commands/plan.js');
      await planRebalance(optionsOf(command));
    });
  ofKind(changing(plan.command('drain')))
    .description('plan to empty buckets')
    .argument('<bucket...>')
    .action(async (buckets: string[], _options, command: Command) => {
      const { planDrain } = await import('../commands/plan.js');
      await planDrain(buckets, optionsOf(command));
    });
  ofKind(changing(plan.command('spread')))
    .description('plan to fill new buckets to their even share')
    .argument('<bucket...>')
    .action(async (buckets: string[], _options, command: Command) => {
      const { planSpread } = await import('../commands/plan.js');
      await planSpread(buckets, optionsOf(command));
    });
  addSteps(plan);
}

function addLists(plan: Command): void {
  listing(plan.command('list'))
    .description('all plans, the newest first')
    .option('--kind <kind>', 'only of this kind')
    .addOption(new Option('--state <state>', 'only those in this state').choices(PLAN_STATES))
    .action(async (_options, command: Command) => {
      const { listPlans } = await import('../commands/plan.js');
      await listPlans(optionsOf(command));
    });
  listing(plan.command('show'))
    .description('one plan: before and after, how far it is, why moves were skipped')
    .argument('<plan>', 'its number', whole)
    .action(async (id: number, _options, command: Command) => {
      const { showPlan } = await import('../commands/plan.js');
      await showPlan(id, optionsOf(command));
    });
  listing(plan.command('moves'))
    .description('the moves of a plan, in their order')
    .argument('<plan>', 'its number', whole)
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([
        'waiting',
        'made',
        'skipped',
      ]),
    )
    .action(async (id: number, _options, command: Command) => {
      const { listMoves } = await import('../commands/plan.js');
      await listMoves(id, optionsOf(command));
    });
}

function addSteps(plan: Command): void {
  for (const [verb, text] of [
    ['apply', 'make the moves of a plan; Ctrl-C pauses it'],
    ['resume', 'go on with a plan, where it was paused or has crashed'],
    ['undo', 'move back what is still where a plan has put it'],
  ] as const) {
    paced(changing(plan.command(verb)))
      .description(text)
      .argument('<plan>', 'its number', whole)
      .action(async (id: number, _options, command: Command) => {
        const { movePlan } = await import('../commands/plan.js');
        await movePlan(verb, id, optionsOf(command));
      });
  }
  for (const [verb, text] of [
    ['pause', 'make no more moves for now'],
    ['cancel', 'make no more moves for good; what was moved stays'],
  ] as const) {
    changing(plan.command(verb))
      .description(text)
      .argument('<plan>', 'its number', whole)
      .action(async (id: number, _options, command: Command) => {
        const { stopPlan } = await import('../commands/plan.js');
        await stopPlan(verb, id, optionsOf(command));
      });
  }
}

function paced(command: Command): Command {
  return command
    .option('--rate <n>', 'so many moves per second at most (default: 100)', whole)
    .option('--bucket-rate <n>', 'so many per second from and to each bucket at most', whole)
    .option('--no-wait', 'leave the moves to a running service, and do not wait for them');
}
