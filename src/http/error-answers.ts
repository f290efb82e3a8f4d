// The errors that a route can answer, as OpenAPI describes them.

import { STATUS_CODES } from 'node:http';
import type { ErrorCode } from '../errors.js';
import { STATUS } from './errors.js';
import type { Piece } from './v1/schemas.js';

export type Code = ErrorCode | 'internal';

const ALL = [...Object.keys(STATUS), 'internal'] as Code[];

/** The body of every error. */
export const ERROR_SCHEMA: Piece = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message'],
      properties: {
        code: { type: 'string', enum: ALL, description: 'To decide on.' },
        message: { type: 'string', description: 'For the person who has to act on it.' },
      },
    },
  },
};

const PLAIN_ERROR = { 'text/plain': { schema: { type: 'string' } } };

/** Those errors by status: the usual one, where `otherwise` has no other. */
export function byStatus(
  codes: readonly Code[],
  otherwise: Partial<Record<Code, number>> = {},
): Map<number, Code[]> {
  const statuses = new Map<number, Code[]>();
  for (const code of codes) {
    const usual = code === 'internal' ? 500 : STATUS[code].status;
    const status = otherwise[code] ?? usual;
    statuses.set(status, [...(statuses.get(status) ?? []), code]);
  }
  return new Map([...statuses].sort(([a], [b]) => a - b));
}

/** An answer with one of these errors: JSON always under /v1, elsewhere where it is asked for. */
export function errorAnswer(status: number, codes: readonly Code[], { isPlain = false } = {}) {
  const headers = {
    ...(status === 401 && !isPlain && { 'WWW-Authenticate': header('`Bearer`') }),
    ...(status === 503 && { 'Retry-After': header('Seconds after which to come again.') }),
  };
  const example = { error: { code: codes[0], message: 'what is wrong, and what to do' } };
  const json = { schema: { $ref: '#/components/schemas/Error' }, example };
  return {
    description: `${STATUS_CODES[status] ?? ''}: ${codes.map((code) => `\`${code}\``).join(', ')}`,
    ...(Object.keys(headers).length > 0 && { headers }),
    content: { ...(isPlain && PLAIN_ERROR), 'application/json': json },
  };
}

export function header(description: string): Piece {
  return { description, schema: { type: 'string' } };
}

// What no request to /v1 is answered: it is of users, of the start, of the command line, or of no route.
const ELSEWHERE: readonly Code[] = [
  ...(['settings', 'schema', 'unreachable', 'unknown_route', 'wrong_method'] as const),
  ...(['no_identity', 'bad_identity', 'untrusted_peer', 'no_url'] as const),
];

/** The errors under /v1. */
export const API_ERRORS = byStatus(ALL.filter((code) => !ELSEWHERE.includes(code)));
