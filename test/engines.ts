// One body of tests runs on SQLite and on PostgreSQL:
//   for (const engine of engines) describe(engine.name, engine.options, () => { … })

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { BucketSettings } from '../src/store/buckets.js';
import {
  declareKinds,
  openDatabase,
  Sharder,
  type Database,
  type SharderOptions,
} from '../src/index.js';
import { postgresBin, PostgresServer } from './postgres.js';

export interface TestEngine {
  readonly name: 'sqlite' | 'postgres';
  /** For `describe`: skips where PostgreSQL is not installed, but never in CI. */
  readonly options: { readonly skip: string | false };
  /** The URL of an empty database. */
  createDatabase(): Promise<string>;
}

const cleanups: (() => unknown)[] = [];
after(async () => {
  const failures: unknown[] = [];
  for (const cleanup of cleanups.reverse()) {
    try {
      await cleanup();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, 'clean-up failed');
});

/** A directory that is removed when the test file has run. */
export function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sharder-test-'));
  cleanups.push(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

let files = 0;
const sqlite: TestEngine = {
  name: 'sqlite',
  options: { skip: false },
  createDatabase: () => Promise.resolve(`sqlite:${join(temporaryDirectory(), `${++files}.db`)}`),
};

let server: Promise<PostgresServer> | undefined;

/** The PostgreSQL server of this test file, started when first asked for. */
export function postgresServer(): Promise<PostgresServer> {
  if (!server) {
    server = PostgresServer.start();
    cleanups.push(async () => (await server)?.stop());
  }
  return server;
}

const isMissing = postgresBin === undefined;
if (isMissing && process.env.CI) {
  throw new Error('PostgreSQL is not installed: run test/install-servers.sh');
}

/** For `describe` and `it`: where PostgreSQL is needed. */
export const needsPostgres = {
  skip: isMissing && 'PostgreSQL is not installed: run test/install-servers.sh',
} as const;

const postgres: TestEngine = {
  name: 'postgres',
  options: needsPostgres,
  createDatabase: async () => (await postgresServer()).createDatabase(),
};

export const engines: readonly TestEngine[] = [sqlite, postgres];

/** Opens a database that is closed when the test file has run. */
export async function open(url: string): Promise<Database> {
  const database = await openDatabase(url);
  cleanups.push(() => database.close());
  return database;
}

export type Buckets = Readonly<Record<string, BucketSettings>>;

/** `{ 'hub-0': {}, … }`: so many buckets without further settings. */
export function hubs(count: number): Buckets {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`hub-${i}`, {}]));
}

/** A sharder on a database of its own, with one kind, `hub`. */
export async function startSharder(
  engine: TestEngine,
  buckets: Buckets = hubs(5),
  options: SharderOptions = {},
): Promise<Sharder> {
  const database = await open(await engine.createDatabase());
  await declareHub(database, buckets);
  return Sharder.start(database, options);
}

export async function declareHub(database: Database, buckets: Buckets): Promise<void> {
  const declared = Object.entries(buckets).map(([name, settings]) => ({ name, ...settings }));
  await declareKinds(database, { hub: { buckets: declared } }, 'test');
}
