// JSON that somebody else has written. `JSON.parse` takes any depth; what walks the value afterwards, a check
// or `JSON.stringify`, calls itself at each level and overflows the stack.

import { SharderError } from './errors.js';

/** How deep lists and objects may be nested. */
export const MAX_DEPTH = 64;

/** Parses a text. Throws `bad_request`, which begins with `what`, for no JSON and for a value that is too deep. */
export function parseJson(text: string, what: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SharderError('bad_request', `${what} is not JSON`);
  }
  checkDepth(value, what);
  return value;
}

/** Throws `bad_request`, which begins with `what`, for a value that is nested too deep. */
export function checkDepth(value: unknown, what: string): void {
  // One level after the other: nothing here calls itself.
  let level = [value].filter(isNested);
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) {
      throw new SharderError('bad_request', `${what} is nested more than ${MAX_DEPTH} deep`);
    }
    level = level.flatMap((each) => Object.values(each) as unknown[]).filter(isNested);
  }
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
