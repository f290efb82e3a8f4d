// sharder object history | explain.

import type { Flags } from '../config.js';
import * as operations from '../operations/objects.js';
import type { OutputOf } from '../operations/operation.js';
import { withService } from './service.js';
import { printable, table } from './table.js';

export interface Options extends Flags {
  readonly kind: string;
  readonly json?: boolean;
}

export async function showHistory(name: string, { kind, json, ...flags }: Options): Promise<void> {
  const history = await withService(flags, (perform) =>
    perform(operations.showHistory, { kind, name }),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify(history)}\n`);
    return;
  }
  const { assigned, changes, pruned_before } = history;
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

type Change = OutputOf<typeof operations.showHistory>['changes'][number];

// "rename: to iana"
function describe(change: Change): string {
  return inFull(change).replace(/^object /, '');
}

/** "object rename: to iana", "object move: plan 7" */
export function inFull({
  action,
  detail,
  plan,
}: Pick<Change, 'action' | 'detail' | 'plan'>): string {
  const how = ['to', 'from', 'into', 'before'].find((word) => typeof detail?.[word] === 'string');
  if (plan !== null) return `${action}: plan ${plan}`;
  return how === undefined ? action : `${action}: ${how} ${String(detail?.[how])}`;
}

export async function explainObject(
  name: string,
  { kind, json, ...flags }: Options,
): Promise<void> {
  const explanation = await withService(flags, (perform) =>
    perform(operations.explainObject, { kind, name }),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify(explanation)}\n`);
    return;
  }
  const { object, change, cache, policy, pruned_before, next, scores } = explanation;
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
    if (policy === 'hash' && !object) {
      return next === null
        ? `key ${name} of kind ${kind} is nowhere: no bucket takes keys`
        : `key ${name} of kind ${kind} is in bucket ${next}, by the hash; nothing is stored of it.${CACHE[cache]}`;
    }
    if (object && policy === 'hash') {
      const hashed = next === null ? 'nowhere' : `in bucket ${next}`;
      return `key ${name} of kind ${kind} is in bucket ${object.bucket}, for it is pinned there since ${change?.at ?? object.assigned_at}; by the hash it would be ${hashed}.${CACHE[cache]}`;
    }
    if (object) {
      const pinned = object.pinned ? ' It is pinned.' : '';
      return `object ${name} of kind ${kind} is in bucket ${object.bucket}, ${cause(object.assigned_at, change, pruned_before)}.${pinned}${CACHE[cache]}`;
    }
    const where = next === null ? 'nowhere: no bucket has room' : `to bucket ${next}`;
    return `object ${name} of kind ${kind} has no bucket; as a new one it would go ${where}`;
  }
}

const CACHE = {
  none: '',
  empty: ' The service does not have it in memory.',
  agrees: ' The service has the same in memory.',
  differs:
    ' The service has another bucket in memory, and will answer it until it hears of this one.',
};

function cause(assigned_at: string, change: Change | null, pruned_before: string | null): string {
  if (!change && pruned_before !== null && assigned_at < pruned_before) {
    return `as it was at ${pruned_before}, where its history was pruned; first assigned at ${assigned_at}`;
  }
  if (!change) return `by its first assignment at ${assigned_at}`;
  const why = change.reason === null ? '' : ` (${change.reason})`;
  const plan = change.plan === null ? '' : ` of plan ${change.plan}`;
  return `by a ${describe({ ...change, plan: null })}${plan} of ${change.actor} at ${change.at}${why}; first assigned at ${assigned_at}`;
}
