// What a line of the log may say of an object: its name, a keyed hash of it, or nothing.

import { createHmac } from 'node:crypto';
import { SharderError } from './errors.js';

/** The setting `log.names`. */
export type NamesInLog = 'plain' | 'hash' | 'none';

export interface LogNames {
  /** Whether names stand there as they are. */
  readonly arePlain: boolean;
  /** What stands for an object, or undefined where nothing may. */
  of(kind: string, name: string): string | undefined;
}

/** Throws `settings` for `hash` without a key. */
export function createLogNames(mode: NamesInLog, key?: string): LogNames {
  if (mode === 'plain') return { arePlain: true, of: (_kind, name) => name };
  if (mode === 'none') return { arePlain: false, of: () => undefined };
  if (key === undefined) throw noLogKey('log.names is hash, and there is no key');
  return { arePlain: false, of: (kind, name) => logName(key, kind, name) };
}

/** What `logName` makes. */
export const LOG_NAME = /^u:[0-9a-f]{24}$/;

/**
 * The first 96 bits of HMAC-SHA-256 (RFC 2104) over `["kind","name"]`, as JSON, so that no two pairs
 * are written alike. Who has not the key cannot try names out.
 */
export function logName(key: string, kind: string, name: string): string {
  const hash = createHmac('sha256', key).update(JSON.stringify([kind, name]));
  return `u:${hash.digest('hex').slice(0, 24)}`;
}

/** The error for a hash that is to be made without a key. */
export function noLogKey(why: string): SharderError {
  return new SharderError(
    'settings',
    `SHARDER_LOG_KEY: ${why}; make one with: openssl rand -hex 32`,
  );
}

/**
 * The text with `instead` wherever the name stands: as it is, in quotes, in a URL, or as the bytes of
 * a header.
 */
export function withoutName(text: string, name: string, instead: string): string {
  if (name === '') return text;
  const forms = new Set([name, JSON.stringify(name).slice(1, -1), asLatin1(name)]);
  const pattern = [...forms].map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  return text
    .replaceAll(/\S*%[0-9a-f]{2}\S*/gi, (word) => (decode(word).includes(name) ? instead : word))
    .replaceAll(
      new RegExp(`(?<![\\p{L}\\p{N}])(?:${pattern.join('|')})(?![\\p{L}\\p{N}])`, 'gu'),
      instead,
    );
}

function asLatin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

// What can be decoded of it.
function decode(word: string): string {
  return word.replaceAll(/(?:%[0-9a-f]{2})+/gi, (bytes) => {
    return Buffer.from(bytes.replaceAll('%', ''), 'hex').toString();
  });
}
