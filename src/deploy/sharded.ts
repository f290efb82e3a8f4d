// What `sharder render kubernetes | compose | systemd` are told of a sharded service, checked before a
// word of it is written into a file.

import { isIPv4, isIPv6 } from 'node:net';
import { KeyPattern } from '../key-pattern.js';
import { SharderError } from '../errors.js';
import { checkNetwork } from '../networks.js';
import { toNginxPattern } from './nginx-pattern.js';
import { MAX_SHARDS } from './router.js';

/** A service that is run so many times, each of them for the keys of its own. */
export interface ShardedService {
  /** Its shards are NAME-0, NAME-1, …, its router NAME-router. */
  readonly name: string;
  readonly shards: number;
  /** The first group in a request's path is its key. */
  readonly urlPattern: string;
  /** Where each shard listens, or the first of them where they share a machine. */
  readonly port: number;
  /** Proxies in front of the router whose X-Forwarded-… headers are passed on. Default: none. */
  readonly trustedProxies?: readonly string[];
}

// A StatefulSet's name stands with eleven characters more in a label of its pods, which has at most 63.
const MAX_NAME_LENGTH = 52;

/** Throws `settings`, with the option that is wrong. */
export function checkSharded({
  name,
  shards,
  urlPattern,
  port,
  trustedProxies = [],
}: ShardedService): void {
  checkName('--name', name);
  if (shards < 1 || shards > MAX_SHARDS) {
    throw refused('--shards', `${shards} cannot be: 1 to ${MAX_SHARDS} are allowed`);
  }
  if (port < 1024 || port + shards > 65_535) {
    throw refused('--port', `${port} cannot be: 1024 to 65279, for nothing here runs as root`);
  }
  for (const network of trustedProxies) {
    try {
      checkNetwork(network);
    } catch (error) {
      throw refused('--trusted-proxies', (error as Error).message);
    }
  }
  try {
    new KeyPattern(urlPattern);
    toNginxPattern(urlPattern);
  } catch (error) {
    throw refused('--url-pattern', (error as Error).message.replace(/^the pattern /, ''));
  }
}

/**
 * Throws `settings` unless nginx can listen there, on the machine whose ports from `port` on are the
 * shards'.
 */
export function checkListen(
  listen: string,
  { port, shards }: Pick<ShardedService, 'port' | 'shards'>,
): void {
  const [, v6 = '', v4 = '', digits = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+|\*)):(\d{1,5})$/.exec(listen) ?? [];
  const own = Number(digits);
  const isAddress = v4 === '*' || isIPv4(v4) || isIPv6(v6);
  if (!isAddress || own < 1 || own > 65_535) {
    throw refused(
      '--listen',
      `${JSON.stringify(listen)} cannot be: it must be an address and a port, such as 127.0.0.1:8080`,
    );
  }
  if (own >= port && own < port + shards) {
    throw refused(
      '--listen',
      `a shard has port ${own}: the shards have ${port} to ${port + shards - 1}, so choose another here or for --port`,
    );
  }
}

/** Throws `settings` unless a Service of Kubernetes can be called so, and more put behind it. */
export function checkName(option: string, name: string): void {
  if (/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name) && name.length <= MAX_NAME_LENGTH) return;
  throw refused(
    option,
    `${JSON.stringify(name)} cannot name it: 1 to ${MAX_NAME_LENGTH} of a-z 0-9 -, the first a letter, the last none of -`,
  );
}

/** Throws `settings` unless it names a namespace (RFC 1123). */
export function checkNamespace(namespace: string): void {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace)) return;
  throw refused(
    '--namespace',
    `${JSON.stringify(namespace)} cannot name one: 1 to 63 of a-z 0-9 -, the first and the last none of -`,
  );
}

/** Throws `settings` unless it is a domain such as cluster.local. */
export function checkDomain(option: string, domain: string): void {
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
  if (domain.length <= 200 && domain.split('.').every((each) => label.test(each))) return;
  throw refused(option, `${JSON.stringify(domain)} is no name of a host or a domain`);
}

// As the registries have it: a host, a path in small letters, a tag, a digest.
const IMAGE =
  /^(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

/** Throws `settings` unless it is the reference of an image. */
export function checkImage(option: string, image: string): void {
  if (image.length <= 500 && IMAGE.test(image)) return;
  throw refused(
    option,
    `${JSON.stringify(image)} names no image: it must be such as registry.example.org/team/server:1.2`,
  );
}

/** What a service of an image is called if nobody says: the last part of its path. */
export function nameOfImage(image: string): string {
  return image
    .replace(/@.*/, '')
    .replace(/^.*\//, '')
    .replace(/:.*/, '')
    .replaceAll(/[^a-z0-9]+/g, '-');
}

function refused(option: string, why: string): SharderError {
  return new SharderError('settings', `${option}: ${why}`);
}
