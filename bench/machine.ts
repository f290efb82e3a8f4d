// The machine as far as it matters to a figure, and which cores are whose.

import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, readFileSync, statfsSync, writeSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Core } from './processes.js';
import { median } from './report.js';

export interface Cores {
  readonly server: Core;
  readonly load: Core;
}

/** One core for servers, another for the load, where there are two and taskset to hold them there. */
export function assignCores(): Cores {
  const apart = { server: undefined, load: undefined };
  if (!isOnPath('taskset')) return apart;
  const allowed = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  const [server, ...others] = parseList(allowed?.[1] ?? '');
  if (server === undefined || others.length === 0) return apart;
  // Two threads of one core would stand in each other's way.
  const siblings = siblingsOf(server);
  return { server, load: others.find((core) => !siblings.includes(core)) ?? others[0] };
}

export function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

// 0,2-3
function parseList(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number);
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

function siblingsOf(core: number): number[] {
  try {
    const topology = `/sys/devices/system/cpu/cpu${core}/topology/thread_siblings_list`;
    return parseList(readFileSync(topology, 'utf8').trim());
  } catch {
    return [];
  }
}

const TMPFS = 0x01021994; // Linux, statfs(2)

/** A line for each fact. `dir`: where the databases are. */
export function describeMachine(dir: string, cores: Cores, hasWrk: boolean): string[] {
  const [cpu] = cpus();
  const gib = (totalmem() / 2 ** 30).toFixed(0);
  const load = loadavg()[0] ?? 0;
  const isMemory = process.platform === 'linux' && statfsSync(dir).type === TMPFS;
  const isApart = cores.server !== undefined && cores.load !== undefined;
  return [
    `${cpu?.model ?? 'unknown processor'}, ${cpus().length} cores, ${gib} GiB, ${process.platform} ${release()}`,
    `Node ${process.versions.node}`,
    hasWrk
      ? 'load by wrk, one thread'
      : 'load by autocannon, for wrk is not on the PATH: it may be slower than what it measures, which flatters every ratio',
    isApart
      ? `servers on core ${cores.server}, load on core ${cores.load} (taskset), PostgreSQL on any`
      : 'servers and load on any core: there is no taskset here, or one core only',
    isMemory
      ? 'databases in memory (tmpfs), where durability costs nothing: set TMPDIR to a directory on a disk'
      : `databases on a disk that takes ${timeSync(dir).toFixed(2)} ms for a durable write of 4 KiB (median)`,
    `load average before the first run ${load.toFixed(1)}${load > 0.5 ? ': other programs ran, and the figures are noisy' : ''}`,
  ];
}

function timeSync(dir: string): number {
  const file = openSync(join(dir, 'sync'), 'w');
  const page = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 51 }, () => {
    const started = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - started;
  });
  closeSync(file);
  return median(times);
}
