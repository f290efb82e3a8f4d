// The key in a path, by a regular expression. Whatever it and the path are, the time that it takes grows
// no faster than the path: the engine is RE2's, in JavaScript, which does not go back.

import { RE2JS, RE2JSException } from 're2js';
import { SharderError } from './errors.js';

// So much is looked at for each character of a path at most.
const MAX_PROGRAM = 1_000;
const MAX_PATTERN = 1_000;

/**
 * A regular expression in RE2's syntax, whose first group is the key. It is searched for, as JavaScript's
 * `exec` and nginx do it: it may match anywhere unless it begins with `^`, and what it matches first,
 * from the left, counts.
 */
export class KeyPattern {
  readonly #pattern: RE2JS;

  /** Throws `bad_request` for what is no such expression, has no group, or is too large. */
  constructor(pattern: string) {
    if (pattern.length > MAX_PATTERN) {
      throw refused(`has ${pattern.length} characters; at most ${MAX_PATTERN} are allowed`);
    }
    this.#pattern = compile(pattern);
    if (this.#pattern.groupCount() === 0) {
      throw refused(
        `${JSON.stringify(pattern)} has no group: put what is the key in parentheses, such as ^/users/([^/]*)`,
      );
    }
    if (this.#pattern.programSize() > MAX_PROGRAM) {
      throw refused(`${JSON.stringify(pattern)} is too large: repeat less in it`);
    }
  }

  /**
   * The key in the path of a request: the first group, or, where the pattern does not match, or the
   * group has no part in it or is empty, the whole path. What comes in may have a query, and an origin
   * before it, neither of which is part of the path. Percent-encoding is left as it came.
   */
  keyOf(requestUri: string): string {
    const path = pathOf(requestUri);
    return this.groupOf(path) ?? path;
  }

  /** The first group in any text, or undefined where there is none or it is empty. */
  groupOf(text: string): string | undefined {
    const matcher = this.#pattern.matcher(text);
    const group = matcher.find() ? matcher.group(1) : null;
    return group === '' ? undefined : (group ?? undefined);
  }
}

/** The path of a request as it came, `/users/iana?a=b` or `http://example.org/users/iana`. */
export function pathOf(requestUri: string): string {
  const query = requestUri.indexOf('?');
  const uri = query === -1 ? requestUri : requestUri.slice(0, query);
  if (uri.startsWith('/')) return uri;
  // The absolute form, which a proxy may send (RFC 9112, 3.2.2).
  const path = /^https?:\/\/[^/]*(.*)$/is.exec(uri)?.[1];
  return path === '' ? '/' : (path ?? uri);
}

function compile(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    const why = error.message.replace(/^error parsing regexp: /, '');
    const hint = /\(\?(=|!|<[=!]|>)|\\[1-9]|\\k</.test(pattern)
      ? '. It may look neither ahead nor behind, nor refer back to a group: such patterns have no bound on their time'
      : '';
    throw refused(
      `${JSON.stringify(pattern)} is no regular expression of RE2 (github.com/google/re2/wiki/Syntax): ${why}${hint}`,
    );
  }
}

function refused(why: string): SharderError {
  return new SharderError('bad_request', `the pattern ${why}`);
}
