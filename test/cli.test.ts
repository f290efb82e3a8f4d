// The `sharder` command as it is typed: help, version, wrong usage, and what it exits with. 0: done,
// 1: refused, 2: wrong usage or settings.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { directoryWith, run } from './commands/run.js';
import { temporaryDirectory } from './engines.js';
import { CLI } from './service.js';

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string };

describe('sharder', { concurrency: 2 }, () => {
  it('--help says what there is, in groups, on one screen of 24 lines', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    const lines = stdout.trimEnd().split('\n');
    assert.ok(lines.length < 24, stdout); // the prompt has one
    for (const line of lines) assert.ok(line.length <= 80, line);
    const commands = [
      'serve',
      'migrate',
      'adopt',
      'kind',
      'bucket',
      'object',
      'plan',
      'lease',
      'run',
      'spec',
      'import',
      'check',
    ];
    for (const word of [...commands, 'completion'])
      assert.match(stdout, new RegExp(`^ +${word}\\b`, 'm'));
    assert.match(stdout, /^Options of every command: --config-file, --database, --url/m);
    assert.deepEqual(
      lines.filter((line) => /^[A-Z].*:$/.test(line)),
      ['Service:', 'Kinds, buckets, objects, plans:', 'Data, shell:'],
    );
    assert.doesNotMatch(stdout, /__/);
  });

  it('--help waits for no module of the commands', async () => {
    const tell = `
      import { writeSync } from 'node:fs';
      export const resolve = (name, context, next) => {
        writeSync(2, name + '\\n');
        return next(name, context);
      };`;
    const url = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
    const register = `import { register } from 'node:module'; register(${JSON.stringify(url(tell))});`;
    const { stderr } = await run(['--help'], {
      env: { NODE_OPTIONS: `--import ${url(register)}` },
    });
    const chunks = stderr.split('\n').filter((name) => /^\.\/.*\.js$/.test(name));
    const files = ['cli.js', ...chunks.map((name) => join('chunks', basename(name)))];
    // Before each module its name stands in a comment.
    const loaded = files.flatMap((file) => {
      const text = readFileSync(join(dirname(CLI), file), 'utf8');
      return [...text.matchAll(/^ *\/\/ ((?:src|node_modules)\/\S+)$/gm)].map(
        ([, name = '']) => name,
      );
    });
    assert.ok(loaded.includes('node_modules/commander/lib/command.js'), loaded.join());
    assert.deepEqual(
      loaded.filter((name) => /src\/(commands|store|operations|config)|knex|zod/.test(name)).sort(),
      ['src/commands/table.ts', 'src/store/plan-state.ts'], // which load no others
    );
  });

  it('--help of a group has those that only look apart from those that change something', async () => {
    const { stdout } = await run(['object', '--help']);
    const [look = '', change = ''] = stdout.split('\nChange:\n');
    assert.match(look, /\nLook:\n {2}list [^]*\n {2}find \[name\] /);
    assert.match(change, /^ {2}assign <name> [^]*\n {2}move <name> <bucket> /);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
  });

  it('--help of a command names its options and the global ones', async () => {
    const serve = await run(['serve', '--help']);
    assert.equal(serve.code, 0);
    for (const option of ['--listen', '--config-file', '--database'])
      assert.ok(serve.stdout.includes(option), option);
    const add = await run(['bucket', 'add', '--help']);
    for (const option of ['--kind', '--url', '--weight', '--capacity', '--database'])
      assert.ok(add.stdout.includes(option), option);
  });

  it('--version is the one of the package', async () => {
    assert.deepEqual(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  });

  const usage: readonly [args: string[], says: RegExp][] = [
    [[], /Usage: sharder/],
    [['srve'], /unknown command 'srve'[\s\S]*sharder --help says what there is/],
    [['bucket'], /Usage: sharder bucket/],
    [['bucket', 'destroy'], /unknown command 'destroy'/],
    [['bucket', 'remove'], /missing required argument 'name'/],
    [['bucket', 'set', 'hub-0'], /nothing to set: give --url, --weight or --capacity/],
    [['object', 'move', 'iana'], /missing required argument 'bucket'/],
    [['plan', 'drain'], /missing required argument 'bucket'/],
    [['plan', 'apply', 'x'], /'x' is invalid.*whole number/],
    [['plan', 'rebalance', '--threshold', 'much'], /'much' is invalid/],
    [
      ['kind', 'set', 'hub'],
      /nothing to set: give --policy, --normalize, .*--leased, or what a leased kind/,
    ],
    [['kind', 'set', 'hub', '--breaker', 'off'], /'off' is invalid.*must be a number/],
    [['lease', 'release'], /missing required argument 'bucket'/],
    [['spec', 'set'], /missing required argument 'name'/],
    [['spec', 'set', 'a', '--spec', '{'], /'\{' is invalid.*must be JSON/],
    [['spec', 'set', 'a', '--pin-rule', 'wait'], /'wait' is invalid.*hold, any/],
    [['spec', 'list', '--state', 'gone'], /'gone' is invalid.*waiting, adding/],
    [['bucket', 'add'], /missing required argument 'name'/],
    [['bucket', 'add', 'a', 'b'], /too many arguments/],
    [['bucket', 'add', 'a', '--weight', 'heavy'], /'heavy' is invalid.*whole number/],
    [['bucket', 'add', 'a', '--weight', '-1'], /'-1' is invalid|argument missing/],
    [['bucket', 'add', 'a', '--capacity', '1.5'], /'1\.5' is invalid/],
    [['serve', '--port', '80'], /unknown option '--port'/],
    [['serve', '--listen'], /argument missing/],
    [['serve', 'now'], /too many arguments/],
    [['migrate', '--config-file', 'missing.yml'], /^sharder: missing\.yml cannot be read: ENOENT/],
    [['--config-file', 'missing.yml', 'migrate'], /^sharder: missing\.yml cannot be read: ENOENT/],
    [['serve', '--listen', 'x'], /listen: "x" must be HOST:PORT/],
    [['migrate', '--database', 'x.db'], /database: is not a database URL/],
    [['migrate', '--database', 'sqlite:'], /database: "sqlite:" names no file/],
    [['migrate', '--database', 'sqlite::memory:'], /database: "sqlite::memory:" names no file/],
  ];
  for (const [args, says] of usage) {
    it(`exits with 2 on: sharder ${args.join(' ')}`, async () => {
      const cwd = temporaryDirectory();
      const { code, stdout, stderr } = await run(args, { cwd });
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /^\s+at /m); // no stack
      assert.deepEqual(readdirSync(cwd), []);
    });
  }

  it('names every mistake of sharder.yml, and exits with 2', async () => {
    const cwd = directoryWith('listen: x\nkinds: { hub: { buckets: [{ name: a, weight: 0 }] } }\n');
    const { code, stdout, stderr } = await run(['serve'], { cwd });
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^sharder: wrong settings:\n {2}listen: .*\n {2}kinds\.hub\.buckets\[0\]\.weight: .*\n$/,
    );
  });

  it('takes its settings from where --config-file says, before or after the command', async () => {
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, 'other.yml'), 'database: sqlite:other.db');
    for (const args of [
      ['--config-file', 'other.yml', 'migrate'],
      ['migrate', '--config-file=other.yml'],
    ]) {
      const { code, stdout } = await run(args, { cwd });
      assert.equal(code, 0);
      assert.match(stdout, /^sqlite:other\.db: /);
    }
  });

  it('shows no password, whatever is wrong with the database', async () => {
    const urls = [
      'postgres://u:hunter2@127.0.0.1:1/db', // nobody listens there
      'postgres://u:hunter2@127.0.0.1:port/db',
      'postgres:u:hunter2@127.0.0.1/db',
      'hunter2',
    ];
    for (const DATABASE_URL of urls) {
      const { code, stdout, stderr } = await run(['migrate'], { env: { DATABASE_URL } });
      assert.ok(code === 1 || code === 2, stderr);
      assert.doesNotMatch(stdout + stderr, /hunter2/);
    }
    const { code, stderr } = await run(['migrate', '--database', 'postgres://u:hunter2@h/db']);
    assert.equal(code, 2);
    assert.match(stderr, /--database: a password may not stand here/);
    assert.doesNotMatch(stderr, /hunter2/);
  });

  it('says in one line that a database cannot be reached, and exits with 1', async () => {
    const env = { DATABASE_URL: 'postgres://u@127.0.0.1:1/db' };
    const { code, stderr } = await run(['bucket', 'list'], { env });
    assert.equal(code, 1);
    assert.match(stderr, /^sharder: the database cannot be reached.*\n$/);
  });
});
