// Which version this is, as package.json has it.

import { readFileSync } from 'node:fs';

/** The package's version. Where it is read from holds for `dist/http` and for `dist/chunks`. */
export function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
