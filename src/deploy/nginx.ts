// The buckets' addresses for nginx: an `upstream` for each bucket that has a URL, and the maps from
// kind and bucket to it; nginx/sharder/route.conf uses them. There are addresses in it and no names, for
// nginx does not start while one of many names cannot be resolved.

import { isIP } from 'node:net';
import { BUCKET_PATTERN, KIND_PATTERN } from '../names.js';
import { checkUrl, type Bucket } from '../store/buckets.js';
import { renderCookies, type KnownCookies } from './nginx-cookies.js';
import { escapePattern } from './nginx-key.js';
import { renderUpstream } from './router.js';
import { renderHashed, renderHashKind, type HashedKind } from './nginx-hash.js';

export interface Rendered {
  readonly text: string;
  /** Buckets with a URL, and kinds of the policy `hash`, that were left out, and why. */
  readonly leftOut: readonly string[];
}

// So much fits into nginx's default map_hash_bucket_size, 64 bytes.
const MAX_STRING_LENGTH = 46;

interface Target {
  readonly key: string;
  readonly upstream: string;
  readonly base: string;
  readonly host: string;
  /** Its addresses, each with the port. */
  readonly places: readonly string[];
  /** The lines of its upstream. */
  readonly servers: readonly string[];
}

/** What names of hosts resolve to. */
export type Addresses = ReadonlyMap<string, readonly string[]>;

type Told = Pick<Bucket, 'kind' | 'name' | 'url'> & Partial<Pick<Bucket, 'weight' | 'state'>>;

/**
 * A file for nginx's block `http`, of the buckets with a URL; and of the kinds of the policy `hash`, so that
 * nginx routes to them alone. Pure; `addresses` of `hostNames`. Default for `cookies`: every kind sets one.
 */
export function renderNginx(
  buckets: readonly Told[],
  addresses: Addresses = new Map(),
  hashed: readonly HashedKind[] = [],
  cookies: KnownCookies = { kinds: [...new Set(buckets.map(({ kind }) => kind))], keys: [] },
): Rendered {
  const targets: Target[] = [];
  const leftOut: string[] = [];
  for (const bucket of buckets) {
    if (bucket.url === null) continue;
    try {
      targets.push(toTarget(bucket.kind, bucket.name, bucket.url, addresses));
    } catch (error) {
      leftOut.push(
        `bucket ${JSON.stringify(bucket.name)} of kind ${bucket.kind}: ${(error as Error).message}`,
      );
    }
  }
  // A map of strings has no room for a long one, and takes capital letters for small ones: a bucket
  // without a URL too must not be taken for another.
  const counts = new Map<string, number>();
  for (const { kind, name } of buckets) {
    const key = `${kind}/${name}`.toLowerCase();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const isPlain = (key: string): boolean =>
    key.length <= MAX_STRING_LENGTH && counts.get(key.toLowerCase()) === 1;
  const text = [
    '# Written by `sharder render nginx` from the table of buckets; changes by hand are lost.\n',
    `# A WebSocket's connection to a bucket is used for nothing else.
map $http_upgrade $sharder_ws {
    default "";
    websocket ._ws;
}
`,
    ...targets.map(({ upstream, servers }) => renderUpstream(upstream, servers.join(''))),
    map('$sharder_base', targets, ({ base }) => base, isPlain),
    map('$sharder_host', targets, ({ host }) => host, isPlain),
    renderCookies(cookies),
  ];
  const rings: string[] = [];
  const whole: [kind: string, name: string][] = [];
  for (const each of hashed) {
    try {
      rings.push(renderRing(each, buckets, targets));
      whole.push([each.kind, variable(each.kind)]);
    } catch (error) {
      leftOut.push(`kind ${JSON.stringify(each.kind)} by hash: ${(error as Error).message}`);
    }
  }
  if (hashed.length > 0) text.push(...rings, renderHashed(whole));
  return { text: text.join('\n'), leftOut };
}

// All of its buckets that have keys, or none: without one of them nginx would send its keys to the others.
function renderRing(
  hashed: HashedKind,
  buckets: readonly Told[],
  targets: readonly Target[],
): string {
  const { kind } = hashed;
  const pinnedTo = new Set(hashed.pins.values());
  const own = buckets.filter(
    ({ kind: of, name, state }) => of === kind && (state !== 'draining' || pinnedTo.has(name)),
  );
  const reached = own.map(({ name, weight = 1, state = 'active' }) => {
    const target = targets.find(({ key }) => key === `${kind}/${name}`);
    if (!target) throw new Error(`its bucket ${JSON.stringify(name)} has no address here`);
    const { base, upstream, places } = target;
    return { name, weight, state, base, upstream, place: places[0] ?? '' };
  });
  return renderHashKind(hashed, variable(kind), reached);
}

/** The names of the hosts, which are to be resolved; addresses and what is no URL are passed over. */
export function hostNames(buckets: readonly Pick<Bucket, 'url'>[]): Set<string> {
  const names = new Set<string>();
  for (const { url } of buckets) {
    try {
      const { hostname } = new URL(checkUrl(url ?? ''));
      if (!isAddress(hostname)) names.add(hostname);
    } catch {
      // renderNginx says what is wrong with it
    }
  }
  return names;
}

/** The addresses that a file of `renderNginx` has for names. */
export function addressesIn(text: string): Map<string, string[]> {
  const addresses = new Map<string, string[]>();
  for (const [, address = '', name = ''] of text.matchAll(
    /^ {4}server \[?([^\s\]]+?)\]?:\d+; # (\S+)$/gm,
  )) {
    // Once, though each bucket on the host has it.
    const known = addresses.get(name) ?? [];
    if (!known.includes(address)) addresses.set(name, [...known, address]);
  }
  return addresses;
}

// A URL has the brackets of IPv6.
function isAddress(hostname: string): boolean {
  return isIP(hostname.replace(/^\[|\]$/g, '')) !== 0;
}

function toTarget(kind: string, bucket: string, stored: string, addresses: Addresses): Target {
  if (!KIND_PATTERN.test(kind) || !BUCKET_PATTERN.test(bucket)) {
    throw new Error('its name cannot be one');
  }
  const { protocol, hostname, port, pathname } = new URL(checkUrl(stored));
  const isEncrypted = protocol === 'https:';
  if (isEncrypted && isAddress(hostname)) {
    throw new Error('for https nginx verifies a name, and no address: give its name');
  }
  const resolved = isAddress(hostname) ? [hostname] : (addresses.get(hostname) ?? []);
  if (resolved.length === 0) throw new Error(`its host ${hostname} cannot be resolved`);
  const upstream = `sharder.${encode(kind)}.${encode(bucket)}`;
  // In a string of nginx `$` begins a variable; in a path it may be written as %24.
  const path = pathname.replace(/\/$/, '').replaceAll('$', '%24');
  const behind = `:${port || (isEncrypted ? '443' : '80')}`;
  const places = resolved.map(
    (address) => `${isIP(address) === 6 ? `[${address}]` : address}${behind}`,
  );
  const named = isAddress(hostname) ? '' : ` # ${hostname}`;
  return {
    key: `${kind}/${bucket}`,
    upstream,
    base: `${protocol}//${upstream}$sharder_ws${path}`,
    host: hostname,
    places,
    servers: places.map((place) => `    server ${place};${named}\n`),
  };
}

// nginx takes capital letters for small ones in the names of upstreams, and a dot parts kind and
// bucket; both are written as _ and the code, and so is everything that is not plain.
function encode(name: string): string {
  return name.replaceAll(
    /[^a-z0-9-]/g,
    (character) => `_${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

// A name of a variable has no dot and no dash.
function variable(kind: string): string {
  return encode(kind).replaceAll('-', '_2d');
}

function map(
  variable: string,
  targets: readonly Target[],
  value: (target: Target) => string,
  isPlain: (key: string) => boolean,
): string {
  const lines = targets.map((target) => {
    const source = isPlain(target.key) ? target.key : `~^${escapePattern(target.key)}$`;
    return `    "${source}" "${value(target)}";\n`;
  });
  // Read again when a request is asked about a second time.
  return `map "$sharder_kind/$sharder_bucket" ${variable} {\n    volatile;\n    default "";\n${lines.join('')}}\n`;
}
