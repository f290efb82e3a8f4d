// The key of a request for nginx, and how text is written into nginx's configuration.

import { KeyPattern } from '../key-pattern.js';
import { toNginxPattern } from './nginx-pattern.js';

/**
 * Maps from the path of a request, as it came and without its query, to `$NAME_key`: the first group of
 * the pattern, or the whole path where it does not match or the group is empty, as KeyPattern has it.
 * `source` is the variable that has the path. Throws where nginx would read the pattern otherwise.
 */
export function pathKeyMaps(name: string, pattern: string, source = '$request_uri'): string {
  return [
    `map ${source} $${name}_path {\n    default "";\n    "~^([^?]*)" $1;\n}\n`,
    keyMaps(name, pattern, `$${name}_path`),
  ].join('');
}

/** The same for any text: maps from the variable `source` to `$NAME_key`. */
export function keyMaps(name: string, pattern: string, source: string): string {
  new KeyPattern(pattern);
  return [
    `map ${source} $${name}_group {\n    default "";\n    ${quoted(`~${toNginxPattern(pattern)}`)} $1;\n}\n`,
    `map $${name}_group $${name}_key {\n    default $${name}_group;\n    "" ${source};\n}\n`,
  ].join('');
}

/**
 * A word of nginx's configuration in which no `$` begins a variable: the source of a map. nginx has no way
 * to write a control character but some, so there must be none.
 */
export function quoted(text: string): string {
  if (/[\x00-\x1f\x7f]/.test(text)) throw new Error('it has a control character');
  return `"${text.replaceAll(/[\\"]/g, '\\$&')}"`;
}

/** The source of a map that matches just this text. As a string nginx would take capitals for small ones. */
export function exactly(text: string): string {
  return quoted(`~^${text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}\\z`);
}

/** Text as a pattern that matches it and nothing else, without a back-slash, which nginx reads itself. */
export function escapePattern(text: string): string {
  return text.replaceAll(
    /[.*+?^${}()|[\]]/g,
    (character) => `[${character === '^' ? '\\^' : character}]`,
  );
}
