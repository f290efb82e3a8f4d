// PostgreSQL is killed, hangs, and drops its connections under load: known users are answered all
// the while, new ones are told to come back, nothing that was answered is lost, and the service
// recovers by itself.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import {
  connect,
  createServer,
  type AddressInfo,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it, type TestContext } from 'node:test';
import { hubs, needsPostgres, temporaryDirectory } from './engines.js';
import { again, assertKept, eventually, Load, names, type Reply } from './load.js';
import { PostgresServer } from './postgres.js';
import { CLI, Service } from './service.js';

const KNOWN = [...names('known', 200)];

describe('an outage of PostgreSQL', needsPostgres, () => {
  let server: PostgresServer;
  before(async () => {
    server = await PostgresServer.start({ isDurable: true });
  });
  after(() => server.stop());

  async function startScene(t: TestContext, port?: number): Promise<Scene> {
    const scene = await Scene.start(server, port);
    t.after(() => scene.end());
    return scene;
  }

  describe('killed under load', () => {
    let scene: Scene;
    before(async () => {
      scene = await Scene.start(server);
      await server.kill();
      await scene.isNoticed();
      await restart(server);
      await scene.isOver();
      await scene.end();
    });
    after(() => scene.end());

    itIsBorne(() => scene);
  });

  describe('hung under load', () => {
    let scene: Scene;
    before(async () => {
      scene = await Scene.start(server);
      await whileHung(server, () => scene.isNoticed());
      await scene.isOver();
      await scene.end();
    });
    after(() => scene.end());

    itIsBorne(() => scene);
  });

  it('a service that is started before its database waits for it', async (t) => {
    const database = await server.createDatabase();
    await server.kill();
    const service = spawn(process.execPath, [CLI, 'serve', '--listen', '127.0.0.1:0'], {
      env: { ...process.env, DATABASE_URL: database },
      cwd: temporaryDirectory(),
    });
    t.after(() => service.kill('SIGKILL'));
    const [log] = (await once(createInterface({ input: service.stderr }), 'line')) as [string];
    assert.match(log, /waiting for the database/);
    const listens = once(createInterface({ input: service.stdout }), 'line');
    await restart(server);
    assert.match(String(await listens), /listens on/);
  });

  it('a service that is stopped while PostgreSQL hangs ends', { timeout: 60_000 }, async (t) => {
    const scene = await startScene(t);
    // Idle connections are the ones that it cannot close: the server would have to answer.
    await scene.end({ isServiceKept: true });
    await whileHung(server, async () => {
      assert.equal(await scene.service.stop('SIGTERM'), 0);
    });
  });

  it('all connections dropped under load, five times, are opened again and nobody notices', async (t) => {
    const scene = await startScene(t);
    const admin = await server.connect('postgres');
    for (let i = 0; i < 5; i++) {
      const { answers } = scene.newcomers.counts;
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sharder'`,
      );
      await eventually('new users are answered', () => {
        return scene.newcomers.counts.answers > answers + 300;
      });
    }
    await admin.end();
    await scene.isOver();
    await scene.end();
    assert.deepEqual([...scene.known.contradictions, ...scene.newcomers.contradictions], []);
    assert.deepEqual([...scene.known.refusals, ...scene.newcomers.refusals], []);
    await scene.assertKept();
  });

  it('connections that fall silent without a word are given up, and new ones used', async (t) => {
    const network = await Network.start(server.port);
    t.after(() => {
      network.stop();
    });
    const scene = await startScene(t, network.port);
    network.swallow();
    await eventually('new users are refused', () => scene.newcomers.refusals.length > 0);
    await scene.isOver();
    await scene.end();
    assert.deepEqual(scene.known.contradictions, []);
    assert.deepEqual(scene.known.refusals, []);
    await scene.assertKept();
  });

  it('a user who was moved while nobody could hear it is not answered with the old bucket', async (t) => {
    const scene = await startScene(t);
    await server.kill();
    await scene.isNoticed();
    await scene.end({ isServiceKept: true });

    // Stopped, the service cannot connect before the user is moved.
    const { service } = scene;
    service.process.kill('SIGSTOP');
    await restart(server);
    const admin = await server.connect(scene.databaseName);
    await admin.query(`update shard set bucket = 'hub-6' where name = any($1)`, [KNOWN]);
    await admin.end();
    service.process.kill('SIGCONT');

    const load = new Load(8);
    const replies: Reply[] = [];
    await eventually('the moved user is answered without a mark', async () => {
      for (const name of KNOWN.slice(0, 8)) replies.push(await load.ask(service.url, name));
      return !(replies.at(-1)?.isStale ?? true);
    });
    load.close();
    const unmarked = replies.filter(({ isStale }) => !isStale);
    assert.deepEqual([...new Set(unmarked.map(({ bucket }) => bucket))], ['hub-6']);
  });
});

/** A service under the load of known and of new users. */
class Scene {
  readonly known = new Load(8);
  readonly newcomers = new Load(56);
  readonly service: Service;
  readonly #database: string;
  readonly #running: Promise<unknown>;

  private constructor(database: string, service: Service) {
    this.#database = database;
    this.service = service;
    this.#running = Promise.all([
      this.known.run(service.url, again(KNOWN)),
      this.newcomers.run(service.url, names('new')),
    ]);
  }

  /** `port`: where the service is told that PostgreSQL listens. */
  static async start(server: PostgresServer, port = server.port): Promise<Scene> {
    const database = await server.createDatabase();
    const cwd = temporaryDirectory();
    const kinds = { hub: { buckets: Object.keys(hubs(7)) } };
    writeFileSync(join(cwd, 'sharder.yml'), JSON.stringify({ kinds }));
    const service = await Service.start(database.replace(`:${server.port}/`, `:${port}/`), { cwd });
    const scene = new Scene(database, service);
    await eventually('known and new users are answered', () => {
      const { known, newcomers } = scene;
      return known.counts.fresh > 2 * KNOWN.length && newcomers.counts.fresh > 500;
    });
    return scene;
  }

  get databaseName(): string {
    return new URL(this.#database).pathname.slice(1);
  }

  /** Resolves when known users are answered from memory and new ones are refused. */
  async isNoticed(): Promise<void> {
    const { stale } = this.known.counts;
    const refused = this.newcomers.refusals.length;
    await eventually('known users are answered from memory, and new ones refused', () => {
      return (
        this.known.counts.stale > stale + 2 * KNOWN.length &&
        this.newcomers.refusals.length > refused + 500
      );
    });
  }

  /** Resolves when new users are placed again and known ones are answered without a mark. */
  async isOver(): Promise<void> {
    const { fresh } = this.known.counts;
    const { answers } = this.newcomers.counts;
    await eventually('known users are answered without a mark, and new ones placed', () => {
      return (
        this.known.counts.fresh > fresh + 2 * KNOWN.length &&
        this.newcomers.counts.answers > answers + 500
      );
    });
  }

  async end({ isServiceKept = false } = {}): Promise<void> {
    this.known.stop();
    this.newcomers.stop();
    await this.#running;
    this.known.close();
    this.newcomers.close();
    if (!isServiceKept) await this.service.stop();
  }

  assertKnownAnswered(): void {
    assert.ok(this.known.counts.stale > 0);
    assert.deepEqual(this.known.contradictions, []);
    assert.deepEqual(this.known.refusals, []);
  }

  assertNewRefusedPolitely(): void {
    assert.deepEqual(this.newcomers.contradictions, []);
    const rude = this.newcomers.refusals.filter(
      ({ status, retryAfter, text }) =>
        status !== 503 || !Number(retryAfter) || !text.includes('the database cannot be reached'),
    );
    assert.deepEqual(rude.slice(0, 3), [], `${rude.length} replies`);
  }

  assertKept(): Promise<void> {
    return assertKept(this.#database, new Map([...this.known.answers, ...this.newcomers.answers]));
  }

  assertLog(): void {
    const lines = this.service.log.trim().split('\n');
    const saying = (what: string) => lines.filter((line) => line.includes(what)).length;
    assert.equal(saying('the database is down'), 1, this.service.log);
    assert.equal(saying('the database is back'), 1, this.service.log);
    const refused = this.newcomers.refusals.length;
    assert.ok(lines.length < 10 + refused / 10, `${lines.length} lines for ${refused} refusals`);
    assert.doesNotMatch(this.service.log, /(known|new)-\d/, 'no user is named');
  }
}

/** A network between the service and PostgreSQL that can lose what is sent. */
class Network {
  readonly #proxy: NetServer;
  #links: [Socket, Socket][] = [];

  private constructor(target: number) {
    this.#proxy = createServer((near) => {
      const far = connect(target, '127.0.0.1');
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on('error', () => undefined);
      this.#links.push([near, far]);
    });
  }

  static async start(target: number): Promise<Network> {
    const network = new Network(target);
    await once(network.#proxy.listen(0, '127.0.0.1'), 'listening');
    return network;
  }

  get port(): number {
    return (this.#proxy.address() as AddressInfo).port;
  }

  /** From now on nothing passes on the connections that there are, and neither end is told. */
  swallow(): void {
    for (const [near, far] of this.#links) {
      near.unpipe(far).resume();
      far.unpipe(near).resume();
    }
  }

  stop(): void {
    for (const socket of this.#links.flat()) socket.destroy();
    this.#proxy.close();
  }
}

// What was left of the killed server may hold its memory for a moment yet: then it does not start.
async function restart(server: PostgresServer): Promise<void> {
  await eventually('PostgreSQL starts again', () =>
    server.start().then(
      () => true,
      () => false,
    ),
  );
}

// Stops all of the server's processes, as a dead disk would; the sockets stay open.
async function whileHung(server: PostgresServer, work: () => Promise<void>): Promise<void> {
  const admin = await server.connect('postgres');
  process.kill(server.pid, 'SIGSTOP'); // first, so that it starts no more of them
  const { rows } = await admin.query<{ pid: number }>(
    'select pid from pg_stat_activity where pid <> pg_backend_pid()',
  );
  const pids = [server.pid, ...rows.map(({ pid }) => pid)];
  try {
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await work();
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    await admin.end();
  }
}

/** What holds whichever way the database went. */
function itIsBorne(scene: () => Scene): void {
  it('known users are answered all the while, marked X-Shard-Stale: 1', () => {
    scene().assertKnownAnswered();
  });
  it('new users get 503 with Retry-After, told that the database cannot be reached', () => {
    scene().assertNewRefusedPolitely();
  });
  it('no answer is lost', () => scene().assertKept());
  it('one line of the log says that it is down, one that it is back, and there is no flood', () => {
    scene().assertLog();
  });
}
