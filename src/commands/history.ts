// sharder object history | explain.

import type { Flags } from '../config.js';
import * as explained from '../explain.js';
import { objectHistory, type ChangeRow } from '../store/history.js';
import { unknownObject } from '../store/objects.js';
import { withDatabase } from './open.js';
import { printable, table } from './table.js';

export interface Options extends Flags {
  readonly kind: string;
  readonly json?: boolean;
}

export async function showHistory(name: string, { kind, json, ...flags }: Options): Promise<void> {
  const { assigned, changes, pruned_before } = await withDatabase(flags, (database) =>
    objectHistory(database, kind, name),
  );
  if (!assigned && changes.length === 0) throw unknownObject(name, kind);
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ kind, name, assigned: assigned ?? null, changes, pruned_before })}\n`,
    );
    return;
  }
  const first = assigned && [assigned.at, null, 'first assignment', null, assigned.bucket, null];
  process.stdout.write(
    table(
      ['AT', 'ACTOR', 'ACTION', 'FROM', 'TO', 'REASON'],
      [
        ...(first ? [first] : []),
        ...changes.map((change) => [
          change.at,
          change.actor,
          describe(change),
          change.from_bucket,
          change.to_bucket,
          change.reason,
        ]),
      ],
    ),
  );
  if (pruned_before !== null) {
    process.stderr.write(`note: lines from before ${pruned_before} were pruned\n`);
  }
}

// "rename: to iana"
function describe(change: ChangeRow): string {
  return inFull(change).replace(/^object /, '');
}

/** "object rename: to iana" */
export function inFull({ action, detail }: ChangeRow): string {
  const how = ['to', 'from', 'into', 'before'].find((word) => typeof detail?.[word] === 'string');
  return how === undefined ? action : `${action}: ${how} ${String(detail?.[how])}`;
}

export async function explainObject(
  name: string,
  { kind, json, ...flags }: Options,
): Promise<void> {
  const explanation = await withDatabase(flags, (database) =>
    explained.explainObject(database, kind, name),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify(explanation)}\n`);
    return;
  }
  const { object, change, pruned_before, next, scores } = explanation;
  const rows = scores.map((score) => [
    score.bucket,
    score.members,
    score.weight,
    score.score === null ? null : Number(score.score.toFixed(3)),
    score.closed,
  ]);
  process.stdout.write(
    `${printable(sentence())}\n\n${table(['BUCKET', 'MEMBERS', 'WEIGHT', 'SCORE', 'CLOSED'], rows)}`,
  );

  function sentence(): string {
    if (object) {
      const pinned = object.pinned ? ' It is pinned.' : '';
      return `object ${name} of kind ${kind} is in bucket ${object.bucket}, ${cause(object.assigned_at, change, pruned_before)}.${pinned}`;
    }
    const where = next === null ? 'nowhere: no bucket has room' : `to bucket ${next}`;
    return `object ${name} of kind ${kind} has no bucket; as a new one it would go ${where}`;
  }
}

function cause(
  assigned_at: string,
  change: ChangeRow | null,
  pruned_before: string | null,
): string {
  if (!change && pruned_before !== null && assigned_at < pruned_before) {
    return `as it was at ${pruned_before}, where its history was pruned; first assigned at ${assigned_at}`;
  }
  if (!change) return `by its first assignment at ${assigned_at}`;
  const why = change.reason === null ? '' : ` (${change.reason})`;
  const plan = change.plan === null ? '' : ` of plan ${change.plan}`;
  return `by a ${describe(change)}${plan} of ${change.actor} at ${change.at}${why}; first assigned at ${assigned_at}`;
}
