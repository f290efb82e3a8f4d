// sharder backup: a copy of a SQLite database while the service runs, checked before it has its name.

import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import Sqlite from 'better-sqlite3';
import { readConfig, type Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { connect, withoutPassword } from '../store/database.js';
import { isStandard } from '../transfer/format.js';
import { draftOf, writeWhole } from './draft.js';
import { refuseOwnFiles } from './own-files.js';
import { stoppable, type StopWords } from './stop.js';

export interface BackupOptions extends Flags {
  readonly overwrite?: boolean;
}

const WORDS: StopWords = { before: 'nothing was backed up; the same command does it' };

/** Of any version's database: a backup is made before `sharder migrate`, too. */
export async function backup(
  file: string,
  { overwrite = false, ...flags }: BackupOptions,
): Promise<void> {
  const url = readConfig(flags, process.env).database;
  if (!url.startsWith('sqlite:')) throw usePgDump(url, file);
  if (isStandard(file)) throw new SharderError('settings', 'a backup needs the name of a file');
  refuseOwnFiles(url, file, [draftOf(file)]);
  const database = connect(url, false, { isBulk: true });
  try {
    // In one read, so that writers are not held up, and a busy service does not make it begin again,
    // as it would a copy in steps (sqlite3_backup) whenever another process has written.
    await stoppable(WORDS, (stop) =>
      writeWhole(file, overwrite, async (draft) => {
        await stop.pause(
          `copying; Ctrl-C stops it, and leaves ${draft}, which the next one removes`,
        );
        await database.read((knex) => knex.raw('vacuum into ?', [draft]));
        checkCopy(draft);
        stop.cleanUp(() => {
          rmSync(draft, { force: true });
        });
        stop.resume();
      }),
    );
  } finally {
    await database.close();
  }
  const { size } = await stat(file);
  process.stdout.write(
    `backed up ${database.location} to ${file}: ${size.toLocaleString('en')} bytes, checked\n`,
  );
}

function checkCopy(file: string): void {
  // Not read-only: then SQLite leaves out the rules that a row must keep.
  const copy = new Sqlite(file, { fileMustExist: true });
  try {
    const [first] = copy.prepare<[], string>('pragma integrity_check').pluck().all();
    if (first === 'ok') return;
    throw new SharderError(
      'database_unavailable',
      `the copy is damaged (${first ?? ''}), and was thrown away: \`sharder check\` tells of the database itself`,
    );
  } finally {
    copy.close();
  }
}

function usePgDump(url: string, file: string): SharderError {
  return new SharderError(
    'bad_request',
    `PostgreSQL makes its backups itself: type pg_dump --format=custom --file=${file} '${withoutPassword(url)}' (the password in PGPASSWORD or ~/.pgpass), and pg_restore to bring it back`,
  );
}
