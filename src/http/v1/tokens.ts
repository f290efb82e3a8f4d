// Who may use the management API: a bearer token for each who may, by name.

import { createHash, timingSafeEqual } from 'node:crypto';
import { SCOPES, type AdminToken, type Scope } from '../../secrets.js';
import { SharderError } from '../../errors.js';

const MAY: Readonly<Record<Scope, string>> = {
  read: 'read, and change nothing',
  lease: 'read and hold leases, and change nothing else',
  write: 'do everything',
};

/**
 * Makes the function that tells whose token a header `Authorization` has. It throws `api_closed` where no
 * token is configured, `no_token`, `wrong_token`, or `read_only` where the token may not do this.
 */
export function createAuthorize(
  tokens: readonly AdminToken[],
): (authorization: string | undefined, scope: Scope) => string {
  const known = tokens.map(({ name, scope, token }) => ({ name, scope, digest: digest(token) }));
  return (authorization, scope) => {
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
    if (SCOPES.indexOf(who.scope) < SCOPES.indexOf(scope)) {
      throw new SharderError('read_only', `the token of ${who.name} may ${MAY[who.scope]}`);
    }
    return who.name;
  };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
