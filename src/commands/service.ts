// What a command talks to: the database of the settings, or with --url a running service. Both do the
// same operations, so that a command prints the same.

import { readClientConfig, type Flags } from '../config.js';
import { perform } from '../operations/perform.js';
import type { InputOf, Operation, OutputOf } from '../operations/operation.js';
import { Sharder } from '../sharder.js';
import { actor } from './change.js';
import { withDatabase } from './open.js';
import { Remote } from './remote.js';

export type Perform = <P extends Operation>(
  operation: P,
  input: InputOf<P>,
) => Promise<OutputOf<P>>;

/** Calls `work` with what does operations. */
export async function withService<T>(
  flags: Flags,
  work: (perform: Perform) => Promise<T>,
): Promise<T> {
  const remote = remoteOf(flags);
  if (remote) return work((operation, input) => remote.perform(operation, input));
  return withDatabase(flags, (database, { kinds: declared }) => {
    let sharder: Promise<Sharder> | undefined;
    const context = {
      database,
      declared,
      actor: actor(),
      assign: async (kind: string, name: string) =>
        (await (sharder ??= Sharder.start(database))).assign(kind, name),
    };
    return work((operation, input) => perform(operation, input, context));
  });
}

/** The service of --url or SHARDER_URL; undefined where neither is given. */
export function remoteOf(flags: Flags): Remote | undefined {
  const client = readClientConfig(flags, process.env);
  return client && new Remote(client);
}
