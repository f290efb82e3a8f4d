// What can be done to kinds, buckets and objects: each operation once, with what goes in and what comes
// out. The routes under /v1, their description, and the command line, on a database or on a running
// service, are made of these.

import type { Knex } from 'knex';
import * as z from 'zod';
import { SharderError } from '../errors.js';
import type { By } from '../store/changes.js';
import type { Database } from '../store/database.js';
import type { KindDeclaration } from '../store/kinds.js';
import type { Answer } from '../assign/answer.js';
import type { Permission, Right } from '../scopes.js';
import type { CallTargets } from '../workers/call-target.js';
import type { Renew } from '../workers/renewals.js';
import type { Route } from './route.js';

/** What an operation works with. */
export interface Context {
  readonly database: Database;
  /** What the settings declare, and so the next start sets again. */
  readonly declared: Readonly<Record<string, KindDeclaration>>;
  readonly actor: string;
  /** What the caller may do; undefined: everything. */
  readonly permission?: Permission;
  /** Where workers may be called; undefined: nowhere. */
  readonly targets?: CallTargets;
  /** As the service does it. */
  readonly assign: (kind: string, name: string) => Answer | Promise<Answer>;
  /** As the service does it, many together; undefined where none runs. */
  readonly renew?: Renew;
  /** The bucket that a running service has in memory for an object; undefined where none runs. */
  readonly cached?: (kind: string, name: string) => string | null;
  /** Told how far what takes long is. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What the settings declare of a kind, which may be called `constructor`. */
export function declaredKind({ declared }: Context, kind: string) {
  return Object.hasOwn(declared, kind) ? declared[kind] : undefined;
}

type Shape = z.ZodRawShape;
type Input<S extends Shape> = z.output<z.ZodObject<S>>;

interface Described<S extends Shape, O extends z.ZodType> extends Route {
  /** In the words of the command line: `object move`. */
  readonly name: string;
  /** One line for people, without a full stop. */
  readonly summary: string;
  /** Those that are not in the path come in the query of a GET or DELETE, else in the body. */
  readonly input: S;
  readonly output: O;
  /** What a token must be good for. Default: `read`, or `write` for what changes anything. */
  readonly right?: Right;
  /**
   * Its input names no kind, or need not, and it shows a caller who is limited to some kinds nothing of
   * others. Without this such a caller is refused.
   */
  readonly keepsToKinds?: true;
  /** An input that works where kind `hub` has hub-0, hub-1 and the objects iana and brian. */
  readonly example: z.input<z.ZodObject<S>> & { readonly reason?: string };
}

/** Changes nothing. */
export interface Reading<
  S extends Shape = Shape,
  O extends z.ZodType = z.ZodType,
> extends Described<S, O> {
  readonly read: (context: Context, input: Input<S>) => Promise<z.output<O>>;
}

/** Changes something in one transaction, which takes the kind's lock first. */
export interface Writing<
  S extends Shape = Shape,
  O extends z.ZodType = z.ZodType,
> extends Described<S, O> {
  readonly write: (
    trx: Knex.Transaction,
    input: Input<S>,
    by: By,
    context: Context,
  ) => Promise<Omit<z.output<O>, 'dry_run'>>;
}

/** Changes something in its own way. */
export interface Acting<S extends Shape = Shape, O extends z.ZodType = z.ZodType> extends Described<
  S,
  O
> {
  readonly act: (
    context: Context,
    input: Input<S>,
    how: { readonly by: By; readonly isDry: boolean },
  ) => Promise<Omit<z.output<O>, 'dry_run'>>;
}

// The compiler cannot know each one's fields in a list of all.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Operation = Reading<any, any> | Writing<any, any> | Acting<any, any>;

export type InputOf<P extends Operation> = z.input<z.ZodObject<P['input']>>;
export type OutputOf<P extends Operation> = z.output<P['output']>;

/** What every change can be told beside. */
export const HOW = {
  reason: z
    .string()
    .max(1_000)
    .refine((text) => !/[\0\p{Cs}]/u.test(text), 'has a character that none may have')
    .optional()
    .meta({ description: 'Why, for the history.' }),
  dry_run: z.boolean().default(false).meta({ description: 'Only say what would be done.' }),
};

/** What every change answers. */
export const DONE = {
  action: z.string(),
  changed: z.boolean().meta({ description: 'False where all was so already.' }),
  dry_run: z.boolean(),
  notes: z.array(z.string()).optional().meta({ description: 'What a person should know beside.' }),
};

export function reading<S extends Shape, O extends z.ZodType>(
  operation: Reading<S, O>,
): Reading<S, O> {
  return operation;
}

/** `input` is told `HOW` beside what is written here; so of `acting`. */
export function writing<S extends Shape, O extends z.ZodType>(
  operation: Writing<S, O>,
): Writing<S & typeof HOW, O> {
  return { ...operation, input: { ...operation.input, ...HOW } } as unknown as Writing<
    S & typeof HOW,
    O
  >;
}

export function acting<S extends Shape, O extends z.ZodType>(
  operation: Acting<S, O>,
): Acting<S & typeof HOW, O> {
  return { ...operation, input: { ...operation.input, ...HOW } } as unknown as Acting<
    S & typeof HOW,
    O
  >;
}

/** Whether it changes nothing. */
export function isReading(operation: Operation): operation is Reading {
  return 'read' in operation;
}

/** What a token needs to do it. */
export function rightOf(operation: Operation): Right {
  return operation.right ?? (isReading(operation) ? 'read' : 'write');
}

/** Throws `bad_request`, with every field that is wrong. */
export function checkInput<S extends Shape>(
  { input: shape }: { readonly input: S },
  input: unknown,
): Input<S> {
  const parsed = z.strictObject(shape).safeParse(input);
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new SharderError('bad_request', mistakes.join('; '));
}
