// An answer as HTTP: what /shard, /auth and /go say of a bucket, prepared once per bucket.

import type { IncomingMessage } from 'node:http';
import type { Answer, Bucket } from '../assign/answer.js';
import { cookieSafe, type Cookies } from './cookie.js';

/** Header names and values in turn, as `ServerResponse.writeHead` takes them. */
export type Headers = readonly string[];

/** What does not depend on the user. */
export interface Prepared {
  /** X-Shard-Bucket, -Url, -Reason, and -Stale where it is. */
  readonly shard: Headers;
  /** All of a plain answer's headers but the cookie. */
  readonly plain: Headers;
  readonly body: string;
  /** Header and value of an unsigned cookie, for plain HTTP and for HTTPS. */
  readonly cookies: { readonly http: Headers; readonly https: Headers } | undefined;
  /** How often it was given; for the metrics. */
  count: number;
}

export class Replies {
  readonly #cookies: Cookies;
  readonly #prepared = new Map<Answer, Prepared>();

  constructor(cookies: Cookies) {
    this.#cookies = cookies;
  }

  /** What was prepared for an answer, and how often it was given. */
  [Symbol.iterator](): IterableIterator<[Answer, Prepared]> {
    return this.#prepared.entries();
  }

  of(answer: Answer): Prepared {
    let prepared = this.#prepared.get(answer);
    if (!prepared) this.#prepared.set(answer, (prepared = this.#prepare(answer)));
    return prepared;
  }

  /** The header Set-Cookie and its value. */
  cookie(prepared: Prepared, { kind, name }: Bucket, user: string, isHttps: boolean): Headers {
    if (prepared.cookies) return isHttps ? prepared.cookies.https : prepared.cookies.http;
    return ['Set-Cookie', this.#cookies.issue(kind, user, name, isHttps)];
  }

  #prepare({ bucket, reason, isStale }: Answer): Prepared {
    const { kind, name, url } = bucket;
    const shard = ['X-Shard-Bucket', cookieSafe(name), 'X-Shard-Reason', reason];
    if (url !== null) shard.push('X-Shard-Url', headerSafe(url));
    if (isStale) shard.push('X-Shard-Stale', '1');
    const body = `${name}\n`;
    return {
      shard,
      plain: [...contentHeaders('text/plain; charset=utf-8', body), ...shard],
      body,
      cookies: this.#cookies.isSigned
        ? undefined
        : {
            http: ['Set-Cookie', this.#cookies.issue(kind, '', name, false)],
            https: ['Set-Cookie', this.#cookies.issue(kind, '', name, true)],
          },
      count: 0,
    };
  }
}

/** The headers that go with every body; none of them may be kept by a cache on the way. */
export function contentHeaders(type: string, body: string): Headers {
  return [
    'Content-Type',
    type,
    'Content-Length',
    String(Buffer.byteLength(body)),
    'Cache-Control',
    'no-store',
    'X-Content-Type-Options',
    'nosniff',
  ];
}

/** Whether the request came to the trusted proxy by HTTPS, as the proxy says. */
export function isHttps(req: IncomingMessage): boolean {
  const proto = req.headers['x-forwarded-proto'];
  return proto !== undefined && /^\s*https\s*(,|$)/i.test(String(proto));
}

// A URL that somebody wrote into the table by hand may have anything in it.
function headerSafe(url: string): string {
  return /^[\x21-\x7e]*$/.test(url) ? url : encodeURI(url);
}
