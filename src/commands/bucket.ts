// sharder bucket list | add | set | cordon | uncordon | remove.

import type { Knex } from 'knex';
import type { Config, Flags } from '../config.js';
import * as store from '../store/buckets.js';
import { change, type ChangeOptions, type Done } from './change.js';
import { withDatabase } from './open.js';
import { table } from './table.js';

export interface ListOptions extends Flags {
  readonly kind?: string;
  readonly json?: boolean;
}

export async function listBuckets({ kind, json, ...flags }: ListOptions): Promise<void> {
  const buckets = await withDatabase(flags, (database) =>
    database.read((knex) => store.listBuckets(knex, kind)),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify(buckets, null, 2)}\n`);
    return;
  }
  const rows = buckets.map((b) => [
    b.kind,
    b.name,
    b.members,
    b.weight,
    b.capacity,
    b.state_reason === null ? b.state : `${b.state} (${b.state_reason})`,
    b.url,
  ]);
  const headings = ['KIND', 'BUCKET', 'MEMBERS', 'WEIGHT', 'CAPACITY', 'STATE', 'URL'];
  process.stdout.write(table(headings, rows));
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

function settingsOf({ url, weight, capacity }: SettingsOptions): store.BucketSettings {
  return {
    url: url === false ? null : url,
    weight,
    capacity: capacity === false ? null : capacity,
  };
}

export async function addBucket(name: string, options: SettingsOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did) => {
    await store.addBucket(trx, kind, name, settingsOf(options), by);
    return {
      changed: true,
      text: `${did('add')} bucket ${name} to kind ${kind}`,
      data: { action: 'bucket add', kind, bucket: name },
    };
  });
}

export async function setBucket(name: string, options: SettingsOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did, config) => {
    const detail = await store.setBucket(trx, kind, name, settingsOf(options), by);
    const declared = store.columns(declaration(config, kind, name) ?? {});
    const undone = Object.entries(declared)
      .filter(([key, value]) => key in detail && detail[key]?.to !== value)
      .map(([key]) => key);
    const notes = undone.map(
      (key) => `the settings declare ${key} of ${name}: the next start sets it again`,
    );
    const what = Object.entries(detail).map(
      ([key, { from, to }]) => `${key} ${show(from)} → ${show(to)}`,
    );
    const text = `${did('set')} bucket ${name} of kind ${kind}: ${what.join(', ')}`;
    return {
      ...describe('set', kind, name, detail, text),
      notes: [...notes, ...(await closedNote(trx, kind))],
    };
  });
}

export async function cordonBucket(name: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did) => {
    const detail = await store.setBucketState(trx, kind, name, 'cordoned', by);
    const why = by.reason === undefined ? '' : ` (${by.reason})`;
    const text = `${did('cordon')} bucket ${name} of kind ${kind}${why}`;
    return {
      ...describe('cordon', kind, name, detail, text),
      notes: await closedNote(trx, kind),
    };
  });
}

export async function uncordonBucket(name: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did) => {
    const detail = await store.setBucketState(trx, kind, name, 'active', by);
    return describe(
      'uncordon',
      kind,
      name,
      detail,
      `${did('uncordon')} bucket ${name} of kind ${kind}`,
    );
  });
}

export async function removeBucket(name: string, options: BucketOptions): Promise<void> {
  const { kind } = options;
  await change(options, async (trx, by, did, config) => {
    await store.removeBucket(trx, kind, name, by);
    const isDeclared = declaration(config, kind, name) !== undefined;
    const notes = isDeclared
      ? [`the settings declare ${name}: the next start adds it again, unless it is taken out there`]
      : [];
    return {
      changed: true,
      text: `${did('remove')} bucket ${name} of kind ${kind}`,
      data: { action: 'bucket remove', kind, bucket: name },
      notes: [...notes, ...(await closedNote(trx, kind))],
    };
  });
}

function describe(
  action: 'set' | 'cordon' | 'uncordon',
  kind: string,
  bucket: string,
  detail: store.Differences,
  text: string,
): Done {
  const changed = Object.keys(detail).length > 0;
  return {
    changed,
    text: changed ? text : `bucket ${bucket} of kind ${kind} is so already: nothing was changed`,
    data: { action: `bucket ${action}`, kind, bucket, detail },
  };
}

function show(value: string | number | null): string {
  return value === null ? 'none' : String(value);
}

function declaration(config: Config, kind: string, name: string) {
  return config.kinds[kind]?.buckets.find((bucket) => bucket.name === name);
}

// What the next new user would be told.
async function closedNote(trx: Knex.Transaction, kind: string): Promise<string[]> {
  const buckets = await store.listBuckets(trx, kind);
  return buckets.some(store.isOpen)
    ? []
    : [`then no active bucket of kind ${kind} has room, and new objects are refused`];
}
