// GET /go, /go/{kind}?next=/path: sends the browser to the user's bucket.

import { SharderError } from '../errors.js';
import type { Bucket } from '../assign/answer.js';

/**
 * The address in `bucket` that `next` leads to. `next` is a path on it, with its query, and never
 * leads to another site. Throws `bad_request`, or `no_url` for a bucket without a URL.
 */
export function destination({ kind, name, url }: Bucket, next: unknown = '/'): string {
  if (url === null) {
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
  const target = URL.canParse(url + next) ? new URL(url + next) : undefined;
  if (target?.origin !== new URL(url).origin) {
    throw new SharderError('bad_request', 'next leads to another site');
  }
  return target.href;
}
