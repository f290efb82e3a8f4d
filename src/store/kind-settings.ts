// What a kind's column `settings` says.

import * as z from 'zod';
import { SharderError } from '../errors.js';
import { NORMALIZERS, type Normalize } from '../normalize.js';

/** All settings of a kind, each with its value or its default. */
export interface KindSettings {
  /** Which names are the same object; see normalize.ts. */
  readonly normalize: Normalize;
  /** Whether /shard, /auth and /go set the kind's cookie. */
  readonly cookie: boolean;
  /** A bucket is over-full from so many percent above its fair share. */
  readonly threshold: number;
  /**
   * A bucket that lags gets at most so many times its fair share of new objects; null: as many as
   * come, until it has caught up. See assign/ramp.ts.
   */
  readonly ramp: number | null;
}

/** What a person says of a kind. What is left out stays as it is. */
export type KindChanges = { readonly [K in keyof KindSettings]?: KindSettings[K] | undefined };

export const DEFAULT_KIND_SETTINGS: KindSettings = {
  normalize: 'none',
  cookie: true,
  threshold: 10,
  ramp: null,
};

/** The settings as a schema, each of them optional. */
export const kindSettingsSchema = z.strictObject({
  normalize: z
    .enum(NORMALIZERS, `must be ${NORMALIZERS.slice(0, -1).join(', ')} or ${NORMALIZERS.at(-1)}`)
    .optional(),
  cookie: z.boolean('must be true or false').optional(),
  threshold: z
    .number('must be a number of percent')
    .min(1, 'must be 1 to 1000 percent')
    .max(1000, 'must be 1 to 1000 percent')
    .optional(),
  ramp: z
    .number('must be a number from 1 to 1000, or null')
    .min(1, 'must be 1 to 1000, or null')
    .max(1000, 'must be 1 to 1000, or null')
    .nullable()
    .optional(),
});

const SETTINGS = Object.keys(DEFAULT_KIND_SETTINGS) as (keyof KindSettings)[];

/**
 * What the column holds, as text or parsed. Somebody may have written anything there by hand: what is
 * no value of a setting is taken for its default.
 */
export function readKindSettings(stored: unknown): KindSettings {
  const json = toObject(stored);
  const read = SETTINGS.map((key) => {
    const value = json[key];
    const isGood = value !== undefined && kindSettingsSchema.shape[key].safeParse(value).success;
    return [key, isGood ? value : DEFAULT_KIND_SETTINGS[key]];
  });
  return Object.fromEntries(read) as KindSettings;
}

/** The column as it is, or an empty object where it holds something else. */
export function toObject(stored: unknown): Readonly<Record<string, unknown>> {
  const value = typeof stored === 'string' ? parse(stored) : stored;
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : {};
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Throws `bad_request`, with the key, unless all that is said can be set. */
export function checkKindChanges(changes: KindChanges): void {
  const issue = kindSettingsSchema.safeParse(changes).error?.issues[0];
  if (!issue) return;
  const [key] = issue.path;
  const value: unknown = key === undefined ? undefined : changes[key as keyof KindSettings];
  throw new SharderError(
    'bad_request',
    key === undefined
      ? `${issue.message}: the settings of a kind are ${SETTINGS.join(', ')}`
      : `${String(key)} is ${JSON.stringify(value)}: it ${issue.message}`,
  );
}

/** The settings of all kinds as an engine has them in memory. */
export class HeldSettings {
  readonly #kinds = new Map<string, { readonly json: string; readonly settings: KindSettings }>();

  /** Those of a kind, or the defaults; the same object as long as they are the same. */
  of(kind: string): KindSettings {
    return this.#kinds.get(kind)?.settings ?? DEFAULT_KIND_SETTINGS;
  }

  /** Takes what the database says of a kind. */
  take(kind: string, json: string): KindSettings {
    const held = this.#kinds.get(kind);
    if (held?.json === json) return held.settings;
    const settings = readKindSettings(json);
    this.#kinds.set(kind, { json, settings });
    return settings;
  }

  /** Takes what the database says of all kinds; those that it does not name are no more. */
  replace(rows: readonly { readonly name: string; readonly settings: string }[]): void {
    const there = new Set(rows.map(({ name }) => name));
    for (const kind of this.#kinds.keys()) if (!there.has(kind)) this.#kinds.delete(kind);
    for (const { name, settings } of rows) this.take(name, settings);
  }
}
