// The signature of a call to a worker: HMAC-SHA-256 with the secret of its lease. Needs nothing but Node.

import { createHash, createHmac } from 'node:crypto';

/** What a call carries besides its body. */
export const CALL_HEADERS = {
  /** When it was signed, in milliseconds since 1970. */
  timestamp: 'x-shard-timestamp',
  /** The epoch of the worker's lease. */
  epoch: 'x-shard-epoch',
  /** `v1=` and 64 hexadecimal digits. */
  signature: 'x-shard-signature',
} as const;

/** All that a signature covers. */
export interface SignedCall {
  readonly timestamp: number;
  readonly epoch: number;
  readonly method: string;
  /** The request target, as it is sent: path, and query if there is one. */
  readonly path: string;
  readonly body: string | Buffer;
}

/**
 * Signs a call. The signed text has six lines: `v1`, timestamp, epoch, method, path, and the SHA-256 of the
 * body in hexadecimal.
 */
export function signCall(
  secret: string,
  { timestamp, epoch, method, path, body }: SignedCall,
): string {
  const digest = createHash('sha256').update(body).digest('hex');
  const text = ['v1', timestamp, epoch, method, path, digest].join('\n');
  return `v1=${createHmac('sha256', secret).update(text).digest('hex')}`;
}
