// The configuration of an nginx that stands before the copies. Pure.

import { renderForwarded } from '../deploy/nginx-forwarded.js';
import { indent } from '../deploy/router.js';
import type { Target } from './front.js';
import { urlOf } from './front.js';

/** Where nginx asks the copies: their addresses are hashed, so there is one. */
export const COPIES_HOST = '127.0.0.1';

export interface NginxOptions {
  readonly host: string;
  readonly port: number;
  readonly urlPattern: string;
  readonly targets: readonly Pick<Target, 'name' | 'port'>[];
  /** Proxies in front, checked: what they say of their clients is believed. */
  readonly trustedProxies?: readonly string[];
  /** Requests that run may take so long when it is stopped. */
  readonly drainSeconds: number;
}

/**
 * The whole file; what nginx writes is in `tmp/` beside it. The key's copy is found by nginx's own
 * consistent hash, of which the copies' ports are a part.
 */
export function renderRunNginx(options: NginxOptions): string {
  const { host, port, urlPattern, targets, drainSeconds, trustedProxies = [] } = options;
  const forwarded = renderForwarded(trustedProxies, { hasUnderscores: true });
  const listen = urlOf(host, port).slice('http://'.length);
  const servers = targets.map((each) => `    server ${addressOf(each)} max_fails=0;\n`).join('');
  const names = targets.map((each) => `    "${addressOf(each)}" ${each.name};\n`).join('');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((each) => `  ${each}_temp_path tmp/${each};\n`)
    .join('');
  return `# Written by \`sharder run --nginx\`.
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
worker_shutdown_timeout ${drainSeconds}s;
events { worker_connections 4096; }

http {
  access_log off;
  server_tokens off;
${temporary}
  # The key: the first group of the pattern, or the whole path without its query.
  map $request_uri $shard_path { "~^([^?]*)" $1; }
  map $shard_path $shard_found {
    default "";
    ${quote(`~${urlPattern}`)} $1;
  }
  map $shard_found $shard_key {
    "" $shard_path;
    default $shard_found;
  }

  # A copy that is not there keeps its keys: nobody else is asked in its place.
  upstream shards {
    hash $shard_key consistent;
${servers}    keepalive 64;
    keepalive_timeout 1s;
  }
  map $upstream_addr $shard_bucket {
    default "";
${names}  }

  map $http_upgrade $shard_upgrade {
    default "";
    websocket websocket;
  }
  map $shard_upgrade $shard_connection {
    default "";
    websocket upgrade;
  }
${indent(forwarded.http, 2)}
  server {
    listen ${listen};
    client_max_body_size 0;
    underscores_in_headers on;
    proxy_hide_header X-Shard-Bucket;
    add_header X-Shard-Bucket $shard_bucket always;
    error_page 502 504 =503 @unavailable;

    location / {
      proxy_pass http://shards;
      proxy_http_version 1.1;
      proxy_next_upstream off;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_buffer_size 32k;
      proxy_buffers 4 32k;
      proxy_busy_buffers_size 64k;
      proxy_read_timeout 1d;
      proxy_send_timeout 1d;
      proxy_headers_hash_max_size 2048;
      proxy_headers_hash_bucket_size 128;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $shard_upgrade;
      proxy_set_header Connection $shard_connection;
${indent(forwarded.location, 6)}    }

    location @unavailable {
      default_type text/plain;
      add_header X-Shard-Bucket $shard_bucket always;
      add_header Retry-After 1 always;
      return 503 "$shard_bucket does not answer\\n";
    }
  }
}
`;
}

function addressOf({ port }: Pick<Target, 'port'>): string {
  return `${COPIES_HOST}:${port}`;
}

// Between quotes nginx takes a back-slash out that stands before a quote or another, and makes \t of two
// characters one. `$` begins no variable in a pattern.
function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
