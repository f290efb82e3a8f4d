// The console examples of the README and of docs/, typed as they are printed, one after the other, in
// a directory that looks like a fresh clone. Only the ports are others.

import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsPostgres, postgresServer, temporaryDirectory } from './engines.js';
import { createLegacy, dummies } from './legacy.js';
import { postgresBin } from './postgres.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

// No command takes a tenth of it, on a machine that does nothing else.
const COMMAND_MS = 60_000;

interface Example {
  readonly command: string;
  readonly output: string;
}

/** The examples of every block marked `console`: a line after `$ `, then what it prints. */
function examples(markdown: string): Example[] {
  const blocks = [...markdown.matchAll(/^```console\n(.*?)^```/gms)].map((match) => match[1] ?? '');
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((text) => {
        const [command = '', ...lines] = text.split('\n');
        return { command, output: lines.join('\n').trim() };
      }),
  );
}

/** A shell in which each command's output can be told from the next one's. */
class Shell {
  readonly process: ChildProcessWithoutNullStreams;
  /** What went to stderr: the services' logs, and the shell's own notices. */
  errors = '';
  #output = '';

  constructor(cwd: string, env: NodeJS.ProcessEnv) {
    // In a session of its own, which pkill is kept to: other tests run services too.
    this.process = spawn('bash', [], { cwd, env, detached: true });
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    this.process.stdin.write('pkill() { command pkill -s 0 "$@"; }\n');
    // Off a terminal curl shows its progress.
    this.process.stdin.write('curl() { command curl -sS "$@"; }\n');
  }

  /**
   * From now on `npx sharder` begins at once, without a look for what to run; and so does `npm start`,
   * without building what is built.
   */
  shorten(): void {
    this.process.stdin.write(`sharder() { '${process.execPath}' dist/cli.js "$@"; }\n`);
    this.process.stdin.write('npx() { "$@"; }\n');
    this.process.stdin.write(
      'npm() { if [ "$1" = start ]; then sharder serve; else command npm "$@"; fi; }\n',
    );
  }

  /**
   * Runs a command to its end; one that ends in `&` until the service says that it listens. Resolves
   * with what a person would see of it, on stdout and stderr; rejects with that when it does not end.
   */
  async run(command: string): Promise<string> {
    this.#output = '';
    const isBackground = command.trim().endsWith('&');
    const end = isBackground ? /listens on .*\n/ : /--end--\n/;
    // A service in the background keeps its log to itself.
    this.process.stdin.write(
      isBackground ? `${command}\n` : `{ ${command}\n} 2>&1; echo --end--\n`,
    );
    const signal = AbortSignal.timeout(COMMAND_MS);
    while (!end.test(this.#output)) {
      await once(this.process.stdout, 'data', { signal }).catch(() => {
        throw new Error(`does not end: $ ${command}\n${this.#output}\n${this.errors}`);
      });
    }
    return this.#output.replace('--end--\n', '').trim();
  }

  async close(): Promise<void> {
    const closed = once(this.process, 'close');
    process.kill(-(this.process.pid ?? 0), 'SIGKILL');
    await closed;
  }
}

// The first three digits of the README's ports, 888, become others that are free, and not of those that
// the system gives to whoever asks for any.
async function freePortPrefix(): Promise<string> {
  for (;;) {
    const prefix =
      String(200 + Math.floor(Math.random() * 120)) + String(Math.floor(Math.random() * 10));
    const areFree = await Promise.all(
      [1, 2, 3, 8].map((digit) => isFree(Number(`${prefix}${digit}`))),
    );
    if (areFree.every(Boolean)) return prefix;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

// What may differ: the width of a column, and what the README leaves out with an ellipsis.
function pattern(output: string): RegExp {
  const lines = output.split('\n').map((line) =>
    line
      .replaceAll(/-{3,}/g, '---')
      .replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
      .replaceAll('…', '.*')
      .trim()
      .replaceAll(/\s+/g, '\\s+'),
  );
  return new RegExp(`^\\s*${lines.join('\\s*\\n\\s*')}\\s*$`);
}

interface Document {
  readonly file: string;
  /** What is there before the first example. */
  readonly before: (shell: Shell, clone: string) => Promise<unknown>;
}

// The first block of JavaScript, which the page has its reader put in a file.
function firstCode(page: string): string {
  const markdown = readFileSync(join(ROOT, page), 'utf8');
  return /^```js\n(.*?)^```/ms.exec(markdown)?.[1] ?? '';
}

const documents: readonly Document[] = [
  { file: 'README.md', before: (shell) => shell.run('npm start &') },
  { file: 'docs/commands.md', before: () => Promise.resolve() },
  { file: 'docs/plans.md', before: (shell) => shell.run('npx sharder serve &') },
  {
    file: 'docs/workers.md',
    before: (_shell, clone) => writeFile(join(clone, 'worker.mjs'), firstCode('docs/workers.md')),
  },
  {
    file: 'docs/run.md',
    before: (_shell, clone) => writeFile(join(clone, 'server.mjs'), firstCode('docs/run.md')),
  },
  { file: 'docs/api.md', before: () => Promise.resolve() },
  { file: 'docs/workers-objects.md', before: () => Promise.resolve() },
  { file: 'docs/render.md', before: () => Promise.resolve() },
  { file: 'docs/hash.md', before: () => Promise.resolve() },
  { file: 'docs/edge.md', before: (shell) => shell.run('npx sharder serve &') },
  {
    file: 'docs/switching.md',
    before: (_shell, clone) =>
      createLegacy('sqlite', `sqlite:${join(clone, 'old.db')}`, [
        ...dummies('hub', 'hub-0', 'hub-1', 'hub-2'),
        ['hub', 'hub-0', 'iana'],
        ['hub', 'hub-1', 'brian'],
        ['hub', 'hub-2', 'carol'],
        ['hub', 'hub-0', 'dan'],
        ['hub', null, 'nadia'],
      ]),
  },
];

for (const { file, before } of documents) {
  describe(file, needsPostgres, () => {
    const shells: Shell[] = [];
    after(async () => {
      for (const shell of shells) await shell.close();
    });

    it('prints what its commands print', { timeout: 240_000 }, async () => {
      const clone = temporaryDirectory();
      for (const name of readdirSync(ROOT)) {
        if (!/\.db|^\.git$|^dist$/.test(name)) symlinkSync(join(ROOT, name), join(clone, name));
      }
      // What is built here must not be written under other tests that run it.
      cpSync(join(ROOT, 'dist'), join(clone, 'dist'), { recursive: true });
      const server = await postgresServer();
      const prefix = await freePortPrefix();
      const ports = (text: string) => text.replaceAll(/\b888(?=\d|\$)/g, prefix);
      const shell = new Shell(clone, {
        ...process.env,
        PATH: `${postgresBin ?? ''}:${process.env.PATH ?? ''}`,
        PGHOST: '127.0.0.1',
        PGPORT: String(server.port),
        PGUSER: 'sharder', // the administrator of the test's server
        PGDATABASE: 'postgres',
        SHARDER_LISTEN: ports('127.0.0.1:8888'),
        npm_config_loglevel: 'silent',
      });
      shells.push(shell);

      if (file !== 'README.md') shell.shorten();
      await before(shell, clone);
      const shown = examples(readFileSync(join(ROOT, file), 'utf8'));
      assert.ok(shown.length > 0);
      for (const { command, output } of shown) {
        const printed = (await shell.run(ports(command))).replaceAll(/-{3,}/g, '---');
        if (output !== '')
          assert.match(
            printed,
            pattern(ports(output)),
            `$ ${command}\n${printed}\n${shell.errors}`,
          );
      }
    });
  });
}
