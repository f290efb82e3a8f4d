// Process groups: a program and all that it has started, which `npm start` and shells leave running when
// they are ended alone.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_EVERY_MS = 20;
const LOOK_CLOSELY_EVERY = 5;
// What SIGKILL does not end within that waits in the kernel.
const KILLED_WITHIN_MS = 1_000;

/** Whether anybody of it was there to be told. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    return false;
  }
}

/** SIGTERM to all of it, and SIGKILL to those that are there after `graceMs`; says whether that was so. */
export async function endGroup(group: number, graceMs: number): Promise<boolean> {
  signalGroup(group, 'SIGTERM');
  if (await isGone(group, graceMs)) return false;
  signalGroup(group, 'SIGKILL');
  await isGone(group, KILLED_WITHIN_MS);
  return true;
}

// Nobody tells of the end of a group but itself.
async function isGone(group: number, withinMs: number): Promise<boolean> {
  const until = performance.now() + withinMs;
  for (let look = 1; ; look++) {
    if (!signalGroup(group, 0)) return true;
    if (look % LOOK_CLOSELY_EVERY === 0 && !hasLiving(group)) return true;
    if (performance.now() >= until) return !hasLiving(group);
    await sleep(LOOK_EVERY_MS);
  }
}

// Whoever has ended is a zombie until its parent asks for it. In a container, where an orphan's parent is
// often a program that never does, that is for ever. Only Linux tells, in /proc.
function hasLiving(group: number): boolean {
  if (process.platform !== 'linux') return true;
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      // PID (NAME) STATE PARENT GROUP …; a name may have anything in it.
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state = '', , of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(of) === group && !'ZX'.includes(state);
    } catch {
      return false; // it has ended since
    }
  });
}
