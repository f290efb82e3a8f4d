// The management API of a running service, for applications: one method for each operation, typed from
// the schemas that check the requests.

import { Connection, type Fields, type Repeatable } from './connection.js';
import { ROUTES, type Operations } from './routes.js';

export interface ClientOptions {
  /** Where the service is: `http://127.0.0.1:8888`. */
  readonly url: string;
  /** A token of the service's SHARDER_ADMIN_TOKEN, without its name. */
  readonly token: string;
  /** How long an answer is waited for; by default a minute, and half an hour for what takes long. */
  readonly timeoutMs?: number | undefined;
  /** How often it is asked in all, where nothing comes or the service is busy; default: 5. */
  readonly attempts?: number | undefined;
}

/** What a client can do: a method for each operation of the API. */
export type Methods = {
  readonly [K in keyof Operations]: (
    input: Operations[K]['input'],
  ) => Promise<Operations[K]['output']>;
};

class Client {
  readonly #connection: Connection;
  readonly #how: { readonly attempts: number; readonly silenceMs: number | undefined };

  constructor({ url, token, timeoutMs, attempts = 5 }: ClientOptions) {
    this.#connection = new Connection({ url: new URL(url), token });
    this.#how = { attempts, silenceMs: timeoutMs };
    for (const [name, route] of Object.entries(ROUTES)) {
      Object.defineProperty(this, name, { value: (input: Fields) => this.#ask(route, input) });
    }
  }

  #ask(route: Repeatable, input: Fields): Promise<unknown> {
    return this.#connection.do(route, input, this.#how);
  }
}

/**
 * Asks a running service: `await client.moveObject({ kind: 'hub', name: 'iana', to: 'hub-1' })`. A
 * question that got no answer is asked again, with the same Idempotency-Key, so that nothing is done
 * twice. Rejects with a `SharderError`: what the service says, or `unreachable`.
 */
export const SharderClient = Client as unknown as new (options: ClientOptions) => Methods;
export type SharderClient = Methods;
