// The rules that leases, and objects that follow workers, are held against. What the schema holds by itself
// is not asked again: a lease is of a bucket, and no two have the same place.

import type { Knex } from 'knex';
import { listKindRows } from './kinds.js';
import type { SpecState } from './specs.js';
import { fault, LISTED, type Fault } from './rules.js';

interface Row {
  readonly kind: string;
  readonly name: string;
  readonly state: SpecState;
  readonly epoch: number | string | null;
  readonly bucket: string | null;
  readonly owner: string | null;
  readonly holder: string | null;
}

/** Objects that have a worker have one that is to stop them some day; those that wait have none. */
export async function checkSpecs(knex: Knex): Promise<Fault[]> {
  const wrong = knex('spec as p')
    .leftJoin('shard as s', (on) => on.on('s.kind', 'p.kind').on('s.name', 'p.name'))
    .leftJoin('lease as l', (on) => on.on('l.kind', 'p.kind').on('l.bucket', 'p.bucket'))
    .whereRaw(
      `case when p.state = 'waiting' then p.epoch is not null
        else p.epoch is null or l.holder is null or s.bucket is null or s.bucket <> p.bucket end`,
    );
  const rows = await wrong
    .orderBy(['p.kind', 'p.name'])
    .limit(LISTED + 1)
    .select<Row[]>('p.kind', 'p.name', 'p.state', 'p.epoch', 's.bucket', 'l.holder', {
      owner: 'p.bucket',
    });
  const faults = rows.slice(0, LISTED).map((row) => {
    const { kind, bucket, name } = row;
    return fault('spec', { kind, bucket, name }, ...whatIsWrong(row));
  });
  if (rows.length <= LISTED) return faults;
  const more = fault('spec', {}, 'and more objects', 'mend these, and check again');
  return [...faults, more];
}

function whatIsWrong(row: Row): [message: string, remedy: string] {
  const { state, epoch, bucket, owner, holder } = row;
  const free = 'in the database set its state to waiting, its bucket, epoch and heir to null';
  if (state === 'waiting') return [`it waits for a worker, and has epoch ${epoch}`, free];
  if (bucket === null)
    return [`it is ${state}, and no worker has it`, `${free}: it is placed anew`];
  if (bucket !== owner)
    return [`it is ${state} with ${owner}, and stands in ${bucket}`, `${free}: it is placed anew`];
  const restart = `start the worker ${bucket} again: it is told of it anew`;
  if (holder === null) return [`it is ${state}, and nobody has the lease of its bucket`, restart];
  return [`it is ${state}, and has no epoch`, restart];
}

/** Nobody looks after the workers of a kind that has none. */
export async function checkLeased(knex: Knex): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (const { name: kind, settings } of await listKindRows(knex)) {
    if (settings.leased) continue;
    for (const [table, noun] of [
      ['spec', 'registered object'],
      ['lease', 'worker'],
    ] as const) {
      const [row] = await knex(table).where({ kind }).count<{ n: number | string }[]>({ n: '*' });
      const n = Number(row?.n);
      if (n === 0) continue;
      const message = `it has ${n} ${noun}${n === 1 ? '' : 's'}, and is not leased: nobody looks after them`;
      faults.push(fault('leased', { kind }, message, `sharder kind set ${kind} --leased`));
    }
  }
  return faults;
}
