// A sharded service as a file for Compose (2.23.1 or later, for the router's configuration stands in it).

import { indent, renderRouter } from './router.js';
import { scalar } from './manifests.js';
import type { ShardedService } from './sharded.js';

export interface ComposeService extends ShardedService {
  readonly image: string;
  readonly routerImage: string;
  /** Where the router is reached on the machine itself. */
  readonly publish: number;
}

const ROUTER_PORT = 8080;

/** The file. All values must have been checked. */
export function renderCompose(service: ComposeService): string {
  const { name, shards, image, port, routerImage, publish } = service;
  const router = renderRouter({
    trustedProxies: service.trustedProxies,
    name,
    shards,
    pattern: service.urlPattern,
    listen: String(ROUTER_PORT),
    dir: '/tmp',
    // The name server of Docker's networks.
    places: { suffix: '', port, resolver: '127.0.0.11 valid=5s ipv6=off' },
  });
  const indexes = Array.from({ length: shards }, (_, index) => index);
  return `# Written by \`sharder render compose\`: ${name}, ${shards} shards behind a router, at
# http://127.0.0.1:${publish}/.
name: ${scalar(name)}

x-shard: &shard
  image: ${scalar(image)}
  restart: unless-stopped
  read_only: true
  tmpfs: [/tmp]
  cap_drop: [ALL]
  security_opt: ['no-new-privileges:true']

services:
  router:
    image: ${scalar(routerImage)}
    command: [nginx, -e, stderr, -c, /etc/router/nginx.conf]
    restart: unless-stopped
    user: '101:101'
    read_only: true
    tmpfs: ['/tmp:uid=101,gid=101,mode=0700']
    cap_drop: [ALL]
    security_opt: ['no-new-privileges:true']
    stop_signal: SIGQUIT # it gives its last answers first
    stop_grace_period: 30s
    configs:
      - source: router
        target: /etc/router/nginx.conf
    ports:
      # From this machine alone. Without the address: for others too.
      - '127.0.0.1:${publish}:${ROUTER_PORT}'

${indexes.map((index) => shard(name, index, shards, port)).join('\n')}
configs:
  router:
    # Compose takes $ for a variable of its own, so each is doubled.
    content: |
${indent(router.replaceAll('$', '$$$$'), 6)}`;
}

function shard(name: string, index: number, shards: number, port: number): string {
  return `  ${name}-${index}:
    <<: *shard
    hostname: ${name}-${index}
    environment:
      PORT: '${port}'
      SHARD_INDEX: '${index}'
      NUM_SHARDS: '${shards}'
`;
}
