// Who is asking: the user's name out of one header, from a peer that may name a user.

import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { SharderError } from '../errors.js';
import { createMatchNetwork } from '../networks.js';
import { createReadHeader } from './header.js';

/** The header in which the proxy in front sends SHARDER_PROXY_SECRET. */
export const PROXY_SECRET_HEADER = 'X-Shard-Proxy-Secret';

/** Who may name a user. */
export interface TrustSettings {
  /** Addresses, ranges, or `loopback`, `linklocal`, `uniquelocal`. */
  readonly trustedProxies: readonly string[];
  /** One of them must come in X-Shard-Proxy-Secret; none: the address is enough. */
  readonly proxySecrets?: readonly string[];
  /** Whether the server listens on a unix socket: then the socket's mode says who may connect. */
  readonly isUnixSocket?: () => boolean;
}

export interface IdentitySettings extends TrustSettings {
  /** The header that names the user, in any case. */
  readonly userHeader: string;
}

/**
 * Makes the function that reads the user's name out of a request. It throws `untrusted_peer`;
 * `no_identity` when the header is not there; `bad_identity` when it is there twice, is empty or not
 * UTF-8, or when another header is there that some servers take for the same (`Remote-User` for
 * `REMOTE_USER`). It does not check what else a name must be: the Sharder does.
 */
export function createIdentify({
  userHeader,
  ...trust
}: IdentitySettings): (req: IncomingMessage) => string {
  const checkPeer = createCheckPeer(trust);
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

/**
 * Makes the function that throws `untrusted_peer` for a request of a peer that may not name a user: its
 * address is not trusted, or it sends no proxy secret or a wrong one.
 */
export function createCheckPeer({
  trustedProxies,
  proxySecrets = [],
  isUnixSocket = () => false,
}: TrustSettings): (req: IncomingMessage) => void {
  const isTrusted = trustedPeers(trustedProxies);
  const secrets = proxySecrets.map((secret) => Buffer.from(secret));
  const lower = PROXY_SECRET_HEADER.toLowerCase();
  return ({ socket, headers }) => {
    if (!isUnixSocket() && !isTrusted(socket)) {
      throw new SharderError(
        'untrusted_peer',
        `${socket.remoteAddress ?? 'this peer'} may not name a user: if it is your proxy, add it to trusted_proxies`,
      );
    }
    if (secrets.length === 0) return;
    const given = Buffer.from(String(headers[lower] ?? ''), 'latin1');
    if (!secrets.some((secret) => isSame(secret, given))) {
      throw new SharderError(
        'untrusted_peer',
        `no ${PROXY_SECRET_HEADER} came, or a wrong one: the proxy in front must send one of SHARDER_PROXY_SECRET`,
      );
    }
  };
}

// How long it takes tells nothing but the length.
function isSame(secret: Buffer, given: Buffer): boolean {
  return secret.length === given.length && timingSafeEqual(secret, given);
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
