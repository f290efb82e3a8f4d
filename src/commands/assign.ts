// sharder object assign -: many objects, a name or a line of NDJSON to a line of standard input.

import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { SharderError } from '../errors.js';
import { assignLines, type LineAnswer } from '../operations/assign-many.js';
import { STREAMS } from '../operations/streams.js';
import { Sharder } from '../sharder.js';
import { printPages } from './lists.js';
import type { ObjectOptions } from './object.js';
import { withDatabase } from './open.js';
import { remoteOf } from './service.js';
import { stoppable, type StopWords } from './stop.js';
import { printable } from './table.js';

const PAGE_SIZE = 1_000;

const WORDS: StopWords = {
  before: 'what was assigned so far stays so; the same command goes on',
};

export async function assignObjects(options: ObjectOptions): Promise<void> {
  const { kind, dryRun, json = false } = options;
  if (dryRun) throw new SharderError('settings', '--dry-run: for one object, not for `-`');
  const names = Readable.from(toNdjson(process.stdin));
  const remote = remoteOf(options);
  const wrong: LineAnswer[] = [];
  const show = (answers: AsyncIterable<string>) =>
    printPages(sort(answers, wrong), json, ['KIND', 'OBJECT', 'BUCKET', 'REASON'], (answer) => [
      kind,
      answer.name ?? null,
      answer.bucket ?? null,
      answer.reason ?? null,
    ]);
  if (remote) {
    const upload = { type: 'application/x-ndjson', content: names };
    await stoppable(WORDS, async () =>
      show((await remote.stream(STREAMS.assign, { kind }, { upload })).setEncoding('utf8')),
    );
  } else {
    await withDatabase(
      options,
      async (database) => {
        const sharder = await Sharder.start(database);
        await show(assignLines((...object) => sharder.assign(...object), kind, names));
      },
      { words: WORDS },
    );
  }
  if (wrong.length === 0) return;
  for (const { name, line, error } of wrong.slice(0, PAGE_SIZE)) {
    const what = JSON.stringify(name ?? line);
    process.stderr.write(`${printable(`${what}: ${error?.message ?? ''}`)}\n`);
  }
  const what = wrong.length === 1 ? '1 object was' : `${wrong.length} objects were`;
  throw new SharderError('bad_request', `${what} not assigned; the others were`);
}

async function* toNdjson(input: Readable): AsyncGenerator<string> {
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    if (line.trim() !== '') yield `${/^[{"]/.test(line) ? line : JSON.stringify(line)}\n`;
  }
}

// The answers in pages; what is wrong is left out, and kept in `wrong`.
async function* sort(
  texts: AsyncIterable<string>,
  wrong: LineAnswer[],
): AsyncGenerator<readonly LineAnswer[]> {
  let rest = '';
  for await (const text of texts) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    const answers = lines.map((line) => JSON.parse(line) as LineAnswer);
    const end = answers.find(({ name, line }) => (name ?? line) === undefined)?.error;
    if (end) throw new SharderError(end.code, `${end.message}: the others were not asked for`);
    wrong.push(...answers.filter(({ error }) => error));
    const right = answers.filter(({ error }) => !error);
    if (right.length > 0) yield right;
  }
}
