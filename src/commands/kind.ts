// sharder kind list | show | create | set | remove.

import type { Flags } from '../config.js';
import * as operations from '../operations/kinds.js';
import type { OutputOf } from '../operations/operation.js';
import { change, type ChangeOptions } from './change.js';
import { withService } from './service.js';
import { table } from './table.js';

interface ListOptions extends Flags {
  readonly json?: boolean;
}

export async function listKinds({ json, ...flags }: ListOptions): Promise<void> {
  const { items } = await withService(flags, (perform) => perform(operations.listKinds, {}));
  process.stdout.write(json ? `${JSON.stringify(items, null, 2)}\n` : asTable(items));
}

export async function showKind(kind: string, { json, ...flags }: ListOptions): Promise<void> {
  const shown = await withService(flags, (perform) => perform(operations.showKind, { kind }));
  process.stdout.write(json ? `${JSON.stringify(shown)}\n` : asTable([shown]));
}

type Kind = OutputOf<typeof operations.showKind>;

function asTable(kinds: readonly Kind[]): string {
  const rows = kinds.map((kind) => [
    kind.name,
    kind.policy,
    kind.normalize,
    kind.cookie ? 'yes' : 'no',
    `${kind.threshold}%`,
    kind.ramp,
    kind.buckets.length,
    kind.objects,
  ]);
  const headings = [
    'KIND',
    'POLICY',
    'NORMALIZE',
    'COOKIE',
    'THRESHOLD',
    'RAMP',
    'BUCKETS',
    'OBJECTS',
  ];
  return table(headings, rows);
}

export interface SettingsOptions extends ChangeOptions {
  readonly normalize?: Kind['normalize'];
  readonly cookie?: boolean;
  readonly threshold?: number;
  /** False, from --no-ramp: none. */
  readonly ramp?: number | false;
}

function settingsOf({ normalize, cookie, threshold, ramp }: SettingsOptions) {
  return { normalize, cookie, threshold, ramp: ramp === false ? null : ramp };
}

export async function createKind(kind: string, options: SettingsOptions): Promise<void> {
  await change(
    operations.createKind,
    { kind, ...settingsOf(options) },
    options,
    (_done, did) => `${did('create')} kind ${kind}`,
  );
}

export async function setKind(kind: string, options: SettingsOptions): Promise<void> {
  const input = { kind, ...settingsOf(options) };
  await change(operations.setKind, input, options, ({ changed, detail }, did) => {
    const what = Object.entries(detail).map(
      ([key, { from, to }]) => `${key} ${show(from)} → ${show(to)}`,
    );
    return changed
      ? `${did('set')} kind ${kind}: ${what.join(', ')}`
      : `kind ${kind} is so already: nothing was changed`;
  });
}

export async function removeKind(kind: string, options: ChangeOptions): Promise<void> {
  await change(
    operations.removeKind,
    { kind },
    options,
    (_done, did) => `${did('remove')} kind ${kind}`,
  );
}

function show(value: unknown): string {
  const isPlain = ['string', 'number', 'boolean'].includes(typeof value);
  return isPlain ? String(value) : 'none';
}
