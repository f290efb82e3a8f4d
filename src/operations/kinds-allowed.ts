// Callers who are limited to some kinds.

import { SharderError } from '../errors.js';
import { mayUse } from '../scopes.js';

/** Throws `other_kind`, whether there is such a kind or not. */
export function checkKindAllowed(kind: string, kinds: readonly string[] | undefined): void {
  if (kinds === undefined || mayUse(kind, kinds)) return;
  throw new SharderError(
    'other_kind',
    `this token is limited to ${listOf(kinds)}: use a token for the kind that you mean`,
  );
}

/** The error for what is done to all kinds at once. */
export function notLimited(kinds: readonly string[]): SharderError {
  return new SharderError(
    'other_kind',
    `this token is limited to ${listOf(kinds)}, and this may concern all kinds: name one of them if there is a field \`kind\`, or use a token without a limit`,
  );
}

function listOf(kinds: readonly string[]): string {
  return `${kinds.length === 1 ? 'kind' : 'the kinds'} ${kinds.join(', ')}`;
}
