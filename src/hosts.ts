// Which hosts the service answers to. A web page can have its own name resolve to 127.0.0.1 (DNS rebinding),
// and a browser then lets it read what it finds there. The Host header still has the page's name.

import type { IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import { SharderError } from './errors.js';
import { canonicalAddress, createMatchNetwork } from './networks.js';

/** Throws `settings` unless `host` is a name or an address, without a port. */
export function checkHost(host: string): void {
  if (ofSetting(host) === undefined) {
    throw new SharderError(
      'settings',
      `${JSON.stringify(host)} must be the name or the address of a host, without a scheme or a port, such as sharder.internal`,
    );
  }
}

/**
 * Makes the function that throws `wrong_host` for a request whose Host is none of `hosts`, no loopback name
 * and not the address that the connection arrived at; `bad_request` for two Host headers. The port does not
 * matter. No check is made of a request without a Host (HTTP/1.0: a browser always sends one), and of one over
 * a Unix socket, which no web page can open.
 */
export function createCheckHost(hosts: readonly string[]): (req: IncomingMessage) => void {
  for (const host of hosts) checkHost(host);
  const known = new Set(['localhost', ...hosts.map(ofSetting)]);
  const isLoopback = createMatchNetwork(['loopback']);

  const isKnown = (authority: string, localAddress: string | undefined): boolean => {
    const host = parseHost(authority.replace(/:\d*$/, ''));
    if (host === undefined) return false;
    if (known.has(host.key) || isLoopback(host.text)) return true;
    return host.key === canonicalAddress(localAddress ?? '');
  };

  return ({ rawHeaders, url = '', originalUrl = url, socket }: RequestOf) => {
    const { localAddress } = socket;
    if (localAddress === undefined && !socket.destroyed) return;
    const named = rawHeaders.filter((_, i) => i % 2 === 1 && isHost(rawHeaders[i - 1]));
    if (named.length > 1) throw new SharderError('bad_request', 'Host came more than once');
    // The absolute form of a request's target names a host too (RFC 9112, 3.2.2).
    const target = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(originalUrl)?.[1];
    const authorities = target === undefined ? named : [...named, target];
    const wrong = authorities.find((each) => !isKnown(each, localAddress));
    if (wrong === undefined) return;
    throw new SharderError(
      'wrong_host',
      `this service does not answer to the host ${JSON.stringify(wrong.slice(0, 100))}: if it is yours, add it to the setting hosts (SHARDER_HOSTS), without the port`,
    );
  };
}

/** Express has the target as it came in `originalUrl`. */
type RequestOf = IncomingMessage & { readonly originalUrl?: string };

function isHost(header: string | undefined): boolean {
  return header?.length === 4 && header.toLowerCase() === 'host';
}

interface Host {
  /** Without brackets. */
  readonly text: string;
  /** The same for each way to write the host. */
  readonly key: string;
}

// Undefined where it is neither a name nor an address.
function parseHost(host: string): Host | undefined {
  const bare = /^\[([0-9a-f:.]+)\]$/i.exec(host)?.[1];
  const address = canonicalAddress(bare ?? host);
  if (address !== undefined) {
    const isWhole = bare === undefined ? isIPv4(host) : isIPv6(bare);
    return isWhole ? { text: bare ?? host, key: address } : undefined;
  }
  // The dot ends a full name.
  const name = host.toLowerCase().replace(/\.$/, '');
  return /^(?=.{1,253}$)[\w-]+(\.[\w-]+)*$/.test(name) ? { text: name, key: name } : undefined;
}

// A person writes an IPv6 address without brackets too, and a name with letters of any language.
function ofSetting(host: string): string | undefined {
  const text = isIPv6(host) ? `[${host}]` : /^[\0-\x7f]*$/.test(host) ? host : domainToASCII(host);
  return parseHost(text)?.key;
}
