// Verifies that a call to a worker comes from the Sharder, and comes once. Needs nothing but Node.

import { timingSafeEqual } from 'node:crypto';
import { CALL_HEADERS, signCall } from '../call-signature.js';

/** The lease of a worker that is called: the answer to the claim that took it. */
export interface CalledLease {
  readonly epoch: number;
  readonly secret: string;
}

/** A call, as `node:http` receives it. */
export interface ReceivedCall {
  readonly method?: string | undefined;
  /** The request target, `req.url`. */
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The bytes of the body, before they are parsed. */
  readonly body: string | Buffer;
}

export interface CallVerifierOptions {
  /** How far the two clocks may differ; an older call is refused. Default: a minute. */
  readonly windowMs?: number;
  /** The time, in milliseconds since 1970. */
  readonly now?: () => number;
}

const WINDOW_MS = 60_000;

/**
 * Verifies calls to a worker:
 *
 *     const calls = new CallVerifier();
 *     calls.lease = await client.claimLease({ …, calls: true }); // when it takes the lease
 *     const why = calls.refusal({ method: req.method, url: req.url, headers: req.headers, body });
 *     if (why !== undefined) res.writeHead(401).end(why);
 */
export class CallVerifier {
  /** The lease that is held now; undefined: none, and every call is refused. */
  lease: CalledLease | undefined;
  readonly #windowMs: number;
  readonly #now: () => number;
  // The signatures of calls within the window, with the time when each leaves it.
  readonly #seen = new Map<string, number>();

  constructor({ windowMs = WINDOW_MS, now = Date.now }: CallVerifierOptions = {}) {
    this.#windowMs = windowMs;
    this.#now = now;
  }

  /** Why a call must be refused; undefined: it is genuine. A second time the same call is a replay. */
  refusal({ method = '', url: path = '', headers, body }: ReceivedCall): string | undefined {
    const { lease } = this;
    if (lease?.secret === undefined) return 'no lease is held';
    const timestamp = whole(headers[CALL_HEADERS.timestamp]);
    const epoch = whole(headers[CALL_HEADERS.epoch]);
    const given = headers[CALL_HEADERS.signature];
    if (timestamp === undefined || epoch === undefined || typeof given !== 'string') {
      return 'the call is not signed';
    }
    if (epoch !== lease.epoch) return 'the call is for another lease';
    const expected = signCall(lease.secret, { timestamp, epoch, method, path, body });
    if (!isSame(given, expected)) return 'the signature is wrong';
    const now = this.#now();
    if (Math.abs(now - timestamp) > this.#windowMs) {
      return 'the call is too old, or the clocks differ';
    }
    for (const [signature, until] of this.#seen) {
      if (until >= now) break; // the others came later
      this.#seen.delete(signature);
    }
    if (this.#seen.has(expected)) return 'the call is a replay';
    this.#seen.set(expected, timestamp + this.#windowMs);
    return undefined;
  }
}

function whole(text: string | string[] | undefined): number | undefined {
  return typeof text === 'string' && /^(0|[1-9]\d{0,15})$/.test(text) ? Number(text) : undefined;
}

function isSame(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)];
  return one.length === other.length && timingSafeEqual(one, other);
}
