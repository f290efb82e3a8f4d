// An answer as HTTP: what /shard, /auth and /go say of a bucket, prepared once per bucket.

import type { IncomingMessage } from 'node:http';
import type { Answer } from '../assign/answer.js';
import type { KindSettings } from '../store/kind-settings.js';
import { cookieSafe, type Cookies } from './cookie.js';

export const TEXT_TYPE = 'text/plain; charset=utf-8';
export const JSON_TYPE = 'application/json; charset=utf-8';

/** Header names and values in turn, as `ServerResponse.writeHead` takes them. */
export type Headers = readonly string[];

// Where the key is not the user, the user's next request may have another bucket, and ask.conf keeps an
// answer for the user. nginx goes by this header and hands it to nobody.
const ASK_EACH_TIME: Headers = ['X-Accel-Expires', '0'];

/**
 * A kind's settings, asked for each answer: with `cookie` it carries the kind's cookie, unless the key is
 * another than the user and may be another one in the next request.
 */
export type SettingsOf = (kind: string) => Pick<KindSettings, 'cookie' | 'key'>;

interface Prepared {
  /** X-Shard-Bucket, -Url, -Reason, and -Stale where it is. */
  readonly shard: Headers;
  readonly body: string;
  /** All headers of a plain answer without a cookie. */
  readonly bare: Headers;
  /** All headers of a plain answer with one, where it is the same for every user. */
  readonly http: Headers | undefined;
  readonly https: Headers | undefined;
  count: number;
}

/** Writes answers, from what is the same for every user of a bucket, made ready once. */
export class Replies {
  readonly #cookies: Cookies;
  readonly #settings: SettingsOf;
  readonly #prepared = new Map<Answer, Prepared>();

  constructor(cookies: Cookies, settings: SettingsOf) {
    this.#cookies = cookies;
    this.#settings = settings;
  }

  /** Which answers were given, and how often; for the metrics. */
  *counts(): Generator<[answer: Answer, count: number]> {
    for (const [answer, { count }] of this.#prepared) yield [answer, count];
  }

  /** The body and all headers of a plain answer. */
  plain(answer: Answer, user: string, isHttps: boolean): { headers: Headers; body: string } {
    const prepared = this.#of(answer);
    const { body, bare } = prepared;
    const { cookie, key } = this.#settings(answer.bucket.kind);
    if (key !== 'user') return { headers: [...bare, ...ASK_EACH_TIME], body };
    if (!cookie) return { headers: bare, body };
    const headers = isHttps ? prepared.https : prepared.http;
    return { headers: headers ?? [...bare, ...this.#cookie(answer, user, isHttps)], body };
  }

  /**
   * X-Shard-…, and the cookie, where the kind has one, or X-Accel-Expires, where its key is not the user:
   * what goes with every kind of answer.
   */
  shardHeaders(answer: Answer, user: string, isHttps: boolean): Headers {
    const { shard } = this.#of(answer);
    const { cookie, key } = this.#settings(answer.bucket.kind);
    if (key !== 'user') return [...shard, ...ASK_EACH_TIME];
    if (!cookie) return shard;
    return [...shard, ...this.#cookie(answer, user, isHttps)];
  }

  #cookie({ bucket }: Answer, user: string, isHttps: boolean): Headers {
    return ['Set-Cookie', this.#cookies.issue(bucket.kind, user, bucket.name, isHttps)];
  }

  #of(answer: Answer): Prepared {
    let prepared = this.#prepared.get(answer);
    if (!prepared) this.#prepared.set(answer, (prepared = this.#prepare(answer)));
    prepared.count++;
    return prepared;
  }

  #prepare(answer: Answer): Prepared {
    const { bucket, reason, isStale } = answer;
    const { name, url } = bucket;
    const shard = ['X-Shard-Bucket', cookieSafe(name), 'X-Shard-Reason', reason];
    if (url !== null) shard.push('X-Shard-Url', headerSafe(url));
    if (isStale) shard.push('X-Shard-Stale', '1');
    const body = `${name}\n`;
    const bare = [...contentHeaders(TEXT_TYPE, body), ...shard];
    const all = (isHttps: boolean): Headers | undefined =>
      this.#cookies.isSigned ? undefined : [...bare, ...this.#cookie(answer, '', isHttps)];
    return { shard, body, bare, http: all(false), https: all(true), count: 0 };
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
