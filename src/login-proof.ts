// The login proof: a short-lived assertion that a hub believes. It is a JWT (RFC 7519) with HS256, in
// the header X-Shard-Login of /auth, and the edge passes it on to the hub's login path alone. Each
// bucket has a key of its own, so one bucket's key proves nothing to another.

import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';

/** How long a proof holds, in seconds. */
export const LOGIN_PROOF_SECONDS = 60;

const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url');

/**
 * The login key of a bucket: 43 characters of base64url, whose ASCII bytes are the key of the HMAC.
 * Derived by HKDF-SHA-256 (RFC 5869) from a secret of SHARDER_LOGIN_SECRET.
 */
export function deriveLoginKey(secret: string, kind: string, bucket: string): string {
  const info = `sharder login ${audienceOf(kind, bucket)}`;
  return Buffer.from(hkdfSync('sha256', secret, '', info, 32)).toString('base64url');
}

/** Issues login proofs with the first of `secrets`. */
export class LoginProofs {
  readonly #secret: string | undefined;
  readonly #keys = new Map<string, KeyObject>();

  constructor(secrets: readonly string[]) {
    this.#secret = secrets[0];
  }

  /**
   * A proof that the edge has logged `user` in, for this bucket alone: `sub` the user, `aud`
   * kind/bucket, `iat` and `exp` in seconds. Undefined where there is no secret.
   */
  issue(
    kind: string,
    user: string,
    bucket: string,
    now = Math.floor(Date.now() / 1000),
  ): string | undefined {
    if (this.#secret === undefined) return undefined;
    const aud = audienceOf(kind, bucket);
    let key = this.#keys.get(aud);
    if (!key) {
      key = createSecretKey(deriveLoginKey(this.#secret, kind, bucket), 'ascii');
      this.#keys.set(aud, key);
    }
    const claims = JSON.stringify({ sub: user, aud, iat: now, exp: now + LOGIN_PROOF_SECONDS });
    const text = `${HEADER}.${Buffer.from(claims).toString('base64url')}`;
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
  }
}

// A kind's name has no slash.
function audienceOf(kind: string, bucket: string): string {
  return `${kind}/${bucket}`;
}
