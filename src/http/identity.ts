// Who is asking: the user's name out of one header, from a peer that may name a user.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import proxyAddr from 'proxy-addr';
import { SharderError } from '../errors.js';

export interface IdentitySettings {
  /** The header that names the user, in any case. */
  readonly userHeader: string;
  /** Addresses, ranges, or `loopback`, `linklocal`, `uniquelocal`. */
  readonly trustedProxies: readonly string[];
}

/**
 * Makes the function that reads the user's name out of a request. It throws `untrusted_peer`;
 * `no_identity` when the header is not there; `bad_identity` when it is there twice, is empty or not
 * UTF-8, or when another header is there that some servers take for the same (`Remote-User` for
 * `REMOTE_USER`). It does not check what else a name must be: the Sharder does.
 */
export function createIdentify({
  userHeader,
  trustedProxies,
}: IdentitySettings): (req: IncomingMessage) => string {
  const isTrusted = trustedPeers(trustedProxies);
  const wanted = userHeader.toLowerCase();
  const { length } = wanted;
  const folded = fold(wanted);

  return (req) => {
    if (!isTrusted(req.socket)) {
      throw new SharderError(
        'untrusted_peer',
        `${req.socket.remoteAddress ?? 'this peer'} may not name a user: if it is your proxy, add it to trusted_proxies`,
      );
    }
    // The raw headers: joined ones would not tell two values from one with a comma in it.
    const { rawHeaders } = req;
    let value: string | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const header = rawHeaders[i] ?? '';
      if (header.length !== length) continue;
      const lower = header.toLowerCase();
      if (lower !== wanted) {
        if (fold(lower) === folded) throw alias(header, userHeader);
      } else if (value === undefined) {
        value = rawHeaders[i + 1];
      } else {
        throw new SharderError('bad_identity', `${userHeader} came more than once`);
      }
    }
    if (value === undefined) {
      throw new SharderError(
        'no_identity',
        `no ${userHeader} header came: the proxy in front must log the user in and set it`,
      );
    }
    if (value === '') throw new SharderError('bad_identity', `${userHeader} is empty`);
    return NON_ASCII.test(value) ? decodeUtf8(value, userHeader) : value;
  };
}

const NON_ASCII = /[^\0-\x7f]/;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// Node hands out a header's bytes as Latin-1.
function decodeUtf8(value: string, userHeader: string): string {
  try {
    return UTF8.decode(Buffer.from(value, 'latin1'));
  } catch {
    throw new SharderError('bad_identity', `${userHeader} is not valid UTF-8`);
  }
}

function alias(header: string, userHeader: string): SharderError {
  return new SharderError(
    'bad_identity',
    `the header ${header} came, which could be taken for ${userHeader}: the proxy in front must remove it`,
  );
}

// CGI, WSGI and their like see both as the same variable.
function fold(header: string): string {
  return header.replaceAll('-', '_');
}

// A connection's peer does not change, so that it is looked at once.
function trustedPeers(proxies: readonly string[]): (socket: Socket) => boolean {
  const trusts = proxyAddr.compile([...proxies]);
  const known = new WeakMap<Socket, boolean>();
  return (socket) => {
    let isTrusted = known.get(socket);
    if (isTrusted === undefined) {
      isTrusted = socket.remoteAddress !== undefined && trusts(socket.remoteAddress, 0);
      known.set(socket, isTrusted);
    }
    return isTrusted;
  };
}
