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
  const address = `${url ?? ''}${next}`;
  const target = URL.canParse(address) ? new URL(address) : undefined;
  if (target?.origin !== base.origin || !target.pathname.startsWith(base.pathname)) {
    throw new SharderError('bad_request', 'next leads out of the bucket');
  }
  return target.href;
}
