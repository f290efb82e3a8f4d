// sharder kind list | show | create | set | remove.

import type { Flags } from '../config.js';
import { SharderError } from '../errors.js';
import * as operations from '../operations/kinds.js';
import type { OutputOf } from '../operations/operation.js';
import { change, type ChangeOptions } from './change.js';
import type { Policy } from '../policies.js';
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
  const more = shown.leased
    ? ofWorkers(shown)
    : shown.policy === 'hash'
      ? ofHash(shown)
      : undefined;
  const text = more === undefined ? asTable([shown]) : `${asTable([shown])}\n${more}`;
  process.stdout.write(json ? `${JSON.stringify(shown)}\n` : text);
}

type Kind = OutputOf<typeof operations.showKind>;

function asTable(kinds: readonly Kind[]): string {
  const rows = kinds.map((kind) => [
    kind.name,
    kind.policy,
    kind.normalize,
    kind.names,
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
    'NAMES',
    'COOKIE',
    'THRESHOLD',
    'RAMP',
    'BUCKETS',
    'OBJECTS',
  ];
  return table(headings, rows);
}

// What a leased kind has beside: in the list it would make every line too long.
function ofWorkers(kind: Kind): string {
  const { grace, reshard_interval, max_moving, cooldown, breaker, halted } = kind;
  const cells = [
    `${grace} s`,
    `${reshard_interval} s`,
    max_moving,
    `${cooldown} s`,
    breaker === null ? null : `${breaker}%${halted ? ' (halted)' : ''}`,
  ];
  return table(['GRACE', 'RESHARD INTERVAL', 'MAX MOVING', 'COOLDOWN', 'BREAKER'], [cells]);
}

function ofHash({ hash, key }: Kind): string {
  if (key === 'user') return table(['HASH', 'KEY', 'PATTERN'], [[hash, key, null]]);
  const { pattern, ...where } = key;
  const [[what, name] = ['', '']] = Object.entries(where);
  return table(['HASH', 'KEY', 'PATTERN'], [[hash, `${what}:${name}`, pattern ?? null]]);
}

export interface SettingsOptions extends ChangeOptions {
  readonly policy?: Policy;
  readonly hash?: Kind['hash'];
  readonly key?: Kind['key'];
  readonly keyPattern?: string;
  readonly normalize?: Kind['normalize'];
  readonly names?: Kind['names'];
  readonly cookie?: boolean;
  readonly threshold?: number;
  /** False, from --no-ramp: none. */
  readonly ramp?: number | false;
  readonly leased?: boolean;
  readonly grace?: number;
  readonly reshardInterval?: number;
  readonly maxMoving?: number;
  readonly cooldown?: number;
  /** False: none. */
  readonly breaker?: number | false;
}

function settingsOf(options: SettingsOptions) {
  const { normalize, names, cookie, threshold, ramp, leased, grace, cooldown, breaker } = options;
  return {
    ...{ normalize, names, cookie, threshold, ramp: ramp === false ? null : ramp },
    ...{ leased, grace, cooldown, breaker: breaker === false ? null : breaker },
    reshard_interval: options.reshardInterval,
    max_moving: options.maxMoving,
    ...{ policy: options.policy, hash: options.hash, key: keyOf(options) },
  };
}

function keyOf({ key, keyPattern: pattern }: SettingsOptions): Kind['key'] | undefined {
  if (pattern === undefined) return key;
  if (key === undefined || key === 'user') {
    throw new SharderError(
      'bad_request',
      '--key-pattern: say where the text stands that it is for, such as --key header:X-Original-URI',
    );
  }
  return { ...key, pattern };
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
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  const isPlain = ['string', 'number', 'boolean'].includes(typeof value);
  return isPlain ? String(value) : 'none';
}
