// sharder lease list | drain | release; `lease objects` is in spec.ts.

import type { Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { listKinds, showKind } from '../operations/kinds.js';
import * as operations from '../operations/leases.js';
import type { OutputOf } from '../operations/operation.js';
import { change, type ChangeOptions } from './change.js';
import { withService } from './service.js';
import { table } from './table.js';

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

type Lease = OutputOf<typeof operations.listLeases>['items'][number];

export async function listLeases({ kind, json, ...flags }: ListOptions): Promise<void> {
  const { leases, halted } = await withService(flags, async (perform) => {
    const kinds =
      kind === undefined
        ? (await perform(listKinds, {})).items.filter(({ leased }) => leased)
        : [await perform(showKind, { kind })];
    const lists = [];
    for (const { name } of kinds) lists.push(await perform(operations.listLeases, { kind: name }));
    return {
      leases: lists.flatMap(({ items }) => items),
      halted: kinds.filter((each) => each.halted).map(({ name }) => name),
    };
  });
  process.stdout.write(json ? `${JSON.stringify(leases, null, 2)}\n` : asTable(leases));
  if (json) return; // `kind show --json` has it
  for (const name of halted) {
    process.stderr.write(
      `note: nothing moves in kind ${name}, for too many of its workers are silent at once\n`,
    );
  }
}

function asTable(leases: readonly Lease[]): string {
  const rows = leases.map((lease) => [
    lease.kind,
    lease.bucket,
    lease.index,
    lease.epoch,
    lease.state,
    lease.members,
    lease.pending,
    lease.group,
    lease.load,
    lease.holder,
    lease.has_ended ? `${lease.expires_at} (ended)` : lease.expires_at,
  ]);
  const headings = [
    ...['KIND', 'BUCKET', 'INDEX', 'EPOCH', 'STATE', 'OBJECTS', 'PENDING'],
    ...['GROUP', 'LOAD', 'HOLDER', 'UNTIL'],
  ];
  return table(headings, rows);
}

export interface DrainOptions extends ChangeOptions {
  readonly kind: string;
}

export async function drainLease(bucket: string, options: DrainOptions): Promise<void> {
  const { kind } = options;
  await change(operations.drainLease, { kind, bucket }, options, ({ changed }, did) =>
    changed
      ? `${did('tell')} worker ${bucket} of kind ${kind} to hand over all that it has`
      : `worker ${bucket} of kind ${kind} is draining already: nothing was changed`,
  );
}

export interface ReleaseOptions extends DrainOptions {
  readonly holder?: string;
  readonly epoch?: number;
}

/** Ends the lease that was found, and no other that somebody has taken since. */
export async function releaseLease(bucket: string, options: ReleaseOptions): Promise<void> {
  const { kind } = options;
  const { holder, epoch } = await findLease(bucket, options);
  await change(
    operations.releaseLease,
    { kind, bucket, holder, epoch },
    options,
    (_done, did) => `${did('release')} bucket ${bucket} of kind ${kind} from ${holder}`,
  );
}

async function findLease(
  bucket: string,
  { kind, holder, epoch, ...flags }: ReleaseOptions,
): Promise<{ readonly holder: string; readonly epoch: number }> {
  if (holder !== undefined && epoch !== undefined) return { holder, epoch };
  const { items } = await withService(flags, (perform) => perform(operations.listLeases, { kind }));
  const lease = items.find((each) => each.bucket === bucket);
  if (!lease) {
    throw new SharderError(
      'lease_lost',
      `nobody has the lease of bucket ${JSON.stringify(bucket)} of kind ${kind}: \`sharder lease list\` says who has which`,
    );
  }
  const known = holder ?? lease.holder;
  if (known === null) {
    throw new SharderError(
      'read_only',
      'this token does not see who holds a lease: give --holder and --epoch, or use a token that may do everything',
    );
  }
  return { holder: known, epoch: epoch ?? lease.epoch };
}
