// A running service: what --url does in place of the database.

import { Connection } from '../client/connection.js';
import type { InputOf, Operation, OutputOf } from '../operations/operation.js';

export { Failure, type Upload } from '../client/connection.js';

export class Remote extends Connection {
  /** Does an operation there. Throws what the service says, or `unreachable`. */
  async perform<P extends Operation>(operation: P, input: InputOf<P>): Promise<OutputOf<P>> {
    return (await this.do({ ...operation, how: howOf(operation) }, input)) as OutputOf<P>;
  }
}

/** How an operation may be asked for again. */
export function howOf(operation: Operation): 'read' | 'write' | 'put' | 'once' {
  if ('read' in operation) return 'read';
  if (operation.method === 'PUT') return 'put';
  return 'write' in operation ? 'write' : 'once';
}
