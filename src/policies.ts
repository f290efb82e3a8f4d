// How kinds pick buckets. A file of its own: the command line names them before it loads anything.

/** The emptiest, remembered; or by a hash, computed anew each time. */
export const POLICIES = ['emptiest', 'hash'] as const;
export type Policy = (typeof POLICIES)[number];

/** Of the policy `hash`: by which. See assign/hash.ts. */
export const HASHES = ['rendezvous', 'modulo'] as const;
export type Hash = (typeof HASHES)[number];
