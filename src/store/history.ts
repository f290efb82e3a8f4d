// What was: the lines of the table `change`, and what they tell.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkObjectName } from '../names.js';
import { tryNormalize } from '../normalize.js';
import type { Database } from './database.js';
import { checkKind, getKind } from './kinds.js';
import { findRow, toIso } from './objects.js';
import { readHorizon } from './prune.js';

/** A line of the history. */
export interface ChangeRow {
  readonly id: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly kind: string;
  readonly name: string | null;
  readonly from_bucket: string | null;
  readonly to_bucket: string | null;
  readonly reason: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
  readonly plan: number | null;
}

/** What is known of one object. */
export interface History {
  /**
   * When it was assigned, and to which bucket; undefined of one that never was. The bucket is null
   * where it was assigned before `pruned_before`: what moved it since may be among what was pruned.
   */
  readonly assigned: { readonly at: string; readonly bucket: string | null } | undefined;
  /** All changes since, oldest first, those under an earlier name too. */
  readonly changes: readonly ChangeRow[];
  /** Earlier lines of the kind were pruned; ISO 8601, UTC. Null where none was. */
  readonly pruned_before: string | null;
}

/** A line as the drivers give it. */
export interface Stored extends Omit<ChangeRow, 'id' | 'at' | 'detail' | 'plan'> {
  readonly id: number | string;
  readonly at: string | Date;
  readonly detail: string | Readonly<Record<string, unknown>> | null;
  readonly plan: number | string | null;
  readonly assigned_at: string | Date | null;
}

export function toChange(row: Stored): ChangeRow {
  const { id, at, actor, action, kind, name, from_bucket, to_bucket, reason, detail, plan } = row;
  return {
    id: Number(id),
    at: toIso(at),
    actor,
    action,
    kind,
    name,
    from_bucket,
    to_bucket,
    reason,
    detail: typeof detail === 'string' ? (JSON.parse(detail) as ChangeRow['detail']) : detail,
    plan: plan === null ? null : Number(plan),
  };
}

/**
 * The history of an object, also of one that is no more, and of what it was called before. Throws
 * `bad_name` or `unknown_kind`.
 */
export async function objectHistory(
  database: Database,
  kind: string,
  name: string,
): Promise<History> {
  checkObjectName(name);
  return database.read(async (knex) => {
    const kindRow = await getKind(knex, kind);
    const row = await findRow(knex, kindRow, name);
    const normal = tryNormalize(name, kindRow.settings.normalize);
    const called = row?.name ?? (typeof normal === 'string' ? normal : name);
    let lines = await linesOf(knex, kind, called);
    // Of one that is no more the name may be older than the setting.
    if (!row && lines.length === 0) lines = await linesOf(knex, kind, name);
    // A key that was pinned against the hash was never assigned.
    const [begin] = lines;
    const isPin = begin?.action === 'object pin' && begin.from_bucket === null;
    const first = lines.find(({ assigned_at }) => assigned_at !== null);
    const at = isPin ? undefined : (first?.assigned_at ?? row?.assigned_at);
    const bucket = first?.from_bucket ?? row?.bucket;
    const horizon = await readHorizon(knex, kind); // after the lines: what was pruned meanwhile is told
    const isKnown = !horizon || (at != null && new Date(at) >= horizon);
    return {
      assigned:
        at && bucket !== undefined ? { at: toIso(at), bucket: isKnown ? bucket : null } : undefined,
      changes: lines.map(toChange),
      pruned_before: horizon?.toISOString() ?? null,
    };
  });
}

// A name that came by a rename has its earlier lines under the name before, up to then.
async function linesOf(
  knex: Knex,
  kind: string,
  name: string,
  before = Number.MAX_SAFE_INTEGER,
): Promise<Stored[]> {
  const lines = await knex<Stored>('change')
    .where({ kind, name })
    .where('id', '<', before)
    .orderBy('id');
  const named = lines.findLastIndex(({ action, detail }) => {
    return action === 'object rename' && typeof readDetail(detail).from === 'string';
  });
  const line = lines[named];
  if (!line) return lines;
  const earlier = await linesOf(knex, kind, String(readDetail(line.detail).from), Number(line.id));
  return [...earlier, ...lines.slice(named + 1)];
}

function readDetail(detail: Stored['detail']): Readonly<Record<string, unknown>> {
  return (typeof detail === 'string' ? (JSON.parse(detail) as ChangeRow['detail']) : detail) ?? {};
}

/** Where an object was. */
export interface Whereabouts {
  readonly kind: string;
  readonly name: string;
  readonly bucket: string;
}

/**
 * Where every object of a kind was at a time, by the names that they had then, in pages, by name. The
 * first change after that time tells what was before it; where there is none, the object is where it
 * was. Begins behind the name `after`. Throws `unknown_kind`; or `forgotten`, for a time of which lines
 * were pruned, also if that is done meanwhile.
 */
export async function* objectsAt(
  database: Database,
  kind: string,
  at: Date,
  pageSize: number,
  after = '',
): AsyncGenerator<Whereabouts[]> {
  await database.read((knex) => checkKind(knex, kind));
  // As the columns have it: text on SQLite.
  const time = database.engineName === 'sqlite' ? at.toISOString() : at;
  for (let last = after; ;) {
    const rows = await database.readPage(async (knex) => {
      const isLater = (name: Knex.Raw | Knex.Ref<string, object>) =>
        knex('change').where({ kind, name }).where('at', '>', time);
      const moved = knex('change as c')
        .where('c.kind', kind)
        .where('c.name', '>', last)
        .where('c.at', '>', time)
        .whereNotNull('c.from_bucket')
        .where('c.assigned_at', '<=', time)
        .whereNotExists(isLater(knex.ref('c.name')).where('id', '<', knex.ref('c.id')))
        .orderBy('c.name')
        .limit(pageSize)
        .select('c.name', 'c.from_bucket as bucket');
      const stayed = knex('shard as s')
        .where('s.kind', kind)
        .where('s.name', '>', last)
        .where('s.assigned_at', '<=', time)
        .whereNotExists(isLater(knex.ref('s.name')))
        .orderBy('s.name')
        .limit(pageSize)
        .select('s.name', 's.bucket');
      const page = await knex
        .from(
          knex
            .select('*')
            .from(stayed.as('s'))
            .unionAll(knex.select('*').from(moved.as('m')))
            .as('both'),
        )
        .orderBy('name')
        .limit(pageSize)
        .select<{ name: string; bucket: string }[]>('name', 'bucket');
      // After the page: a line that is not there any more was pruned by one that is.
      const horizon = await readHorizon(knex, kind);
      if (horizon && at < horizon) throw forgotten(kind, horizon);
      return page;
    });
    if (rows.length > 0) yield rows.map((row) => ({ kind, ...row }));
    last = rows.at(-1)?.name ?? '';
    if (rows.length < pageSize) break;
  }
}

function forgotten(kind: string, horizon: Date): SharderError {
  const time = horizon.toISOString();
  return new SharderError(
    'forgotten',
    `where objects of kind ${kind} were then is no longer known: its history was pruned, and begins at ${time}`,
  );
}
