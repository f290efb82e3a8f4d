// A running service, asked over its management API. Needs nothing but Node.

import { randomUUID } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError, type ErrorCode } from '../errors.js';
import { pathFields, type Route } from '../operations/route.js';

const ATTEMPTS = 5;
const LONGEST_WAIT_S = 5;
const SILENCE_MS = 60_000;
// An import is answered when all is written.
const LONG_SILENCE_MS = 30 * 60_000;

/** A body that is sent as it comes, and so once. */
export interface Upload {
  readonly type: string;
  readonly encoding?: 'gzip' | undefined;
  readonly content: Readable;
}

export type Fields = Readonly<Record<string, unknown>>;

/** How an operation may be asked for again. */
export interface Repeatable extends Route {
  /**
   * `read` changes nothing; `write` is one transaction, done once for each Idempotency-Key; `put` is the
   * same however often it is done; `once` is neither.
   */
  readonly how: 'read' | 'write' | 'put' | 'once';
}

export interface StreamOptions {
  readonly upload?: Upload | undefined;
  /** It is given up when nothing comes for so long. */
  readonly silenceMs?: number | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

export interface ConnectionOptions {
  readonly url: URL;
  readonly token: string;
}

export class Connection {
  /** Told when a question may have arrived there, and before its answer has come. */
  onAsked: () => void = () => undefined;
  readonly #url: URL;
  readonly #token: string;

  constructor({ url, token }: ConnectionOptions) {
    this.#url = url;
    this.#token = token;
  }

  /** For people: whom it asks. */
  get location(): string {
    return this.#url.href.replace(/\/$/, '');
  }

  /**
   * Does an operation there. Where no answer comes, or the service says that it is busy, it is asked
   * again, with the same Idempotency-Key, so that nothing is done twice. Throws what the service says,
   * or `unreachable`.
   */
  async do(
    operation: Repeatable,
    input: Fields,
    { attempts = ATTEMPTS, silenceMs }: { attempts?: number; silenceMs?: number | undefined } = {},
  ): Promise<unknown> {
    const { how } = operation;
    const headers: Record<string, string> =
      how === 'write' ? { 'Idempotency-Key': randomUUID() } : {};
    const longest = silenceMs ?? (how === 'once' ? LONG_SILENCE_MS : SILENCE_MS);
    for (let attempt = 1; ; attempt++) {
      try {
        return await readJson(await this.#send(operation, input, headers, longest));
      } catch (error) {
        if (!(error instanceof Failure) || !error.mayPass) throw error;
        if (attempt >= attempts || (how === 'once' && error.code === 'unreachable')) throw error;
        await sleep(error.retryAfter * 1_000);
      }
    }
  }

  /** Asks once, for JSON. */
  async ask(route: Route, input: Fields, upload?: Upload): Promise<unknown> {
    return readJson(await this.stream(route, input, { upload }));
  }

  /** Asks once; resolves with the body as it comes. */
  stream(
    route: Route,
    input: Fields,
    { upload, silenceMs = LONG_SILENCE_MS, signal }: StreamOptions = {},
  ): Promise<Readable> {
    return this.#send(route, input, {}, silenceMs, upload ?? null, signal);
  }

  async #send(
    route: Route,
    input: Fields,
    headers: Readonly<Record<string, string>>,
    silenceMs: number,
    upload?: Upload | null, // null: no body at all, the fields stand in the query
    signal?: AbortSignal,
  ): Promise<Readable> {
    const { path, rest } = fill(route, input);
    const hasBody = upload === undefined && !['GET', 'DELETE'].includes(route.method);
    const body = hasBody ? JSON.stringify(rest) : undefined;
    const query = hasBody ? '' : toQuery(rest);
    const isHttps = this.#url.protocol === 'https:';
    const request = (isHttps ? httpsRequest : httpRequest)(this.#url, {
      method: route.method,
      // Written by hand: a URL object would take `.` and `..`, which are names, for directories.
      path: `${this.#url.pathname.replace(/\/$/, '')}/v1${path}${query}`,
      timeout: silenceMs,
      ...(signal && { signal }),
      headers: {
        Authorization: `Bearer ${this.#token}`,
        Accept: 'application/json, */*',
        ...headers,
        ...(body !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(body),
        }),
        ...(upload && { 'Content-Type': upload.type }),
        ...(upload?.encoding && { 'Content-Encoding': upload.encoding }),
      },
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.once('error', reject);
    });
    request.once('socket', (socket) => {
      // Where nobody listens, nothing was asked.
      if (socket.connecting) socket.once('connect', this.onAsked);
      else this.onAsked();
    });
    request.once('timeout', () => request.destroy(new Error('it says nothing')));
    try {
      if (upload) {
        // A service that refuses answers before it has read all.
        await Promise.race([pipeline(upload.content, request), answered]);
      } else {
        request.end(body);
      }
      const answer = await answered;
      if ((answer.statusCode ?? 0) < 300) {
        return Readable.from(this.#whole(answer), { objectMode: false });
      }
      throw await failure(answer);
    } catch (error) {
      if (error instanceof SharderError || upload?.content.errored) throw error;
      throw new Failure(
        'unreachable',
        `${this.location} does not answer: ${(error as Error).message}`,
        1,
        !upload,
      );
    }
  }

  // Throws `unreachable` where the answer breaks off.
  async *#whole(answer: IncomingMessage): AsyncGenerator<Buffer> {
    try {
      yield* answer as AsyncIterable<Buffer>;
    } catch {
      throw new Failure('unreachable', `the answer of ${this.location} broke off`, 1, true);
    }
  }
}

/** What the service said; or that it said nothing, or not all. */
export class Failure extends SharderError {
  /** Seconds. */
  readonly retryAfter: number;
  readonly mayPass: boolean;
  /** All that it said. */
  readonly body: object;

  constructor(
    code: ErrorCode,
    message: string,
    retryAfter: number,
    mayPass: boolean,
    body: object = {},
  ) {
    super(code, message);
    this.body = body;
    this.retryAfter = Math.min(retryAfter, LONGEST_WAIT_S);
    this.mayPass = mayPass;
  }
}

async function failure(answer: IncomingMessage): Promise<Failure> {
  const body = await text(answer);
  const { statusCode: status = 0, headers } = answer;
  const mayPass = status === 503 && headers['retry-after'] !== undefined;
  const retryAfter = Number(headers['retry-after'] ?? 1);
  const said = parse(body);
  const { error } = said as { error?: { code: ErrorCode; message: string } };
  if (error) {
    return new Failure(error.code, error.message, retryAfter, mayPass && error.code !== 'no_room');
  }
  const what = `${status}, and no error of a Sharder: is this URL right?`;
  return new Failure('unreachable', `the answer is ${what}`, retryAfter, mayPass, said);
}

function parse(body: string): object {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

async function readJson(answer: Readable): Promise<unknown> {
  const body = await text(answer);
  try {
    return JSON.parse(body);
  } catch {
    throw new SharderError('unreachable', 'no answer of a Sharder came: is this URL right?');
  }
}

function fill(route: Route, input: Fields): { path: string; rest: Fields } {
  const inPath = pathFields(route);
  const path = route.path.replace(/\{(\w+)\}/g, (_, field: string) =>
    encodeURIComponent(String(input[field])),
  );
  const rest = Object.entries(input).filter(
    ([field, value]) => !inPath.includes(field) && value !== undefined,
  );
  return { path, rest: Object.fromEntries(rest) };
}

function toQuery(fields: Fields): string {
  const query = new URLSearchParams(
    Object.entries(fields).map(([field, value]): [string, string] => [field, String(value)]),
  );
  return query.size > 0 ? `?${query.toString()}` : '';
}
