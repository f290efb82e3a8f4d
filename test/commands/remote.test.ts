// The command line on a running service (--url): what it prints is what it prints on the database.

import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { SharderClient } from '../../src/client/index.js';
import { OPERATIONS } from '../../src/operations/all.js';
import { STREAMS } from '../../src/operations/streams.js';
import { engines, needsPostgres, temporaryDirectory, type TestEngine } from '../engines.js';
import { Service } from '../service.js';
import { directoryWith, run, type Outcome } from './run.js';

const TOKEN = 't'.repeat(40);
const SETTINGS =
  'kinds: { hub: { buckets: [hub-0, hub-1, hub-2] }, homedir: { buckets: [home-0] } }';

const MANY = Array.from({ length: 300 }, (_, i) => `user-${i}\n`).join('');

// The operation or stream that each command does, and the command.
const COMMANDS: readonly [operation: string, args: readonly string[], stdin?: string][] = [
  ['object assign', ['object', 'assign', 'iana']],
  ['object assign', ['object', 'assign', 'iana', '--json']],
  ['object assign', ['object', 'assign', 'brian', '--dry-run']],
  ['object assign', ['object', 'assign', ' x']],
  ['object assign', ['object', 'assign', 'iana', '--kind=homedir']],
  ['object assign', ['object', 'assign', 'x', '--kind=nosuch']],
  ['object assign-many', ['object', 'assign', '-'], 'brian\ncarol\n\n{"name":"dana"}\n x\n'],
  ['object assign-many', ['object', 'assign', '-', '--json'], 'brian\n"eli"\n{}\n'],
  ['kind list', ['kind', 'list']],
  ['kind list', ['kind', 'list', '--json']],
  ['kind create', ['kind', 'create', 'tenant', '--normalize=lower', '--no-cookie']],
  ['kind create', ['kind', 'create', 'tenant', '--json']],
  ['kind set', ['kind', 'set', 'tenant', '--threshold=20', '--cookie', '--reason=r']],
  ['kind set', ['kind', 'set', 'tenant', '--threshold=20', '--json']],
  ['kind set', ['kind', 'set', 'tenant', '--threshold=0']],
  ['kind remove', ['kind', 'remove', 'tenant', '--dry-run']],
  ['kind remove', ['kind', 'remove', 'tenant']],
  ['kind remove', ['kind', 'remove', 'hub']],
  ['kind show', ['kind', 'show', 'hub']],
  ['kind show', ['kind', 'show', 'queue']],
  ['kind show', ['kind', 'show', 'nosuch']],
  ['bucket list', ['bucket', 'list']],
  ['bucket list', ['bucket', 'list', '--json', '--kind=hub']],
  ['bucket list', ['bucket', 'list', '--kind=nosuch']],
  ['bucket show', ['bucket', 'show', 'hub-1']],
  ['bucket show', ['bucket', 'show', 'hub-9', '--json']],
  ['bucket add', ['bucket', 'add', 'a/b', '--url=http://x.example', '--weight=2', '--reason=r']],
  ['bucket add', ['bucket', 'add', 'hub-0']],
  ['bucket add', ['bucket', 'add', 'hub-8', '--weight=0']],
  ['bucket set', ['bucket', 'set', 'a/b', '--no-url', '--capacity=7']],
  ['bucket set', ['bucket', 'set', 'a/b', '--no-url', '--capacity=7', '--json']],
  ['bucket cordon', ['bucket', 'cordon', 'a/b', '--reason=full']],
  ['bucket uncordon', ['bucket', 'uncordon', 'a/b', '--dry-run', '--json']],
  ['bucket remove', ['bucket', 'remove', 'hub-0']],
  ['bucket remove', ['bucket', 'remove', 'a/b']],
  ['bucket remove', ['bucket', 'remove', 'hub-2', '--dry-run']],
  ['object list', ['object', 'list']],
  ['object list', ['object', 'list', '--json', '--kind=hub', '--bucket=hub-0']],
  ['object list', ['object', 'list', '--prefix=b', '--no-pinned']],
  ['object list', ['object', 'list', '--at=2020-01-01T00:00:00Z']],
  ['object find-everywhere', ['object', 'find', 'iana']],
  ['object find-everywhere', ['object', 'find', 'nosuch']],
  ['object find', ['object', 'find', 'iana', '--kind=hub', '--json']],
  ['object find', ['object', 'find', 'nosuch', '--kind=hub']],
  ['object move', ['object', 'move', 'iana', 'hub-2', '--reason=asked', '--dry-run']],
  ['object move', ['object', 'move', 'iana', 'hub-2', '--reason=asked']],
  ['object move', ['object', 'move', 'iana', 'hub-9', '--json']],
  ['object rename', ['object', 'rename', 'iana', '..']],
  ['object rename', ['object', 'rename', '..', 'brian']],
  ['object find', ['object', 'find', '..', '--kind=hub']],
  ['object rename', ['object', 'rename', '..', 'a?b#c/%2F']],
  ['object merge', ['object', 'merge', 'carol', 'a?b#c/%2F', '--keep=older']],
  ['object merge', ['object', 'merge', 'carol', 'brian', '--json']],
  ['object pin', ['object', 'pin', 'a?b#c/%2F']],
  ['object pin', ['object', 'pin', 'a?b#c/%2F', '--json']],
  ['object unpin', ['object', 'unpin', 'a?b#c/%2F']],
  ['object history', ['object', 'history', 'a?b#c/%2F']],
  ['object history', ['object', 'history', 'nosuch']],
  ['object explain', ['object', 'explain', 'nosuch']],
  ['object remove', ['object', 'remove', 'dana', '--reason=left']],
  ['plan create', ['plan', 'rebalance', '--dry-run']],
  ['plan create', ['plan', 'rebalance', '--threshold=5']],
  ['plan create', ['plan', 'rebalance', '--threshold=0']],
  ['plan create', ['plan', 'drain', 'hub-2', '--dry-run', '--json']],
  ['plan create', ['plan', 'drain', 'hub-2', '--reason=old']],
  ['plan create', ['plan', 'spread', 'hub-1', 'hub-1', '--kind=nosuch']],
  ['plan list', ['plan', 'list']],
  ['plan list', ['plan', 'list', '--json', '--kind=hub', '--state=planned']],
  ['plan show', ['plan', 'show', '2']],
  ['plan show', ['plan', 'show', '99']],
  ['plan moves', ['plan', 'moves', '2', '--state=waiting']],
  ['plan apply', ['plan', 'apply', '2', '--rate=0']],
  ['plan apply', ['plan', 'apply', '2', '--rate=1000', '--reason=now']],
  ['plan apply', ['plan', 'apply', '2']],
  ['plan show', ['plan', 'show', '2', '--json']],
  ['plan pause', ['plan', 'pause', '2']],
  ['plan resume', ['plan', 'resume', '1']],
  ['plan undo', ['plan', 'undo', '2', '--dry-run']],
  ['plan undo', ['plan', 'undo', '2', '--reason=sorry']],
  ['plan cancel', ['plan', 'cancel', '1']],
  ['object list', ['object', 'list', '--kind=hub']],
  ['lease list', ['lease', 'list']],
  ['lease list', ['lease', 'list', '--kind=queue', '--json']],
  ['lease list', ['lease', 'list', '--kind=nosuch']],
  ['spec set', ['spec', 'set', 'a/b', '--kind=queue', '--spec={"x":[1]}', '--pin=w/0']],
  ['spec set', ['spec', 'set', 'a/b', '--kind=queue', '--spec=null', '--pin=none', '--json']],
  ['spec set-all', ['spec', 'set', 'b', 'c', '--kind=queue', '--group=eu', '--reason=r']],
  ['spec show', ['spec', 'show', 'a/b', '--kind=queue']],
  ['spec list', ['spec', 'list', '--state=waiting']],
  ['lease objects', ['lease', 'objects', 'w/0', '--kind=queue', '--pending']],
  ['spec remove', ['spec', 'remove', 'c', '--kind=queue']],
  ['lease drain', ['lease', 'drain', 'w/0', '--kind=queue', '--reason=old']],
  ['lease release', ['lease', 'release', 'w/0', '--kind=queue', '--dry-run', '--json']],
  ['lease release', ['lease', 'release', 'w/0', '--kind=queue', '--epoch=99']],
  ['lease release', ['lease', 'release', 'w/0', '--kind=queue', '--reason=burnt']],
  ['lease release', ['lease', 'release', 'w/0', '--kind=queue']],
  ['bucket remove', ['bucket', 'remove', 'w-1', '--kind=queue']],
  ['kind remove', ['kind', 'remove', 'queue']],
  ['kind create', ['kind', 'create', 'page', '--policy=hash', '--key=query:p']],
  ['bucket add', ['bucket', 'add', 'p-0', '--kind=page']],
  ['bucket drain', ['bucket', 'drain', 'p-0', '--kind=page', '--reason=old']],
  ['object pin', ['object', 'pin', 'x', 'p-0', '--kind=page']],
  ['object explain', ['object', 'explain', 'y', '--kind=page']],
  ['history list', ['history', 'list', '--kind=hub', '--action=object move']],
  ['history list', ['history', 'list', '--limit=3', '--json']],
  ['history list', ['history', 'list', '--since=2020-01-01', '--object=nosuch']],
  ['history prune', ['history', 'prune', '--before=2020-01-01', '--dry-run']],
  ['history prune', ['history', 'prune', '--before=2020-01-01', '--json']],
  ['history prune', ['history', 'prune', '--before=2020-01-01', '--kind=nosuch']],
  ['watch', ['watch', '--once', '--json', '--since=0']],
  ['import', ['import', 'wrong.csv']],
  ['import', ['import', 'wrong.csv', '--json']],
  ['import', ['import', 'wrong.csv', '--create-buckets', '--dry-run']],
  ['import', ['import', 'right.ndjson.gz', '--reason=term']],
  ['import', ['import', 'right.ndjson.gz', '--json']],
  ['import', ['import', 'nosuch.csv']],
  ['import', ['import', '-', '--format=csv', '--move'], 'user,hub\nfay,hub-2\n'],
  ['export', ['export', '-', '--format=ndjson']],
  ['export', ['export', '-', '--format=csv', '--kind=homedir']],
  ['export', ['export', 'out.csv', '--kind=nosuch']],
  ['check', ['check']],
  ['check', ['check', '--json']],
  ['check fix', ['check', '--fix', '--json']],
  // Last, for the service makes as many of these as it comes to.
  ['object assign-many', ['object', 'assign', '-'], MANY],
  ['plan create', ['plan', 'drain', 'hub-0', 'hub-1']],
  ['plan apply', ['plan', 'apply', '4', '--rate=1', '--no-wait']],
  ['plan pause', ['plan', 'pause', '4', '--reason=lunch']],
  ['plan resume', ['plan', 'resume', '4', '--rate=2', '--bucket-rate=1', '--no-wait']],
  ['plan cancel', ['plan', 'cancel', '4']],
];

const gz = gzipSync(
  '{"name":"fay","bucket":"hub-1"}\n{"name":"gil","bucket":"hub-0","pinned":true}\n',
);

const [sqlite, postgres] = engines;

describe('on SQLite, and with --url by a service on PostgreSQL', needsPostgres, () => {
  it('every command prints the same', async () => {
    assert.ok(sqlite && postgres);
    const files = directoryWith(SETTINGS);
    writeFileSync(join(files, 'wrong.csv'), 'user,hub\niana,hub-0\nx,hub-9\n');
    writeFileSync(join(files, 'right.ndjson.gz'), gz);
    const serve = async (engine: TestEngine) =>
      Service.start(await engine.createDatabase(), {
        cwd: files,
        env: { SHARDER_ADMIN_TOKEN: `ops=${TOKEN}` },
      });
    const [beside, asked] = await Promise.all([serve(sqlite), serve(postgres)]);
    for (const { url } of [beside, asked]) await claimLeases(url);
    for (const [, args, stdin = ''] of COMMANDS) {
      const type = async (env: NodeJS.ProcessEnv) =>
        plain(await run(args, { env, cwd: files, stdin }));
      const [here, there] = await Promise.all([
        type({ DATABASE_URL: beside.database, SHARDER_ACTOR: 'api:ops' }),
        type({ SHARDER_URL: asked.url, SHARDER_TOKEN: TOKEN }),
      ]);
      assert.deepEqual(there, here, args.join(' '));
    }
  });
});

for (const engine of engines) {
  describe(`on ${engine.name}, with --url`, engine.options, () => {
    it('an export is the same file, whole', async () => {
      const service = await Service.start(await engine.createDatabase(), {
        cwd: directoryWith(SETTINGS),
        env: { SHARDER_ADMIN_TOKEN: TOKEN },
      });
      const cwd = temporaryDirectory();
      const users = Array.from({ length: 5_000 }, (_, i) => `user-${i},hub-${i % 3}\n`);
      writeFileSync(join(cwd, 'in.csv'), `user,hub\n${users.join('')}`);
      const there = { SHARDER_URL: service.url, SHARDER_ADMIN_TOKEN: TOKEN };
      assert.equal((await run(['import', 'in.csv'], { env: there, cwd })).code, 0);
      for (const env of [there, { DATABASE_URL: service.database }]) {
        const file = `${Object.keys(env)[0] ?? ''}.ndjson`;
        assert.equal((await run(['export', file], { env, cwd })).code, 0);
      }
      const [a, b] = ['SHARDER_URL', 'DATABASE_URL'].map((name) =>
        readFileSync(join(cwd, `${name}.ndjson`), 'utf8'),
      );
      assert.equal(a, b);
      assert.equal(a?.trimEnd().split('\n').length, 5_000 + 2 + 4);
    });
  });
}

describe('the command line, with --url', () => {
  it('has a command for every operation of the management API, but those that are for workers', () => {
    const ofWorkers = ['lease claim', 'lease ack'];
    const tested = new Set([...COMMANDS.map(([operation]) => operation), ...ofWorkers]);
    const all = [...OPERATIONS, ...Object.values(STREAMS)].map(({ name }) => name);
    assert.deepEqual(
      all.filter((name) => !tested.has(name)),
      [],
    );
  });

  const refused: readonly [what: string, args: string[], env: NodeJS.ProcessEnv, says: RegExp][] = [
    ['a URL that is none', ['check', '--url=x'], {}, /--url: must be such as http:/],
    ['no token', ['check', '--url=http://127.0.0.1:1'], {}, /SHARDER_TOKEN: set it in the env/],
    [
      'a database too',
      ['check', '--url=http://127.0.0.1:1', '--database=sqlite:x.db'],
      {},
      /--url and --database: give one of them/,
    ],
    ['what works on the database', ['migrate', '--url=http://127.0.0.1:1'], {}, /unknown option/],
    [
      'what works on the database, before it',
      ['--url=http://127.0.0.1:1', 'migrate'],
      {},
      /migrate works on the database itself/,
    ],
    [
      'a table of a file that the service does not see',
      ['import', 'x.db', '--table=t', '--url=http://127.0.0.1:1'],
      { SHARDER_TOKEN: TOKEN },
      /--table: a service cannot read it; use --database/,
    ],
  ];
  for (const [what, args, env, says] of refused) {
    it(`refuses ${what}, as wrong usage`, async () => {
      const { code, stdout, stderr } = await run(args, { env });
      assert.match(stderr, says);
      assert.deepEqual([code, stdout], [2, '']);
    });
  }

  it('says which service does not answer, and what is no Sharder', async () => {
    const url = await listen((_req, res) => res.end('<html>'));
    const env = { SHARDER_TOKEN: TOKEN };
    const other = await run(['kind', 'list', `--url=${url}`], { env });
    assert.match(other.stderr, /no answer of a Sharder/);
    const none = await run(['kind', 'list', '--url=http://127.0.0.1:1'], { env });
    assert.match(none.stderr, /http:\/\/127\.0\.0\.1:1 does not answer: connect ECONNREFUSED/);
    assert.deepEqual([other.code, none.code], [1, 1]);
  });

  it('asks again after a 503, no answer or half of one, with the same Idempotency-Key', async () => {
    const keys: unknown[] = [];
    const url = await listen((req, res) => {
      keys.push(req.headers['idempotency-key']);
      if (keys.length === 1) {
        res.writeHead(503, { 'Retry-After': '0' });
        res.end('{"error":{"code":"database_busy","message":"busy"}}');
      } else if (keys.length === 2) {
        req.socket.destroy();
      } else if (keys.length === 3) {
        res.write('{"action":"obj');
        setImmediate(() => res.destroy());
      } else {
        res.end('{"bucket":null,"action":"object pin","changed":true,"dry_run":false}');
      }
    });
    const { stdout } = await run(['object', 'pin', 'iana', `--url=${url}`], {
      env: { SHARDER_TOKEN: TOKEN },
    });
    assert.equal(stdout, 'pinned object iana of kind hub\n');
    assert.equal(keys.length, 4);
    assert.equal(new Set(keys).size, 1);
    assert.match(String(keys[0]), /^[\w-]{36}$/);
  });

  it('takes an export that breaks off for none', async () => {
    const url = await listen((_req, res) => {
      res.write('kind,name,bucket,assigned_at,pinned\n');
      setImmediate(() => res.destroy());
    });
    const cwd = temporaryDirectory();
    const { code, stderr } = await run(['export', 'out.csv', `--url=${url}`], {
      env: { SHARDER_TOKEN: TOKEN },
      cwd,
    });
    assert.deepEqual([code, stderr], [1, `sharder: the answer of ${url} broke off\n`]);
    assert.throws(() => readFileSync(join(cwd, 'out.csv')), /ENOENT/);
  });

  it('says that the objects after a line that ended all were not asked for', async () => {
    const url = await listen((req, res) => {
      req.resume().on('end', () => {
        res.write('{"name":"iana","bucket":"hub-0","reason":"assigned"}\n');
        res.end('{"error":{"code":"too_large","message":"a line is too long"}}\n');
      });
    });
    const { code, stderr } = await run(['object', 'assign', '-', `--url=${url}`], {
      env: { SHARDER_TOKEN: TOKEN },
      stdin: 'iana\nbrian\n',
    });
    assert.deepEqual(
      [code, stderr],
      [1, 'sharder: a line is too long: the others were not asked for\n'],
    );
  });
});

// Two workers of a kind that is theirs.
async function claimLeases(url: string): Promise<void> {
  const client = new SharderClient({ url, token: TOKEN });
  await client.createKind({ kind: 'queue', leased: true, reshard_interval: 0 });
  for (const bucket of ['w/0', 'w-1'])
    await client.claimLease({
      kind: 'queue',
      bucket,
      holder: `of ${bucket}`,
      ttl: 3_600,
      load: 0.5,
    });
}

const servers = new Set<ReturnType<typeof createServer>>();
after(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
});

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.add(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// Without what differs: times, where, how far a plan is, and what only a service can say.
function plain({ code, stdout, stderr }: Outcome): object {
  const clean = (text: string) =>
    text
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
      .replaceAll(/"id":\d+/g, '"id":0')
      // Two that look at a plan at once, the command and the service beside it, take the kind's lock once more;
      // and PostgreSQL leaves out numbers of lines that were rolled back.
      .replaceAll(/"id":"\d+\.\d+"/g, '"id":""')
      .replaceAll(/"(version|epoch)":\d+/g, '"$1":0')
      .replaceAll(/\d+ of (\d+ moves were made)/g, 'some of $1')
      .replaceAll(/"cache":"\w+"/g, '"cache":""')
      .replaceAll(/(sqlite|postgres|http):\S+: nothing is wrong/g, 'nothing is wrong')
      .replaceAll(/ The service does not have it in memory\./g, '');
  return { code, stdout: clean(stdout).split('\n').map(toValue), stderr: clean(stderr) };
}

// PostgreSQL keeps JSON's fields in an order of its own.
function toValue(line: string): unknown {
  try {
    return JSON.parse(line.replace(/,$/, ''));
  } catch {
    return line;
  }
}
