// One header of a request, read so that nobody can bring in a second.

import type { IncomingMessage } from 'node:http';
import { SharderError, type ErrorCode } from '../errors.js';

/**
 * Makes the function that reads a header's value: undefined where it is not there. It throws `code` when
 * the header is there twice, is empty or not UTF-8, or when another header is there that some servers take
 * for the same (`Remote-User` for `REMOTE_USER`).
 */
export function createReadHeader(
  name: string,
  code: ErrorCode,
): (req: IncomingMessage) => string | undefined {
  const wanted = name.toLowerCase();
  const { length } = wanted;
  const folded = fold(wanted);

  return ({ rawHeaders }) => {
    // The raw headers: joined ones would not tell two values from one with a comma in it.
    let value: string | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const header = rawHeaders[i] ?? '';
      if (header.length !== length) continue;
      const lower = header.toLowerCase();
      if (lower !== wanted) {
        if (fold(lower) === folded) {
          throw new SharderError(
            code,
            `the header ${header} came, which could be taken for ${name}: the proxy in front must remove it`,
          );
        }
      } else if (value === undefined) {
        value = rawHeaders[i + 1];
      } else {
        throw new SharderError(code, `${name} came more than once`);
      }
    }
    if (value === '') throw new SharderError(code, `${name} is empty`);
    if (value === undefined || !NON_ASCII.test(value)) return value;
    try {
      // Node hands out a header's bytes as Latin-1.
      return UTF8.decode(Buffer.from(value, 'latin1'));
    } catch {
      throw new SharderError(code, `${name} is not valid UTF-8`);
    }
  };
}

const NON_ASCII = /[^\0-\x7f]/;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// CGI, WSGI and their like see both as the same variable.
function fold(header: string): string {
  return header.replaceAll('-', '_');
}
