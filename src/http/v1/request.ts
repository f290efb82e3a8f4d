// What a request under /v1 says: who, what, and on which conditions.

import type { Request, Response } from 'express';
import * as z from 'zod';
import { SharderError } from '../../errors.js';
import { announcesBody } from '../body.js';
import type { Operation } from '../../operations/operation.js';
import { pathFields } from '../../operations/route.js';
import type { Permission } from '../../scopes.js';
import type { Conditions } from '../../operations/perform.js';

/** Whose token a request has. */
export interface Caller {
  readonly actor: string;
  readonly permission: Permission;
  readonly requestId: string;
}

/** A change that was asked for, and answered. */
export interface ApiChange extends Omit<Caller, 'permission'> {
  readonly action: string;
  readonly input: Readonly<Record<string, unknown>>;
}

export function callerOf(res: Response): Caller {
  return res.locals.caller as Caller;
}

/** `/kinds/{kind}` as Express writes it. */
export function toExpress(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

/** The input of an operation: out of the path, and of the query or the body. */
export function inputOf(operation: Operation, req: Request): Record<string, unknown> {
  const shape = operation.input as z.ZodRawShape;
  const params = Object.fromEntries(
    Object.entries(req.params as Record<string, string>).map(([field, text]) => [
      field,
      fromText(shape[field] as z.ZodType, text),
    ]),
  );
  const hasBody = !['GET', 'DELETE'].includes(operation.method);
  if (!hasBody) {
    refuseBody(req);
    return { ...readQuery(shape, req), ...params };
  }
  const [field] = Object.keys(readQuery({}, req));
  if (field !== undefined) {
    throw new SharderError('bad_request', `${field}: stands in the body, not in the query`);
  }
  if (req.body === undefined && announcesBody(req)) {
    throw new SharderError('bad_request', 'send JSON, with Content-Type: application/json');
  }
  const body: unknown = req.body ?? {};
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new SharderError('bad_request', 'the body must be an object of JSON');
  }
  const inPath = pathFields(operation).find((field) => field in body);
  if (inPath !== undefined) {
    throw new SharderError('bad_request', `${inPath}: stands in the path, not in the body`);
  }
  return { ...body, ...params };
}

/** Throws `bad_request` where a body comes that nobody would read. */
export function refuseBody(req: Request): void {
  if (!announcesBody(req)) return;
  throw new SharderError('bad_request', `${req.method} takes its fields in the query, and no body`);
}

/** Throws `bad_request` where a condition is set that cannot be kept here. */
export function refuseConditions(req: Request): void {
  const header = ['If-Match', 'Idempotency-Key'].find((each) => req.get(each) !== undefined);
  if (header === undefined) return;
  throw new SharderError('bad_request', `${header}: cannot be kept here; leave it out`);
}

/** The fields of a query: numbers and booleans where the operation has them. */
export function readQuery(shape: z.ZodRawShape, req: Request): Record<string, unknown> {
  const start = req.originalUrl.indexOf('?');
  const query = new URLSearchParams(start < 0 ? '' : req.originalUrl.slice(start));
  const fields: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [field, text] of query) {
    if (field in fields) throw new SharderError('bad_request', `${field}: came more than once`);
    fields[field] = Object.hasOwn(shape, field) ? fromText(shape[field] as z.ZodType, text) : text;
  }
  return { ...fields };
}

function fromText(schema: z.ZodType, text: string): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) {
    inner = inner.unwrap() as z.ZodType;
  }
  if (inner instanceof z.ZodNumber && /^-?\d+$/.test(text)) return Number(text);
  if (inner instanceof z.ZodBoolean) return text === 'true' || (text === 'false' ? false : text);
  return text;
}

/** `If-Match` and `Idempotency-Key`. */
export function conditionsOf(req: Request): Conditions {
  const ifMatch = req.get('If-Match');
  const version = /^"?(\d{1,15})"?$/.exec(ifMatch ?? '')?.[1];
  if (ifMatch !== undefined && version === undefined) {
    throw new SharderError('bad_request', 'If-Match: must be the version of the kind, such as "7"');
  }
  const idempotencyKey = req.get('Idempotency-Key');
  if (idempotencyKey !== undefined && !/^[\x21-\x7e]{1,255}$/.test(idempotencyKey)) {
    throw new SharderError(
      'bad_request',
      'Idempotency-Key: must be 1 to 255 visible ASCII characters, such as a UUID',
    );
  }
  return { version: version === undefined ? undefined : Number(version), idempotencyKey };
}
