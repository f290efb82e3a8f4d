// Where workers may be called: at addresses in the networks that the settings name, and nowhere else.

import { lookup as lookUp, type LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import { SharderError } from '../errors.js';
import { createMatchNetwork } from '../networks.js';

/** Finds the addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

const lookUpAll = promisify(lookUp);
const resolveAll: Resolve = (host) => lookUpAll(host, { all: true, verbatim: true });

/** A worker's URL, and the addresses to connect to: the name is not looked up again. */
export interface CallTarget {
  readonly url: URL;
  readonly addresses: readonly [LookupAddress, ...LookupAddress[]];
}

/** Why a worker is not called: an address is in no network of the settings. */
export class OutsideNetworks extends Error {}

export class CallTargets {
  readonly #contains: (address: string) => boolean;
  readonly #isEmpty: boolean;
  readonly #resolve: Resolve;

  /** `networks` as the setting `callback_networks` has them; none: no worker is called. */
  constructor(networks: readonly string[] = [], resolve = resolveAll) {
    this.#contains = createMatchNetwork(networks);
    this.#isEmpty = networks.length === 0;
    this.#resolve = resolve;
  }

  /**
   * Throws `bad_request` where no worker can be called at this URL: no networks are set, or its address
   * is in none of them. A host name is looked up when the worker is called.
   */
  check(url: string | null): void {
    if (this.#isEmpty) throw new SharderError('bad_request', `calls: ${this.#unset()}`);
    if (url === null) return;
    const host = hostOf(new URL(url));
    if (isIP(host) === 0 || this.#contains(host)) return;
    throw new SharderError('bad_request', `calls: ${outside(host)}`);
  }

  /** Looks a worker's host name up. Rejects with `OutsideNetworks` unless all of its addresses may be called. */
  async resolve(text: string): Promise<CallTarget> {
    if (this.#isEmpty) throw new OutsideNetworks(this.#unset());
    const url = new URL(text);
    const host = hostOf(url);
    const family = isIP(host);
    const found = family === 0 ? await this.#resolve(host) : [{ address: host, family }];
    const [first, ...others] = found;
    if (!first) throw new Error(`${host} has no address`);
    const wrong = found.find(({ address }) => !this.#contains(address));
    if (wrong) throw new OutsideNetworks(outside(host, wrong.address));
    return { url, addresses: [first, ...others] };
  }

  #unset(): string {
    return `this service calls no workers, because callback_networks is not set: name the networks of your workers in sharder.yml, such as \`callback_networks: [10.1.0.0/16]\``;
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function outside(host: string, address = host): string {
  const what = host === address ? host : `${address}, an address of ${host},`;
  return `${what} is in none of the callback_networks: add its network in sharder.yml, such as \`callback_networks: [${address}]\``;
}
