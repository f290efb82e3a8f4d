// What happened to a request, for the client who failed, the log and the metrics.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { isServerWord, sendError, toAuthErrorReply, toErrorReply } from './errors.js';
import { withoutName, type LogNames } from '../log-names.js';
import type { RequestCounts, Route } from './metrics.js';
import type { ApiChange, Caller } from './v1/request.js';

// In a flood of failures one line a second for each kind of failure, with how many it stands for.
const REPEAT_AFTER_MS = 1_000;

/** Whom a request is about. */
export interface Who {
  readonly kind: string;
  readonly name: string;
}

/**
 * An error without what drivers attach to it: rows, and with them names. Unless names may stand in
 * the log, its text does not have that of `who` either.
 */
export function loggable(error: unknown, names: LogNames, who?: Who): object {
  const clean = (text: string) =>
    names.arePlain || !who
      ? text
      : withoutName(text, who.name, names.of(who.kind, who.name) ?? '[name]');
  if (!(error instanceof Error)) return { message: clean(String(error)) };
  const { name, stack, cause } = error;
  const code = 'code' in error ? { code: error.code } : {};
  const message = names.arePlain || !isAboutRow(error) ? clean(error.message) : WITHHELD;
  return {
    type: name,
    message,
    ...code,
    stack: names.arePlain ? stack : `${name}: ${message}${framesOf(error)}`,
    ...(cause !== undefined && { cause: loggable(cause, names, who) }),
  };
}

function requestId(res: ServerResponse): { request_id?: string } {
  const id = res.getHeader('X-Request-Id');
  return typeof id === 'string' ? { request_id: id } : {};
}

const WITHHELD = 'withheld: it may quote a row';

// A database's own words about the data, or those of a trigger that somebody has added: SQLSTATE
// classes 22, 23 and P0, and SQLite's constraints. They may be about another user of the same batch.
function isAboutRow(error: Error): boolean {
  const code = 'code' in error ? String(error.code) : '';
  return /^(22|23|P0)[0-9A-Z]{3}$|^SQLITE_CONSTRAINT/.test(code);
}

// The stack without the message, which it repeats as it was when the error was made.
function framesOf({ stack = '' }: Error): string {
  return /(?:\n {4}at [^\n]*)*$/.exec(stack)?.[0] ?? '';
}

// That a proxy is not trusted is the operator's to mend; and who tries tokens is theirs to know.
const WATCHED = new Set<string>(['untrusted_peer', 'wrong_token', 'read_only', 'other_kind']);

export class Reporter {
  readonly #log: Logger;
  readonly #names: LogNames;
  readonly #requests: RequestCounts;
  readonly #isDebug: boolean;
  readonly #silences = new Map<string, { until: number; count: number }>();

  /** `names`: how lines say which user they are about. */
  constructor(log: Logger, names: LogNames, requests: RequestCounts) {
    this.#log = log;
    this.#names = names;
    this.#requests = requests;
    this.#isDebug = log.isLevelEnabled('debug');
  }

  count(route: Route, status: number): void {
    this.#requests.add(route, status);
  }

  /** An answer: counted, and a line at debug. */
  answered(route: Route, kind: string, name: string, bucket: string): void {
    this.#requests.add(route, 200);
    if (this.#isDebug) {
      this.#log.debug({ route, kind, ...this.#user({ kind, name }), bucket }, 'answered');
    }
  }

  /** A change by the management API. */
  changed({ requestId, actor, action, input }: ApiChange): void {
    const { kind, name, bucket, assigned, fixed } = input as Record<string, string | undefined>;
    const object = kind && name && this.#names.of(kind, name);
    const line = { request_id: requestId, actor, action, kind, object, bucket, assigned, fixed };
    this.#log.info(line, 'changed');
  }

  /** Somebody who watches and has taken nothing for too long. */
  cutOff({ requestId, actor }: Caller): void {
    this.#log.warn({ request_id: requestId, actor }, 'cut off: whoever watches takes nothing');
  }

  /** A failure: sent to the client, and to the log in a line whose level follows the status. */
  fail(req: IncomingMessage, res: ServerResponse, route: Route, error: unknown, who?: Who): void {
    const reply = route === 'auth' ? toAuthErrorReply(error) : toErrorReply(error);
    const { status, code } = reply;
    const id = requestId(res);
    // What quotes the request may quote a name, of whomever.
    const message = this.#names.arePlain || isServerWord(code) ? reply.message : 'refused';
    if (status >= 500 || WATCHED.has(code)) {
      const repeated = this.#repeated(code);
      if (repeated !== undefined) {
        const peer = WATCHED.has(code) ? { peer: req.socket.remoteAddress } : {};
        const line = { ...id, route, code, ...peer, ...this.#user(who), ...repeated };
        if (code === 'internal') {
          this.#log.error({ ...line, err: loggable(error, this.#names, who) }, message);
        } else {
          this.#log.warn(line, message);
        }
      }
    } else if (this.#isDebug) {
      this.#log.debug({ ...id, route, code, ...this.#user(who) }, message);
    }
    if (res.headersSent) res.destroy();
    else sendError(req, res, reply);
  }

  #user(who: Who | undefined): { user?: string } {
    const user = who && who.name !== '' ? this.#names.of(who.kind, who.name) : undefined;
    return user === undefined ? {} : { user };
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
