// The cookies that a bucket may see: all but the Sharder's own, which are for the edge.

import { HOST_PREFIX } from '../http/cookie.js';

// Browsers send a cookie once or twice. A client that sends ours in more places than this loses all cookies.
const MAX_RUNS = 8;

// nginx reads no parameter of more than 4,096 bytes.
const MAX_NAMES_LENGTH = 2_500;

/** Maps from `$http_cookie` to `$sharder_other_cookies`, without the cookies of these kinds. Pure. */
export function renderCookies(kinds: readonly string[]): string {
  const chunks: string[] = [];
  for (const kind of kinds) {
    const name = kind.replaceAll('.', '[.]');
    const last = chunks.at(-1);
    if (last === undefined || last.length + name.length > MAX_NAMES_LENGTH) chunks.push(name);
    else chunks[chunks.length - 1] = `${last}|${name}`;
  }
  const ends = chunks.map((_, i) => (i === chunks.length - 1 ? 'other_cookies' : `without_${i}`));
  const maps = chunks.map((names, i) =>
    renderMaps(i, names, i === 0 ? 'http_cookie' : `sharder_${ends[i - 1] ?? ''}`, ends[i] ?? ''),
  );
  if (maps.length === 0) {
    maps.push('map $http_cookie $sharder_other_cookies {\n    default $http_cookie;\n}\n');
  }
  return `# The Sharder's cookies are for the edge: a bucket gets the others.\n${maps.join('')}`;
}

function renderMaps(chunk: number, names: string, from: string, to: string): string {
  const own = ` *(?:${HOST_PREFIX})?(?:${names}) *=`;
  // Group 1 is the beginning of a cookie of ours. Every pair ends in a semicolon here. Nothing is tried
  // twice: the quantifiers are possessive.
  const part = (i: number): string => `sharder_part_${chunk}_${i}`;
  const parts = Array.from({ length: MAX_RUNS }, (_, i) => part(i));
  const others = parts.map((name) => `(?<${name}>(?:(?!(?1))[^;]*;)*+)`);
  const ours = '(?:(?1)[^;]*;)*+';
  return `map "$${from};" $sharder_parts_${chunk} {
    default "";
    "~(?(DEFINE)(${own}))^${ours}${others.join(ours)}${ours}$" "${parts.map((name) => `$${name}`).join('')}";
}
map $sharder_parts_${chunk} $sharder_kept_${chunk} {
    default "";
    "~^ *(?<sharder_cookies_${chunk}>.*);$" $sharder_cookies_${chunk};
}
map $${from} $sharder_${to} {
    default $${from};
    "~(?:^|;)${own}" $sharder_kept_${chunk};
}
`;
}
