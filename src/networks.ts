// Addresses and ranges of addresses, as settings name them. One parser for the check and for the match, so
// that no range is checked as one network and matched as another.

import { isIP, isIPv4 } from 'node:net';
import { SharderError } from './errors.js';

interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

interface Network extends Address {
  readonly prefix: number;
}

/** Names for ranges. Private networks are `uniquelocal`. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

/**
 * Throws `settings` unless `text` is an address that `net.isIP` accepts, a range with a decimal prefix, or
 * `loopback`, `linklocal` or `uniquelocal`. Also refused, with what to write instead: a zone (`%eth0`), an
 * IPv4 address in IPv6 form, and a range with host bits set (`10.1.2.3/8`), since each could mean another
 * network than its writer has in mind.
 */
export function checkNetwork(text: string): void {
  if (!Object.hasOwn(NAMED, text)) parseNetwork(text);
}

/**
 * Makes the function that says whether an address, such as a socket's `remoteAddress`, is in one of
 * `networks`. An IPv4 address in IPv6 form counts as IPv4, and the zone of an address is ignored. Throws
 * what `checkNetwork` throws.
 */
export function createMatchNetwork(networks: readonly string[]): (address: string) => boolean {
  const all = expandNetworks(networks).map(parseNetwork);
  return (text) => {
    const address = parseAddress(text);
    return address !== undefined && all.some((network) => contains(network, address));
  };
}

/** The ranges and addresses that `networks` stands for, without names. */
export function expandNetworks(networks: readonly string[]): string[] {
  return networks.flatMap((each) => (Object.hasOwn(NAMED, each) ? (NAMED[each] ?? []) : [each]));
}

/** An address in one form, or undefined: equal addresses give equal texts. */
export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address && `${address.bits}:${address.value}`;
}

function contains(network: Network, { bits, value }: Address): boolean {
  const shift = BigInt(network.bits - network.prefix);
  return network.bits === bits && network.value >> shift === value >> shift;
}

function parseNetwork(text: string): Network {
  const refuse = (why: string) => new SharderError('settings', `${JSON.stringify(text)} ${why}`);
  const [, host = '', prefixText] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const family = isIP(host);
  if (host.includes('%') && family !== 0) {
    throw refuse('must not have a zone: leave out what begins at %');
  }
  const bits = family === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  const address = parseAddress(host);
  if (address === undefined || prefix > bits) {
    throw refuse(
      'must be an address, a range such as 10.0.0.0/8, or loopback, linklocal or uniquelocal',
    );
  }
  if (address.bits !== bits) throw refuse('is IPv4 in IPv6 form: write it as IPv4');
  const hostBits = BigInt(bits - prefix);
  const first = (address.value >> hostBits) << hostBits;
  if (first !== address.value) {
    throw refuse(
      `is an address inside a range: write ${format({ bits, value: first })}/${prefix} for the range, or ${host} for the address`,
    );
  }
  return { bits, value: first, prefix };
}

const MAPPED = 0xffffn;

function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { bits: 32, value: join(text.split('.').map(Number), 8n) };
  if (isIP(text) !== 6) return undefined;
  // The URL parser writes an IPv6 address in groups of hexadecimal digits, with `::` at most once.
  const { hostname } = new URL(`http://[${text.replace(/%.*$/s, '')}]`);
  const [before = [], after] = hostname
    .slice(1, -1)
    .split('::')
    .map((half) => half.split(':').filter(Boolean));
  const zeros = after ? Array.from({ length: 8 - before.length - after.length }, () => '0') : [];
  const groups = [...before, ...zeros, ...(after ?? [])];
  const value = join(
    groups.map((group) => Number.parseInt(group, 16)),
    16n,
  );
  return value >> 32n === MAPPED ? { bits: 32, value: value & 0xffff_ffffn } : { bits: 128, value };
}

function join(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(part), 0n);
}

function format({ bits, value }: Address): string {
  const [size, count, radix, separator] = bits === 32 ? [8, 4, 10, '.'] : [16, 8, 16, ':'];
  const mask = (1n << BigInt(size)) - 1n;
  const parts = Array.from({ length: count }, (_, i) =>
    ((value >> BigInt((count - 1 - i) * size)) & mask).toString(radix),
  );
  const text = parts.join(separator);
  return bits === 32 ? text : new URL(`http://[${text}]`).hostname.slice(1, -1);
}
