// What the migrations make, as schema/ENGINE/schema.sql has it. Whoever must know the names of our tables or
// triggers asks here, so that a new migration is not forgotten.

import { readFile } from 'node:fs/promises';
import type { EngineName } from './migrate.js';

export interface SnapshotTrigger {
  readonly name: string;
  readonly table: string;
  /** SQLite: the whole statement. PostgreSQL: the body of its function. */
  readonly body: string;
}

export interface Snapshot {
  readonly tables: readonly string[];
  readonly indexes: readonly string[];
  readonly triggers: readonly SnapshotTrigger[];
  /** The functions of the triggers on PostgreSQL. */
  readonly functions: readonly string[];
}

const SCHEMA = new URL('../../schema/', import.meta.url);

export async function readSnapshot(engine: EngineName): Promise<Snapshot> {
  return parseSnapshot(await readFile(new URL(`${engine}/schema.sql`, SCHEMA), 'utf8'), engine);
}

function parseSnapshot(sql: string, engine: EngineName): Snapshot {
  const all = (pattern: RegExp) => [...sql.matchAll(pattern)];
  const names = (pattern: RegExp) => all(pattern).map(([, name = '']) => name);
  const functions = new Map(
    all(/^CREATE FUNCTION (?:public\.)?(\w+)\([^]*?\$\$([^]*?)\$\$;/gm).map(
      ([, name = '', body = '']) => [name, body],
    ),
  );
  const triggers =
    engine === 'sqlite'
      ? all(/^(CREATE TRIGGER (\w+)\b[^]*?\bon (\w+)[^]*?^end);/gm).map(
          ([, body = '', name = '', table = '']) => ({ name, table, body }),
        )
      : all(/^CREATE TRIGGER (\w+) .* ON public\.(\w+) .*FUNCTION public\.(\w+)\(\);$/gm).map(
          ([, name = '', table = '', of = '']) => ({ name, table, body: functions.get(of) ?? '' }),
        );
  return {
    tables: names(/^CREATE TABLE (?:public\.)?(\w+)/gm),
    indexes: names(/^CREATE (?:UNIQUE )?INDEX (\w+)/gm),
    triggers,
    functions: [...functions.keys()],
  };
}

/** A body without what says nothing: white space, and the comments that the snapshot leaves out. */
export function normalizeBody(body: string): string {
  return body
    .replaceAll(/^\s*--.*$/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
