// Who asks, and where they live: what /shard, /auth and /go have in common.

import type { IncomingMessage } from 'node:http';
import cookieParser from 'cookie-parser';
import type { Request, Response } from 'express';
import type { Answer } from '../assign/answer.js';
import { SharderError } from '../errors.js';
import type { Sharder } from '../sharder.js';
import { cookieNames, type Cookies } from './cookie.js';
import type { createReadKey } from './request-key.js';

/** A request that waits for its answer. */
export interface Asker {
  readonly req: IncomingMessage;
  readonly route: 'shard' | 'auth' | 'go';
  readonly kind: string;
  /** `user`: the name that was asked for, or the key, where the kind goes by another than the user. */
  reply(answer: Answer, user: string): void;
  /** Also called when `reply` throws. `user` is empty where none was named. */
  fail(error: unknown, user: string): void;
}

/** Reads what a request is about; see identity.ts and request-key.ts. */
export interface Readers {
  readonly identify: (req: IncomingMessage) => string;
  readonly checkPeer: (req: IncomingMessage) => void;
  readonly readKey: ReturnType<typeof createReadKey>;
}

/**
 * Makes the function that reads the user's name, or the key of a kind that has another, assigns, and tells
 * the asker: at once, without a promise, where the user is known. While the database is down, a user whom the cache does not know
 * is believed the bucket that their signed cookie proves.
 */
export function createAsk(
  sharder: Sharder,
  { identify, checkPeer, readKey }: Readers,
  cookies: Cookies,
): (asker: Asker) => void {
  return (asker) => {
    let user = '';
    let answer: Answer | Promise<Answer>;
    try {
      user = nameOf(asker);
      answer = sharder.assign(asker.kind, user);
    } catch (error) {
      rescue(asker, error, user);
      return;
    }
    if (answer instanceof Promise) {
      answer.then(
        (late) => {
          deliver(asker, late, user);
        },
        (error: unknown) => {
          rescue(asker, error, user);
        },
      );
    } else {
      deliver(asker, answer, user);
    }
  };

  function nameOf({ req, kind, route }: Asker): string {
    const { key } = sharder.settings(kind);
    if (key === 'user') return identify(req);
    checkPeer(req);
    return readKey(req, key, route === 'auth');
  }

  function rescue(asker: Asker, error: unknown, user: string): void {
    const bucket = isDatabaseTrouble(error) ? provenBucket(asker, user) : undefined;
    if (bucket === undefined) asker.fail(error, user);
    else deliver(asker, sharder.staleAnswer(asker.kind, bucket), user);
  }

  function provenBucket({ req, kind }: Asker, user: string): string | undefined {
    if (!cookies.isSigned) return undefined;
    for (const value of cookieValues(req, cookieNames(kind))) {
      const bucket = cookies.verify(kind, user, value);
      if (bucket !== undefined) return bucket;
    }
    return undefined;
  }
}

function deliver(asker: Asker, answer: Answer, user: string): void {
  try {
    asker.reply(answer, user);
  } catch (error) {
    asker.fail(error, user);
  }
}

function isDatabaseTrouble(error: unknown): boolean {
  return error instanceof SharderError && error.code.startsWith('database_');
}

const parse = cookieParser();

// Every value under one of these names: another host of the same site can add a cookie of the same
// name, and must not hide the right one. cookie-parser keeps one of each name, so it reads a pair at a
// time; it is written as Express middleware, but asks no more of a request than its headers.
function cookieValues(req: IncomingMessage, names: readonly string[]): string[] {
  const pairs = (req.headers.cookie ?? '').split(';');
  return pairs.flatMap((cookie) => {
    const request = { headers: { cookie } } as unknown as Request;
    parse(request, undefined as unknown as Response, () => undefined);
    const found = request.cookies as Record<string, unknown>;
    return names.map((name) => found[name]).filter((value) => typeof value === 'string');
  });
}
