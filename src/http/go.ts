// GET /go, /go/{kind}?next=/path: sends the browser to the user's bucket.

import { SharderError } from '../errors.js';
import type { Bucket } from '../assign/answer.js';

/**
 * The address in `bucket` that `next` leads to. `next` is a path below the bucket's URL, with its
 * query, and leads nowhere else. Throws `bad_request`, or `no_url` for a bucket without a URL.
 */
export function destination({ kind, name, url }: Bucket, next: unknown = '/'): string {
  // A URL that somebody wrote into the table by hand may be none.
  const base = url !== null && URL.canParse(url) ? new URL(`${url}/`) : undefined;
  if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
    throw new SharderError(
      'no_url',
      `bucket ${name} of kind ${kind} has no URL: give it one under \`kinds\` in sharder.yml`,
    );
  }
  // A browser takes a back-slash for a slash, and drops tabs and line ends.
  if (typeof next !== 'string' || !/^\/(?![/\\])[^\\\p{Cc}]*$/u.test(next)) {
    throw new SharderError(
      'bad_request',
      'next must be one path on the bucket, beginning with one slash and without back-slashes',
    );
  }
  if (mayLeavePath(next)) {
    throw new SharderError(
      'bad_request',
      'next must not have ".." as a path segment, in any encoding',
    );
  }
  const address = `${url ?? ''}${next}`;
  const target = URL.canParse(address) ? new URL(address) : undefined;
  if (target?.origin !== base.origin || !target.pathname.startsWith(base.pathname)) {
    throw new SharderError('bad_request', 'next leads out of the bucket');
  }
  return target.href;
}

// The rule of nginx/sharder/route.conf: servers differ in what they take for the end of a part.
const CLIMBS = /(?:[/\\]|%2f|%5c)(?:\.|%2e){2}(?:[/\\;?#]|%2f|%5c|%3b|%23|$)/i;

// No browser encodes this often.
const MAX_DECODINGS = 8;

/**
 * Whether a server could read ".." in the path of `target`, now or after it has decoded it, and decoded the
 * result, and so on. What is encoded more than eight times counts too.
 */
export function mayLeavePath(target: string): boolean {
  let path = target.replace(/[?#].*$/s, '');
  for (let i = 0; i <= MAX_DECODINGS; i++) {
    if (CLIMBS.test(path)) return true;
    const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (decoded === path) return false;
    path = decoded;
  }
  return true;
}
