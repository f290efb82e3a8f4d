// Which names a kind takes for the same one. Beside names.ts, for the store asks it too.

import { SharderError } from './errors.js';
import { checkObjectName } from './names.js';

/**
 * `none`: a name stays as it came. `lower`: in lower case. `lower-local`: in lower case and without
 * what begins at the first `@`, so that IANA, iana and iana@example.org are one.
 */
export const NORMALIZERS = ['none', 'lower', 'lower-local'] as const;
export type Normalize = (typeof NORMALIZERS)[number];

/**
 * The name as it is stored. The normal form of a normal form is itself, whatever came: so the cut is
 * at the first `@`, for at the last one a@b@c would become a@b, and that one a. The case is Unicode's,
 * of no language (`String.prototype.toLowerCase`). Throws `bad_name` where the name or its normal form
 * cannot name an object, of so many bytes at most.
 */
export function normalizeName(name: string, how: Normalize, maxBytes?: number): string {
  checkObjectName(name, maxBytes);
  if (how === 'none') return name;
  const at = how === 'lower-local' ? name.indexOf('@') : -1;
  const local = at < 0 ? name : name.slice(0, at);
  // Of a list that a proxy has joined, the first name would be left.
  if (name.includes(',', local.length)) {
    throw new SharderError(
      'bad_name',
      `${JSON.stringify(name)} has a comma behind its @, as a list of names has (normalize: ${how})`,
    );
  }
  const normal = local.toLowerCase();
  if (normal !== name) checkNormal(name, normal, how, maxBytes);
  return normal;
}

/**
 * What `normalizeName` returns or throws, for names that were checked at the door, and of which each
 * has its own fate.
 */
export function tryNormalize(name: string, how: Normalize): string | SharderError {
  if (how === 'none') return name;
  try {
    return normalizeName(name, how);
  } catch (error) {
    if (error instanceof SharderError) return error;
    throw error;
  }
}

function checkNormal(name: string, normal: string, how: Normalize, maxBytes?: number): void {
  try {
    checkObjectName(normal, maxBytes);
  } catch (error) {
    throw new SharderError(
      'bad_name',
      `${JSON.stringify(name)} becomes ${JSON.stringify(normal)} (normalize: ${how}), and ${(error as Error).message}`,
    );
  }
}
