// Does an operation on a database.

import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import type { z } from 'zod';
import { SharderError } from '../errors.js';
import { getPlan } from '../store/plans.js';
import { answerAgain, keepAnswer } from '../store/requests.js';
import { checkKindAllowed, notLimited } from './kinds-allowed.js';
import { pathFields } from './route.js';
import { checkInput, type Context, type Operation, type OutputOf } from './operation.js';

/** What may be asked of a change beside its input. */
export interface Conditions {
  /** The version that the kind must have, so that nothing has come between. */
  readonly version?: number | undefined;
  /** With the same key the same change is made once, and answered as the first time. */
  readonly idempotencyKey?: string | undefined;
  /** Told that this was done before. */
  readonly onRepeat?: () => void;
}

/**
 * Checks the input and does the operation. Throws what the operation throws; `bad_request`; `changed`
 * where the kind has another version; `key_reused` where another request had the key.
 */
export async function perform<P extends Operation>(
  operation: P,
  given: unknown,
  context: Context,
  conditions: Conditions = {},
): Promise<OutputOf<P>> {
  const input = checkInput(operation as { input: z.ZodRawShape }, given) as Record<string, unknown>;
  await refuseOtherKinds(operation, input, context);
  if ('read' in operation) return (await operation.read(context, input)) as OutputOf<P>;

  const { dry_run: isDry, reason, ...rest } = input as { dry_run: boolean; reason?: string };
  const by = { actor: context.actor, reason };
  const { version, idempotencyKey: key, onRepeat } = conditions;
  if ('act' in operation) {
    refuseConditions(operation.method, conditions);
    const done = (await operation.act(context, rest, { by, isDry })) as object;
    return { ...done, dry_run: isDry } as OutputOf<P>;
  }
  const { write } = operation;
  const inOne = async (trx: Knex.Transaction): Promise<OutputOf<P>> => {
    const request = key === undefined ? undefined : { actor: by.actor, key, digest: digest() };
    const before = request && (await answerAgain(trx, request));
    if (before) {
      onRepeat?.();
      return before as OutputOf<P>;
    }
    if (version !== undefined) await checkVersion(trx, input.kind, version);
    const done = (await write(trx, rest, by, context)) as object;
    const answer = { ...done, dry_run: isDry } as OutputOf<P>;
    if (request) await keepAnswer(trx, request, answer);
    return answer;
  };
  const { database } = context;
  const kind = typeof input.kind === 'string' ? input.kind : undefined;
  return isDry ? database.rehearse(inOne) : database.write(inOne, kind);

  function digest(): string {
    return createHash('sha256')
      .update(JSON.stringify([operation.name, input]))
      .digest('base64');
  }
}

// A caller may be limited to some kinds. A plan is known by its number, and belongs to one kind for ever.
async function refuseOtherKinds(
  operation: Operation,
  { kind, plan }: Readonly<Record<string, unknown>>,
  { database, permission }: Context,
): Promise<void> {
  const kinds = permission?.kinds;
  if (!kinds) return;
  if (typeof kind === 'string') checkKindAllowed(kind, kinds);
  else if (typeof plan === 'number' && pathFields(operation).includes('plan')) {
    checkKindAllowed((await database.read((knex) => getPlan(knex, plan))).kind, kinds);
  } else if (!operation.keepsToKinds) throw notLimited(kinds);
}

// What is not one transaction can keep no condition; PUT is the same however often it comes.
function refuseConditions(method: string, { version, idempotencyKey }: Conditions): void {
  const isRefused = version !== undefined || (idempotencyKey !== undefined && method !== 'PUT');
  if (!isRefused) return;
  const header = version === undefined ? 'Idempotency-Key' : 'If-Match';
  throw new SharderError('bad_request', `${header}: cannot be kept here; leave it out`);
}

async function checkVersion(trx: Knex.Transaction, kind: unknown, version: number): Promise<void> {
  if (typeof kind !== 'string') {
    throw new SharderError('bad_request', 'If-Match: this concerns no kind, which has a version');
  }
  const row = await trx('kind')
    .where({ name: kind })
    .forUpdate()
    .first<{ version: number | string } | undefined>('version');
  if (row && Number(row.version) !== version) {
    throw new SharderError(
      'changed',
      `kind ${kind} has version ${row.version}, not ${version}: somebody has changed it since; look again`,
    );
  }
}
