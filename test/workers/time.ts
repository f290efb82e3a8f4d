// Time passes, in a test, without anybody waiting for it.

import type { Database } from '../../src/index.js';

/** So many seconds pass: what the database keeps of times is as much older. */
export async function pass({ knex, engineName }: Database, seconds: number): Promise<void> {
  for (const [table, column] of [
    ['lease', 'expires_at'],
    ['lease', 'taken_at'],
    ['kind', 'placed_at'],
    ['kind', 'resumed_at'],
  ] as const) {
    const earlier =
      engineName === 'sqlite'
        ? `strftime('%Y-%m-%dT%H:%M:%fZ', ${column}, '${-seconds} seconds')`
        : `${column} - interval '${seconds} seconds'`;
    await knex.raw(`update ${table} set ${column} = ${earlier} where ${column} is not null`);
  }
}
