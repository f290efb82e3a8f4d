// A whole configuration of nginx that routes each request to the shard that has its key, for
// `sharder render kubernetes | compose | systemd`. It runs on nginx 1.22 and later.

import { renderForwarded } from './nginx-forwarded.js';
import { pathKeyMaps } from './nginx-key.js';

/**
 * Lines of an upstream: connections are kept, and closed before the server closes them. Node's servers do
 * after five seconds, and a POST that meets the close fails, for it is not sent twice.
 */
export const KEEPALIVE = '    keepalive 32;\n    keepalive_timeout 4s;\n';

/**
 * An upstream, and one without kept connections for WebSockets (`$sharder_ws` is `._ws` for them): what a user's
 * program answers to an upgrade, with some proxies in between, can be more than one answer, and the rest must
 * not be taken for the answer to somebody else.
 */
export function renderUpstream(name: string, servers: string): string {
  return `upstream ${name} {\n${servers}${KEEPALIVE}}\nupstream ${name}._ws {\n${servers}}\n`;
}

/** So many shards nginx can be told of in one line. */
export const MAX_SHARDS = 256;

export interface Router {
  /** The shards are NAME-0, NAME-1, and so on. */
  readonly name: string;
  readonly shards: number;
  readonly pattern: string;
  /** Where nginx listens: a port, or an address and a port. */
  readonly listen: string;
  /** Where it answers GET /healthz. */
  readonly health?: string;
  /** A directory that nginx may write to. */
  readonly dir: string;
  readonly places: Names | Addresses;
  /** Proxies in front whose X-Forwarded-… headers are passed on. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined;
}

/** The shards' hosts are names, NAME-0 with this behind it, which are looked up while nginx runs. */
export interface Names {
  readonly suffix: string;
  readonly port: number;
  /** The name servers, with their parameters. */
  readonly resolver: string;
}

/** Each shard has an address and a port for good. */
export interface Addresses {
  readonly of: (index: number) => string;
}

/** The file. Throws where nginx would read the pattern otherwise; the rest must have been checked. */
export function renderRouter(router: Router): string {
  const { name, listen, health, dir, places } = router;
  const hasNames = 'resolver' in places;
  const forwarded = renderForwarded(router.trustedProxies ?? []);
  const host = hasNames ? `${name}-$shard${places.suffix}:${places.port}` : `${name}-$shard`;
  const http = [
    `client_body_temp_path ${dir}/body;
proxy_temp_path ${dir}/proxy;
fastcgi_temp_path ${dir}/fastcgi;
uwsgi_temp_path ${dir}/uwsgi;
scgi_temp_path ${dir}/scgi;

access_log off;
server_tokens off;
variables_hash_max_size 4096;
`,
    `# The key: the first group of the pattern in the path, else the whole path.
${pathKeyMaps('shard', router.pattern)}`,
    renderShares(router.shards),
    hasNames
      ? `# A shard that was started elsewhere is found again after so long. One whose name is not there has no
# other take its keys.
resolver ${places.resolver};
resolver_timeout 5s;
`
      : upstreams(router, places),
    UPGRADES,
    forwarded.http,
    `server {
    listen ${listen} default_server;

    location / {
        proxy_pass http://${host}$request_uri;
${indent(PROXY, 8)}
${indent(forwarded.location, 8)}    }

    # What nginx says in the place of a shard. What a shard answers is passed on as it is.
    error_page 502 504 = @shard_down;
    location @shard_down {
        internal;
        default_type text/plain;
        add_header Retry-After 5 always;
        return 503 "Shard ${name}-$shard does not answer. Please try again in a moment.\\n";
    }
}
`,
    health === undefined
      ? undefined
      : `server {
    listen ${health};

    location = /healthz {
        default_type text/plain;
        return 200 "well\\n";
    }

    location / {
        return 404;
    }
}
`,
  ];
  // In a container nginx would count the processors of the whole machine.
  return `worker_processes ${hasNames ? 2 : 'auto'};
worker_shutdown_timeout 20s;
daemon off;
pid ${dir}/nginx.pid;
error_log stderr warn;

events {
    worker_connections 8192; # two for each request that is under way
}

http {
${indent(http.filter((part) => part !== undefined).join('\n'), 4)}}
`;
}

/**
 * From `$shard_key` to `$shard`, the number of the shard. The last one draws first, and takes one key of
 * so many as there are shards; of the rest the one before it, and so on. So one shard more takes its share
 * from each of the others, and no other key moves. (The draws that jump consistent hash skips most of: Lamping
 * and Veach, "A fast, minimal memory, consistent hash algorithm", 2014.) By the shards' numbers alone: unlike
 * `hash … consistent`, not by their addresses.
 */
export function renderShares(shards: number): string {
  const draws = Array.from({ length: shards - 1 }, (_, i) => shards - 1 - i);
  const lines = draws.map((index) => {
    const share = (100 / (index + 1)).toFixed(2);
    return `split_clients "${index} $shard_key" $takes_${index} { ${share}% ${index},; * ""; }\n`;
  });
  return [
    `# The shard: the last one takes its share of all keys, the one before it its share of the rest, and so on.
# One shard more takes its share from each, and no other key moves.
`,
    ...lines,
    `map "${draws.map((index) => `\${takes_${index}}`).join('')}0," $shard {\n    "~^([0-9]+)" $1;\n}\n`,
  ].join('');
}

function upstreams({ name, shards }: Router, { of }: Addresses): string {
  return Array.from(
    { length: shards },
    (_, index) =>
      `upstream ${name}-${index} {\n    server ${of(index)} max_fails=0;\n${KEEPALIVE}}\n`,
  ).join('');
}

const UPGRADES = `# A WebSocket keeps its connection; anything else gives it back.
map $http_upgrade $shard_upgrade {
    default "";
    websocket websocket;
}
map $shard_upgrade $shard_connection {
    default "";
    websocket upgrade;
}
`;

const PROXY = `proxy_redirect off;
proxy_next_upstream off; # no request is made twice
proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
proxy_set_header Host $http_host;

# WebSockets, uploads of any size, and answers while they are made.
proxy_http_version 1.1;
proxy_set_header Upgrade $shard_upgrade;
proxy_set_header Connection $shard_connection;
proxy_connect_timeout 5s;
proxy_read_timeout 1d;
proxy_send_timeout 1d;
proxy_buffer_size 32k;
proxy_buffers 4 32k;
proxy_busy_buffers_size 64k;
client_max_body_size 0;
proxy_request_buffering off;
proxy_buffering off;`;

/** Lines with so many spaces before each that is not empty. */
export function indent(text: string, spaces: number): string {
  return text.replaceAll(/^(?=.)/gm, ' '.repeat(spaces));
}
