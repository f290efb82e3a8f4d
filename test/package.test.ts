// The package as others install it: what the tarball has, that importing it starts nothing, and that
// its types hold.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from './engines.js';

const root = fileURLToPath(new URL('..', import.meta.url));

describe('the packed package', () => {
  const project = temporaryDirectory();
  const installed = join(project, 'node_modules', 'sharder');
  let packed: string[];

  before(() => {
    const npm = ['pack', '--json', '--ignore-scripts', '--pack-destination', project];
    const [tarball] = JSON.parse(
      execFileSync('npm', npm, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    ) as { filename: string; files: { path: string }[] }[];
    assert.ok(tarball);
    packed = tarball.files.map(({ path }) => path);
    mkdirSync(installed, { recursive: true });
    execFileSync('tar', ['-xzf', tarball.filename, '--strip-components=1', '-C', installed], {
      cwd: project,
    });
    // In place of an install.
    symlinkSync(join(root, 'node_modules'), join(installed, 'node_modules'));
    symlinkSync(join(root, 'node_modules', '@types'), join(project, 'node_modules', '@types'));
    writeFileSync(join(project, 'package.json'), '{ "type": "module", "private": true }');
  });

  function node(...args: string[]) {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: project,
      encoding: 'utf8',
      timeout: 20_000,
    });
    return { status, signal, stdout, stderr };
  }
  const done = { status: 0, signal: null, stderr: '' };

  it('has what it needs to run and nothing else: no tests, no bench, no leftovers', () => {
    for (const path of ['dist/cli.js', 'dist/index.js', 'dist/index.d.ts', 'sharder.yml'])
      assert.ok(packed.includes(path), path);
    for (const engine of ['sqlite', 'postgres'])
      assert.ok(packed.includes(`schema/${engine}/0001_tables.sql`), engine);
    const odd = packed.filter(
      (path) =>
        !/^dist\/([\w-]+\/)*[\w-]+\.(js|js\.map|d\.ts)$/.test(path) &&
        !/^schema\/(sqlite|postgres)\/\w+\.sql$/.test(path) &&
        !/^completion\/sharder\.(bash|zsh|fish)$/.test(path) &&
        !/^(package\.json|sharder\.yml|README\.md|LICENSE)$/.test(path),
    );
    assert.deepEqual(odd, []);
  });

  it('starts nothing when it is imported: the process ends by itself, and has made no file', () => {
    const before = readdirSync(project);
    const script = `
      import * as sharder from 'sharder';
      const { Sharder, openDatabase, createServer, declareKinds, SharderError } = sharder;
      console.log([Sharder, openDatabase, createServer, declareKinds, SharderError].map((f) => typeof f).join());
    `;
    assert.deepEqual(node('--input-type=module', '-e', script), {
      ...done,
      stdout: 'function,function,function,function,function\n',
    });
    assert.deepEqual(readdirSync(project), before);
  });

  it('serves from another program, which ends when it has closed what it opened', () => {
    const script = `
      import { once } from 'node:events';
      import { createServer, declareKinds, openDatabase, Sharder } from 'sharder';
      const database = await openDatabase('sqlite:own.db');
      await declareKinds(database, { hub: { buckets: [{ name: 'hub-0' }] } }, 'me');
      const server = createServer(await Sharder.start(database)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = 'http://127.0.0.1:' + server.address().port;
      const headers = { REMOTE_USER: 'iana', Connection: 'close' };
      const response = await fetch(url + '/shard', { headers });
      process.stdout.write(await response.text());
      server.close();
      server.closeAllConnections();
      await database.close();
    `;
    const outcome = node('--input-type=module', '-e', script);
    assert.deepEqual(outcome, { ...done, stdout: 'hub-0\n' });
  });

  it('has its command, which finds the schema beside it', () => {
    const { status, stdout, stderr } = node(
      ...[join(installed, 'dist', 'cli.js'), 'migrate', '--database', 'sqlite:command.db'],
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^sqlite:command\.db: applied 0001_tables/);
    assert.ok(existsSync(join(project, 'command.db')));
  });

  it('has what programs shard themselves with, for CommonJS too', () => {
    writeFileSync(
      join(project, 'own.cjs'),
      `const { shardService } = require('sharder/service');
      const shardSpec = { shards: 3, urlPattern: '/(a)' };
      shardService({ ports: [8080], shardSpec }, ({ shard }) => console.log(shard));`,
    );
    const use = `import { shardService } from 'sharder/service';
shardService({ ports: [80], shardSpec: { shards: 3, urlPattern: '/(a)' } }, ({ port }) => port.toFixed());
`;
    assert.equal(compile(use), '');
    assert.match(compile(use.replace('ports: [80]', '$&, publish: true')), /TS2353/);
    process.env.SHARD_INDEX = '2';
    assert.deepEqual(node('own.cjs'), { ...done, stdout: '2\n' });
    delete process.env.SHARD_INDEX;
  });

  it('has types: what is right compiles, and what is wrong does not', () => {
    const use = `import { createServer, openDatabase, Sharder, SharderError, type Answer, type ErrorCode, type ServerOptions } from 'sharder';
const options: ServerOptions = { userHeader: 'X-User', trustedProxies: ['loopback'] };
export async function start(): Promise<number> {
  const sharder = await Sharder.start(await openDatabase('sqlite:x.db'), { cacheSize: 10 });
  const answer: Answer = await sharder.assign('hub', 'iana');
  const code: ErrorCode = new SharderError('no_room', answer.bucket.name).code;
  return createServer(sharder, options).listen(0).listenerCount(code);
}
`;
    assert.equal(compile(use), '');
    assert.match(compile(use.replace("'loopback'", '5')), /TS2322/);
    assert.match(compile(use.replace('openDatabase, ', 'openDatabases, ')), /TS2724|TS2305/);
  });

  function compile(text: string): string {
    writeFileSync(join(project, 'use.ts'), text);
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    const strict = ['--noEmit', '--strict', '--skipLibCheck', '--types', 'node'];
    const modern = ['--module', 'nodenext', '--target', 'es2023'];
    return node(tsc, ...strict, ...modern, 'use.ts').stdout;
  }
});
