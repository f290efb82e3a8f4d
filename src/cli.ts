#!/usr/bin/env node
// The `sharder` command: reads argv, wires, exits. 0: done, 1: refused, 2: wrong usage.

import { styleText } from 'node:util';
import { Command, CommanderError } from 'commander';
import { addBucket } from './cli/bucket.js';
import { addCompletion } from './cli/completion.js';
import { addCare, addTransfer } from './cli/data.js';
import { addHistory, addWatch } from './cli/history.js';
import { HELP } from './cli/help.js';
import { addKind } from './cli/kind.js';
import { addLease } from './cli/lease.js';
import { addObject } from './cli/object.js';
import { addPlaces } from './cli/options.js';
import { addPlan } from './cli/plan.js';
import { addRender } from './cli/render.js';
import { addRun } from './cli/run.js';
import { addAdopt, addService } from './cli/service.js';
import { addSpec } from './cli/spec.js';
import { printable } from './commands/table.js';
import { SharderError } from './errors.js';
import { readVersion } from './http/version.js';

const USAGE = 2;
const REFUSED = 1;

// A command's module, with what it depends on, is loaded when the command is run.
function createProgram(): Command {
  const version = readVersion();
  const program = new Command('sharder')
    .description('Which bucket does this user live in? One durable answer per user.')
    .version(version)
    .usage('[--version] [--help] COMMAND …')
    .configureHelp(HELP)
    .exitOverride()
    .showHelpAfterError('(sharder --help says what there is)');
  program.commandsGroup('Service:');
  addService(program, version);
  addAdopt(program);
  addRender(program);
  addRun(program);
  program.commandsGroup('Kinds, buckets, objects, plans:');
  addKind(program);
  addBucket(program);
  addObject(program);
  addPlan(program);
  addLease(program);
  addSpec(program);
  addHistory(program);
  addWatch(program);
  program.commandsGroup('Data, shell:');
  addTransfer(program);
  addCare(program);
  addCompletion(program);
  addPlaces(program);
  return program;
}

// Programs are told what is wrong as they are told the rest. The service asks so of its commands.
function wantsJson(): boolean {
  return process.argv.includes('--json') || process.env.SHARDER_SERVICE === '1';
}

// What to exit with after an error that was thrown on purpose; others keep their stack.
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof SharderError) {
    if (wantsJson()) {
      const { code, message } = error;
      process.stderr.write(`${JSON.stringify({ error: { code, message } })}\n`);
      return code === 'settings' ? USAGE : REFUSED;
    }
    const shown = error.message.split('\n').map(printable).join('\n');
    process.stderr.write(`${styleText('red', 'sharder:', { stream: process.stderr })} ${shown}\n`);
    return error.code === 'settings' ? USAGE : REFUSED;
  }
  if (process.env.SHARDER_SERVICE === '1') {
    // For the service's log, in which no name may stand.
    const { name = '', code = '' } = error as { name?: string; code?: string };
    const message = `${name} ${code}`.trim();
    process.stderr.write(`${JSON.stringify({ error: { code: 'internal', message } })}\n`);
    return REFUSED;
  }
  process.stderr.write(
    `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return REFUSED;
}

// Whoever reads the output has seen enough, as `| head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
  process.stderr.write(`sharder: the output cannot be written: ${error.message}\n`);
  process.exit(REFUSED);
});

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}
