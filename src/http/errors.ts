// Errors as HTTP: one table from code to status, and how each is written.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { SharderError, type ErrorCode } from '../errors.js';
import { contentHeaders, JSON_TYPE, TEXT_TYPE } from './reply.js';

interface Status {
  readonly status: number;
  /** Seconds, where it is worth while to come again. */
  readonly retryAfter?: number;
}

/** The status that each error has. */
export const STATUS: Readonly<Record<ErrorCode, Status>> = {
  settings: { status: 500 },
  schema: { status: 500 },
  bad_request: { status: 400 },
  bad_name: { status: 400 },
  bad_identity: { status: 400 },
  bad_key: { status: 400 },
  no_identity: { status: 401 },
  wrong_host: { status: 421 },
  untrusted_peer: { status: 403 },
  api_closed: { status: 403 },
  no_token: { status: 401 },
  wrong_token: { status: 401 },
  read_only: { status: 403 },
  other_kind: { status: 403 },
  no_commands: { status: 501 },
  unknown_route: { status: 404 },
  unknown_kind: { status: 404 },
  unknown_bucket: { status: 404 },
  unknown_object: { status: 404 },
  unknown_plan: { status: 404 },
  no_url: { status: 404 },
  wrong_method: { status: 405 },
  exists: { status: 409 },
  collision: { status: 409 },
  not_empty: { status: 409 },
  closed: { status: 409 },
  lease_held: { status: 409 },
  declared: { status: 403 },
  lease_lost: { status: 409 },
  plan_state: { status: 409 },
  changed: { status: 412 },
  too_large: { status: 413 },
  key_reused: { status: 422 },
  forgotten: { status: 410 },
  no_room: { status: 503, retryAfter: 60 },
  unreachable: { status: 502 },
  overloaded: { status: 503, retryAfter: 1 },
  database_busy: { status: 503, retryAfter: 1 },
  database_full: { status: 503, retryAfter: 10 },
  database_unavailable: { status: 503, retryAfter: 2 },
};

// What these say is Sharder's own, or the settings': nothing of what a client has sent is quoted.
const SERVER_WORDS: ReadonlySet<ErrorReply['code']> = new Set([
  'internal',
  'settings',
  'schema',
  'no_identity',
  'bad_identity',
  'bad_key',
  'untrusted_peer',
  'api_closed',
  'no_token',
  'wrong_token',
  'read_only',
  'other_kind',
  'unknown_plan',
  'plan_state',
  'no_url',
  'no_room',
  'overloaded',
  'database_busy',
  'database_full',
  'database_unavailable',
]);

/** Whether the message of such an error can have no object's name in it. Of a new code: no. */
export function isServerWord(code: ErrorReply['code']): boolean {
  return SERVER_WORDS.has(code);
}

/** An error as it is sent. What is not a SharderError tells the client nothing but that it was. */
export interface ErrorReply extends Status {
  readonly code: ErrorCode | 'internal';
  readonly message: string;
}

export function toErrorReply(error: unknown): ErrorReply {
  if (error instanceof SharderError) {
    return { ...STATUS[error.code], code: error.code, message: error.message };
  }
  return { status: 500, code: 'internal', message: 'internal error' };
}

/**
 * For a proxy's forward-auth: whatever is wrong with the user's name, or with the key, is 403, for a proxy knows 401
 * and 403 only, and nobody who sends two names or an alias should be asked to log in.
 */
export function toAuthErrorReply(error: unknown): ErrorReply {
  const reply = toErrorReply(error);
  const isRefused = ['bad_identity', 'bad_key', 'bad_name'].includes(reply.code);
  return isRefused ? { ...reply, status: 403 } : reply;
}

/** Whether a request is for the management API, which speaks JSON. */
export function isApi({
  url,
  originalUrl = url,
}: {
  readonly url?: string | undefined;
  readonly originalUrl?: string | undefined;
}): boolean {
  // A proxy may send the absolute form (RFC 9112, 3.2.2).
  return /^(https?:\/\/[^/]*)?\/v1([/?]|$)/i.test(originalUrl ?? '');
}

/** Writes the error: as JSON where it is asked for, else as one plain line. */
export function sendError(
  req: IncomingMessage,
  res: ServerResponse,
  { status, retryAfter, code, message }: ErrorReply,
): void {
  const isJson = isApi(req) || (req.headers.accept?.includes('application/json') ?? false);
  const body = isJson ? `${JSON.stringify({ error: { code, message } })}\n` : `${message}\n`;
  const headers = [...contentHeaders(isJson ? JSON_TYPE : TEXT_TYPE, body), 'X-Shard-Error', code];
  if (retryAfter !== undefined) headers.push('Retry-After', String(retryAfter));
  if (status === 405 && !res.hasHeader('Allow')) headers.push('Allow', 'GET, HEAD');
  if (status === 401 && isApi(req)) headers.push('WWW-Authenticate', 'Bearer');
  res.writeHead(status, headers);
  res.end(body);
}
