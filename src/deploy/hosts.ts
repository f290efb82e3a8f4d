// The addresses of the buckets' hosts, for a file of nginx that has addresses and no names.

import { lookup } from 'node:dns/promises';
import { addressesIn } from './nginx.js';

const RESOLVE_EVERY_MS = 10_000;

/** None when there is no such name, undefined when that cannot be said now. */
type AddressesOf = (name: string) => Promise<string[] | undefined>;

/** Names of hosts and their addresses, each asked for again when it is too old. */
export class Hosts {
  readonly #known: Map<string, { readonly addresses: string[]; readonly until: number }>;
  readonly #addressesOf: AddressesOf;

  /** `before`: what was written last, which holds while the name servers do not answer. */
  constructor(before = '', addressesOf: AddressesOf = lookUp) {
    const entries = [...addressesIn(before)];
    this.#known = new Map(entries.map(([name, addresses]) => [name, { addresses, until: 0 }]));
    this.#addressesOf = addressesOf;
  }

  /**
   * In order, so that the same addresses make the same file. Names in `kept` keep the addresses that they
   * last had when there is no such name any more.
   */
  async resolve(
    names: ReadonlySet<string>,
    kept: ReadonlySet<string>,
  ): Promise<Map<string, string[]>> {
    const now = performance.now();
    await Promise.all(
      [...names].map(async (name) => {
        const known = this.#known.get(name);
        if (known !== undefined && known.until > now) return;
        const found = await this.#addressesOf(name);
        const isUnknown = found === undefined || (found.length === 0 && kept.has(name));
        const addresses = isUnknown ? (known?.addresses ?? []) : found;
        this.#known.set(name, { addresses, until: now + RESOLVE_EVERY_MS });
      }),
    );
    return new Map([...names].map((name) => [name, this.#known.get(name)?.addresses ?? []]));
  }
}

async function lookUp(name: string): Promise<string[] | undefined> {
  try {
    const found = await lookup(name, { all: true });
    return found.map(({ address }) => address).sort();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAI_AGAIN' ? undefined : [];
  }
}
