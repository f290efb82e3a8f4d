// Commands that the service runs as processes of their own, for what would hold its event loop.

import { spawn, type ChildProcess } from 'node:child_process';
import { SharderError } from '../../errors.js';

/** Starts `sharder` with these arguments, on the service's own database. */
export type Commands = (args: readonly string[], actor: string) => ChildProcess;

const AT_ONCE = 2;

/** Runs `sharder`, at `cli`, with this environment; throws `overloaded` when two run already. */
export function createCommands(cli: string, env: NodeJS.ProcessEnv): Commands {
  let running = 0;
  return (args, actor) => {
    if (running >= AT_ONCE) {
      throw new SharderError(
        'overloaded',
        `${running} imports, exports or checks are running already; try again`,
      );
    }
    running++;
    const child = spawn(process.execPath, [cli, ...args], {
      env: { ...env, SHARDER_ACTOR: actor, SHARDER_ERRORS: 'json' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.once('close', () => running--);
    return child;
  };
}
