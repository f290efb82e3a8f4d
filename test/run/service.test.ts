// Programs that shard themselves: the tutorial's, with three lines changed, and what a pod is told.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findShard } from '../../src/run/service.js';
import { temporaryDirectory } from '../engines.js';
import { freePort } from '../postgres.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

// github.com/metaparticle-io/package, tutorials/javascript/sharding-tutorial.md.
const TUTORIAL = String.raw`const http = require('http');
const os = require('os');
const mp = require('@metaparticle/package');

const port = 8080;

const server = http.createServer((request, response) => {
	console.log(request.url);
	response.end(${'`'}Hello World: hostname: ${'$'}{os.hostname()}\n${'`'});
});

mp.containerize(
	{
		ports: [8080],
		shardSpec: {
			shards: 3,
			"urlPattern": "\\/users\\/(.*)[^\\/]"
		},
                repository: 'docker.io/your-docker-user-goes-here',
                publish: true,
                public: true,
		runner: 'metaparticle',
	},
	() => {
		server.listen(port, (err) => {
			if (err) {
				return console.log('server startup error: ', err);
			}
			console.log(${'`'}server up on ${'$'}{port}${'`'});
		});
	}
);
`;

const CHANGES = [
  ["require('@metaparticle/package')", "require('sharder/service')"],
  ['const port = 8080', 'const port = process.env.PORT'],
  ['os.hostname()', 'process.env.HOSTNAME'],
] as const;

/** A directory in which this package is installed. */
function project(): string {
  const dir = temporaryDirectory();
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(ROOT, join(dir, 'node_modules', 'sharder'));
  return dir;
}

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

function start(cwd: string, file: string, env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [file], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const says = async (what: string): Promise<void> => {
    let printed = '';
    for await (const part of child.stdout
      .setEncoding('utf8')
      .iterator({ destroyOnReturn: false })) {
      printed += String(part);
      if (printed.includes(what)) break;
    }
    child.stdout.resume();
  };
  return { child, exited, says, stderr: text(child.stderr) };
}

describe("the tutorial's service, three lines changed", () => {
  it('starts its shards and a router, shows three host names, and ends at SIGTERM', async () => {
    const port = await freePort();
    let program = TUTORIAL;
    for (const [before, now] of CHANGES) {
      assert.equal(program.split(before).length, 2, before);
      program = program.replace(before, now);
    }
    const dir = project();
    // Only so that tests can run beside each other.
    writeFileSync(join(dir, 'server.js'), program.replace('[8080]', `[${port}]`));
    const { child, exited, says, stderr } = start(dir, 'server.js');
    await says('listens on');
    const names = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const path = `/users/${i}-user/`; // its pattern leaves the last character out
      const [one, two] = await Promise.all(
        [path, `${path}?a=b`].map(async (each) =>
          (await fetch(`http://127.0.0.1:${port}${each}`)).text(),
        ),
      );
      assert.equal(one, two);
      names.add(one ?? '');
    }
    const expected = [0, 1, 2].map((i) => `Hello World: hostname: server-${i}\n`);
    assert.deepEqual([...names].sort(), expected);
    child.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
    assert.match(
      await stderr,
      /^sharder: note: not used here, for nothing is built or shipped: repository, publish, public, runner\n/,
    );
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
  });
});

describe('a program that shards itself', () => {
  it('in a pod just calls the function, and starts nothing', async () => {
    const dir = project();
    writeFileSync(
      join(dir, 'server.mjs'),
      `import { shardService } from 'sharder/service';
      const shardSpec = { shards: 3, urlPattern: '/(a)' };
      shardService({ ports: [8080], shardSpec }, (facts) => console.log(JSON.stringify(facts)));`,
    );
    const env = { HOSTNAME: 'web-1', KUBERNETES_SERVICE_HOST: '10.0.0.1', PORT: undefined };
    const { child, exited, stderr } = start(dir, 'server.mjs', env);
    const printed = await text(child.stdout);
    assert.deepEqual(await exited, [0, null]);
    assert.equal(await stderr, '');
    assert.deepEqual(JSON.parse(printed), { port: 8080, shard: 1, numShards: 3, name: 'web-1' });
  });

  it('says in one line what is wrong, and ends', async () => {
    const dir = project();
    writeFileSync(
      join(dir, 'server.mjs'),
      `import { shardService } from 'sharder/service';
      shardService({ ports: [8080], shardSpec: { shards: 3, urlPattern: '(' } }, () => {});
      setInterval(() => {}, 1000);`,
    );
    const { exited, stderr } = start(dir, 'server.mjs');
    assert.deepEqual(await exited, [2, null]);
    assert.match(await stderr, /^sharder: url-pattern: "\(" is no regular expression.*\n$/);
  });
});

describe('which shard a program is', () => {
  const options = { ports: [8080], shardSpec: { shards: 3, urlPattern: '/(a)' } } as const;
  const cases: readonly [env: NodeJS.ProcessEnv, facts: ReturnType<typeof findShard>][] = [
    [{}, undefined],
    [{ HOSTNAME: 'laptop-7' }, undefined],
    [{ SHARD_INDEX: '' }, undefined],
    [
      { SHARD_INDEX: '2', NUM_SHARDS: '5', PORT: '4711', HOSTNAME: 'server-2' },
      { port: 4711, shard: 2, numShards: 5, name: 'server-2' },
    ],
    [
      { HOSTNAME: 'web-12', KUBERNETES_SERVICE_HOST: '10.0.0.1', NUM_SHARDS: '20' },
      { port: 8080, shard: 12, numShards: 20, name: 'web-12' },
    ],
    // A pod of a Deployment is no shard.
    [{ HOSTNAME: 'web-7d4b9c-x2k8p', KUBERNETES_SERVICE_HOST: '10.0.0.1' }, undefined],
  ];
  for (const [env, facts] of cases) {
    it(JSON.stringify(env), () => {
      assert.deepEqual(findShard(options, env), facts);
    });
  }
});
