// Objects are handed over. An object has one owner: it goes to another when the old one has said that it
// stopped, has given its lease back, or has lapsed. All of it under the kind's lock.

import type { Knex } from 'knex';
import { lockKind, type KindRow } from '../store/kinds.js';
import { readClock, readLease } from '../store/leases.js';
import {
  removeSpecs,
  setSpecs,
  writeDropping,
  writeMoved,
  writeWaiting,
} from '../store/spec-writes.js';
import { namesOf, readMisplaced, readSpecs, type Spec } from '../store/specs.js';
import { judge } from './claim.js';
import { placeWaiting, readWorkers } from './objects.js';
import type { Worker } from './placing.js';

/** What a worker has done of what it was told; an answer that comes late tells of an older epoch. */
export interface Done {
  readonly name: string;
  /** The one it was told with. */
  readonly epoch: number;
}

/**
 * Takes note of what a worker has begun and stopped: what it has stopped goes to its heir. Resolves with
 * how many of each were so as it says. Throws `unknown_kind` or `lease_lost`.
 */
export async function acknowledge(
  trx: Knex.Transaction,
  kind: string,
  bucket: string,
  lease: { readonly holder: string; readonly epoch: number },
  { added, dropped }: { readonly added: readonly Done[]; readonly dropped: readonly Done[] },
): Promise<{ added: number; dropped: number; version: number }> {
  const row = await lockKind(trx, kind);
  const now = await readClock(trx);
  judge(lease, await readLease(trx, kind, bucket), now);
  const specs = await readSpecs(
    trx,
    kind,
    [...added, ...dropped].map(({ name }) => name),
  );
  const areSo = (done: readonly Done[], state: Spec['state']): Spec[] =>
    done.flatMap(({ name, epoch }) => {
      const spec = specs.get(name);
      const isSo = spec?.bucket === bucket && spec.state === state && spec.epoch === epoch;
      return isSo ? [spec] : [];
    });
  const begun = areSo(added, 'adding');
  const stopped = areSo(dropped, 'dropping');
  await setSpecs(
    trx,
    kind,
    begun.map(({ name }) => name),
    { state: 'owned' },
  );
  await passOn(trx, row, stopped, now);
  return { added: begun.length, dropped: stopped.length, version: row.version };
}

// To its heir, if that is still there; or to whoever will do.
async function passOn(
  trx: Knex.Transaction,
  row: KindRow,
  stopped: readonly Spec[],
  now: number,
): Promise<void> {
  if (stopped.length === 0) return;
  const { name: kind } = row;
  const { workers } = await readWorkers(trx, kind, now);
  const open = new Map(workers.map((each) => [each.bucket, each]));
  const moved = [];
  const waiting = [];
  const gone = [];
  for (const spec of stopped) {
    const { name, bucket, heir, is_leaving } = spec;
    const to = heir === null ? undefined : open.get(heir);
    if (is_leaving) gone.push(name);
    else if (to && isHeir(to, spec, open)) moved.push({ name, from: bucket, to: to.bucket });
    else waiting.push(name);
  }
  await removeSpecs(trx, row, gone);
  await writeMoved(trx, row, moved);
  await writeWaiting(trx, kind, waiting);
  await placeWaiting(trx, row, now);
}

// Whether it will still do: what the object asks for may be another thing by now, and what the worker has.
function isHeir(
  { bucket, state, capacity, held, leaving, group }: Worker,
  spec: Spec,
  open: ReadonlyMap<string, Worker>,
): boolean {
  if (state !== 'active') return false;
  if (capacity !== null && held + leaving > capacity) return false; // with the object, which is on its way
  if (spec.pin === bucket) return true;
  if (spec.pin !== null && (spec.pin_rule === 'hold' || open.has(spec.pin))) return false;
  return spec.group === null || spec.group === group;
}

/** Takes from a worker that is gone all that it had. */
export async function freeObjects(
  trx: Knex.Transaction,
  row: KindRow,
  bucket: string,
): Promise<void> {
  const { leaving, staying } = await namesOf(trx, row.name, bucket);
  await removeSpecs(trx, row, leaving);
  await writeWaiting(trx, row.name, staying);
}

/** Tells a worker that is of another group now to stop what asks for the one before. */
export async function freeMisplaced(
  trx: Knex.Transaction,
  row: KindRow,
  bucket: string,
  group: string | null,
): Promise<void> {
  const names = await readMisplaced(trx, row.name, bucket, group);
  const dropped = names.map((name) => ({ name, from: bucket }));
  await writeDropping(trx, row, dropped, null);
}
