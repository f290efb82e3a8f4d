// What comes or goes as a stream:
//   POST /v1/kinds/{kind}/objects   assigns all names of an NDJSON body
//   GET  /v1/export                 all objects, as CSV or NDJSON
//   POST /v1/import                 objects from CSV or NDJSON, all or none
//   GET  /v1/check, POST /v1/check  whether the database keeps what it promises; POST counts again

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Request, RequestHandler, Response, Router } from 'express';
import { SharderError, type ErrorCode } from '../../errors.js';
import { assignLines } from '../../operations/assign-many.js';
import { checkInput, type Context } from '../../operations/operation.js';
import { checkKindAllowed, notLimited } from '../../operations/kinds-allowed.js';
import { STREAMS } from '../../operations/streams.js';
import type { Right } from '../../scopes.js';
import type { Sharder } from '../../sharder.js';
import type { Commands } from './commands.js';
import { toErrorReply } from '../errors.js';
import {
  callerOf,
  readQuery,
  refuseBody,
  refuseConditions,
  toExpress,
  type ApiChange,
} from './request.js';

const PATIENCE_MS = 60_000;

export interface StreamParts {
  readonly sharder: Sharder;
  readonly commands?: Commands | undefined;
  readonly admit: (right: Right) => RequestHandler;
  readonly onChange: (change: ApiChange) => void;
  /** Who reads nothing of an export for so long is given up; default: a minute. */
  readonly patienceMs?: number | undefined;
}

export function addStreams(
  router: Router,
  { sharder, commands, admit, onChange, patienceMs = PATIENCE_MS }: StreamParts,
): void {
  const run = (
    args: readonly string[],
    req: Request,
    res: Response,
    scope: 'read' | 'write',
  ): ChildProcess => {
    if (!commands) throw new SharderError('no_commands', 'this server runs no commands');
    refuseConditions(req);
    const child = commands(args, { actor: callerOf(res).actor, scope });
    child.stdio[3]?.on('error', () => undefined); // it has ended, and says why
    // Whoever asked is gone.
    res.once('close', () => {
      if (!res.writableFinished) child.kill('SIGKILL');
    });
    return child;
  };
  const tell = (res: Response, action: string, input: Readonly<Record<string, unknown>>): void => {
    const { actor, requestId } = callerOf(res);
    onChange({ actor, requestId, action, input });
  };

  router.post(toExpress(STREAMS.assign.path), admit('assign'), async (req, res) => {
    const query = readQuery(STREAMS.assign.input, req);
    const { kind } = checkInput(STREAMS.assign, { ...query, ...req.params });
    checkKindAllowed(kind, callerOf(res).permission.kinds);
    checkType(req, ['application/x-ndjson']);
    refuseConditions(req);
    let assigned = 0;
    const assign: Context['assign'] = async (...object) => {
      const answer = await sharder.assign(...object);
      if (answer.reason === 'assigned') assigned++;
      return answer;
    };
    const lines = assignLines(assign, kind, bodyOf(req));
    const first = await lines.next(); // what is wrong at once is an error like any other
    res.type('application/x-ndjson');
    let trouble: unknown;
    const onError = (error: unknown): void => {
      trouble = error;
    };
    try {
      await pipeline(Readable.from(rest(first, lines, onError)), res);
    } finally {
      if (assigned > 0) tell(res, 'object assign', { kind, assigned });
    }
    if (trouble !== undefined) throw trouble as Error; // for the log
  });

  router.get(STREAMS.export.path, admit('read'), async (req, res) => {
    const input = checkInput(STREAMS.export, readQuery(STREAMS.export.input, req));
    const { format, kind, for_spreadsheet: forSpreadsheet } = input;
    checkAllowed(res, kind);
    refuseBody(req);
    if (forSpreadsheet && format !== 'csv') {
      throw new SharderError('bad_request', 'for_spreadsheet: is for CSV alone');
    }
    const args = [
      ...['export', '-', `--format=${format}`, ...option('kind', kind)],
      ...(forSpreadsheet ? ['--for-spreadsheet'] : []),
    ];
    const child = run(args, req, res, 'read');
    child.stdin?.end();
    await send(child, res, format, patienceMs);
  });

  router.post(STREAMS.import.path, admit('write'), async (req, res) => {
    checkAllowed(res); // a line may name any kind
    const type = checkType(req, ['text/csv', 'application/x-ndjson']);
    const input = checkInput(STREAMS.import, readQuery(STREAMS.import.input, req));
    const format = type === 'text/csv' ? 'csv' : 'ndjson';
    const child = run(
      [
        ...['import', '-', '--json', `--format=${format}`, `--kind=${input.kind}`],
        ...(input.create_buckets ? ['--create-buckets'] : []),
        ...(input.move ? ['--move'] : []),
        ...(input.skip_errors ? ['--skip-errors'] : []),
        ...(input.dry_run ? ['--dry-run'] : []),
        ...option('reason', input.reason),
      ],
      req,
      res,
      'write',
    );
    const outcome = outcomeOf(child);
    await feed(child, bodyOf(req));
    const { code, out, err } = await outcome;
    if (parse(out) === undefined) throw explain(code, err);
    const { changed } = parse(out) as { changed?: boolean };
    if (code === 0 && changed && !input.dry_run) tell(res, 'import', { ...input });
    res
      .status(code === 0 ? 200 : 422)
      .type('json')
      .send(out);
  });

  for (const [method, stream] of [
    ['get', STREAMS.check],
    ['post', STREAMS.fix],
  ] as const) {
    router[method](stream.path, admit(method === 'get' ? 'read' : 'write'), async (req, res) => {
      checkAllowed(res);
      checkInput(stream, readQuery(stream.input, req));
      refuseBody(req);
      const scope = method === 'get' ? 'read' : 'write';
      const args = ['check', '--json', ...(method === 'post' ? ['--fix'] : [])];
      const child = run(args, req, res, scope);
      child.stdin?.end();
      const { code, out, err } = await outcomeOf(child);
      if (parse(out) === undefined) throw explain(code, err);
      const { fixed = 0 } = parse(out) as { fixed?: number };
      if (fixed > 0) tell(res, 'check fix', { fixed });
      res.type('json').send(out);
    });
  }
}

// A caller who is limited to some kinds must name one of them.
function checkAllowed(res: Response, kind?: string): void {
  const { kinds } = callerOf(res).permission;
  if (kinds && kind === undefined) throw notLimited(kinds);
  if (kind !== undefined) checkKindAllowed(kind, kinds);
}

function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`--${name}=${value}`];
}

function checkType(req: Request, allowed: readonly string[]): string {
  const type = req.is([...allowed]);
  if (typeof type === 'string') return type;
  throw new SharderError('bad_request', `Content-Type: must be ${allowed.join(' or ')}`);
}

// The body as it was before it was compressed. Where it breaks off, or is damaged, it ends with
// `bad_request`.
function bodyOf(req: Request): Readable {
  const encoding = req.get('Content-Encoding') ?? 'identity';
  if (encoding === 'identity') return Readable.from(explained(req), { objectMode: false });
  if (encoding !== 'gzip') {
    throw new SharderError('bad_request', 'Content-Encoding: must be gzip, or none');
  }
  const gunzip = createGunzip();
  pipeline(req, gunzip).catch(() => undefined); // who reads it is told
  return Readable.from(explained(gunzip), { objectMode: false });
}

async function* explained(body: Readable): AsyncGenerator<Buffer> {
  try {
    yield* body as AsyncIterable<Buffer>;
  } catch (error) {
    throw new SharderError('bad_request', 'the body broke off, or is damaged', { cause: error });
  }
}

// The first piece decides between an answer and an error.
async function send(
  child: ChildProcess,
  res: Response,
  format: string,
  patienceMs: number,
): Promise<void> {
  const errors = collect(child.stderr);
  const closed = once(child, 'close') as Promise<[number | null]>;
  const { stdout } = child;
  if (!stdout) throw new Error('a command without output');
  const hasBegun = await Promise.race([
    once(stdout, 'readable').then(() => stdout.readableLength > 0),
    closed.then(() => false),
  ]);
  if (!hasBegun) {
    const [code] = await closed;
    if (code !== 0) throw explain(code, await errors);
  }
  const [type, name] =
    format === 'csv' ? ['text/csv', 'objects.csv'] : ['application/x-ndjson', 'objects.ndjson'];
  res.attachment(name).type(type); // in this order: attachment() takes a type from the name
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      if (!res.write(chunk)) await once(res, 'drain', { signal: AbortSignal.timeout(patienceMs) });
    }
  } catch {
    child.kill('SIGKILL'); // a snapshot is held for somebody who reads nothing, or has gone
    res.destroy();
    return;
  }
  const [code] = await closed;
  if (code === 0) res.end();
  else res.destroy(); // so that nobody takes it for all
}

async function outcomeOf(
  child: ChildProcess,
): Promise<{ code: number | null; out: string; err: string }> {
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [out, err, [code]] = await Promise.all([
    collect(child.stdout),
    collect(child.stderr),
    closed,
  ]);
  return { code, out, err };
}

async function collect(stream: Readable | null): Promise<string> {
  let text = '';
  if (stream) for await (const chunk of stream.setEncoding('utf8')) text += chunk as string;
  return text;
}

function parse(text: string): object | undefined {
  try {
    return JSON.parse(text) as object;
  } catch {
    return undefined;
  }
}

// What the command was told, as an error. Its standard input is the client's body.
function explain(code: number | null, text: string): Error {
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  const { error } = (parse(last) ?? {}) as { error?: { code: string; message: string } };
  if (error && error.code !== 'internal') {
    const message = error.message.replace(/^standard input: /, '');
    return new SharderError(error.code as ErrorCode, message);
  }
  // Not all that it has said: that may quote a row, and this goes into the log.
  return new Error(
    `a command ended with ${code ?? 'a signal'}: ${error?.message ?? 'it says not why'}`,
  );
}

// A body that breaks off must not look like one that ends. So the command waits for a word beside it,
// which also does not come when this process dies.
async function feed(child: ChildProcess, body: Readable): Promise<void> {
  const { stdin } = child;
  if (!stdin) return;
  let wake: () => void = () => undefined;
  for (const event of ['drain', 'close', 'error']) {
    stdin.on(event, () => {
      wake();
    });
  }
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (stdin.destroyed || stdin.write(chunk)) continue;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  stdin.end();
  (child.stdio[3] as Writable | null | undefined)?.end('all');
}

// An error in the middle is the last line.
async function* rest(
  first: IteratorResult<string>,
  lines: AsyncIterator<string>,
  onError: (error: unknown) => void,
): AsyncGenerator<string> {
  try {
    for (let next = first; !next.done; next = await lines.next()) yield next.value;
  } catch (error) {
    onError(error);
    const { code, message } = toErrorReply(error);
    yield `${JSON.stringify({ error: { code, message } })}\n`;
  }
}
