// Who may use the management API: a bearer token for each who may, by name.

import { createHash, timingSafeEqual } from 'node:crypto';
import { SharderError } from '../../errors.js';
import { MAY, RIGHTS, type Permission, type Right } from '../../scopes.js';
import type { AdminToken } from '../../secrets.js';

/** Whose token it is, and what it may do. */
export interface Authorized extends Permission {
  readonly name: string;
}

/**
 * Makes the function that tells whose token a header `Authorization` has. Without a `right`, any token will
 * do. It throws `api_closed` where no token is configured, `no_token`, `wrong_token`, or `read_only` where
 * the token lacks the right.
 */
export function createAuthorize(
  tokens: readonly AdminToken[],
): (authorization: string | undefined, right?: Right) => Authorized {
  const known = tokens.map(({ token, ...rest }) => ({ ...rest, digest: digest(token) }));
  return (authorization, right) => {
    if (known.length === 0) {
      throw new SharderError(
        'api_closed',
        'the management API is closed: set SHARDER_ADMIN_TOKEN (openssl rand -hex 32) in the environment of the service',
      );
    }
    const given = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1];
    if (given === undefined) {
      throw new SharderError('no_token', 'send a token: Authorization: Bearer …');
    }
    // All are compared, whichever fits.
    const theirs = digest(given);
    const [who] = known.filter((token) => timingSafeEqual(token.digest, theirs));
    if (!who)
      throw new SharderError(
        'wrong_token',
        'this is no token of the service: send one of SHARDER_ADMIN_TOKEN, without its name',
      );
    const { name, scope, kinds } = who;
    const rights = RIGHTS[scope];
    if (right !== undefined && !rights.has(right)) {
      throw new SharderError('read_only', `the token of ${name} may ${MAY[scope]}`);
    }
    return { name, rights, kinds };
  };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
