// sharder bucket list | show | add | set | cordon | uncordon | drain | remove.

import type { Flags } from '../config.js';
import * as operations from '../operations/buckets.js';
import { listKinds } from '../operations/kinds.js';
import type { OutputOf } from '../operations/operation.js';
import { change, type ChangeOptions } from './change.js';
import { withService } from './service.js';
import { table } from './table.js';

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

type Bucket = OutputOf<typeof operations.showBucket>;

export async function listBuckets({ kind, json, ...flags }: ListOptions): Promise<void> {
  const buckets = await withService(flags, async (perform) => {
    const kinds =
      kind === undefined ? (await perform(listKinds, {})).items.map(({ name }) => name) : [kind];
    const lists = [];
    for (const each of kinds) lists.push(await perform(operations.listBuckets, { kind: each }));
    return lists.flatMap(({ items }) => items);
  });
  process.stdout.write(json ? `${JSON.stringify(buckets, null, 2)}\n` : asTable(buckets));
}

export async function showBucket(
  bucket: string,
  { kind, json, ...flags }: ListOptions & { readonly kind: string },
): Promise<void> {
  const shown = await withService(flags, (perform) =>
    perform(operations.showBucket, { kind, bucket }),
  );
  process.stdout.write(json ? `${JSON.stringify(shown)}\n` : asTable([shown]));
}

function asTable(buckets: readonly Bucket[]): string {
  const rows = buckets.map((b) => [
    b.kind,
    b.name,
    b.members,
    `${(b.share * 100).toFixed(1)}%${b.over_full ? ' over' : ''}`,
    b.weight,
    b.capacity,
    b.state_reason === null ? b.state : `${b.state} (${b.state_reason})`,
    b.url,
  ]);
  const headings = ['KIND', 'BUCKET', 'MEMBERS', 'SHARE', 'WEIGHT', 'CAPACITY', 'STATE', 'URL'];
  return table(headings, rows);
}

export interface BucketOptions extends ChangeOptions {
  readonly kind: string;
}

export interface SettingsOptions extends BucketOptions {
  /** False, from --no-url and --no-capacity: none. */
  readonly url?: string | false;
  readonly weight?: number;
  readonly capacity?: number | false;
}

function settingsOf({ url, weight, capacity }: SettingsOptions) {
  return {
    url: url === false ? null : url,
    weight,
    capacity: capacity === false ? null : capacity,
  };
}

export async function addBucket(bucket: string, options: SettingsOptions): Promise<void> {
  const { kind } = options;
  const input = { kind, bucket, ...settingsOf(options) };
  await change(
    operations.addBucket,
    input,
    options,
    (_done, did) => `${did('add')} bucket ${bucket} to kind ${kind}`,
  );
}

export async function setBucket(bucket: string, options: SettingsOptions): Promise<void> {
  const { kind } = options;
  const input = { kind, bucket, ...settingsOf(options) };
  await change(operations.setBucket, input, options, ({ changed, detail }, did) => {
    const what = Object.entries(detail).map(
      ([key, { from, to }]) => `${key} ${show(from)} → ${show(to)}`,
    );
    return changed
      ? `${did('set')} bucket ${bucket} of kind ${kind}: ${what.join(', ')}`
      : isSo(bucket, kind);
  });
}

export async function cordonBucket(bucket: string, options: BucketOptions): Promise<void> {
  const { kind, reason } = options;
  const why = reason === undefined ? '' : ` (${reason})`;
  await change(operations.cordonBucket, { kind, bucket }, options, ({ changed }, did) =>
    changed ? `${did('cordon')} bucket ${bucket} of kind ${kind}${why}` : isSo(bucket, kind),
  );
}

export async function uncordonBucket(bucket: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(operations.uncordonBucket, { kind, bucket }, options, ({ changed }, did) =>
    changed ? `${did('uncordon')} bucket ${bucket} of kind ${kind}` : isSo(bucket, kind),
  );
}

export async function drainBucket(bucket: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(operations.drainBucket, { kind, bucket }, options, ({ changed }, did) =>
    changed
      ? `${did('drain')} bucket ${bucket} of kind ${kind}: its keys go to the others`
      : isSo(bucket, kind),
  );
}

export async function removeBucket(bucket: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(
    operations.removeBucket,
    { kind, bucket },
    options,
    (_done, did) => `${did('remove')} bucket ${bucket} of kind ${kind}`,
  );
}

function isSo(bucket: string, kind: string): string {
  return `bucket ${bucket} of kind ${kind} is so already: nothing was changed`;
}

function show(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : 'none';
}
