// sharder spec list | show | set | remove.

import type { Flags } from '../config.js';
import type { InputOf, OutputOf } from '../operations/operation.js';
import * as operations from '../operations/specs.js';
import { change, type ChangeOptions } from './change.js';
import { ofKinds, pages, printPages } from './lists.js';
import { withService } from './service.js';
import { table, type Cell } from './table.js';

// A page is in memory at a time, as rows and as text.
const PAGE_SIZE = 5_000;

type Spec = OutputOf<typeof operations.showSpec>;

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly state?: Spec['state'];
  readonly json?: boolean;
}

export async function listSpecs(options: ListOptions): Promise<void> {
  const { kind, state, json = false, ...flags } = options;
  await withService(flags, (perform) => {
    const all = ofKinds(perform, kind, (kind) =>
      pages((after) => perform(operations.listSpecs, { kind, state, limit: PAGE_SIZE, after })),
    );
    return printPages(all, json, HEADINGS, cells);
  });
}

const HEADINGS = ['KIND', 'NAME', 'STATE', 'BUCKET', 'HEIR', 'EPOCH', 'GROUP', 'PIN', 'WEIGHT'];

function cells({ kind, name, state, bucket, heir, epoch, ...wish }: Spec): Cell[] {
  const { group, pin, weight } = wish;
  return [kind, name, state, bucket, heir, epoch, group, pin, weight];
}

interface OneOptions extends Flags {
  readonly kind: string;
  readonly json?: boolean;
}

export async function showSpec(name: string, { kind, json, ...flags }: OneOptions): Promise<void> {
  const shown = await withService(flags, (perform) => perform(operations.showSpec, { kind, name }));
  const text = `${table(HEADINGS, [cells(shown)])}\n${beside(shown)}`;
  process.stdout.write(json ? `${JSON.stringify(shown)}\n` : text);
}

// What would make every line of the list too long.
function beside({ pin_rule, is_leaving, registered_at, spec }: Spec): string {
  const cells = [pin_rule, is_leaving ? 'yes' : null, registered_at, JSON.stringify(spec)];
  return table(['PIN RULE', 'LEAVING', 'REGISTERED', 'SPEC'], [cells]);
}

/** `lease objects`: those of one worker; `pending`, only those that it is to begin or to stop. */
export async function listOwned(
  bucket: string,
  { kind, pending, json = false, ...flags }: OneOptions & { readonly pending?: boolean },
): Promise<void> {
  const filter = { kind, bucket, pending, limit: PAGE_SIZE };
  await withService(flags, (perform) => {
    const all = pages((after) => perform(operations.listOwned, { ...filter, after }));
    return printPages(all, json, HEADINGS, cells);
  });
}

export interface SpecOptions extends ChangeOptions {
  readonly kind: string;
}

export interface WishOptions extends SpecOptions {
  readonly spec?: { readonly value: unknown };
  /** `none` is null; so of `pin`. */
  readonly group?: string;
  readonly pin?: string;
  readonly pinRule?: Spec['pin_rule'];
  readonly weight?: number;
}

type Wish = Omit<InputOf<typeof operations.setSpecs>['objects'][number], 'name'>;

function wishOf({ spec, group, pin, pinRule, weight }: WishOptions): Wish {
  return {
    spec: spec?.value,
    group: group === 'none' ? null : group,
    pin: pin === 'none' ? null : pin,
    pin_rule: pinRule,
    weight,
  };
}

/** Sets one, or several in one transaction. */
export async function setSpecs(names: readonly string[], options: WishOptions): Promise<void> {
  const { kind } = options;
  const wish = wishOf(options);
  const [name = '', ...others] = names;
  if (others.length === 0) {
    await change(operations.setSpec, { kind, name, ...wish }, options, (done, did) =>
      done.changed
        ? `${did('set')} object ${name} of kind ${kind} (${placeOf(done)})`
        : `object ${name} of kind ${kind} is so already: nothing was changed`,
    );
    return;
  }
  const objects = names.map((name) => ({ name, ...wish }));
  await change(operations.setSpecs, { kind, objects }, options, ({ changed, set, waiting }, did) =>
    changed
      ? `${did('set')} ${set} of ${names.length} objects of kind ${kind} (without a worker: ${waiting})`
      : `these ${names.length} objects of kind ${kind} are so already: nothing was changed`,
  );
}

function placeOf({ state, bucket }: Pick<Spec, 'state' | 'bucket'>): string {
  if (bucket === null) return 'waits for a worker';
  return state === 'dropping' ? `${bucket} is to stop it first` : `worker ${bucket}`;
}

export async function removeSpec(name: string, options: SpecOptions): Promise<void> {
  const { kind } = options;
  const it = `object ${name} of kind ${kind}`;
  await change(operations.removeSpec, { kind, name }, options, ({ changed, is_gone }, did) => {
    if (is_gone) return `${did('remove')} ${it}`;
    return changed
      ? `${did('tell')} the worker of ${it} to stop it; then it is gone`
      : `the worker of ${it} is to stop it already: nothing was changed`;
  });
}
