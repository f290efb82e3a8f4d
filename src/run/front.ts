// What stands before the copies: the router of this process, or nginx.

/** A copy, as whoever sends it requests sees it. */
export interface Target {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Why it cannot serve now, and after how many seconds it may; undefined while it can. */
  readonly trouble: { readonly what: string; readonly retryAfter: number } | undefined;
}

export interface Front {
  /** Listens, with which it resolves: `http://127.0.0.1:8080`. Rejects with `settings` if it cannot. */
  listen(): Promise<string>;
  /** Takes no new requests; resolves when those that run have ended, or after so long. */
  drain(withinMs: number): Promise<void>;
  /** Lets go of all that is still open. */
  close(): Promise<void>;
}

export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
