// Assigns many objects: NDJSON in, NDJSON out, line by line and in order.

import type { Readable } from 'node:stream';
import { SharderError, type ErrorCode } from '../errors.js';
import type { Reason } from '../assign/answer.js';
import { parseJson } from '../json.js';
import type { Context } from './operation.js';

// So many wait for the database at once, and are written in one or two transactions.
const AT_ONCE = 1_000;
const MAX_LINE_CHARACTERS = 10_000;

/** What became of a line. */
export interface LineAnswer {
  readonly name?: string;
  readonly bucket?: string;
  readonly reason?: Reason;
  /** The line itself, where it has no name; where there is neither, the error ended all. */
  readonly line?: string;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

/** Answers a line for each line of `body`; one that is wrong does not stop the others. */
export async function* assignLines(
  assign: Context['assign'],
  kind: string,
  body: Readable,
): AsyncGenerator<string> {
  let lines: string[] = [];
  for await (const line of linesOf(body)) {
    lines.push(line);
    if (lines.length < AT_ONCE) continue;
    yield await assignAll(assign, kind, lines);
    lines = [];
  }
  if (lines.length > 0) yield await assignAll(assign, kind, lines);
}

async function assignAll(
  assign: Context['assign'],
  kind: string,
  lines: readonly string[],
): Promise<string> {
  const answers = await Promise.all(lines.map((line) => assignLine(assign, kind, line)));
  return answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
}

async function assignLine(
  assign: Context['assign'],
  kind: string,
  line: string,
): Promise<LineAnswer> {
  let name: string | undefined;
  try {
    name = nameOf(line);
    const { bucket, reason } = await assign(kind, name);
    return { name, bucket: bucket.name, reason };
  } catch (error) {
    if (!(error instanceof SharderError)) throw error;
    const { code, message } = error;
    return { ...(name === undefined ? { line } : { name }), error: { code, message } };
  }
}

// A line is {"name": …}, or the name alone as a JSON string.
function nameOf(line: string): string {
  const value = parseJson(line, 'the line');
  const name =
    typeof value === 'object' && value !== null ? (value as { name?: unknown }).name : value;
  if (typeof name === 'string') return name;
  throw new SharderError('bad_request', 'the line must be {"name": "…"}');
}

async function* linesOf(body: Readable): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of body.setEncoding('utf8') as AsyncIterable<string>) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_LINE_CHARACTERS) {
      throw new SharderError('too_large', `a line has more than ${MAX_LINE_CHARACTERS} characters`);
    }
    for (const line of parts) if (line.trim() !== '') yield line;
  }
  if (rest.trim() !== '') yield rest;
}
