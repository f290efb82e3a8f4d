// sharder bucket login-key: what a hub verifies login proofs with.

import type { Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { deriveLoginKey } from '../login-proof.js';
import { getBucket } from '../store/buckets.js';
import { withDatabase } from './open.js';
import { remoteOf } from './service.js';

/** Prints the bucket's login key: one for each of SHARDER_LOGIN_SECRET, separated by commas. */
export async function printLoginKey(
  bucket: string,
  { kind, ...flags }: Flags & { readonly kind: string },
): Promise<void> {
  if (remoteOf(flags)) {
    throw new SharderError(
      'settings',
      'login-key: derives the key here, from SHARDER_LOGIN_SECRET, and not through --url',
    );
  }
  const keys = await withDatabase(flags, async (database, { loginSecrets }) => {
    if (loginSecrets.length === 0) {
      throw new SharderError(
        'settings',
        'SHARDER_LOGIN_SECRET: is not set; set it as it is for the service',
      );
    }
    await database.read((knex) => getBucket(knex, kind, bucket));
    return loginSecrets.map((secret) => deriveLoginKey(secret, kind, bucket));
  });
  process.stdout.write(`${keys.join(',')}\n`);
}
