// What kinds, buckets and objects may be called. Checked at the door, before the database is asked.

import { SharderError } from './errors.js';

/** The kind of a request or a command that names none. */
export const DEFAULT_KIND = 'hub';

/** Longest name of a bucket or an object, in bytes of UTF-8; and of a key, which is stored nowhere. */
export const MAX_NAME_BYTES = 256;
export const MAX_KEY_BYTES = 8_192;

/** A kind names a cookie and stands in a path, so it is a plain token of at most 63 characters. */
export const KIND_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** A bucket is a cookie's value and a header's: the octets that RFC 6265 allows in one, but `%`. */
export const BUCKET_PATTERN = /^[!#$&-+\--:<-[\]-~]{1,256}$/;

// Control characters (the C0 and C1 sets and DEL), lone surrogates, which UTF-8 cannot carry, and
// what stands for bytes that were no UTF-8.
const FORBIDDEN = /[\p{Cc}\p{Cs}\uFFFD]/u;

/** Throws `bad_name` unless `name` can name an object: 1 to 256 bytes, or as given, of clean text. */
export function checkObjectName(name: string, maxBytes = MAX_NAME_BYTES): void {
  if (name === '') throw new SharderError('bad_name', 'the name is empty');
  if (name.length > maxBytes || Buffer.byteLength(name) > maxBytes) {
    throw new SharderError(
      'bad_name',
      `the name has ${Buffer.byteLength(name)} bytes; at most ${maxBytes} are allowed`,
    );
  }
  if (FORBIDDEN.test(name)) {
    throw new SharderError('bad_name', 'the name has a control character or is not valid Unicode');
  }
  if (name.trim() !== name) {
    throw new SharderError('bad_name', 'the name begins or ends with white space');
  }
}

/**
 * What a new object of a kind may be called. `any`: whatever `checkObjectName` takes. `strict`: also no comma,
 * nothing that cannot be seen, and in Unicode's form NFC.
 */
export const NAME_RULES = ['strict', 'any'] as const;
export type NameRule = (typeof NAME_RULES)[number];

const PLAIN = /^[ -+\--~]*$/; // visible ASCII without the comma
// Ignorable by default, other format characters, separators but the space, and the blank of Braille.
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{Cf}\u2800]|(?! )\p{Z}/u;

/** Why a name that `checkObjectName` takes is not strict; undefined: it is. */
export function whyNotStrict(name: string): string | undefined {
  if (PLAIN.test(name)) return undefined;
  if (name.includes(',')) return 'it has a comma, as a list of names has';
  const unseen = UNSEEN.exec(name)?.[0].codePointAt(0);
  if (unseen !== undefined) {
    const code = unseen.toString(16).toUpperCase().padStart(4, '0');
    return `it has the character U+${code}, which cannot be seen`;
  }
  const composed = name.normalize('NFC');
  return composed === name
    ? undefined
    : `it is not in Unicode's form NFC, which is ${JSON.stringify(composed)}`;
}

/** Throws `bad_name` unless `kind` can name a kind. */
export function checkKindName(kind: string): void {
  if (!KIND_PATTERN.test(kind)) {
    throw new SharderError(
      'bad_name',
      `${JSON.stringify(kind)} cannot name a kind: 1 to 63 of A-Z a-z 0-9 . _ -, the first a letter or a digit`,
    );
  }
}

/** Throws `bad_name` unless `bucket` can name a bucket. */
export function checkBucketName(bucket: string): void {
  if (!BUCKET_PATTERN.test(bucket)) {
    throw new SharderError(
      'bad_name',
      `${JSON.stringify(bucket)} cannot name a bucket: 1 to 256 visible ASCII characters but " % , ; \\`,
    );
  }
}
