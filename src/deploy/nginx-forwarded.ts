// The headers by which proxies tell of the client's connection, for an nginx in front of shards.

import { expandNetworks } from '../networks.js';
import { aliasesOf, PROXY_HEADERS } from '../run/forwarded.js';

/**
 * What nginx says itself, unless a proxy of these networks has said it: maps for the block `http`, and the
 * headers for the location; with `hasUnderscores` also for names that nginx drops unless it is told otherwise.
 * Pure; the networks must have been checked.
 */
export function renderForwarded(
  trustedProxies: readonly string[],
  { hasUnderscores = false } = {},
): {
  readonly http: string;
  readonly location: string;
} {
  const trusted = expandNetworks(trustedProxies).map((network) => `    ${network} 1;\n`);
  return {
    http: `# Whose word on a client counts. Anybody else's is taken out.
geo $shard_trusted {
    default 0;
${trusted.join('')}}
${PROXY_HEADERS.map(believed).join('')}`,
    location: PROXY_HEADERS.map((header) => setHeader(header, hasUnderscores)).join(''),
  };
}

// What nginx says itself where nobody who is trusted has said it.
const OWN: Readonly<Record<string, string>> = {
  'X-Forwarded-For': '$remote_addr',
  'X-Forwarded-Proto': '$scheme',
  'X-Forwarded-Host': '$http_host',
};

function believed(header: string): string {
  const variable = header.toLowerCase().replaceAll('-', '_');
  const said = header === 'X-Forwarded-For' ? '$proxy_add_x_forwarded_for' : `$http_${variable}`;
  const own = OWN[header] ?? '""';
  return `map "$shard_trusted$http_${variable}" $shard_${variable} {
    default ${own};
    "~^1." ${said};
}
`;
}

function setHeader(header: string, hasUnderscores: boolean): string {
  const variable = header.toLowerCase().replaceAll('-', '_');
  const aliases = (hasUnderscores ? aliasesOf(header) : []).map(
    (alias) => `proxy_set_header ${alias} "";\n`,
  );
  return `proxy_set_header ${header} $shard_${variable};\n${aliases.join('')}`;
}
