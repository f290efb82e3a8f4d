// The lists of secrets that the Sharder, the authenticator in Python and nginx's script must read alike.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface SecretList {
  readonly text: string;
  /** Undefined: the list is refused. */
  readonly secrets?: readonly string[];
  readonly why?: string;
}

const FILE = fileURLToPath(new URL('secret-lists.json', import.meta.url));

export const secretLists = JSON.parse(readFileSync(FILE, 'utf8')) as readonly SecretList[];
