// The routing cookie, named after the kind, whose value begins with the bucket's name: `hub=hub-0`, or
// with a secret `hub=hub-0.<expiry>.<signature>`. It is for the edge alone and proves no login.

import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { BUCKET_PATTERN } from '../names.js';

export interface CookieSettings {
  /** `auto`: as the trusted proxy's X-Forwarded-Proto says. */
  readonly secure: boolean | 'auto';
  readonly sameSite: 'lax' | 'strict' | 'none';
  readonly domain?: string | undefined;
  /** Seconds; undefined for as long as the browser's session. */
  readonly maxAge?: number | undefined;
  /** The first signs, all verify; none: cookies are not signed. */
  readonly secrets: readonly string[];
}

// Browsers let no other host, and no plain HTTP, set a cookie of such a name (RFC 6265bis, 4.1.3.2).
export const HOST_PREFIX = '__Host-';

/** The names under which a kind's cookie may come. */
export function cookieNames(kind: string): readonly string[] {
  return [`${HOST_PREFIX}${kind}`, kind];
}

/** How long a signature holds where the cookie lasts as long as the browser's session, in seconds. */
const SESSION_SIGNATURE_SECONDS = 86_400;

export class Cookies {
  readonly isSigned: boolean;
  readonly #keys: readonly KeyObject[];
  readonly #attributes: string;
  readonly #secure: boolean | 'auto';
  readonly #hasDomain: boolean;
  readonly #lifetime: number;

  constructor({ secure, sameSite, domain, maxAge, secrets }: CookieSettings) {
    this.isSigned = secrets.length > 0;
    this.#keys = secrets.map((secret) => createSecretKey(secret, 'utf8'));
    this.#secure = secure;
    this.#hasDomain = domain !== undefined;
    this.#lifetime = maxAge ?? SESSION_SIGNATURE_SECONDS;
    this.#attributes = [
      '; Path=/',
      maxAge === undefined ? '' : `; Max-Age=${maxAge}`,
      domain === undefined ? '' : `; Domain=${domain}`,
      '; HttpOnly',
      `; SameSite=${sameSite[0]?.toUpperCase() ?? ''}${sameSite.slice(1)}`,
    ].join('');
  }

  /** Whether the cookie is marked Secure. `isHttps`: what the trusted proxy says of the request. */
  isSecure(isHttps: boolean): boolean {
    return this.#secure === 'auto' ? isHttps : this.#secure;
  }

  /** The header Set-Cookie that sends `user` to `bucket`. `now`: seconds since 1970. */
  issue(kind: string, user: string, bucket: string, isHttps: boolean, now = nowSeconds()): string {
    const name = cookieSafe(bucket);
    const [key] = this.#keys;
    let value = name;
    if (key) {
      const expiry = Math.floor(now) + this.#lifetime;
      value = `${name}.${expiry}.${sign(key, kind, user, name, expiry).toString('base64url')}`;
    }
    if (!this.isSecure(isHttps)) return `${kind}=${value}${this.#attributes}`;
    const prefix = this.#hasDomain ? '' : HOST_PREFIX;
    return `${prefix}${kind}=${value}${this.#attributes}; Secure`;
  }

  /**
   * The bucket that a signed cookie's value proves for this kind and user, or undefined: when it is
   * not signed by one of the secrets, for somebody else, for another kind, or has expired. Which of
   * these it is takes the same time.
   */
  verify(kind: string, user: string, value: string, now = nowSeconds()): string | undefined {
    const match = /^(.+)\.([1-9]\d{0,11})\.([A-Za-z0-9_-]{43})$/s.exec(value);
    if (!match) return undefined;
    const [, name = '', digits = '', signature = ''] = match;
    const given = Buffer.from(signature, 'base64url');
    const expiry = Number(digits);
    let isGenuine = false;
    for (const key of this.#keys) {
      // All keys are tried, whichever fits.
      isGenuine = timingSafeEqual(given, sign(key, kind, user, name, expiry)) || isGenuine;
    }
    return isGenuine && expiry > now ? name : undefined;
  }
}

/** A bucket's name as a cookie's value: itself, unless somebody wrote an odd one into the table. */
export function cookieSafe(bucket: string): string {
  return BUCKET_PATTERN.test(bucket) ? bucket : encodeURIComponent(bucket);
}

// HMAC-SHA-256 (RFC 2104) over the four, a line each; none of them can contain a line's end.
function sign(key: KeyObject, kind: string, user: string, bucket: string, expiry: number): Buffer {
  return createHmac('sha256', key).update(`${kind}\n${user}\n${bucket}\n${expiry}`).digest();
}

function nowSeconds(): number {
  return Date.now() / 1000;
}
