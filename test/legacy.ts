// Databases as the Python sharder leaves them: the statements that SQLAlchemy sends for its table.

import Sqlite from 'better-sqlite3';
import pg from 'pg';
import type { TestEngine } from './engines.js';

export type LegacyRow = readonly [kind: string | null, bucket: string | null, name: string | null];

const COLUMNS = `
  kind VARCHAR(256),
  bucket VARCHAR(256),
  name VARCHAR(256),
  PRIMARY KEY (id)`;
const UNIQUE = `,
  UNIQUE (kind, name)`;
const INDEX = 'CREATE INDEX shard_kind_name_index ON shard (kind, name)';

export interface LegacyOptions {
  /** Whether it has the unique constraint, which early versions had not. */
  readonly isUnique?: boolean;
}

/** Makes the table and its rows, with ids from 1 in their order, in an empty database. */
export async function createLegacy(
  engine: TestEngine['name'],
  url: string,
  rows: readonly LegacyRow[],
  { isUnique = true }: LegacyOptions = {},
): Promise<void> {
  const rest = COLUMNS + (isUnique ? UNIQUE : '');
  if (engine === 'sqlite') {
    const connection = new Sqlite(url.slice('sqlite:'.length));
    connection.exec(`CREATE TABLE shard (id INTEGER NOT NULL, ${rest})`);
    connection.exec(INDEX);
    const insert = connection.prepare('INSERT INTO shard (kind, bucket, name) VALUES (?, ?, ?)');
    connection.transaction(() => {
      for (const row of rows) insert.run(...row);
    })();
    connection.close();
    return;
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE TABLE shard (id SERIAL NOT NULL, ${rest})`);
  await client.query(INDEX);
  await client.query(
    `INSERT INTO shard (kind, bucket, name)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[])`,
    [0, 1, 2].map((i) => rows.map((row) => row[i])),
  );
  await client.end();
}

/** `dummy-BUCKET` in each bucket, as the Python sharder adds them when it starts. */
export function dummies(kind: string, ...buckets: string[]): LegacyRow[] {
  return buckets.map((bucket) => [kind, bucket, `dummy-${bucket}`]);
}
