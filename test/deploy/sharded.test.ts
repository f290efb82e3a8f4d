// sharder render compose | systemd, and what all three refuse: the files are what Compose and systemd take,
// and what they start is a service in shards.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { renderCompose } from '../../src/deploy/compose.js';
import { renderRouter, renderShares } from '../../src/deploy/router.js';
import {
  checkDomain,
  checkImage,
  checkListen,
  checkNamespace,
  checkSharded,
  nameOfImage,
} from '../../src/deploy/sharded.js';
import { renderSystemd } from '../../src/deploy/systemd.js';
import { run } from '../commands/run.js';
import { temporaryDirectory } from '../engines.js';
import { exchange, get } from '../http/wire.js';
import { needsNginx, Nginx } from '../nginx.js';
import { freePort } from '../postgres.js';
import { startNameServer, startPod } from './pods.js';

const PATTERN = '^\\/users\\/([^\\/]*)\\/.*';
const SERVICE = { name: 'x', shards: 3, urlPattern: PATTERN, port: 8080 };

const running: Nginx[] = [];
const servers: Server[] = [];
after(async () => {
  for (const nginx of running) await nginx.stop();
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

/** A real nginx with this for its whole configuration. */
async function startNginx(port: number, text: string): Promise<Nginx> {
  const nginx = await Nginx.start({
    sharders: [],
    upstreams: '',
    port,
    edit: { 'nginx.conf': () => text },
  });
  running.push(nginx);
  return nginx;
}

async function bodies(nginx: Nginx, count = 60): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) {
    const response = await exchange(nginx.port, get(`/users/user-${i}/x`));
    assert.equal(response?.status, 200, response?.body);
    found.push(response.body);
  }
  return found;
}

describe('the shares of the shards', needsNginx, () => {
  const keys = Array.from({ length: 1_500 }, (_, i) => `/users/tenant-${i}/x`);

  async function shardOfEach(shards: number): Promise<number[]> {
    const port = await freePort();
    const text = renderRouter({
      ...{ name: 'x', shards, pattern: PATTERN, listen: `127.0.0.1:${port}`, dir: 'tmp' },
      places: { of: () => '127.0.0.1:1' },
    });
    const nginx = await startNginx(port, text.replace(/proxy_pass .*;/, 'return 200 $shard;'));
    const found: number[] = [];
    for (const key of keys) found.push(Number((await exchange(port, get(key)))?.body));
    await nginx.stop();
    return found;
  }

  it('are even, and one shard more takes its own and moves no other key', async () => {
    const [four, five] = [await shardOfEach(4), await shardOfEach(5)];
    for (let shard = 0; shard < 5; shard++) {
      const count = five.filter((each) => each === shard).length;
      assert.ok(Math.abs(count - 300) < 62, `${shard}: ${count}`); // four standard deviations
    }
    const moved = five.filter((shard, i) => shard !== four[i]);
    assert.ok(moved.every((shard) => shard === 4));
    assert.equal(moved.length, five.filter((shard) => shard === 4).length);
  });

  it('are told to nginx for as many shards as are allowed, and for one', async () => {
    assert.deepEqual(new Set(await shardOfEach(1)), new Set([0]));
    const all = await shardOfEach(256);
    assert.ok(new Set(all).size > 240 && Math.max(...all) <= 255);
    assert.ok(
      renderShares(256)
        .split('\n')
        .every((line) => line.length < 4_000),
    );
  });
});

describe('what render compose prints', () => {
  const text = renderCompose({
    ...SERVICE,
    image: 'registry.example.org/x:1',
    routerImage: 'nginx:1.28',
    publish: 8080,
  });
  const file = parse(text, { merge: true }) as {
    configs: { router: { content: string } };
    services: Record<string, { environment?: Record<string, string>; hostname?: string }>;
  };

  it("is what Compose's own schema allows", () => {
    const path = new URL('../../node_modules/dclint/schemas/compose.schema.json', import.meta.url);
    // ajv knows the draft that it names by another URL.
    const text = readFileSync(path, 'utf8').replace(/"\$schema": .*/, '');
    const schema = JSON.parse(text) as object;
    const check = new Ajv({ strict: false }).compile(schema);
    assert.ok(check(file), JSON.stringify(check.errors));
    assert.ok(!check({ ...file, service: {} }));
  });

  it('has no $ by which Compose would put something else in its place', () => {
    const { content } = file.configs.router;
    assert.equal(content.replaceAll('$$', '').includes('$'), false);
    assert.ok(content.includes('$$shard'));
  });

  it(
    'starts shards that know who they are, and a router that finds them by name',
    needsNginx,
    async () => {
      const port = await freePort();
      const addresses = new Map<string, string>();
      const names = await startNameServer(addresses);
      for (const [i, name] of ['x-0', 'x-1', 'x-2'].entries()) {
        const { environment = {}, hostname = '' } = file.services[name] ?? {};
        assert.equal(environment.PORT, '8080');
        await startPod(
          { ...environment, HOSTNAME: hostname, PORT: String(port) },
          `127.0.1.${i + 1}`,
        );
        addresses.set(name, `127.0.1.${i + 1}`);
      }
      // Changed are the ports, the name server, and the directory.
      const own = await freePort();
      const nginx = await startNginx(
        own,
        file.configs.router.content
          .replaceAll('$$', '$')
          .replace('listen 8080', `listen 127.0.0.1:${own}`)
          .replace('127.0.0.11', `127.0.0.1:${names.port}`)
          .replace(':8080$request_uri', `:${port}$request_uri`)
          .replaceAll('/tmp/', 'tmp/'),
      );
      assert.deepEqual([...new Set(await bodies(nginx))].sort(), ['x-0 0 3', 'x-1 1 3', 'x-2 2 3']);
    },
  );
});

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
if (!hasSystemd && process.env.CI) throw new Error('run test/install-servers.sh');

describe('what render systemd writes', () => {
  const odd = [
    '/usr/bin/env',
    'node',
    '-e',
    'console.log("100%", `${process.pid}`, \'\\\\\')',
    '',
    ';',
  ];
  const render = (command: readonly string[], port = 8081) =>
    renderSystemd({ ...SERVICE, port, command, listen: '127.0.0.1:8080' });

  for (const command of [['/bin/true'], odd]) {
    it(
      `is units in which systemd finds no mistake: ${command.length} words`,
      { skip: !hasSystemd },
      () => {
        const dir = temporaryDirectory();
        for (const [name, text] of render(command)) writeFileSync(join(dir, name), text);
        const units = ['x-shards.target', 'x-shard@0.service', 'x-router.service'];
        const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...units], {
          cwd: dir,
          env: { ...process.env, SYSTEMD_UNIT_PATH: `${dir}:` },
          encoding: 'utf8',
        });
        assert.doesNotMatch(stdout + stderr, /\bx-(shard|router)/);
        assert.equal(status, 0, stderr);
      },
    );
  }

  // As systemd reads a line of a unit of the instance 2.
  function words(unit: string): string[] {
    const [, line = ''] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
    const found = [...line.matchAll(/'([^']*)'|"((?:[^"\\]|\\.)*)"|(\S+)/g)];
    return found.map(([, single, double, bare]) =>
      (single ?? double?.replaceAll(/\\(.)/g, '$1') ?? bare ?? '')
        .replaceAll(/%(.)/g, (_, letter: string) => (letter === 'i' ? '2' : letter))
        .replaceAll('$$', '$'),
    );
  }

  it('starts the program with its arguments as they were given, and a port of its own', () => {
    const show = 'process.stdout.write(JSON.stringify([process.env, process.argv]))';
    const given = ['a "b" \\ $HOME ${x} %i %', '', "it's", ';'];
    const unit =
      render([process.execPath, '-e', show, '--', ...given]).get('x-shard@.service') ?? '';
    const [, environment = ''] = /^Environment=(.*)$/m.exec(unit) ?? [];
    const env = Object.fromEntries(
      environment
        .replaceAll('%i', '2')
        .split(' ')
        .map((each) => each.split('=')),
    ) as Record<string, string>;
    const [command = '', ...args] = words(unit);
    const [own, argv] = JSON.parse(execFileSync(command, args, { env, encoding: 'utf8' })) as [
      Record<string, string>,
      string[],
    ];
    assert.deepEqual(argv.slice(1), given);
    const { PORT, SHARD_INDEX, NUM_SHARDS, HOSTNAME } = own;
    assert.deepEqual([PORT, SHARD_INDEX, NUM_SHARDS, HOSTNAME], ['8083', '2', '3', 'x-2']);
  });

  it('has a router that finds each of them', needsNginx, async () => {
    const base = await freePort();
    const shards = render(['/bin/true'], base);
    for (const i of [0, 1, 2]) {
      const server = createServer((_, response) => response.end(`x-${i}`));
      servers.push(server.listen(base + i, '127.0.0.1'));
    }
    const own = await freePort();
    const nginx = await startNginx(
      own,
      (shards.get('x-router.conf') ?? '')
        .replace('listen 127.0.0.1:8080', `listen 127.0.0.1:${own}`)
        .replaceAll('/run/x-router/', 'tmp/'),
    );
    assert.deepEqual([...new Set(await bodies(nginx))].sort(), ['x-0', 'x-1', 'x-2']);
  });

  it(
    'has a router that believes what a trusted proxy says of its clients, and nobody else',
    needsNginx,
    async () => {
      const base = await freePort();
      const server = createServer((request, response) =>
        response.end(JSON.stringify(request.headers)),
      );
      servers.push(server.listen(base, '127.0.0.1'));
      const forged = {
        'X-Forwarded-For': '192.0.2.7',
        'X-Forwarded-Proto': 'https',
        'X-Forwarded-Host': 'evil.example',
        'X-Forwarded-Prefix': '/evil',
        'X-Forwarded-User': 'root',
        'X-Real-IP': '192.0.2.7',
        Forwarded: 'for=192.0.2.7',
        X_Forwarded_For: '192.0.2.7',
      };
      for (const [trustedProxies, seen] of [
        [[], { for: '127.0.0.1', proto: 'http', prefix: undefined }],
        [['192.0.2.0/24'], { for: '127.0.0.1', proto: 'http', prefix: undefined }],
        [['loopback'], { for: '192.0.2.7, 127.0.0.1', proto: 'https', prefix: '/evil' }],
      ] as const) {
        const own = await freePort();
        const text = renderRouter({
          ...{ name: 'x', shards: 1, pattern: '^/(.*)', dir: 'tmp' },
          ...{ listen: `127.0.0.1:${own}`, places: { of: () => `127.0.0.1:${base}` } },
          trustedProxies,
        });
        const nginx = await startNginx(own, text);
        const response = await fetch(nginx.url, { headers: forged });
        const headers = (await response.json()) as Record<string, string | undefined>;
        assert.equal(headers['x-forwarded-for'], seen.for);
        assert.equal(headers['x-forwarded-proto'], seen.proto);
        assert.equal(headers['x-forwarded-prefix'], seen.prefix);
        if (seen.prefix === undefined)
          assert.doesNotMatch(JSON.stringify(headers), /evil|root|192\.0\.2\.7/);
      }
    },
  );

  // user@.service, container-getty@.service, basic.target and others would be ours in their place.
  it('has the name of no unit of systemd’s own, whatever the service is called', () => {
    const units = renderSystemd({ ...SERVICE, name: 'user', command: ['/x'], listen: '*:8080' });
    assert.deepEqual([...units.keys()].sort(), [
      ...['user-router.conf', 'user-router.service', 'user-shard@.service', 'user-shards.target'],
    ]);
  });

  it('refuses a command with a line end, by which somebody could write a line of their own', () => {
    assert.throws(() => render(['/bin/true', 'a\nExecStart=/bin/false']), /control character/);
  });
});

describe('render', () => {
  for (const [what, check] of [
    [
      '--name',
      () => {
        checkSharded({ ...SERVICE, name: 'X' });
      },
    ],
    [
      '--name',
      () => {
        checkSharded({ ...SERVICE, name: '0x' });
      },
    ],
    [
      '--name',
      () => {
        checkSharded({ ...SERVICE, name: 'x-' });
      },
    ],
    [
      '--name',
      () => {
        checkSharded({ ...SERVICE, name: 'a\nb' });
      },
    ],
    [
      '--name',
      () => {
        checkSharded({ ...SERVICE, name: 'x'.repeat(53) });
      },
    ],
    [
      '--shards',
      () => {
        checkSharded({ ...SERVICE, shards: 0 });
      },
    ],
    [
      '--shards',
      () => {
        checkSharded({ ...SERVICE, shards: 257 });
      },
    ],
    [
      '--port',
      () => {
        checkSharded({ ...SERVICE, port: 80 });
      },
    ],
    [
      '--url-pattern',
      () => {
        checkSharded({ ...SERVICE, urlPattern: '(' });
      },
    ],
    [
      '--url-pattern',
      () => {
        checkSharded({ ...SERVICE, urlPattern: '^/users' });
      },
    ],
    [
      '--url-pattern',
      () => {
        checkSharded({ ...SERVICE, urlPattern: '^((a+)+)$' });
      },
    ],
    [
      '--url-pattern',
      () => {
        checkSharded({ ...SERVICE, urlPattern: '^/(a)\n"; evil' });
      },
    ],
    [
      '--namespace',
      () => {
        checkNamespace('a.b');
      },
    ],
    [
      '--resolver',
      () => {
        checkDomain('--resolver', 'a; evil');
      },
    ],
    [
      '--image',
      () => {
        checkImage('--image', 'x:1\nb: c');
      },
    ],
    [
      '--image',
      () => {
        checkImage('--image', 'X');
      },
    ],
    [
      '--image',
      () => {
        checkImage('--image', 'x y');
      },
    ],
    [
      '--image',
      () => {
        checkImage('--image', '');
      },
    ],
  ] as const) {
    it(`refuses a wrong ${what}: ${String(check).slice(6, 80)}`, () => {
      assert.throws(check, new RegExp(`SharderError: ${what}: `));
    });
  }

  for (const listen of [
    ...['a;b', '127.0.0.1', '127.0.0.1:0', '*:65536', '999.1.1.1:80', '[:::]:80', '[1:2]:80'],
    ...['127.0.0.1:8080', '*:8081', '[::1]:8082'],
  ]) {
    it(`refuses a wrong --listen, such as one of the shards’ own ports: ${listen}`, () => {
      assert.throws(() => {
        checkListen(listen, SERVICE);
      }, /SharderError: --listen: /);
    });
  }

  for (const listen of ['127.0.0.1:8079', '*:8083', '[::1]:80', '[2001:db8::1]:65535']) {
    it(`takes a --listen beside the shards’ ports: ${listen}`, () => {
      checkListen(listen, SERVICE);
    });
  }

  it('takes the name of the image where none is given', () => {
    checkImage('--image', `r.example:5000/team/my_server:1.2@sha256:${'0'.repeat(64)}`);
    assert.equal(
      nameOfImage(`r.example:5000/team/my_server:1.2@sha256:${'0'.repeat(64)}`),
      'my-server',
    );
    assert.equal(nameOfImage('nginx'), 'nginx');
  });

  const facts = ['--shards', '3', '--url-pattern', PATTERN];

  it('prints, or writes what it would have printed; and asks nobody', async () => {
    const cwd = temporaryDirectory();
    const image = ['--image', 'team/server:1'];
    const printed = await run(['render', 'kubernetes', ...image, ...facts], { cwd });
    assert.deepEqual([printed.code, printed.stderr], [0, '']);
    await run(['render', 'kubernetes', ...image, ...facts, '--output', 'x.yml'], { cwd });
    assert.equal(readFileSync(join(cwd, 'x.yml'), 'utf8'), printed.stdout);
    const compose = await run(['render', 'compose', ...image, ...facts], { cwd });
    assert.match(compose.stdout, /^ {2}server-2:$/m);
    const named = [
      '--name',
      'x',
      '--output',
      'units',
      '--',
      '/usr/bin/node',
      'server.js',
      '--port',
    ];
    const systemd = await run(['render', 'systemd', ...facts, ...named], { cwd });
    assert.deepEqual([systemd.code, systemd.stdout + systemd.stderr], [0, '']);
    assert.deepEqual(readdirSync(join(cwd, 'units')).sort(), [
      ...['x-router.conf', 'x-router.service', 'x-shard@.service', 'x-shards.target'],
    ]);
    assert.ok(!existsSync(join(cwd, 'sharder.db')));
  });

  it('has the manifests of the Sharder, with the settings that are there, once they are right', async () => {
    const cwd = temporaryDirectory();
    const args = ['render', 'kubernetes-sharder', '--image', 'team/sharder:1'];
    const none = await run(args, { cwd });
    assert.deepEqual([none.code, none.stdout], [2, '']);
    assert.match(none.stderr, /sharder\.yml is not there/);
    writeFileSync(join(cwd, 'sharder.yml'), 'kinds: { hub: { buckets: [hub-0] } }\n');
    const alone = await run(args, { cwd, env: { DATABASE_URL: 'postgres://u:secret@h/d' } });
    assert.deepEqual([alone.code, alone.stderr], [0, '']);
    assert.doesNotMatch(alone.stdout, /secret@/);
    // The proxy secret says who may name users, unless the settings name addresses too.
    assert.match(alone.stdout, /name: SHARDER_TRUSTED_PROXIES\n +value: "0\.0\.0\.0\/0,::\/0"/);
    const kinds = 'kinds: { hub: { buckets: [hub-0] } }\n';
    for (const proxies of ['192.0.2.7', '[loopback]']) {
      writeFileSync(join(cwd, 'sharder.yml'), `trusted_proxies: ${proxies}\n${kinds}`);
      const addressed = await run(args, { cwd });
      assert.doesNotMatch(addressed.stdout, /SHARDER_TRUSTED_PROXIES/);
    }
    writeFileSync(join(cwd, 'sharder.yml'), 'kinds: { hub: { bucket: [hub-0] } }\n');
    assert.equal((await run(args, { cwd })).code, 2);
  });

  it('says what is wrong, and exits with 2', async () => {
    const image = ['--image', 'team/server:1'];
    const url = ['--url', 'http://127.0.0.1:1'];
    for (const [args, says, where = []] of [
      [['kubernetes', ...facts], /--image/],
      [['kubernetes', ...image, ...facts], /kubernetes asks nobody: leave --url out/, url],
      [
        ['kubernetes', ...image, ...facts, '--router-replicas', '0'],
        /--router-replicas: 0 cannot be/,
      ],
      [['compose', ...image, ...facts, '--publish', '0'], /--publish: 0 is no port/],
      [['systemd', ...facts, '--name', 'x', '--', 'node'], /"node" is no path of a program/],
      [
        ['systemd', ...facts, '--name', 'x', '--listen', 'a;b', '--', '/x'],
        /--listen: "a;b" cannot/,
      ],
      [
        ['systemd', ...facts, '--name', 'x', '--listen', '*:8083', '--', '/x'],
        /--listen: a shard has port 8083/,
      ],
    ] as [string[], RegExp, string[]?][]) {
      const { code, stdout, stderr } = await run([...where, 'render', ...args]);
      assert.deepEqual([code, stdout], [2, ''], stderr);
      assert.match(stderr, says);
    }
  });
});
