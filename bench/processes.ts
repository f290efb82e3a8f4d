// Everything that the bench starts, so that it can be ended at any moment.

import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';

/** The core to run on, or undefined for any. */
export type Core = number | undefined;

const running = new Set<ChildProcess>();
let isEnding = false;

/** Starts a program on a core. */
export function startProcess(
  core: Core,
  command: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  if (isEnding) throw new Error('the bench is ending');
  // taskset becomes the program, so that the process is the same.
  const child =
    core === undefined
      ? spawn(command, args, options)
      : spawn('taskset', ['-c', String(core), command, ...args], options);
  running.add(child);
  for (const event of ['exit', 'error']) child.once(event, () => running.delete(child));
  return child;
}

export function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Ends every process that still runs, and lets no other start. */
export async function endProcesses(): Promise<void> {
  isEnding = true;
  await Promise.all(
    [...running].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
}
