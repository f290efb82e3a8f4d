// What every example needs of its machine: a free port, and to know when it is to end.

import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** On a free port, with which it resolves. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

export function close(server: Server): void {
  server.close();
  server.closeAllConnections();
}

/**
 * Resolves at Ctrl-C, or when somebody else wants this to end, or when the process is gone that has
 * forked this one. Under npm a signal comes more than once.
 */
export function askedToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect']) {
      process.on(signal, () => {
        resolve();
      });
    }
  });
}

/** After so long, or at the end; resolves with whether it is that. */
export function endsWithin(ms: number, end: Promise<void>): Promise<boolean> {
  return Promise.race([end.then(() => true), sleep(ms, false)]);
}
