// What is asked of a run, checked before anything is started.

import { KeyPattern } from '../key-pattern.js';
import { SharderError } from '../errors.js';
import { checkNetwork } from '../networks.js';

const MOST_SHARDS = 256;

export interface RunOptions {
  /** How many copies of the program. */
  readonly shards: number;
  /** Its first group, found in a request's path, is the key that says which copy gets it. */
  readonly urlPattern: string;
  /** Where the router listens. Port 0 is any that is free. */
  readonly port: number;
  readonly host?: string | undefined;
  /** The copies are called `server-0` and so on; the key's copy depends on it. */
  readonly name?: string | undefined;
  /** A path on which a copy answers 2xx or 3xx while it is well. */
  readonly health?: string | undefined;
  /** Whether the router is a real nginx. */
  readonly nginx?: boolean | undefined;
  /** Proxies in front: addresses, ranges, `loopback`, `linklocal`, `uniquelocal`. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** The program and its arguments. */
  readonly command: readonly string[];
}

/** What `checkOptions` makes of them: nothing is missing. */
export interface CheckedOptions extends RunOptions {
  readonly host: string;
  readonly names: readonly string[];
  readonly pattern: KeyPattern;
  readonly health: string | undefined;
  readonly trustedProxies: readonly string[];
}

/** Throws `settings` with what came, what is allowed and what to do. */
export function checkOptions(options: RunOptions): CheckedOptions {
  const { shards, urlPattern, port, host = '127.0.0.1', name = 'server', health } = options;
  const { trustedProxies = [] } = options;
  if (!Number.isInteger(shards) || shards < 1 || shards > MOST_SHARDS) {
    throw wrong('shards', shards, `must be a whole number from 1 to ${MOST_SHARDS}`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw wrong('port', port, 'must be a port: 1 to 65535, or 0 for any that is free');
  }
  // They are names of hosts too.
  if (!/^[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?$/.test(name)) {
    throw wrong('name', name, 'must be 1 to 50 of a-z 0-9 -, with a letter or digit at both ends');
  }
  if (health !== undefined && !/^\/[\x21-\x7e]*$/.test(health)) {
    throw wrong('health', health, 'must be a path, such as /healthz');
  }
  for (const proxy of trustedProxies) checkTrusted(proxy);
  if (options.command[0] === undefined) {
    throw new SharderError('settings', 'there is no program to run: give it after --');
  }
  const names = Array.from({ length: shards }, (_, i) => `${name}-${i}`);
  return { ...options, host, health, names, trustedProxies, pattern: patternOf(urlPattern) };
}

function checkTrusted(proxy: string): void {
  try {
    checkNetwork(proxy);
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    throw new SharderError('settings', `trusted-proxies: ${error.message}`, { cause: error });
  }
}

function patternOf(urlPattern: string): KeyPattern {
  try {
    return new KeyPattern(urlPattern);
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    throw new SharderError(
      'settings',
      `url-pattern: ${error.message.replace(/^the pattern /, '')}`,
      { cause: error },
    );
  }
}

function wrong(key: string, value: unknown, must: string): SharderError {
  return new SharderError('settings', `${key}: ${JSON.stringify(value)} ${must}`);
}
