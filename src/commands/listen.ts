// Where the service listens: an address and a port, or a unix socket with a mode and a group.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import type { Config } from '../config.js';
import { SharderError } from '../errors.js';

type ListenSettings = Pick<Config, 'listen' | 'listen_mode' | 'listen_group'>;

/** Has the server listen. Throws `settings` where it cannot. */
export async function listen(server: Server, settings: ListenSettings): Promise<void> {
  const { listen } = settings;
  if ('path' in listen) await listenOnSocket(server, listen.path, settings);
  else await listenAt(server, listen.host, listen.port);
}

/** What clients connect to: http://HOST:PORT, or unix:PATH. */
export function describeAddress(server: Server): string {
  const address = server.address();
  if (address === null) throw new Error('the server does not listen');
  if (typeof address === 'string') return `unix:${address}`;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

async function listenAt(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host);
  await listening(server, `${host}:${port}`);
}

// Nobody but the owner can connect until the mode and the group are set.
async function listenOnSocket(
  server: Server,
  path: string,
  { listen_group: group, listen_mode: mode = group === undefined ? 0o600 : 0o660 }: ListenSettings,
): Promise<void> {
  const gid = group === undefined ? undefined : groupId(group);
  await removeStale(path);
  const umask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(umask);
  }
  await listening(server, `unix:${path}`);
  try {
    if (gid !== undefined) chownSync(path, -1, gid);
    chmodSync(path, mode);
  } catch (error) {
    throw refused(`unix:${path}`, (error as Error).message);
  }
}

async function listening(server: Server, where: string): Promise<void> {
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw refused(where, code === 'EADDRINUSE' ? IN_USE : message);
  }
}

const IN_USE = 'another program listens there already';

function refused(where: string, why: string): SharderError {
  return new SharderError('settings', `listen: ${where}: ${why}`);
}

// A service that was killed leaves its socket behind. One that answers is in use, and any other file is
// somebody else's.
async function removeStale(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file === undefined) return;
  if (!file.isSocket()) throw refused(`unix:${path}`, 'a file that is not a socket is in the way');
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') {
      throw refused(`unix:${path}`, (error as Error).message);
    }
    unlinkSync(path);
    return;
  } finally {
    socket.destroy();
  }
  throw refused(`unix:${path}`, IN_USE);
}

function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  try {
    const entry = execFileSync('getent', ['group', group], { encoding: 'utf8' });
    return Number(entry.split(':')[2]);
  } catch {
    throw new SharderError('settings', `listen_group: there is no group ${group} on this machine`);
  }
}
