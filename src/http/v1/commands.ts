// Commands that the service runs as processes of their own, for what would hold its event loop.

import { spawn, type ChildProcess } from 'node:child_process';
import { SharderError } from '../../errors.js';

/**
 * Starts `sharder` with these arguments, on the service's own database. Its fourth stream is for the
 * word that all of its input has come: without it nothing is written.
 */
export type Commands = (
  args: readonly string[],
  by: { readonly actor: string; readonly scope: 'read' | 'write' },
) => ChildProcess;

const AT_ONCE = 2;

/** Runs `sharder`, at `cli`, with this environment; throws `overloaded` when two of a scope run. */
export function createCommands(cli: string, env: NodeJS.ProcessEnv): Commands {
  const running = { read: 0, write: 0 };
  return (args, { actor, scope }) => {
    if (running[scope] >= AT_ONCE) {
      throw new SharderError(
        'overloaded',
        `${running[scope]} ${scope === 'read' ? 'exports or checks' : 'imports'} are running already; try again`,
      );
    }
    const child = spawn(process.execPath, [cli, ...args], {
      env: { ...env, SHARDER_ACTOR: actor, SHARDER_SERVICE: '1' },
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    running[scope]++;
    let isRunning = true;
    const ended = (): void => {
      if (isRunning) running[scope]--;
      isRunning = false;
    };
    child.once('close', ended);
    child.once('error', ended);
    return child;
  };
}
