// A sharded service as units of systemd: one template for the shards, the router, which is the machine's
// nginx, and a target that has all of them.

import { renderRouter } from './router.js';
import { SharderError } from '../errors.js';
import type { ShardedService } from './sharded.js';

export interface SystemdService extends ShardedService {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Where the router listens: HOST:PORT. */
  readonly listen: string;
}

/** A file's name, and what is in it. */
export type Files = ReadonlyMap<string, string>;

/**
 * The files, whose names all have a suffix: `user@.service` and `basic.target` are systemd's own. Throws
 * `settings` for a command that cannot be written; the rest must have been checked.
 */
export function renderSystemd(service: SystemdService): Files {
  const { name, shards, port, listen, urlPattern } = service;
  const router = renderRouter({
    trustedProxies: service.trustedProxies,
    name,
    shards,
    pattern: urlPattern,
    listen,
    dir: `/run/${name}-router`,
    places: { of: (index) => `127.0.0.1:${port + index}` },
  });
  return new Map([
    [`${name}-shards.target`, target(service)],
    [`${name}-shard@.service`, template(service)],
    [`${name}-router.service`, routerUnit(name)],
    [`${name}-router.conf`, router],
  ]);
}

function target({ name, shards }: SystemdService): string {
  const units = Array.from({ length: shards }, (_, index) => `${name}-shard@${index}.service`);
  return `# ${name}: ${shards} shards and their router. Installed as root:
#
#   cp ${name}-shards.target ${name}-shard@.service ${name}-router.service /etc/systemd/system/
#   install -m 644 ${name}-router.conf /etc/
#   systemctl daemon-reload && systemctl enable --now ${name}-shards.target

[Unit]
Description=${name}, in ${shards} shards
${[...units, `${name}-router.service`].map((unit) => `Wants=${unit}`).join('\n')}

[Install]
WantedBy=multi-user.target
`;
}

function template({ name, shards, port, command }: SystemdService): string {
  return `# A shard: %i is its number, from 0.

[Unit]
Description=Shard %i of ${name}
PartOf=${name}-shards.target
After=network-online.target
Wants=network-online.target

[Service]
Environment=SHARD_INDEX=%i NUM_SHARDS=${shards} HOSTNAME=${name}-%i
# Each listens on a port of its own: ${port} and those that follow. systemd cannot add, and a shell can.
ExecStart=/bin/sh -c 'PORT=$$((${port} + SHARD_INDEX)) exec "$$@"' ${name} ${command.map(word).join(' ')}
Restart=always
RestartSec=1

DynamicUser=yes
${HARDENED}
`;
}

function routerUnit(name: string): string {
  return `[Unit]
Description=Routes requests to the shards of ${name}
PartOf=${name}-shards.target
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/sbin/nginx -e stderr -c /etc/${name}-router.conf
ExecReload=/usr/sbin/nginx -e stderr -c /etc/${name}-router.conf -s reload
# It gives its last answers first.
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=30
Restart=on-failure
RestartSec=1

DynamicUser=yes
RuntimeDirectory=${name}-router
LimitNOFILE=32768
# For a port below 1024 give it CAP_NET_BIND_SERVICE, here and as AmbientCapabilities=.
${HARDENED}
`;
}

// MemoryDenyWriteExecute= stays off: V8 and others compile to machine code while they run.
const HARDENED = `CapabilityBoundingSet=
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077`;

// As systemd.service(5) has it: % and $ are doubled, and a quote and a back-slash take a back-slash.
function word(text: string): string {
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new SharderError(
      'settings',
      `${JSON.stringify(text)}: a unit's command can have no control character`,
    );
  }
  const escaped = text
    .replaceAll(/[\\"]/g, '\\$&')
    .replaceAll('%', '%%')
    .replaceAll('$', () => '$$');
  return /^[\w./:=@,+-]+$/.test(text) ? text : `"${escaped}"`;
}
