// Checks what the lines of a file say, each by itself: names, times, and whether there is such a
// bucket. No database is asked.

import * as z from 'zod';
import { parseTime } from '../time.js';
import { SharderError } from '../errors.js';
import { checkBucketName, checkKindName } from '../names.js';
import { normalizeName, type Normalize } from '../normalize.js';
import { columns, type BucketSettings } from '../store/buckets.js';
import {
  DEFAULT_KIND_SETTINGS,
  kindSettingsSchema,
  readKindSettings,
  refuseNewName,
  type KindSettings,
} from '../store/kind-settings.js';
import type { KindRow } from '../store/kinds.js';
import type { StagedRow } from '../store/staging.js';
import type { BucketLine, KindLine, ObjectLine, Page, Problem } from './page.js';

/** A kind that is to be made. */
export interface NewKind {
  readonly kind: string;
  readonly policy: string;
  readonly settings: object;
}

/** A bucket that is to be made. */
export interface NewBucket extends BucketSettings {
  readonly kind: string;
  readonly name: string;
  readonly state: string;
  readonly state_reason: string | null;
}

export interface CheckerOptions {
  readonly kind: string;
  readonly createBuckets: boolean;
}

// A day alone is none: it would depend on where one is.
interface KnownKind {
  readonly settings: KindSettings;
  /** By name. */
  readonly buckets: Set<string>;
}

/** Knows the buckets that there are, and gathers those that are to be made. */
export class Checker {
  readonly #kinds = new Map<string, KnownKind>();
  readonly #options: CheckerOptions;
  readonly newKinds: NewKind[] = [];
  readonly newBuckets: NewBucket[] = [];
  readonly #now = new Date().toISOString();

  constructor(
    kinds: readonly Pick<KindRow, 'name' | 'settings'>[],
    buckets: readonly { readonly kind: string; readonly name: string }[],
    options: CheckerOptions,
  ) {
    this.#options = options;
    for (const { name, settings } of kinds) this.#know(name, settings);
    for (const { kind, name } of buckets) this.#kinds.get(kind)?.buckets.add(name);
  }

  /** How the names of a kind were made normal. */
  normalizerOf(kind: string): Normalize {
    return this.#settingsOf(kind).normalize;
  }

  /** Why no new object may be called that. */
  refusedName(kind: string, name: string): SharderError | undefined {
    return refuseNewName(name, this.#settingsOf(kind));
  }

  #settingsOf(kind: string): KindSettings {
    return this.#kinds.get(kind)?.settings ?? DEFAULT_KIND_SETTINGS;
  }

  #know(kind: string, settings: KindSettings): void {
    this.#kinds.set(kind, { settings, buckets: new Set() });
  }

  /** The objects of a page that can be imported, and what is wrong with the other lines. */
  check(page: Page): { rows: StagedRow[]; problems: Problem[] } {
    const problems = [...page.problems];
    const attempt = <L extends { readonly line: number }>(
      lines: readonly L[],
      work: (line: L) => void,
    ) => {
      for (const line of lines) {
        try {
          work(line);
        } catch (error) {
          if (!(error instanceof SharderError)) throw error;
          problems.push({ line: line.line, code: error.code, message: error.message });
        }
      }
    };
    const rows: StagedRow[] = [];
    if (this.#options.createBuckets) {
      attempt(page.kinds, (line) => {
        this.#addKind(line);
      });
      attempt(page.buckets, (line) => {
        this.#addBucket(line);
      });
    }
    attempt(page.objects, (line) => rows.push(this.#checkObject(line)));
    return { rows, problems };
  }

  #checkObject({
    line,
    kind = this.#options.kind,
    name,
    bucket,
    url,
    assigned_at,
    pinned,
  }: ObjectLine): StagedRow {
    const normal = normalizeName(name, this.normalizerOf(kind));
    if (!this.#kinds.get(kind)?.buckets.has(bucket)) {
      if (!this.#options.createBuckets) throw unknownBucket(kind, bucket, this.#kinds.has(kind));
      this.#addBucket({ line, kind, name: bucket, url });
    }
    return {
      line,
      kind,
      name: normal,
      bucket,
      assigned_at: this.#time(assigned_at),
      pinned: isPinned(pinned),
      refused: this.refusedName(kind, normal) !== undefined,
    };
  }

  #time(text: string | undefined): string {
    if (text === undefined) return this.#now;
    const time = parseTime(text);
    if (!time) {
      throw new SharderError(
        'bad_request',
        `assigned_at is ${JSON.stringify(text)}; it must be a time with its zone, such as ${this.#now}`,
      );
    }
    return time.toISOString();
  }

  #addKind({ kind, ...settings }: Partial<KindLine> & { readonly kind: string }): void {
    if (this.#kinds.has(kind)) return;
    checkKindName(kind);
    const added = read(newKind, settings);
    this.newKinds.push({ kind, ...added });
    this.#know(kind, readKindSettings(added.settings));
  }

  #addBucket({ kind = this.#options.kind, name, ...rest }: BucketLine): void {
    if (this.#kinds.get(kind)?.buckets.has(name)) return;
    checkBucketName(name);
    const settings = read(bucketSettings, rest);
    columns(settings);
    this.#addKind({ kind });
    this.#kinds.get(kind)?.buckets.add(name);
    this.newBuckets.push({ kind, name, ...settings });
  }
}

const PINNED = ['true', 't', 'yes', '1'];
const UNPINNED = ['', 'null', 'false', 'f', 'no', '0'];

// CSV has text, NDJSON a value.
function isPinned(value: unknown): boolean {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? null);
  if (PINNED.includes(text.toLowerCase())) return true;
  if (UNPINNED.includes(text.toLowerCase())) return false;
  throw new SharderError(
    'bad_request',
    `pinned is ${JSON.stringify(value)}; it must be true or false`,
  );
}

const bucketSettings = z.object({
  url: z.string().nullish(),
  weight: z.number().optional(),
  capacity: z.number().nullish(),
  state: z.enum(['active', 'cordoned', 'draining']).default('active'),
  state_reason: z.string().nullable().default(null),
});
const newKind = z.object({
  policy: z.enum(['emptiest', 'hash']).default('emptiest'),
  settings: z.looseObject(kindSettingsSchema.shape).default({}),
});

// Throws `bad_request`, with the field.
function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new SharderError('bad_request', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

function unknownBucket(kind: string, bucket: string, hasKind: boolean): SharderError {
  return hasKind
    ? new SharderError('unknown_bucket', `kind ${kind} has no bucket ${JSON.stringify(bucket)}`)
    : new SharderError('unknown_kind', `there is no kind ${JSON.stringify(kind)}`);
}
