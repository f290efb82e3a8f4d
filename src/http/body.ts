// Whether a request has a body.

import type { IncomingMessage } from 'node:http';

/** Whether a body was announced, whether or not it comes. */
export function announcesBody({ rawHeaders }: IncomingMessage): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const header = rawHeaders[i] ?? '';
    if (header.length === 14 && header.toLowerCase() === 'content-length') {
      return rawHeaders[i + 1] !== '0';
    }
    if (header.length === 17 && header.toLowerCase() === 'transfer-encoding') return true;
  }
  return false;
}
