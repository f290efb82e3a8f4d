// Objects that are to follow workers are registered, and taken away; under the kind's lock.

import { isDeepStrictEqual } from 'node:util';
import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { checkBucketName } from '../names.js';
import { normalizeName } from '../normalize.js';
import type { By } from '../store/changes.js';
import { refuseNewName } from '../store/kind-settings.js';
import { lockKind, type KindRow } from '../store/kinds.js';
import { readClock, readLeases } from '../store/leases.js';
import { unknownObject } from '../store/objects.js';
import {
  removeSpecs,
  setSpecs,
  writeAnew,
  writeDropping,
  writeSpecs,
  type Step,
} from '../store/spec-writes.js';
import { readSpecs, type Spec, type Wanted } from '../store/specs.js';
import { placeWaiting } from './objects.js';

/** What an object asks for; what is left out is as it was, or as for a new one. */
export type Wish = { readonly name: string } & {
  readonly [K in keyof Wanted]?: Wanted[K] | undefined;
};

const DEFAULTS: Wanted = { spec: null, group: null, pin: null, pin_rule: 'hold', weight: 1 };

/**
 * Registers objects, or sets what they ask for; they are placed at once, if a worker will do. One whose
 * spec is another now is told to its worker anew. Resolves with what they are then, in order. Throws
 * `unknown_kind`, `bad_name`, or `bad_request` where the kind is not leased.
 */
export async function registerObjects(
  trx: Knex.Transaction,
  kind: string,
  wishes: readonly Wish[],
  by: By,
): Promise<{ readonly specs: readonly Spec[]; readonly changed: readonly boolean[] }> {
  const row = await lockKind(trx, kind);
  if (!row.settings.leased) {
    throw new SharderError(
      'bad_request',
      `the objects of kind ${kind} follow no workers: \`sharder kind set ${kind} --leased\` makes its buckets workers`,
    );
  }
  await refusePlans(trx, kind);
  const named = wishes.map((wish) => {
    if (wish.pin != null) checkBucketName(wish.pin);
    return { ...wish, name: normalizeName(wish.name, row.settings.normalize) };
  });
  const names = named.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    throw new SharderError('bad_request', 'objects: one of them stands there twice');
  }
  const before = await readSpecs(trx, kind, names);
  await refuseNewNames(trx, row, named, before);
  const wanted = named.map(({ name, ...wish }) => {
    const said = Object.entries(wish).filter(([, value]) => value !== undefined);
    return { ...DEFAULTS, ...pickWanted(before.get(name)), ...Object.fromEntries(said), name };
  });
  const different = wanted.filter((each) => !isSame(before.get(each.name), each));
  if (different.length > 0) await writeSpecs(trx, row, different, by);
  await tellAnew(trx, row, different, before);
  await placeWaiting(trx, row, await readClock(trx));
  const after = await readSpecs(trx, kind, names);
  return {
    specs: names.flatMap((name) => after.get(name) ?? []),
    changed: wanted.map((each) => different.includes(each)),
  };
}

// Its moves know nothing of workers.
async function refusePlans(trx: Knex.Transaction, kind: string): Promise<void> {
  const [plan] = await trx('plan')
    .where({ kind, state: 'running' })
    .limit(1)
    .pluck<(number | string)[]>('id');
  if (plan === undefined) return;
  throw new SharderError(
    'plan_state',
    `plan ${plan} moves objects of kind ${kind}: wait until it is done, or \`sharder plan cancel ${plan}\``,
  );
}

// An object that has a row is not new, whether or not it followed workers before.
async function refuseNewNames(
  trx: Knex.Transaction,
  { name: kind, settings }: KindRow,
  named: readonly { readonly name: string }[],
  before: ReadonlyMap<string, Spec>,
): Promise<void> {
  for (const { name } of named) {
    const refused = before.has(name) ? undefined : refuseNewName(name, settings);
    if (refused && !(await trx('shard').where({ kind, name }).first('name'))) throw refused;
  }
}

function pickWanted(spec: Spec | undefined): Wanted | undefined {
  if (!spec) return undefined;
  const { spec: value, group, pin, pin_rule, weight } = spec;
  return { spec: value, group, pin, pin_rule, weight };
}

function isSame(before: Spec | undefined, after: Wanted): boolean {
  if (!before || before.is_leaving) return false;
  const keys = ['group', 'pin', 'pin_rule', 'weight'] as const;
  return (
    keys.every((key) => before[key] === after[key]) && isDeepStrictEqual(before.spec, after.spec)
  );
}

// Those that have a worker: it begins them again with another spec, or stops them where it will not do.
async function tellAnew(
  trx: Knex.Transaction,
  row: KindRow,
  wanted: readonly (Wanted & { readonly name: string })[],
  before: ReadonlyMap<string, Spec>,
): Promise<void> {
  const { name: kind } = row;
  const held = wanted.filter(({ name }) => before.get(name)?.bucket != null);
  if (held.length === 0) return;
  const groups = new Map((await readLeases(trx, kind)).map((each) => [each.bucket, each.group]));
  const staying: string[] = [];
  const dropped: Step[] = [];
  const begun: Step[] = [];
  for (const { name, group, pin, spec } of held) {
    const was = before.get(name);
    if (was?.bucket == null) continue;
    if (was.is_leaving) staying.push(name);
    if (was.state === 'dropping') continue;
    const fits = pin === was.bucket || group === null || groups.get(was.bucket) === group;
    if (!fits) dropped.push({ name, from: was.bucket });
    else if (!isDeepStrictEqual(was.spec, spec)) begun.push({ name, to: was.bucket });
  }
  await setSpecs(trx, kind, staying, { is_leaving: false });
  await writeAnew(trx, row, begun);
  await writeDropping(trx, row, dropped, null);
}

/**
 * Takes an object away: one that waits at once, and one that has a worker when that has stopped it. Resolves
 * with whether it is gone already. Throws `unknown_kind` or `unknown_object`.
 */
export async function unregisterObject(
  trx: Knex.Transaction,
  kind: string,
  name: string,
  by: By,
): Promise<{ readonly isGone: boolean; readonly changed: boolean }> {
  const row = await lockKind(trx, kind);
  const spec = await getSpec(trx, row, name);
  if (spec.bucket === null) {
    await removeSpecs(trx, row, [spec.name], by);
    return { isGone: true, changed: true };
  }
  if (spec.is_leaving) return { isGone: false, changed: false };
  await setSpecs(trx, kind, [spec.name], { is_leaving: true });
  if (spec.state === 'dropping') await setSpecs(trx, kind, [spec.name], { heir: null });
  else await writeDropping(trx, row, [{ name: spec.name, from: spec.bucket }], null);
  return { isGone: false, changed: true };
}

/** An object that is registered. Throws `unknown_object`. */
export async function getSpec(knex: Knex, row: KindRow, name: string): Promise<Spec> {
  const normal = normalizeName(name, row.settings.normalize);
  const spec = (await readSpecs(knex, row.name, [normal])).get(normal);
  if (!spec) throw unknownObject(name, row.name);
  return spec;
}
