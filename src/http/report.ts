// What happened to a request, for the client who failed, the log and the metrics.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { sendError, toAuthErrorReply, toErrorReply } from './errors.js';
import type { RequestCounts, Route } from './metrics.js';
import type { ApiChange } from './v1/request.js';

// In a flood of failures one line a second for each kind of failure, with how many it stands for.
const REPEAT_AFTER_MS = 1_000;

/** An error without what drivers attach to it: rows, and with them names. */
export function loggable(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? { code: error.code } : {};
  return {
    type: name,
    message,
    ...code,
    stack,
    ...(cause !== undefined && { cause: loggable(cause) }),
  };
}

function requestId(res: ServerResponse): { request_id?: string } {
  const id = res.getHeader('X-Request-Id');
  return typeof id === 'string' ? { request_id: id } : {};
}

export class Reporter {
  readonly #log: Logger;
  readonly #namesUsers: boolean;
  readonly #requests: RequestCounts;
  readonly #isDebug: boolean;
  readonly #silences = new Map<string, { until: number; count: number }>();

  /** `namesUsers`: whether lines above debug say which user they are about. */
  constructor(log: Logger, namesUsers: boolean, requests: RequestCounts) {
    this.#log = log;
    this.#namesUsers = namesUsers;
    this.#requests = requests;
    this.#isDebug = log.isLevelEnabled('debug');
  }

  count(route: Route, status: number): void {
    this.#requests.add(route, status);
  }

  /** An answer: counted, and a line at debug. */
  answered(route: Route, kind: string, user: string, bucket: string): void {
    this.#requests.add(route, 200);
    if (this.#isDebug) this.#log.debug({ route, kind, user, bucket }, 'answered');
  }

  /** A change by the management API. */
  changed({ requestId, actor, action, input: { kind, bucket } }: ApiChange): void {
    this.#log.info({ request_id: requestId, actor, action, kind, bucket }, 'changed');
  }

  /** A failure: sent to the client, and to the log in a line whose level follows the status. */
  fail(
    req: IncomingMessage,
    res: ServerResponse,
    route: Route,
    error: unknown,
    user?: string,
  ): void {
    const reply = route === 'auth' ? toAuthErrorReply(error) : toErrorReply(error);
    const { status, code, message } = reply;
    const id = requestId(res);
    const who = user !== undefined && user !== '' && this.#namesUsers ? { user } : {};
    // Everybody gets one and nobody the other: that a proxy is not trusted is the operator's to mend.
    if (status >= 500 || code === 'untrusted_peer') {
      const repeated = this.#repeated(code);
      const line = { ...id, route, code, ...who, ...repeated };
      if (repeated === undefined) {
        // said within this second
      } else if (code === 'internal') {
        this.#log.error({ ...line, err: loggable(error) }, message);
      } else {
        this.#log.warn(line, message);
      }
    } else {
      this.#log.debug({ ...id, route, code, user }, message);
    }
    if (res.headersSent) res.destroy();
    else sendError(req, res, reply);
  }

  // Undefined while lines of this code are held back.
  #repeated(code: string): { suppressed?: number } | undefined {
    const now = performance.now();
    const silence = this.#silences.get(code);
    if (silence && now < silence.until) {
      silence.count++;
      return undefined;
    }
    this.#silences.set(code, { until: now + REPEAT_AFTER_MS, count: 0 });
    return silence && silence.count > 0 ? { suppressed: silence.count } : {};
  }
}
