// What a command talks to: the database of the settings, or with --url a running service. Both do the
// same operations, so that a command prints the same.

import { readClientConfig, type Config, type Flags } from '../config.js';
import { perform } from '../operations/perform.js';
import type { Context, InputOf, Operation, OutputOf } from '../operations/operation.js';
import { Sharder } from '../sharder.js';
import type { Database } from '../store/database.js';
import { actor } from './change.js';
import { withDatabase } from './open.js';
import { Remote } from './remote.js';
import { READING, stoppable, type Stop, type StopWords } from './stop.js';

export type Perform = <P extends Operation>(
  operation: P,
  input: InputOf<P>,
) => Promise<OutputOf<P>>;

/** What there is where no service is asked. */
export interface Here {
  readonly database: Database;
  readonly stop: Stop;
}

export interface ServiceOptions {
  /** What is said if a signal ends it. */
  readonly words?: StopWords;
  readonly onProgress?: Context['onProgress'];
}

/** Calls `work` with what does operations. */
export async function withService<T>(
  flags: Flags,
  work: (perform: Perform, here?: Here) => Promise<T>,
  { words = READING, onProgress }: ServiceOptions = {},
): Promise<T> {
  const remote = remoteOf(flags);
  if (remote) {
    return stoppable(words, (stop) => {
      remote.onAsked = () => {
        stop.unsure();
      };
      return work(async (operation, input) => {
        const done = await remote.perform(operation, input);
        stop.done();
        return done;
      });
    });
  }
  const inDatabase = (database: Database, { kinds: declared }: Config, stop: Stop): Promise<T> => {
    let sharder: Promise<Sharder> | undefined;
    const context = {
      database,
      declared,
      actor: actor(),
      onProgress,
      assign: async (kind: string, name: string) => {
        sharder ??= Sharder.start(database);
        const assigning = (await sharder).assign(kind, name);
        // SQLite has done it when a signal is seen again, or not at all.
        if (database.engineName === 'postgres') stop.unsure();
        const answer = await assigning;
        stop.done();
        return answer;
      },
    };
    return work((operation, input) => perform(operation, input, context), { database, stop });
  };
  return withDatabase(flags, inDatabase, { words });
}

/** The service of --url or SHARDER_URL; undefined where neither is given. */
export function remoteOf(flags: Flags): Remote | undefined {
  const client = readClientConfig(flags, process.env);
  return client && new Remote(client);
}
