// What a kind's column `settings` says.

import * as z from 'zod';
import { SharderError } from '../errors.js';
import { KeyPattern } from '../key-pattern.js';
import { NAME_RULES, whyNotStrict, type NameRule } from '../names.js';
import { NORMALIZERS, type Normalize } from '../normalize.js';
import { HASHES, type Hash, type Policy } from '../policies.js';

/** Where the key of a request stands, one of the three; and what of it is the key. */
export interface RequestKey {
  readonly header?: string | undefined;
  readonly query?: string | undefined;
  readonly cookie?: string | undefined;
  /** See key-pattern.ts. */
  readonly pattern?: string | undefined;
}

/** All settings of a kind, each with its value or its default. */
export interface KindSettings {
  /** Which names are the same object; see normalize.ts. */
  readonly normalize: Normalize;
  /** What a new object may be called; see names.ts. */
  readonly names: NameRule;
  /** Whether /shard, /auth and /go set the kind's cookie. */
  readonly cookie: boolean;
  /** A bucket is over-full from so many percent above its fair share. */
  readonly threshold: number;
  /**
   * A bucket that lags gets at most so many times its fair share of new objects; null: as many as
   * come, until it has caught up. See assign/ramp.ts.
   */
  readonly ramp: number | null;
  /** Whether its buckets are workers, which hold leases on them. */
  readonly leased: boolean;
  /** For so many seconds the place of a worker whose lease has ended is kept. */
  readonly grace: number;
  /** Places change no more often than once in so many seconds. */
  readonly reshard_interval: number;
  /** So many objects of each worker at most are on their way to another. */
  readonly max_moving: number;
  /** An object that was moved stays for so many seconds where it is, if its worker does. */
  readonly cooldown: number;
  /** Nothing moves while more than so many percent of the workers are gone at once; null: it always does. */
  readonly breaker: number | null;
  /** Of the policy `hash`: by which of the two. */
  readonly hash: Hash;
  /** Of the policy `hash`: what is hashed, the user's name or what a request has. */
  readonly key: 'user' | RequestKey;
}

/** A kind as an engine has it in memory. */
export interface HeldKind extends KindSettings {
  readonly policy: Policy;
}

/** What a person says of a kind. What is left out stays as it is. */
export type KindChanges = { readonly [K in keyof KindSettings]?: KindSettings[K] | undefined };

export const DEFAULT_KIND_SETTINGS: KindSettings = {
  normalize: 'none',
  names: 'strict',
  cookie: true,
  threshold: 10,
  ramp: null,
  leased: false,
  grace: 30,
  reshard_interval: 5,
  max_moving: 100,
  cooldown: 60,
  breaker: 50,
  hash: 'rendezvous',
  key: 'user',
};

const DEFAULT_KIND: HeldKind = { ...DEFAULT_KIND_SETTINGS, policy: 'emptiest' };

function seconds() {
  return z
    .number('must be a number of seconds')
    .min(0, 'must be 0 to 86400 seconds')
    .max(86_400, 'must be 0 to 86400 seconds')
    .optional();
}

const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/;

function token(what: string) {
  return z.string().regex(TOKEN, `must be the name of a ${what}`).optional();
}

/** What `key` may be, if not `user`. */
export const requestKeySchema = z
  .strictObject({
    header: token('header'),
    query: z
      .string()
      .regex(/^[^\s&=?#\p{Cc}]{1,100}$/u, 'must be the name of a parameter, as it is in the URL')
      .optional(),
    cookie: token('cookie'),
    pattern: z
      .string()
      .check((context) => {
        try {
          new KeyPattern(context.value);
        } catch (error) {
          if (!(error instanceof SharderError)) throw error;
          context.issues.push({ code: 'custom', message: error.message, input: context.value });
        }
      })
      .optional(),
  })
  .refine(
    ({ header, query, cookie }) =>
      [header, query, cookie].filter((each) => each !== undefined).length === 1,
    'must have one of header, query and cookie, and may have a pattern',
  );

/** The settings as a schema, each of them optional. */
export const kindSettingsSchema = z.strictObject({
  normalize: z
    .enum(NORMALIZERS, `must be ${NORMALIZERS.slice(0, -1).join(', ')} or ${NORMALIZERS.at(-1)}`)
    .optional(),
  names: z.enum(NAME_RULES, `must be ${NAME_RULES.join(' or ')}`).optional(),
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
  leased: z.boolean('must be true or false').optional(),
  grace: seconds(),
  reshard_interval: seconds(),
  max_moving: z
    .int('must be a whole number')
    .min(1, 'must be 1 to 10000')
    .max(10_000, 'must be 1 to 10000')
    .optional(),
  cooldown: seconds(),
  breaker: z
    .number('must be a number of percent, or null')
    .min(1, 'must be 1 to 99 percent, or null')
    .max(99, 'must be 1 to 99 percent, or null')
    .nullable()
    .optional(),
  hash: z.enum(HASHES, `must be ${HASHES.join(' or ')}`).optional(),
  key: z
    .unknown()
    .transform((value, context): KindSettings['key'] => {
      if (value === 'user') return value;
      const parsed = requestKeySchema.safeParse(value);
      if (parsed.success) return parsed.data;
      for (const { path, message, code } of parsed.error.issues) {
        const isForm = code === 'invalid_type' && path.length === 0;
        const text = isForm ? 'must be user, or have one of header, query and cookie' : message;
        context.addIssue({ code: 'custom', path, message: text });
      }
      return z.NEVER;
    })
    .optional(),
});

/** Their names. */
export const SETTINGS = Object.keys(DEFAULT_KIND_SETTINGS) as (keyof KindSettings)[];

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
  const [key, ...inner] = issue.path;
  const value: unknown = key === undefined ? undefined : changes[key as keyof KindSettings];
  if (key === undefined) {
    throw new SharderError(
      'bad_request',
      `${issue.message}: the settings of a kind are ${SETTINGS.join(', ')}`,
    );
  }
  throw new SharderError(
    'bad_request',
    inner.length > 0
      ? `${issue.path.join('.')}: ${issue.message}`
      : `${String(key)} is ${JSON.stringify(value)}: it ${issue.message}`,
  );
}

/**
 * Why a new object of the kind may not have this name, in its normal form; undefined: it may. A key that is
 * not the user is no name.
 */
export function refuseNewName(
  name: string,
  { names, key }: Pick<KindSettings, 'names' | 'key'>,
): SharderError | undefined {
  if (names === 'any' || key !== 'user') return undefined;
  const why = whyNotStrict(name);
  if (why === undefined) return undefined;
  return new SharderError(
    'bad_name',
    `${JSON.stringify(name)} cannot be added: ${why}; for a kind that has such names, set \`names: any\``,
  );
}

/** Throws what `refuseNewName` returns. */
export function checkNewName(name: string, settings: Pick<KindSettings, 'names' | 'key'>): void {
  const refused = refuseNewName(name, settings);
  if (refused) throw refused;
}

/** What the table has of a kind, the settings as text. */
export interface KindText {
  readonly policy: string;
  readonly settings: string;
}

/** The settings of all kinds as an engine has them in memory. */
export class HeldSettings {
  readonly #kinds = new Map<string, { readonly row: KindText; readonly settings: HeldKind }>();

  /** Those of a kind, or the defaults; the same object as long as they are the same. */
  of(kind: string): HeldKind {
    return this.#kinds.get(kind)?.settings ?? DEFAULT_KIND;
  }

  /** Takes what the database says of a kind. */
  take(kind: string, row: KindText): HeldKind {
    const held = this.#kinds.get(kind);
    if (held?.row.settings === row.settings && held.row.policy === row.policy) return held.settings;
    const policy = row.policy === 'hash' ? 'hash' : 'emptiest';
    const settings = { ...readKindSettings(row.settings), policy } as const;
    this.#kinds.set(kind, { row, settings });
    return settings;
  }

  /** Takes what the database says of all kinds; those that it does not name are no more. */
  replace(rows: readonly ({ readonly name: string } & KindText)[]): void {
    const there = new Set(rows.map(({ name }) => name));
    for (const kind of this.#kinds.keys()) if (!there.has(kind)) this.#kinds.delete(kind);
    for (const { name, ...row } of rows) this.take(name, row);
  }
}
