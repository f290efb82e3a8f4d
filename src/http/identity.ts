// Who is asking: the user's name out of one header, from a peer that may name a user.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { SharderError } from '../errors.js';
import { createMatchNetwork } from '../networks.js';
import { createReadHeader } from './header.js';

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
  const checkPeer = createCheckPeer(trustedProxies);
  const read = createReadHeader(userHeader, 'bad_identity');

  return (req) => {
    checkPeer(req);
    const value = read(req);
    if (value === undefined) {
      throw new SharderError(
        'no_identity',
        `no ${userHeader} header came: the proxy in front must log the user in and set it`,
      );
    }
    return value;
  };
}

/** Makes the function that throws `untrusted_peer` for a request of a peer that is none of `proxies`. */
export function createCheckPeer(proxies: readonly string[]): (req: IncomingMessage) => void {
  const isTrusted = trustedPeers(proxies);
  return ({ socket }) => {
    if (isTrusted(socket)) return;
    throw new SharderError(
      'untrusted_peer',
      `${socket.remoteAddress ?? 'this peer'} may not name a user: if it is your proxy, add it to trusted_proxies`,
    );
  };
}

// A connection's peer does not change, so that it is looked at once.
function trustedPeers(proxies: readonly string[]): (socket: Socket) => boolean {
  const trusts = createMatchNetwork(proxies);
  const known = new WeakMap<Socket, boolean>();
  return (socket) => {
    let isTrusted = known.get(socket);
    if (isTrusted === undefined) {
      isTrusted = socket.remoteAddress !== undefined && trusts(socket.remoteAddress);
      known.set(socket, isTrusted);
    }
    return isTrusted;
  };
}
