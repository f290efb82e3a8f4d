// Files with the names of users in them: for nobody but the user that runs this, whatever the umask.

import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

export const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;

/**
 * Makes an empty file, and the directories above it, where they are not there. What is there keeps its mode.
 * SQLite gives the log and the other files beside a database the mode of the database.
 */
export function makePrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: PRIVATE_DIRECTORY });
  // Never opened if it is there: closing it would let go of the locks that this process has on it.
  if (existsSync(path)) return;
  closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT, PRIVATE_FILE));
}
