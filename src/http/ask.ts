// Who asks, and where they live: what /shard, /auth and /go have in common.

import type { IncomingMessage } from 'node:http';
import cookieParser from 'cookie-parser';
import type { Request, Response } from 'express';
import type { Answer } from '../assign/answer.js';
import { SharderError } from '../errors.js';
import type { Sharder } from '../sharder.js';
import type { Cookies } from './cookie.js';

/** Calls `reply`, at once for a known user, or `fail`; and `fail` too if `reply` throws. */
export type Ask = (
  req: IncomingMessage,
  kind: string,
  reply: (answer: Answer, user: string) => void,
  fail: (error: unknown, user: string) => void,
) => void;

/**
 * Makes the function that reads the user's name and assigns. While the database is down, a user
 * whom the cache does not know is believed the bucket that their signed cookie proves.
 */
export function createAsk(
  sharder: Sharder,
  identify: (req: IncomingMessage) => string,
  cookies: Cookies,
): Ask {
  return (req, kind, reply, fail) => {
    let user = '';
    let answer: Answer | Promise<Answer>;
    const deliver = (given: Answer): void => {
      try {
        reply(given, user);
      } catch (error) {
        fail(error, user);
      }
    };
    const rescue = (error: unknown): void => {
      const bucket = isDatabaseTrouble(error) ? provenBucket(req, kind, user) : undefined;
      if (bucket === undefined) fail(error, user);
      else deliver(sharder.staleAnswer(kind, bucket));
    };
    try {
      user = identify(req);
      answer = sharder.assign(kind, user);
    } catch (error) {
      rescue(error);
      return;
    }
    if (answer instanceof Promise) answer.then(deliver, rescue);
    else deliver(answer);
  };

  function provenBucket(req: IncomingMessage, kind: string, user: string): string | undefined {
    if (!cookies.isSigned) return undefined;
    const value = readCookies(req)[kind];
    return typeof value === 'string' ? cookies.verify(kind, user, value) : undefined;
  }
}

function isDatabaseTrouble(error: unknown): boolean {
  return error instanceof SharderError && error.code.startsWith('database_');
}

const parse = cookieParser();

// cookie-parser is written as Express middleware, but asks no more of a request than its headers.
function readCookies(req: IncomingMessage): Record<string, unknown> {
  const request = req as Request;
  parse(request, undefined as unknown as Response, () => undefined);
  return request.cookies as Record<string, unknown>;
}
