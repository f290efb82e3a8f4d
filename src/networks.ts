// Lists of networks in the settings: what is one, and which addresses are in them. Pure; resolves no names.

import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { SharderError } from './errors.js';

/** Names for networks that are always the same. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Whether an address is in one of the networks. False for what is not an address. */
export type Contains = (address: string) => boolean;

/**
 * Throws `settings` unless `text` is an address, a range such as `10.0.0.0/8`, or `loopback`, `linklocal`
 * or `uniquelocal`. An address is what `net.isIP` accepts, without a zone.
 */
export function checkNetwork(text: string): void {
  parseNetworks(text);
}

/**
 * Makes the function that tells whether an address is in one of these networks. An IPv4 address written
 * as IPv6 (`::ffff:10.0.0.1`) counts as IPv4. Throws as `checkNetwork`.
 */
export function createContains(networks: readonly string[]): Contains {
  // In one list, IPv6 ranges such as ::/0 would contain IPv4 addresses.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const { address, prefix } of networks.flatMap(parseNetworks)) {
    const family = familyOf(address);
    lists[family].addSubnet(address, prefix, family);
  }
  return (text) => {
    const address = plain(text);
    if (address === undefined) return false;
    const family = familyOf(address);
    return lists[family].check(address, family);
  };
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6';
}

function parseNetworks(text: string): Network[] {
  const named = Object.hasOwn(NAMED, text) ? NAMED[text] : undefined;
  return (named ?? [text]).map(parseNetwork);
}

// A leading zero is refused: some programs read 010 as eight.
const NETWORK = /^([^/]+?)(?:\/(0|[1-9]\d{0,2}))?$/;
const MAPPED_BITS = 96;

function parseNetwork(text: string): Network {
  const [, given = '', bits] = NETWORK.exec(text) ?? [];
  const address = plain(given);
  if (address !== undefined) {
    const isMapped = isIPv4(address) && !isIPv4(given);
    const width = isIPv4(given) ? 32 : 128;
    const prefix = bits === undefined ? width : Number(bits);
    const own = isMapped ? prefix - MAPPED_BITS : prefix;
    if (prefix <= width && own >= 0) return { address, prefix: own };
  }
  throw new SharderError(
    'settings',
    `${JSON.stringify(text)} must be an address, a range such as 10.0.0.0/8, or loopback, linklocal or uniquelocal`,
  );
}

const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

// An IPv4-mapped address as IPv4; undefined for what is not an address, or has a zone.
function plain(text: string): string | undefined {
  if (isIP(text) === 0) return undefined;
  if (!isIPv6(text)) return text;
  if (text.includes('%')) return undefined;
  const short = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [, high, low] = MAPPED.exec(short) ?? [];
  if (high === undefined || low === undefined) return short;
  const bits = Number.parseInt(high, 16) * 65_536 + Number.parseInt(low, 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.');
}
