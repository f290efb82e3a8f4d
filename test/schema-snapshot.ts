// The schema as the migrations make it, as text that a person can read and a test can compare with
// schema/sqlite/schema.sql and schema/postgres/schema.sql. After a new migration write them anew:
//   UPDATE_SNAPSHOT=1 node --import tsx --test test/store/schema.test.ts

import { readFileSync, writeFileSync } from 'node:fs';
import SqliteConnection from 'better-sqlite3';
import type { TestEngine } from './engines.js';
import { dumpSchema } from './postgres.js';

const HEADER = `-- What the migrations in this directory make. Written by a test, never by hand.\n\n`;

// Where the migrator keeps its books; knex makes these, and no query of ours reads them.
const BOOKS = 'schema_migration';

/** The schema of the database at `url`, without the migrator's own tables. */
export function renderSchema(engine: TestEngine['name'], url: string): string {
  const statements =
    engine === 'sqlite' ? sqliteStatements(url.slice('sqlite:'.length)) : postgresStatements(url);
  return HEADER + statements.filter((sql) => !sql.includes(BOOKS)).join('\n\n') + '\n';
}

/** The snapshot that lies beside the migrations; written anew first when UPDATE_SNAPSHOT is set. */
export function snapshot(engine: TestEngine['name'], rendered: string): string {
  const file = new URL(`../schema/${engine}/schema.sql`, import.meta.url);
  if (process.env.UPDATE_SNAPSHOT) writeFileSync(file, rendered);
  return readFileSync(file, 'utf8');
}

// SQLite keeps each statement as it was written; those for its own tables are left out.
function sqliteStatements(file: string): string[] {
  const connection = new SqliteConnection(file, { readonly: true });
  const statements = connection
    .prepare<[], string>(
      `select sql from sqlite_schema where sql is not null and name not like 'sqlite_%' order by rowid`,
    )
    .pluck()
    .all();
  connection.close();
  return statements.map((sql) => `${sql};`);
}

// What differs between versions of pg_dump, or says nothing: comments, the session's settings, the
// \restrict of late minor versions.
const NOISE = /^(--|SET |SELECT pg_catalog\.set_config|\\)/;

function postgresStatements(url: string): string[] {
  return dumpSchema(url)
    .split('\n')
    .filter((line) => !NOISE.test(line))
    .join('\n')
    .split(/\n{2,}/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
