// Who had which object, from when until when, as the workers' own logs say; and whether any two had one at
// the same time. Pure.

/** A line of a worker's log. Times are of one clock, in milliseconds. */
export interface Line {
  readonly t: number;
  readonly worker: string;
  readonly pid: number;
  readonly what: 'add' | 'work' | 'drop';
  readonly id: string;
  readonly epoch: number;
}

/** What was done to a process: it was killed at `from`, or stopped until `until`. */
export interface Blow {
  readonly what: 'kill' | 'stop';
  readonly pid: number;
  readonly from: number;
  readonly until: number;
}

/** A time in which a process had an object. */
export interface Tenure {
  readonly id: string;
  readonly worker: string;
  readonly pid: number;
  readonly epoch: number;
  readonly from: number;
  readonly until: number;
  /** What ended it. */
  readonly end: 'drop' | 'kill' | 'stop' | 'none';
}

interface Open extends Line {
  last: number;
}

/**
 * The tenures of a process, from its log. One that is killed has its objects until then. One that was
 * stopped, and that says `drop` only when it goes on, had them until it worked for the last time.
 * Lines that make no sense end up in `wrong`.
 */
function tenuresOf(lines: readonly Line[], blows: readonly Blow[], wrong: string[]): Tenure[] {
  const tenures: Tenure[] = [];
  const open = new Map<string, Open>();
  const close = ({ id, worker, pid, epoch, t: from, last }: Open, drop?: number): void => {
    open.delete(id);
    const mine = blows.filter((blow) => blow.pid === pid && blow.until >= from);
    const kill = mine.find(({ what }) => what === 'kill');
    const isStopped = mine.some((blow) => blow.what === 'stop' && blow.from < (drop ?? Infinity));
    const end = isStopped ? 'stop' : drop !== undefined ? 'drop' : kill ? 'kill' : 'none';
    const ends = {
      stop: last,
      drop: drop ?? last,
      kill: Math.max(last, kill?.from ?? 0),
      none: last,
    };
    tenures.push({ id, worker, pid, epoch, from, until: ends[end], end });
  };
  for (const line of lines) {
    const { t, what, id, epoch } = line;
    const had = open.get(id);
    if (what === 'add') {
      if (had) wrong.push(`${say(line)} twice`);
      open.set(id, { ...line, last: t });
    } else if (had?.epoch !== epoch) wrong.push(`${say(line)}, but has it not`);
    else if (what === 'work') had.last = t;
    else close(had, t);
  }
  for (const each of [...open.values()]) close(each);
  return tenures;
}

function say({ worker, pid, what, id, epoch, t }: Line): string {
  return `${worker} (${pid}) does ${what} ${id} with epoch ${epoch} at ${t}`;
}

/** All tenures, each object's in order; and what is wrong with them: nobody has what another one has, and epochs grow. */
export function judgeTenures(
  logs: readonly (readonly Line[])[],
  blows: readonly Blow[],
): { readonly tenures: readonly Tenure[]; readonly wrong: readonly string[] } {
  const wrong: string[] = [];
  const tenures = logs
    .flatMap((lines) => tenuresOf(lines, blows, wrong))
    .sort((a, b) => a.from - b.from);
  const latest = new Map<string, Tenure>();
  for (const next of tenures) {
    const before = latest.get(next.id);
    if (before && next.from < before.until) wrong.push(`${tell(before)}, but ${tell(next)}`);
    if (before && next.epoch <= before.epoch) wrong.push(`${tell(next)}, after ${tell(before)}`);
    if (!before || next.until > before.until) latest.set(next.id, next);
  }
  return { tenures, wrong };
}

function tell({ id, worker, pid, epoch, from, until, end }: Tenure): string {
  return `${worker} (${pid}) had ${id} with epoch ${epoch} from ${from} until ${until} (${end})`;
}
