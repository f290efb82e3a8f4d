// Whether a copy is there: who listens on its port, and whether it says that it is well.

import { once } from 'node:events';
import { get } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';

const TIMEOUT_MS = 2_000;

/** Where a program may listen that listens on `localhost`. */
export const LOOPBACK = ['127.0.0.1', '::1'] as const;
export type Loopback = (typeof LOOPBACK)[number];

/** The first of these addresses on which somebody listens on this port; undefined where nobody does. */
export async function findListener(
  hosts: readonly Loopback[],
  port: number,
): Promise<Loopback | undefined> {
  for (const host of hosts) if (await listens(host, port)) return host;
  return undefined;
}

export function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: TIMEOUT_MS });
    const answer = (is: boolean) => () => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(false));
    socket.once('timeout', answer(false));
  });
}

/** Undefined when the path is answered with 2xx or 3xx, else what is wrong. */
export function askHealth(host: string, port: number, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(
      { host, port, path, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) },
      (response) => {
        response.resume();
        response.on('error', () => undefined);
        const { statusCode = 0 } = response;
        const isWell = statusCode >= 200 && statusCode < 400;
        resolve(isWell ? undefined : `answers ${statusCode} on ${path}`);
      },
    );
    request.on('error', ({ name, message }) => {
      const isLate = name === 'AbortError' || name === 'TimeoutError';
      resolve(
        isLate
          ? `answers nothing on ${path} for ${TIMEOUT_MS / 1_000} s`
          : `breaks off on ${path} (${message})`,
      );
    });
  });
}

/** Whether a program that is told to listen on this port, on IPv4 or IPv6, could not do so. */
export async function isTaken(port: number): Promise<boolean> {
  for (const host of LOOPBACK) {
    const server = createServer();
    try {
      await once(server.listen(port, host), 'listening');
      await once(server.close(), 'close');
    } catch (error) {
      // For another reason, as where there is no IPv6, nobody else has it either.
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
    }
  }
  return false;
}

/** So many different ports of the loopback that nobody listens on. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
