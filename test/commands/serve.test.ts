// sharder serve: one line when it listens, patience with a database that is not there yet, and an end
// in which everyone who was let in is answered.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { hubs, needsPostgres, postgresServer, temporaryDirectory } from '../engines.js';
import { get, Wire } from '../http/wire.js';
import { freePort } from '../postgres.js';
import { Service } from '../service.js';
import { directoryWith, Run, run } from './run.js';

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

const FIVE = directoryWith(`kinds: { hub: { buckets: [${Object.keys(hubs(5)).join(', ')}] } }`);

function sqliteFile(): string {
  return join(temporaryDirectory(), 'sharder.db');
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await isTrue()) return;
    await sleep(10);
  }
  assert.fail('it did not become true');
}

function portOf({ url }: Service): number {
  return Number(new URL(url).port);
}

describe('sharder serve', () => {
  it('prints one line: where it listens, which database, which kinds and buckets', async () => {
    const file = sqliteFile();
    const cwd = directoryWith(`
kinds:
  hub: { buckets: [hub-1, hub-0] }
  homedir: { buckets: [${Array.from({ length: 12 }, (_, i) => `home-${i + 10}`).join(', ')}] }
  empty:
`);
    const started = new Run(['serve', '--listen', '127.0.0.1:0'], {
      cwd,
      env: { DATABASE_URL: `sqlite:${file}` },
    });
    await started.says('listens on');
    started.process.kill('SIGTERM');
    const { code, stdout } = await started.ended;
    assert.equal(code, 0);
    const port = /:(\d+),/.exec(stdout)?.[1] ?? '';
    assert.equal(
      stdout,
      `sharder ${version} listens on http://127.0.0.1:${port}, database sqlite:${file}, kinds: ` +
        'empty (no buckets), homedir (home-10 home-11 home-12 … home-21, 12 in all), hub (hub-0 hub-1)\n',
    );
  });

  it('shows an IPv6 address as it is typed, and says when there is no kind', async () => {
    const started = new Run(['serve', '--listen', '[::1]:0']);
    await started.says('listens on');
    started.process.kill('SIGTERM');
    const { stdout } = await started.ended;
    assert.match(stdout, /http:\/\/\[::1\]:\d+, .*, no kinds: declare one in sharder\.yml\n$/);
  });

  it('logs JSON lines to stderr and nothing else', async () => {
    const service = await Service.start(`sqlite:${sqliteFile()}`, {
      cwd: FIVE,
      env: { SHARDER_LOG_LEVEL: 'debug' },
    });
    await service.shard('iana');
    await service.shard('iana', '/shard/nosuch');
    assert.equal(await service.stop(), 0);
    const lines = service.log.trim().split('\n');
    assert.ok(lines.length >= 3, service.log);
    for (const line of lines) assert.equal(typeof JSON.parse(line), 'object');
  });

  it('keeps what it declared, and removes nothing that the file no longer names', async () => {
    const url = `sqlite:${sqliteFile()}`;
    const first = await Service.start(url, { cwd: FIVE });
    const answer = await (await first.shard('iana')).text();
    assert.equal(await first.stop(), 0);
    const second = await Service.start(url, {
      cwd: directoryWith('kinds: { homedir: { buckets: [home-0] } }'),
    });
    assert.match(second.line, /homedir \(home-0\), hub \(hub-0 hub-1 hub-2 hub-3 hub-4\)$/);
    assert.equal(await (await second.shard('iana')).text(), answer);
    await second.stop();
  });

  it('sets what the file says of a kind, and leaves what it does not', async () => {
    const url = `sqlite:${sqliteFile()}`;
    const plain = await Service.start(url, { cwd: FIVE });
    await plain.shard('Iana');
    await plain.stop();
    for (const kind of ['normalize: lower-local, cookie: false', 'threshold: 50']) {
      const service = await Service.start(url, {
        cwd: directoryWith(`kinds: { hub: { ${kind} } }`),
      });
      const response = await service.shard('IANA@uni.example');
      assert.equal(response.headers.get('x-shard-reason'), 'existing');
      assert.equal(response.headers.get('set-cookie'), null);
      await service.stop();
    }
  });

  it('does not start where names would fall together, and says which', async () => {
    const url = `sqlite:${sqliteFile()}`;
    const plain = await Service.start(url, { cwd: FIVE });
    for (const name of ['iana', 'Iana']) await plain.shard(name);
    await plain.stop();
    const { code, stdout, stderr } = await run(['serve', '--listen', '127.0.0.1:0'], {
      cwd: directoryWith('kinds: { hub: { normalize: lower } }'),
      env: { DATABASE_URL: url },
    });
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(
      stderr,
      /^sharder: normalize lower does not fit kind hub: 1 object would .*\n {2}Iana, iana → iana \(hub-1, hub-0\)\nmake one .*\n$/,
    );
  });

  it('takes its settings into the service: header, peers, cookie', async () => {
    const service = await Service.start(`sqlite:${sqliteFile()}`, {
      cwd: directoryWith(`
user_header: X-Forwarded-User
trusted_proxies: [127.0.0.0/8]
cookie: { secure: true, same_site: strict, domain: uni.example, max_age: 60 }
kinds: { hub: { buckets: [hub-0] } }
`),
      env: { SHARDER_COOKIE_SECRET: 'x'.repeat(32) },
    });
    assert.equal((await service.shard('iana')).status, 401);
    const headers = { 'X-Forwarded-User': 'iana' };
    const response = await fetch(`${service.url}/shard`, { headers });
    assert.equal(response.status, 200);
    assert.match(
      response.headers.get('set-cookie') ?? '',
      /^hub=hub-0\.\d{10}\.[\w-]{43}; Path=\/; Max-Age=60; Domain=uni\.example; HttpOnly; SameSite=Strict; Secure$/,
    );
    await service.stop();
  });

  it('says that an address is taken, in one line, and exits with 2', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    after(() => other.close());
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { code, stdout, stderr } = await run(['serve', '--listen', `127.0.0.1:${port}`]);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.equal(
      stderr,
      `sharder: listen: 127.0.0.1:${port}: another program listens there already\n`,
    );
  });

  it('says which address it cannot have', async () => {
    const { code, stderr } = await run(['serve', '--listen', '192.0.2.1:0']);
    assert.equal(code, 2);
    assert.match(stderr, /^sharder: listen: 192\.0\.2\.1:0: .*EADDRNOTAVAIL.*\n$/);
  });

  it('refuses a file that is no database, and leaves it as it is', async () => {
    const cwd = directoryWith('database: sqlite:sharder.yml');
    const { code, stderr } = await run(['migrate'], { cwd });
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^sharder: the database cannot be used \(SQLITE_NOTADB\): the file is not a SQLite database\n$/,
    );
    assert.equal(readFileSync(join(cwd, 'sharder.yml'), 'utf8'), 'database: sqlite:sharder.yml');
    assert.ok(!existsSync(join(cwd, 'sharder.yml-wal')));
  });
});

describe('told to stop, sharder serve', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(
      `by ${signal}, exits with 0 while idle connections are open`,
      { timeout: 8_000 },
      async () => {
        const service = await Service.start(`sqlite:${sqliteFile()}`, { cwd: FIVE });
        const used = await Wire.connect(portOf(service));
        used.send(get('/shard', 'REMOTE_USER: iana'));
        await used.next();
        const unused = await Wire.connect(portOf(service));
        assert.equal(await service.stop(signal), 0);
        await Promise.all([used.closed(), unused.closed()]);
      },
    );
  }

  /** Stops a service that `count` new users wait for. Resolves with what each was answered. */
  async function stopWhileWaiting(count: number) {
    const file = sqliteFile();
    const service = await Service.start(`sqlite:${file}`, { cwd: FIVE });
    const port = portOf(service);
    // A writer that holds the database for a moment makes them wait.
    const writer = new Sqlite(file);
    writer.exec('begin immediate');
    const wires = await Promise.all(Array.from({ length: count }, () => Wire.connect(port)));
    wires.forEach((wire, i) => {
      wire.send(get('/shard', `REMOTE_USER: user-${i}`));
    });
    await until(async () => {
      const metrics = await (await fetch(`${service.url}/metrics`)).text();
      return metrics.includes(`\nsharder_queue_length ${count}\n`);
    });
    const stopped = service.stop();
    await until(() => isRefused(port));
    writer.exec('rollback');
    writer.close();
    const answers = await Promise.all(wires.map((wire) => wire.next()));
    return { code: await stopped, answers, stored: readShard(file) };
  }

  it('answers everyone who waits for the database, takes nobody new, and exits with 0', async () => {
    const { code, answers, stored } = await stopWhileWaiting(100);
    assert.equal(code, 0);
    answers.forEach((answer, i) => {
      assert.equal(answer?.status, 200);
      assert.equal(answer.body, stored.get(`user-${i}`));
    });
  });

  it('says in these answers that the connection ends', async () => {
    const { answers } = await stopWhileWaiting(2);
    for (const answer of answers) assert.equal(answer?.headers.get('connection'), 'close');
  });

  it('under load cuts no answer short, and every answer that was given is stored', async () => {
    const file = sqliteFile();
    const service = await Service.start(`sqlite:${file}`, { cwd: FIVE });
    const port = portOf(service);
    const given = new Map<string, string>();
    let isStopping = false;
    const clients = Array.from({ length: 16 }, async (_, client) => {
      for (let i = 0; ;) {
        const wire = await Wire.connect(port).catch(() => undefined);
        if (!wire) return; // refused: it takes nobody new
        for (;;) {
          const name = `user-${client}-${i++}`;
          wire.send(get('/shard', `REMOTE_USER: ${name}`));
          // Throws when an answer is cut short.
          const answer = await wire.next();
          if (!answer) break;
          assert.equal(answer.status, 200);
          given.set(name, answer.body);
          if (answer.headers.get('connection') === 'close') {
            assert.ok(isStopping);
            break;
          }
        }
        wire.destroy();
        if (isStopping) return;
      }
    });
    await until(() => Promise.resolve(given.size > 500));
    isStopping = true;
    assert.equal(await service.stop(), 0);
    await Promise.all(clients);
    const database = new Sqlite(file, { readonly: true });
    const rows = database
      .prepare<[], { name: string; bucket: string }>('select * from shard')
      .all();
    database.close();
    const stored = new Map(rows.map(({ name, bucket }) => [name, `${bucket}\n`]));
    for (const [name, answer] of given) assert.equal(stored.get(name), answer);
  });

  it('twice, ends at once', async () => {
    const file = sqliteFile();
    const service = await Service.start(`sqlite:${file}`, { cwd: FIVE });
    const writer = new Sqlite(file);
    writer.exec('begin immediate');
    const wire = await Wire.connect(portOf(service));
    wire.send(get('/shard', 'REMOTE_USER: iana'));
    const exited = once(service.process, 'exit');
    service.process.kill('SIGTERM');
    await until(() => isRefused(portOf(service)));
    service.process.kill('SIGTERM');
    assert.deepEqual(await exited, [null, 'SIGTERM']);
    writer.close();
  });
});

describe('without its database, sharder serve', needsPostgres, () => {
  it('waits, and exits with 0 when told to', async () => {
    const url = `postgres://sharder:hunter2@127.0.0.1:${await freePort()}/none`;
    const waiting = new Run(['serve', '--listen', '127.0.0.1:0'], { env: { DATABASE_URL: url } });
    await waiting.says('waiting for the database');
    waiting.process.kill('SIGTERM');
    const { code, stdout, stderr } = await waiting.ended;
    assert.equal(code, 0);
    assert.equal(stdout, '');
    assert.doesNotMatch(stderr, /hunter2/);
  });

  it('waits for one that comes up later, and then serves', async () => {
    const postgres = await postgresServer();
    const url = await postgres.createDatabase();
    await postgres.kill();
    const waiting = new Run(['serve', '--listen', '127.0.0.1:0'], {
      cwd: FIVE,
      env: { DATABASE_URL: url },
    });
    await waiting.says('waiting for the database');
    await postgres.start();
    await waiting.says('listens on');
    const address = /http:\S+(?=,)/.exec(waiting.stdout)?.[0] ?? '';
    const response = await fetch(`${address}/shard`, { headers: { REMOTE_USER: 'iana' } });
    assert.equal(await response.text(), 'hub-0\n');
    waiting.process.kill('SIGTERM');
    assert.equal((await waiting.ended).code, 0);
  });

  it('shows no password of the one that it found, in its line or its log', async () => {
    const url = await (await postgresServer()).createDatabase();
    const service = await Service.start(url.replace('sharder@', 'sharder:hunter2@'), {
      cwd: FIVE,
      env: { SHARDER_LOG_LEVEL: 'debug' },
    });
    await service.shard('iana');
    assert.ok(service.line.includes(`database ${url}, `), service.line);
    assert.equal(await service.stop(), 0);
    assert.doesNotMatch(service.line + service.log, /hunter2/);
  });
});

/** Each name with its bucket, as /shard answers it. */
function readShard(file: string): Map<string, string> {
  const database = new Sqlite(file, { readonly: true });
  const rows = database.prepare<[], { name: string; bucket: string }>('select * from shard').all();
  database.close();
  return new Map(rows.map(({ name, bucket }) => [name, `${bucket}\n`]));
}

/** Whether nobody listens there any more. */
async function isRefused(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
}
