// A queue of notifications in a SQLite file, which each process opens for itself.

import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { ShardInfo } from '../../src/client/index.js';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS notification (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    handled_by TEXT
  );
  CREATE INDEX IF NOT EXISTS notification_waiting ON notification (hash) WHERE handled_by IS NULL`;

const HASHES = 2 ** 32;

/** Knuth's multiplicative hash, 0 … 2³² − 1: neighbours are spread far apart. */
export function knuthHash(userId: number): number {
  return Math.imul(userId, 2_654_435_761) >>> 0;
}

/** The hashes of a part of the work, from the first to before the second; all parts make up all of them. */
export function rangeOf({ shard, numShards }: ShardInfo): [number, number] {
  return [Math.ceil((shard * HASHES) / numShards), Math.ceil(((shard + 1) * HASHES) / numShards)];
}

export class Queue {
  readonly #file: Database.Database;

  constructor(dir: string) {
    this.#file = new Database(join(dir, 'queue.db'));
    this.#file.pragma('journal_mode = WAL');
    this.#file.exec(SCHEMA);
  }

  add(userIds: readonly number[]): void {
    const insert = this.#file.prepare('INSERT INTO notification (user_id, hash) VALUES (?, ?)');
    this.#file.transaction(() => {
      for (const userId of userIds) insert.run(userId, knuthHash(userId));
    })();
  }

  /**
   * Handles what waits of a part. For as long as a heartbeat two workers may go by different counts, and
   * their ranges overlap; so whoever marks a notification first has it.
   */
  handle(by: string, part: ShardInfo): number {
    const [from, to] = rangeOf(part);
    return this.#file
      .prepare(
        'UPDATE notification SET handled_by = ? WHERE handled_by IS NULL AND hash >= ? AND hash < ?',
      )
      .run(by, from, to).changes;
  }

  /** Takes out what was handled: how many by whom. */
  takeHandled(): Map<string, number> {
    const handled = this.#file
      .prepare('DELETE FROM notification WHERE handled_by IS NOT NULL RETURNING handled_by')
      .pluck()
      .all() as string[];
    const counts = new Map<string, number>();
    for (const by of handled.sort()) counts.set(by, (counts.get(by) ?? 0) + 1);
    return counts;
  }

  get waiting(): number {
    return this.#file
      .prepare('SELECT count(*) FROM notification WHERE handled_by IS NULL')
      .pluck()
      .get() as number;
  }

  close(): void {
    this.#file.close();
  }
}
