// The buckets' addresses for nginx: an `upstream` for each bucket that has a URL, and the maps from
// kind and bucket to it. A pure function of what the table says; nginx/sharder/route.conf uses it.

import { BUCKET_PATTERN, KIND_PATTERN } from '../names.js';
import { checkUrl, type Bucket } from '../store/buckets.js';

export interface Rendered {
  readonly text: string;
  /** Buckets that were left out, and why: somebody has written odd ones into the table by hand. */
  readonly leftOut: readonly string[];
}

export interface NginxOptions {
  /** Where nginx finds the authorities that it believes, for buckets with https. */
  readonly certificates?: string;
}

/** Where Debian and most others keep them. */
export const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

// So much fits into nginx's default map_hash_bucket_size, 64 bytes.
const MAX_STRING_LENGTH = 46;

interface Target {
  readonly key: string;
  readonly upstream: string;
  readonly base: string;
  readonly host: string;
  readonly server: string;
}

/** A file for nginx's block `http`. Buckets without a URL are not in it. */
export function renderNginx(
  buckets: readonly Pick<Bucket, 'kind' | 'name' | 'url'>[],
  { certificates = CERTIFICATES }: NginxOptions = {},
): Rendered {
  const targets: Target[] = [];
  const leftOut: string[] = [];
  for (const bucket of buckets) {
    if (bucket.url === null) continue;
    try {
      targets.push(toTarget(bucket.kind, bucket.name, bucket.url));
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
  const isEncrypted = targets.some(({ base }) => base.startsWith('https:'));
  const text = [
    '# Written by `sharder render nginx` from the table of buckets; changes by hand are lost.\n',
    ...targets.map(
      ({ upstream, server }) =>
        `upstream ${upstream} {\n    server ${server};\n    keepalive 32;\n}\n`,
    ),
    map('$sharder_base', targets, ({ base }) => base, isPlain),
    map('$sharder_host', targets, ({ host }) => host, isPlain),
    isEncrypted ? `proxy_ssl_verify on;\nproxy_ssl_trusted_certificate ${certificates};\n` : '',
  ];
  return { text: text.filter((part) => part !== '').join('\n'), leftOut };
}

function toTarget(kind: string, bucket: string, stored: string): Target {
  if (!KIND_PATTERN.test(kind) || !BUCKET_PATTERN.test(bucket)) {
    throw new Error('its name cannot be one');
  }
  const { protocol, hostname, port, pathname } = new URL(checkUrl(stored));
  const upstream = `sharder.${encode(kind)}.${encode(bucket)}`;
  // In a string of nginx `$` begins a variable; in a path it may be written as %24.
  const path = pathname.replace(/\/$/, '').replaceAll('$', '%24');
  return {
    key: `${kind}/${bucket}`,
    upstream,
    base: `${protocol}//${upstream}${path}`,
    host: hostname,
    server: `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`,
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
  return `map "$sharder_kind/$sharder_bucket" ${variable} {\n    default "";\n${lines.join('')}}\n`;
}

// Of what a kind and a bucket may be called, that which means something in a pattern. A back-slash
// before it would be nginx's own.
function escapePattern(key: string): string {
  return key.replaceAll(
    /[.*+?^${}()|[\]]/g,
    (character) => `[${character === '^' ? '\\^' : character}]`,
  );
}
