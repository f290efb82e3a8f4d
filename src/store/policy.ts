// The policy of a kind, and what must be so for it to have one.

import type { Knex } from 'knex';
import { SharderError } from '../errors.js';
import { DEFAULT_KIND } from '../names.js';
import { POLICIES, type Policy } from '../policies.js';
import type { KindSettings } from './kind-settings.js';

/** Throws `bad_request` unless this is a policy. */
export function checkPolicy(policy: string): asserts policy is Policy {
  if ((POLICIES as readonly string[]).includes(policy)) return;
  throw new SharderError(
    'bad_request',
    `policy ${JSON.stringify(policy)} is none: it must be ${POLICIES.join(' or ')}`,
  );
}

/** Throws `bad_request` for settings that the policy cannot have. */
export function refuseMisfits(kind: string, policy: string, settings: KindSettings): void {
  if (policy === 'hash' && settings.leased) {
    throw new SharderError(
      'bad_request',
      `kind ${kind} cannot be leased and have the policy hash: workers come and go, and keys would move with them; choose one of the two`,
    );
  }
  if (policy !== 'hash' && settings.key !== 'user') {
    throw new SharderError(
      'bad_request',
      `key: kind ${kind} has the policy ${policy}, which remembers users; the key of a request is for the policy hash, or set the key to user`,
    );
  }
}

/**
 * Throws `not_empty` where a kind cannot have the policy hash yet: objects that are not pinned would be
 * kept where they are, against the hash, and nobody would have said so.
 */
export async function refusePolicyChange(
  trx: Knex.Transaction,
  kind: string,
  policy: string,
): Promise<void> {
  if (policy !== 'hash') return;
  const [row] = await trx('shard')
    .where({ kind, pinned: false })
    .count<{ count: number | string }[]>({ count: '*' });
  const count = Number(row?.count);
  if (count === 0) return;
  const of = kind === DEFAULT_KIND ? '' : ` --kind ${kind}`;
  throw new SharderError(
    'not_empty',
    `kind ${kind} has ${count} ${count === 1 ? 'object' : 'objects'} that the hash would put elsewhere: make another kind with the policy hash; or pin those that are to stay (\`sharder object pin NAME${of}\`), and remove the others (\`sharder object remove NAME${of}\`)`,
  );
}

/** Throws `bad_request` for a kind of the policy hash: nobody plans where its keys go. */
export async function refuseHashed(knex: Knex, kind: string): Promise<void> {
  const [name] = await knex('kind').where({ name: kind, policy: 'hash' }).pluck<string[]>('name');
  if (name === undefined) return;
  throw new SharderError(
    'bad_request',
    `kind ${kind} has the policy hash: where its keys go is computed, and nothing can be planned; to empty a bucket, \`sharder bucket drain NAME --kind ${kind}\`, for more or fewer keys, set its weight (\`sharder bucket set\`)`,
  );
}
