// Import and export, each beside what the engine itself does with the same rows in the same run.

import { createWriteStream, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { runCommand } from './commands.js';
import { BUCKETS, KIND, type Connection, type Engine, type Naming } from './engines.js';
import { Table } from './tables.js';

export interface TransferRun {
  readonly seconds: number;
  /** The engine's own. */
  readonly ownSeconds: number;
  readonly rssBytes: number;
  /** How long new users waited: the time in which the lock was held. Undefined for an export. */
  readonly lockedSeconds: number | undefined;
}

const ROWS_AT_ONCE = 5_000;

interface Row {
  readonly name: string;
  readonly bucket: string;
}

function* pagesOf(rows: number, naming: Naming): Generator<Row[]> {
  // An odd factor that shares nothing with a power of two runs through all numbers, in no order.
  const size = 2 ** Math.ceil(Math.log2(rows));
  const numbers = function* () {
    for (let i = 0; i < size; i++) {
      const number = naming === 'ordered' ? i : (i * 2_654_435_761) % size;
      if (number < rows) yield number;
    }
  };
  let page: Row[] = [];
  for (const number of numbers()) {
    const name = `user-${String(number).padStart(8, '0')}@uni.example`;
    page.push({ name, bucket: `${KIND}-${number % BUCKETS}` });
    if (page.length === ROWS_AT_ONCE) {
      yield page;
      page = [];
    }
  }
  yield page;
}

/** Imports so many rows from CSV into an empty table, after the engine has loaded the same. */
export async function measureImport(
  engine: Engine,
  rows: number,
  naming: Naming,
): Promise<TransferRun> {
  const file = join(tmpdir(), 'import.csv');
  await pipeline(csv(rows, naming), createWriteStream(file));
  const own = await withTable(engine, async (table) => {
    const started = performance.now();
    await (engine.name === 'SQLite' ? loadSqlite : loadPostgres)(table.url, pagesOf(rows, naming));
    const seconds = secondsSince(started);
    await checkCount(table, rows);
    return seconds;
  });
  const ours = await withTable(engine, async (table) => {
    const watching = new AbortController();
    const locked = watchLock(engine, table.url, watching.signal);
    const run = await runCommand(['import', file], table.url);
    watching.abort();
    await checkCount(table, rows);
    return { ...run, lockedSeconds: await locked };
  });
  rmSync(file);
  return { ...ours, ownSeconds: own };
}

function* csv(rows: number, naming: Naming): Generator<string> {
  yield 'user,hub\n';
  for (const page of pagesOf(rows, naming)) {
    yield page.map(({ name, bucket }) => `${name},${bucket}\n`).join('');
  }
}

/** Exports the table as CSV, after the engine has given out the same rows. */
export async function measureExport(engine: Engine, url: string): Promise<TransferRun> {
  const started = performance.now();
  await (engine.name === 'SQLite' ? readSqlite : readPostgres)(url);
  const ownSeconds = secondsSince(started);
  const run = await runCommand(['export', '--format=csv'], url);
  return { ...run, ownSeconds, lockedSeconds: undefined };
}

async function withTable<T>(engine: Engine, work: (table: Table) => Promise<T>): Promise<T> {
  const table = await Table.create(engine, 'ordered', 0);
  try {
    return await work(table);
  } finally {
    await table.remove();
  }
}

async function checkCount(table: Table, rows: number): Promise<void> {
  const members = await table.members();
  if (members !== rows) throw new Error(`of ${rows} rows ${members} are there`);
}

// Prepared inserts in one durable transaction.
async function loadSqlite(url: string, pages: Iterable<Row[]>): Promise<void> {
  const connection = new Sqlite(url.slice('sqlite:'.length));
  for (const pragma of ['synchronous = full', 'foreign_keys = on']) connection.pragma(pragma);
  const insert = connection.prepare(
    'insert into shard (kind, bucket, name, assigned_at) values (?, ?, ?, ?)',
  );
  const now = new Date().toISOString();
  connection.exec('begin immediate');
  for (const page of pages) {
    for (const { name, bucket } of page) insert.run(KIND, bucket, name, now);
    await nextTurn(); // for Ctrl-C
  }
  connection.exec('commit');
  connection.close();
}

async function loadPostgres(url: string, pages: Iterable<Row[]>): Promise<void> {
  await withClient(url, async (client) => {
    const copy = client.query(copyFrom('copy shard (kind, bucket, name) from stdin'));
    const text = function* () {
      for (const page of pages) {
        yield page.map(({ name, bucket }) => `${KIND}\t${bucket}\t${name}\n`).join('');
      }
    };
    await pipeline(Readable.from(text()), copy);
  });
}

const ALL = 'select kind, name, bucket, assigned_at from shard order by kind, name';

async function readSqlite(url: string): Promise<void> {
  const connection = new Sqlite(url.slice('sqlite:'.length));
  const rows = connection.prepare(ALL).raw().iterate();
  for (let read = 1; !rows.next().done; read++) {
    if (read % ROWS_AT_ONCE === 0) await nextTurn();
  }
  connection.close();
}

async function readPostgres(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const stream = client.query(copyTo(`copy (${ALL}) to stdout csv header`));
    await finished(stream.resume());
  });
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

// Asks for the lock every 10 ms: the time from the first refusal to the last.
async function watchLock(engine: Engine, url: string, signal: AbortSignal): Promise<number> {
  const connection = await engine.connect(url);
  if (engine.name === 'SQLite') connection.run('pragma busy_timeout = 0');
  let first: number | undefined;
  let last = 0;
  while (!signal.aborted) {
    if (await isLocked(engine, connection)) {
      last = performance.now();
      first ??= last;
    }
    await sleep(10);
  }
  await connection.close();
  return (last - (first ?? last)) / 1000;
}

async function isLocked({ name }: Engine, connection: Connection): Promise<boolean> {
  const lock =
    name === 'SQLite'
      ? 'begin immediate'
      : `begin; select from kind where name = '${KIND}' for update nowait`;
  try {
    await connection.run(`${lock}; rollback`);
    return false;
  } catch {
    if (name === 'PostgreSQL') await connection.run('rollback');
    return true;
  }
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}
