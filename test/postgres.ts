// A real PostgreSQL of a test's own: a fresh cluster on a free port, gone when the test ends.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

/** Where PostgreSQL's programs are, or undefined. Debian keeps them out of the PATH. */
export const postgresBin: string | undefined = [
  ...(process.env.PATH ?? '').split(':'),
  ...debianBins(),
  '/opt/homebrew/bin',
].find((dir) => ['initdb', 'postgres', 'pg_dump'].every((name) => existsSync(join(dir, name))));

function debianBins(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'));
}

// PostgreSQL refuses to run as root; Debian's package makes the user postgres.
const isRoot = process.getuid?.() === 0;

/** A command line that runs one of PostgreSQL's programs as a user that it accepts. */
export function postgresCommand(program: string, args: readonly string[]): [string, string[]] {
  const path = join(postgresBin ?? '', program);
  return isRoot
    ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--clear-groups', path, ...args]]
    : [path, [...args]];
}

export class PostgresServer {
  readonly port: number;
  readonly #dir: string;
  #process: ChildProcess | undefined;
  #databases = 0;

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.port = port;
  }

  /** Makes a cluster and starts it. `isDurable`: on disk and with fsync, for tests that kill it. */
  static async start({ isDurable = false } = {}): Promise<PostgresServer> {
    const dir = mkdtempSync(join(isDurable ? tmpdir() : fastDirectory(), 'sharder-pg-'));
    if (isRoot) chownToPostgres(dir);
    const data = join(dir, 'data');
    makeCluster(data);
    const server = new PostgresServer(dir, await freePort());
    writeFileSync(
      join(data, 'postgresql.auto.conf'),
      [
        `port = ${server.port}`,
        `listen_addresses = '127.0.0.1'`,
        `unix_socket_directories = '${dir}'`,
        `fsync = ${isDurable ? 'on' : 'off'}`,
        `max_connections = 200`,
        `log_min_messages = fatal`,
      ].join('\n'),
    );
    await server.start();
    return server;
  }

  /** Starts it (again); resolves when it answers. */
  async start(): Promise<void> {
    const [command, args] = postgresCommand('postgres', ['-D', join(this.#dir, 'data')]);
    this.#process = spawn(command, args, { stdio: 'ignore' });
    for (;;) {
      try {
        const client = await this.connect('postgres');
        await client.end();
        return;
      } catch (error) {
        if (this.#process.exitCode !== null) throw error;
        await sleep(20); // there is no event for "accepts connections"
      }
    }
  }

  url(database: string): string {
    return `postgres://sharder@127.0.0.1:${this.port}/${database}`;
  }

  /** An empty database; resolves with its URL. */
  async createDatabase(): Promise<string> {
    const name = `test_${++this.#databases}`;
    const client = await this.connect('postgres');
    await client.query(`create database ${name}`);
    await client.end();
    return this.url(name);
  }

  async connect(database: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(database) });
    await client.connect();
    return client;
  }

  /** `SIGKILL` to the server: its other processes end with it, as in a crash. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** To the server process: SIGSTOP lets it hang, SIGCONT lets it go on. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Stops it and removes the cluster. */
  async stop(): Promise<void> {
    await this.#end('SIGQUIT');
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#process;
    if (server?.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  }
}

const ENOUGH_BYTES = 4 * 1024 ** 3;

// In memory where there is room: a database is three hundred files, which a disk makes in a quarter of a second.
function fastDirectory(): string {
  const memory = '/dev/shm';
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize >= ENOUGH_BYTES ? memory : tmpdir();
}

// Made once, and copied for every test file: that is ten times as quick.
const TEMPLATE = fileURLToPath(new URL('../node_modules/.cache/sharder/', import.meta.url));

function makeCluster(data: string): void {
  const version = run('postgres', ['--version'])
    .trim()
    .replaceAll(/[^\w.]+/g, '-');
  const template = join(TEMPLATE, version);
  if (existsSync(template)) {
    copy(template, data);
    return;
  }
  run('initdb', ['-D', data, '-U', 'sharder', '-A', 'trust', '-E', 'UTF8', '--no-locale', '-N']);
  mkdirSync(TEMPLATE, { recursive: true });
  const mine = mkdtempSync(join(TEMPLATE, 'new-'));
  copy(data, join(mine, 'data'));
  try {
    renameSync(join(mine, 'data'), template);
  } catch {
    // another test file was first
  }
  rmSync(mine, { recursive: true });
}

// With its owner and its modes.
function copy(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', from, to], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cp failed: ${stderr}`);
}

function run(program: string, args: readonly string[]): string {
  const [command, commandArgs] = postgresCommand(program, args);
  const { status, stdout, stderr } = spawnSync(command, commandArgs, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout;
}

/** The schema of a database as pg_dump prints it. */
export function dumpSchema(url: string): string {
  return run('pg_dump', ['--schema-only', '--no-owner', '--no-privileges', url]);
}

function chownToPostgres(dir: string): void {
  const id = (flag: string) =>
    Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
  chownSync(dir, id('-u'), id('-g'));
}

// Where the system takes none for whoever connects or asks for any: what is free stays free until a server
// has started there.
const PORTS = { first: 10_000, count: 10_000 };
let nextPort = Math.floor(Math.random() * PORTS.count);

/** A port of 127.0.0.1 where nobody listens, and behind it as a rule some more. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + (nextPort++ % PORTS.count);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
