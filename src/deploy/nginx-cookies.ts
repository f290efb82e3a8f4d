// Which cookies go where: our own to the Sharders, all others to the buckets.

import { HOST_PREFIX } from '../http/cookie.js';
import { KIND_PATTERN } from '../names.js';
import { escapePattern } from './nginx-key.js';

/** The cookies that the Sharders know. */
export interface KnownCookies {
  /** The kinds that set a cookie. It is for the edge, and no bucket gets it. */
  readonly kinds: readonly string[];
  /** The names of cookies that are the key of a kind. They are the buckets' own. */
  readonly keys: readonly string[];
}

// Browsers send a cookie once or twice. A client that sends ours in more places than this loses all cookies.
const MAX_RUNS = 8;
const RUNS = Array.from({ length: MAX_RUNS }, (_, i) => i);

// nginx reads no parameter of more than 4,096 bytes.
const MAX_NAMES_LENGTH = 2_500;

// What may be asked about. Node reads 16 kB of headers.
const MAX_OWN_VALUE = 512;
const MAX_KEY_VALUE = 8_192;

/** Maps from `$http_cookie` to `$sharder_own_cookies` and `$sharder_other_cookies`. Pure. */
export function renderCookies({ kinds, keys }: KnownCookies): string {
  const named = kinds.filter((kind) => KIND_PATTERN.test(kind));
  const prefix = `(?:${HOST_PREFIX})?`;
  const own = [
    ...named.map((kind) => `${prefix}${escapePattern(kind)} *=[^;]{0,${MAX_OWN_VALUE}};`),
    ...keys.map((key) => `${escapePattern(key)} *=[^;]{0,${MAX_KEY_VALUE}};`),
  ];
  const chosen = inChunks(own).map((names, i) => renderOwn(`own_${i}`, ` *(?:${names})`));
  const without = inChunks(named.map((kind) => escapePattern(kind)));
  const outputs = without.map((_, i) =>
    i === without.length - 1 ? 'sharder_other_cookies' : `sharder_without_${i}`,
  );
  return [
    "# Of a browser's cookies the Sharders get their own, and a bucket gets the others.\n",
    ...chosen,
    `map "${chosen.map((_, i) => `$sharder_own_${i}`).join('')}" $sharder_own_cookies {\n`,
    `    default ""${chosen.length > 0 ? ';\n    "~^ *(?<sharder_own>.*);$" $sharder_own' : ''};\n}\n`,
    ...without.map((names, i) =>
      renderWithout(
        String(i),
        ` *${prefix}(?:${names}) *=`,
        i === 0 ? 'http_cookie' : (outputs[i - 1] ?? ''),
        outputs[i] ?? '',
      ),
    ),
    without.length === 0
      ? 'map $http_cookie $sharder_other_cookies {\n    default $http_cookie;\n}\n'
      : '',
  ].join('');
}

function inChunks(names: readonly string[]): string[] {
  const chunks: string[] = [];
  for (const name of names) {
    const last = chunks.at(-1);
    if (last === undefined || last.length + name.length > MAX_NAMES_LENGTH) chunks.push(name);
    else chunks[chunks.length - 1] = `${last}|${name}`;
  }
  return chunks;
}

// In both patterns every pair ends in a semicolon, group 1 is a cookie of ours, or its beginning, and nothing
// is tried twice: the quantifiers are possessive.
function renderOwn(name: string, own: string): string {
  const parts = RUNS.map((i) => `sharder_${name}_${i}`);
  const runs = parts.map((part) => `(?:(?!(?1))[^;]*;)*+(?<${part}>(?1){0,2}+)`);
  return `map "$http_cookie;" $sharder_${name} {
    default "";
    "~(?(DEFINE)(${own}))^${runs.join('')}" "${parts.map((part) => `$${part}`).join('')}";
}
`;
}

function renderWithout(name: string, own: string, from: string, to: string): string {
  const parts = RUNS.map((i) => `sharder_part_${name}_${i}`);
  const others = parts.map((part) => `(?<${part}>(?:(?!(?1))[^;]*;)*+)`);
  const ours = '(?:(?1)[^;]*;)*+';
  return `map "$${from};" $sharder_parts_${name} {
    default "";
    "~(?(DEFINE)(${own}))^${ours}${others.join(ours)}${ours}$" "${parts.map((part) => `$${part}`).join('')}";
}
map $sharder_parts_${name} $sharder_kept_${name} {
    default "";
    "~^ *(?<sharder_cookies_${name}>.*);$" $sharder_cookies_${name};
}
map $${from} $${to} {
    default $${from};
    "~(?:^|;)${own}" $sharder_kept_${name};
}
`;
}
