// A kind of the policy `hash` for nginx, which then finds the bucket of a request by itself: where its key
// is, a ring of its buckets, and the keys that are pinned. nginx/sharder/hash.conf uses them.
//
// nginx's ring (ketama) is another hash than the Sharder's: most keys have another bucket in it.

import { renderUpstream } from './router.js';
import type { KindSettings, RequestKey } from '../store/kind-settings.js';
import type { BucketState } from '../store/buckets.js';
import { exactly, keyMaps, pathKeyMaps, quoted } from './nginx-key.js';

/** A kind as nginx is to be told of it. */
export interface HashedKind {
  readonly kind: string;
  readonly settings: Pick<KindSettings, 'normalize' | 'hash' | 'key'>;
  /** The bucket of each key that is pinned. */
  readonly pins: ReadonlyMap<string, string>;
}

/** A bucket of it that nginx can reach. */
export interface Reached {
  readonly name: string;
  readonly weight: number;
  readonly state: BucketState;
  /** Where it leads, with the bucket's own upstream for a host: http://sharder.hub.hub-0/path */
  readonly base: string;
  readonly upstream: string;
  /** An address and a port. */
  readonly place: string;
}

/** nginx compares a key with one after the other. */
export const MAX_PINS = 1_000;
/** nginx keeps 160 points for each. */
const MAX_WEIGHT = 1_000;

/**
 * The text for a kind; `name` is the kind as a part of a name in nginx. Throws an Error with the reason
 * where nginx could not send each key where it belongs.
 */
export function renderHashKind(
  { kind, settings, pins }: HashedKind,
  name: string,
  buckets: readonly Reached[],
): string {
  if (settings.hash === 'modulo') throw new Error('nginx has no hash: modulo like ours');
  if (settings.normalize !== 'none') {
    throw new Error(`nginx cannot make a key normal (normalize: ${settings.normalize})`);
  }
  if (pins.size > MAX_PINS) {
    throw new Error(`more than ${MAX_PINS} keys are pinned, for nginx to look through each time`);
  }
  const ring = buckets.filter(({ state }) => state !== 'draining');
  const pathOf = ({ base, upstream }: Reached) => base.replace(`//${upstream}`, '//');
  const [path = '', ...others] = new Set(buckets.map(pathOf));
  if (ring.length === 0) throw new Error('it has no bucket that keys may go to');
  if (others.length > 0 || path.startsWith('https:')) {
    throw new Error(
      'nginx knows the bucket too late for https, or for a path of its own: its buckets must all be http, with one path',
    );
  }
  if (new Set(ring.map(({ place }) => place)).size < ring.length) {
    throw new Error('two of its buckets have one address');
  }
  const weight = ring.reduce((sum, bucket) => sum + bucket.weight, 0);
  if (weight > MAX_WEIGHT) {
    throw new Error(`its weights add up to ${weight}, and nginx takes ${MAX_WEIGHT} at most`);
  }
  const own = `sharder_${name}`;
  const pinned = [...pins].map(([key, bucket]) => {
    const to = buckets.find((each) => each.name === bucket);
    if (!to) throw new Error(`a key is pinned to ${bucket}, which is none of its buckets`);
    return `    ${exactly(key)} "${to.base}";\n`;
  });
  return [
    `# Kind ${kind}: the key of a request, the ring of buckets, and keys that are pinned.\n`,
    renderKey(own, settings.key),
    renderUpstream(
      `sharder.${name}`,
      `    hash $${own}_key consistent;\n${ring
        .map(
          (each) => `    server ${each.place} weight=${each.weight} max_fails=0; # ${each.name}\n`,
        )
        .join('')}`,
    ),
    `map $${own}_key $${own}_base {\n`,
    `    default "${path.replace('//', `//sharder.${name}`)}";\n    "" "";\n${pinned.join('')}}\n`,
    // Who is no user yet must come to the login, which nginx looks for after this.
    `map $${own}_key $${own}_refused {\n    default "";\n`,
    `${settings.key === 'user' ? '' : '    "" 1;\n'}}\n`,
  ].join('');
}

/** What the location uses, by the kind that it sets. */
export function renderHashed(kinds: readonly (readonly [kind: string, name: string])[]): string {
  const map = (variable: string, part: string) =>
    [
      `map $sharder_kind ${variable} {\n    default "";\n`,
      ...kinds.map(([kind, name]) => `    ${exactly(kind)} $sharder_${name}_${part};\n`),
      '}\n',
    ].join('');
  return `${map('$sharder_hash', 'base')}\n${map('$sharder_refused', 'refused')}`;
}

function renderKey(own: string, key: 'user' | RequestKey): string {
  if (key === 'user') return `map $sharder_user $${own}_key {\n    default $sharder_user;\n}\n`;
  const { header, query, cookie, pattern } = key;
  if (header !== undefined && /^(x-original-uri|x-forwarded-uri)$/i.test(header)) {
    return pathKeyMaps(own, pattern ?? '(.*)');
  }
  if (header?.includes('_')) {
    throw new Error(`nginx drops what comes as ${header}: name it with - in place of _`);
  }
  if (header !== undefined && !/^[A-Za-z0-9-]+$/.test(header)) {
    throw new Error(`nginx has no variable for the header ${header}`);
  }
  const lines =
    header !== undefined
      ? // What looks like a URI is cut down to its path, as the Sharder does it.
        [
          `map $http_${header.toLowerCase().replaceAll('-', '_')} $${own}_text {\n`,
          `    default "";\n    "~^(/[^?]*)" $1;\n    "~*^https?://[^/?]*(/[^?]*)" $1;\n`,
          `    "~*^https?://" "/";\n    "~^(.+)" $1;\n}\n`,
        ]
      : query !== undefined
        ? valueMap('$args', own, `(?:^|&)${escaped(query)}=`, '&')
        : valueMap('$http_cookie', own, `(?:^|;)[ \\t]*${escaped(cookie ?? '')}=`, ';');
  return lines.join('') + keyMaps(own, pattern ?? '(.*)', `$${own}_text`);
}

// The value behind `start`; nothing where there are two, for then nobody knows which one is meant.
function valueMap(source: string, own: string, start: string, end: string): string[] {
  return [
    `map ${source} $${own}_text {\n    default "";\n`,
    `    ${quoted(`~${start}.*${start.replace('^|', '')}`)} "";\n`,
    `    ${quoted(`~${start}([^${end}]*[^${end} \\t])`)} $1;\n}\n`,
  ];
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
