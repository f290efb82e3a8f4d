// What comes or goes as a stream:
//   POST /v1/kinds/{kind}/objects   assigns all names of an NDJSON body
//   GET  /v1/export                 all objects, as CSV or NDJSON
//   POST /v1/import                 objects from CSV or NDJSON, all or none
//   GET  /v1/check, POST /v1/check  whether the database keeps what it promises; POST counts again

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Request, RequestHandler, Response, Router } from 'express';
import { SharderError, type ErrorCode } from '../../errors.js';
import { assignLines } from '../../operations/assign-many.js';
import { checkInput, type Context } from '../../operations/operation.js';
import { STREAMS } from '../../operations/streams.js';
import type { Sharder } from '../../sharder.js';
import type { Commands } from './commands.js';
import { callerOf, readQuery, toExpress, type ApiChange } from './request.js';

export interface StreamParts {
  readonly sharder: Sharder;
  readonly commands: Commands | undefined;
  readonly admit: (scope: 'read' | 'write') => RequestHandler;
  readonly onChange: (change: ApiChange) => void;
}

export function addStreams(
  router: Router,
  { sharder, commands, admit, onChange }: StreamParts,
): void {
  const run = (args: readonly string[], res: Response): ChildProcess => {
    if (!commands) throw new SharderError('no_commands', 'this server runs no commands');
    const child = commands(args, callerOf(res).actor);
    // Whoever asked is gone.
    res.once('close', () => {
      if (!res.writableFinished) child.kill('SIGKILL');
    });
    return child;
  };
  const tell = (res: Response, action: string, input: Readonly<Record<string, unknown>>): void => {
    onChange({ ...callerOf(res), action, input });
  };

  router.post(toExpress(STREAMS.assign.path), admit('write'), async (req, res) => {
    const query = readQuery(STREAMS.assign.input, req);
    const { kind } = checkInput(STREAMS.assign, { ...query, ...req.params });
    checkType(req, ['application/x-ndjson']);
    const assign: Context['assign'] = (...object) => sharder.assign(...object);
    const lines = assignLines(assign, kind, bodyOf(req));
    res.type('application/x-ndjson');
    await pipeline(Readable.from(lines), res);
    tell(res, 'object assign', { kind });
  });

  router.get(STREAMS.export.path, admit('read'), async (req, res) => {
    const { format, kind } = checkInput(STREAMS.export, readQuery(STREAMS.export.input, req));
    const child = run(['export', '-', `--format=${format}`, ...option('kind', kind)], res);
    child.stdin?.end();
    await send(child, res, format);
  });

  router.post(STREAMS.import.path, admit('write'), async (req, res) => {
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
      res,
    );
    const outcome = outcomeOf(child);
    await feed(child, bodyOf(req));
    const { code, out, err } = await outcome;
    if (parse(out) === undefined) throw explain(code, err);
    if (code === 0 && !input.dry_run) tell(res, 'import', { ...input });
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
      checkInput(stream, readQuery(stream.input, req));
      const child = run(['check', '--json', ...(method === 'post' ? ['--fix'] : [])], res);
      child.stdin?.end();
      const { code, out, err } = await outcomeOf(child);
      if (parse(out) === undefined) throw explain(code, err);
      if (method === 'post') tell(res, 'check fix', {});
      res.type('json').send(out);
    });
  }
}

function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`--${name}=${value}`];
}

function checkType(req: Request, allowed: readonly string[]): string {
  const type = req.is([...allowed]);
  if (typeof type === 'string') return type;
  throw new SharderError('bad_request', `Content-Type: must be ${allowed.join(' or ')}`);
}

function bodyOf(req: Request): Readable {
  const encoding = req.get('Content-Encoding') ?? 'identity';
  if (encoding === 'identity') return req;
  if (encoding === 'gzip') return req.pipe(createGunzip());
  throw new SharderError('bad_request', 'Content-Encoding: must be gzip, or none');
}

// The first piece decides between an answer and an error.
async function send(child: ChildProcess, res: Response, format: string): Promise<void> {
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
  res.attachment(name).type(type); // for a name may bring a type of its own
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    if (!res.write(chunk)) await once(res, 'drain');
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

// What was sent is the command's standard input.
function explain(code: number | null, text: string): Error {
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  const { error } = (parse(last) ?? {}) as { error?: { code: ErrorCode; message: string } };
  return error
    ? new SharderError(error.code, error.message.replace(/^standard input: /, ''))
    : new Error(`the command ended with ${code ?? 'a signal'}: ${text}`);
}

// A body that breaks off must not look like one that ends: the command would take it for all.
async function feed(child: ChildProcess, body: Readable): Promise<void> {
  const { stdin } = child;
  if (!stdin) return;
  stdin.once('error', () => undefined); // it has ended, and says why
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (stdin.destroyed || stdin.write(chunk)) continue;
      await Promise.race([once(stdin, 'drain'), once(stdin, 'close')]).catch(() => undefined);
    }
  } catch (error) {
    child.kill('SIGKILL');
    await once(child, 'close');
    throw new SharderError(
      'bad_request',
      'the body broke off, or is damaged: nothing was imported',
      {
        cause: error,
      },
    );
  }
  stdin.end();
}
