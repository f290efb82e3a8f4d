// sharder run: copies of a program behind a router, until a signal ends them.

import type { RunOptions } from '../run/options.js';
import { supervise } from '../run/supervise.js';

export type RunFlags = Omit<RunOptions, 'command'>;

export async function run(command: readonly string[], flags: RunFlags): Promise<void> {
  await supervise({ ...flags, command });
}
