// The proof of leases: three services on one PostgreSQL and twelve workers, all of them processes, which are
// killed, stopped for longer than their leases, and cut off. Every worker writes down what it has; no object
// may ever have two.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SharderClient } from '../../src/client/index.js';
import { needsPostgres, postgresServer, temporaryDirectory } from '../engines.js';
import { eventually } from '../load.js';
import { Random, seed } from '../random.js';
import { Service } from '../service.js';
import { Network } from './network.js';
import { judgeTenures, type Blow, type Line } from './tenures.js';

const PROGRAM = fileURLToPath(new URL('proof-worker.js', import.meta.url));
const TOKEN = 'a-token-for-the-proof-of-leases-0123456789';
const KIND = 'job';
const WORKERS = 12;
const OBJECTS = 120;
const TTL = 3;
const GRACE = 1;
const PLAY_MS = 24_000;

// As the workers' logs.
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** A worker, which is started again in the same bucket: as many processes, each with a log. */
class Worker {
  readonly bucket: string;
  readonly network: Network;
  readonly logs: string[] = [];
  readonly #directory: string;
  #process: ChildProcess | undefined;

  constructor(bucket: string, network: Network, directory: string) {
    this.bucket = bucket;
    this.network = network;
    this.#directory = directory;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  start(): void {
    const log = join(this.#directory, `${this.bucket}-${this.logs.length}.ndjson`);
    const options = { url: this.network.url, token: TOKEN, kind: KIND, bucket: this.bucket };
    this.#process = spawn(
      process.execPath,
      [PROGRAM, JSON.stringify({ ...options, ttl: TTL, log })],
      { stdio: ['pipe', 'ignore', 'inherit'] },
    );
    this.logs.push(log);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Resolves with the exit code; null: the signal has ended it. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const process = this.#process;
    if (process?.exitCode !== null || process.signalCode !== null) return null; // or never started
    const exited = once(process, 'exit') as Promise<[number | null]>;
    process.kill(signal);
    return (await exited)[0];
  }
}

/** Three services behind one another's backs: whoever asks comes to any that runs. */
class Services {
  readonly #database: string;
  readonly #cwd: string;
  readonly #running: Service[] = [];
  #turn = 0;

  constructor(database: string, cwd: string) {
    this.#database = database;
    this.#cwd = cwd;
  }

  async start(): Promise<void> {
    const env = { SHARDER_ADMIN_TOKEN: `proof=${TOKEN}` };
    this.#running.push(await Service.start(this.#database, { cwd: this.#cwd, env }));
  }

  next(): number {
    const service = this.#running[++this.#turn % this.#running.length];
    return Number(new URL(service?.url ?? '').port);
  }

  /** The one that watches over the workers, by its log. */
  get leader(): Service | undefined {
    return this.#running.find(({ log }) => log.includes('"msg":"watching over the workers"'));
  }

  /** kill -9 for the one that leads. Resolves with how long nobody led. */
  async killLeader(): Promise<number> {
    const { leader } = this;
    if (!leader) throw new Error('nobody leads');
    this.#running.splice(this.#running.indexOf(leader), 1);
    const since = now();
    await leader.stop('SIGKILL');
    await eventually('another one leads', () => this.leader !== undefined);
    return now() - since;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((each) => each.stop()));
  }
}

interface Fault {
  readonly what: 'kill' | 'stop' | 'cut';
  readonly worker: number;
  /** In milliseconds, the first from the beginning. */
  readonly at: number;
  readonly lasts: number;
}

// In milliseconds. Who is stopped goes on when its objects have gone to others; who is cut off may be back
// before, and who is killed may find its lease still running.
const LASTS = { kill: [0, 6_000], stop: [5_000, 7_000], cut: [500, 6_000] } as const;
const AT_ONCE = 5;

/** Faults that come one after the other, of a few workers at a time. */
function playOf(random: Random): Fault[] {
  const faults: Fault[] = [];
  const quietAt = Array.from({ length: WORKERS }, () => 0);
  for (let at = 0; at < PLAY_MS; at += random.between(100, 900)) {
    const quiet = [...quietAt.keys()].filter((worker) => (quietAt[worker] ?? 0) <= at);
    if (quiet.length <= WORKERS - AT_ONCE) continue;
    const [worker, what] = [random.pick(quiet), random.pick(['kill', 'stop', 'cut'] as const)];
    const lasts = random.between(LASTS[what][0], LASTS[what][1]);
    quietAt[worker] = at + lasts;
    faults.push({ what, worker, at, lasts });
  }
  return faults;
}

/** Does a fault, and ends it. Resolves with what it was for the process, if that could not go on. */
async function play(worker: Worker, { what, lasts }: Fault): Promise<Blow | undefined> {
  const { pid, network } = worker;
  const from = now();
  if (what === 'cut') {
    network.cut();
    await sleep(lasts);
    network.mend();
    return undefined;
  }
  if (what === 'kill') {
    await worker.end('SIGKILL');
    await sleep(lasts);
    worker.start();
    return { what, pid, from, until: Infinity };
  }
  worker.signal('SIGSTOP');
  await sleep(lasts);
  const until = now();
  worker.signal('SIGCONT');
  return { what, pid, from, until };
}

async function prepare(t: TestContext) {
  const database = await (await postgresServer()).createDatabase();
  const directory = temporaryDirectory();
  const services = new Services(database, directory);
  t.after(() => services.stop());
  await services.start();
  await Promise.all([services.start(), services.start()]);

  const networks: Network[] = [];
  const workers: Worker[] = [];
  t.after(async () => {
    await Promise.all(workers.map((each) => each.end('SIGKILL')));
    for (const each of networks) each.close();
  });
  const open = async (): Promise<Network> => {
    const network = await Network.open(() => services.next());
    networks.push(network);
    return network;
  };
  const client = new SharderClient({ url: (await open()).url, token: TOKEN });
  await client.createKind({
    ...{ kind: KIND, leased: true, grace: GRACE, cooldown: 0, reshard_interval: 0 },
    threshold: 1, // so that everyone has some: twelve could be within 10 % of even, and one of them empty
    breaker: null, // many are gone within a minute, and nothing is to wait for that
  });
  await client.setSpecs({
    kind: KIND,
    objects: Array.from({ length: OBJECTS }, (_, i) => ({ name: `job-${i}` })),
  });
  for (let i = 0; i < WORKERS; i++) {
    workers.push(new Worker(`worker-${i}`, await open(), directory));
  }
  /** Resolves when all objects are begun, by these workers and all of these. */
  const areOwnedBy = (those: readonly Worker[]): Promise<void> =>
    eventually('every object has a worker', async () => {
      await sleep(100);
      const { items } = await client.listSpecs({ kind: KIND, limit: 1_000 });
      const owners = new Set(items.map(({ bucket }) => bucket));
      return (
        items.every(({ state }) => state === 'owned') &&
        owners.size === those.length &&
        those.every(({ bucket }) => owners.has(bucket))
      );
    });
  return { services, workers, client, areOwnedBy };
}

function readLog(path: string): Line[] {
  if (!existsSync(path)) return []; // it has never had anything
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}

function line(worker: string, t: number, what: Line['what'], epoch: number): Line {
  return { t, worker, pid: Number(worker), what, id: 'job-0', epoch };
}

// What the logs of two workers say, and of what the proof would complain.
const PROOFS: readonly {
  readonly what: string;
  readonly logs: readonly (readonly Line[])[];
  readonly blows?: readonly Blow[];
  readonly wrong: readonly RegExp[];
}[] = [
  {
    what: 'one after the other',
    logs: [
      [line('1', 10, 'add', 4), line('1', 20, 'work', 4), line('1', 30, 'drop', 4)],
      [line('2', 31, 'add', 5), line('2', 40, 'work', 5)],
    ],
    wrong: [],
  },
  {
    what: 'begun before the other one has stopped',
    logs: [
      [line('1', 10, 'add', 4), line('1', 20, 'work', 4), line('1', 30, 'drop', 4)],
      [line('2', 29, 'add', 5), line('2', 40, 'work', 5)],
    ],
    wrong: [/^1 .* until 30 \(drop\), but 2 .* from 29/],
  },
  {
    what: 'begun before the other one was killed',
    logs: [[line('1', 10, 'add', 4)], [line('2', 20, 'add', 5)]],
    blows: [{ what: 'kill', pid: 1, from: 25, until: Infinity }],
    wrong: [/^1 .* until 25 \(kill\), but 2 .* from 20/],
  },
  {
    what: 'begun while the other one was stopped, which says so later on',
    logs: [
      [line('1', 10, 'add', 4), line('1', 20, 'work', 4), line('1', 90, 'drop', 4)],
      [line('2', 50, 'add', 5)],
    ],
    blows: [{ what: 'stop', pid: 1, from: 21, until: 88 }],
    wrong: [],
  },
  {
    what: 'begun while the other one was stopped, which goes on as if nothing were',
    logs: [
      [line('1', 10, 'add', 4), line('1', 89, 'work', 4), line('1', 90, 'drop', 4)],
      [line('2', 50, 'add', 5)],
    ],
    blows: [{ what: 'stop', pid: 1, from: 21, until: 88 }],
    wrong: [/^1 .* until 89 \(stop\), but 2 .* from 50/],
  },
  {
    what: 'begun with an epoch that is not newer',
    logs: [[line('1', 10, 'add', 4), line('1', 30, 'drop', 4)], [line('2', 31, 'add', 4)]],
    wrong: [/^2 .* epoch 4 .*, after 1 .* epoch 4/],
  },
  {
    what: 'worked for after it was stopped, and with another epoch',
    logs: [
      [line('1', 10, 'add', 4), line('1', 11, 'work', 3), line('1', 12, 'drop', 4)],
      [line('2', 20, 'work', 5)],
    ],
    wrong: [/^1 .* does work .* epoch 3 .* has it not/, /^2 .* does work/],
  },
];

describe('what the proof complains of', () => {
  for (const { what, logs, blows = [], wrong } of PROOFS) {
    it(`an object ${what}: ${wrong.length > 0 ? 'yes' : 'nothing'}`, () => {
      const said = judgeTenures(logs, blows).wrong;
      assert.equal(said.length, wrong.length, said.join('\n'));
      wrong.forEach((each, i) => {
        assert.match(said[i] ?? '', each);
      });
    });
  }
});

describe('three services and twelve workers, as processes', needsPostgres, () => {
  it(`no object ever has two workers, whoever is killed, stopped or cut off (seed ${seed})`, async (t) => {
    const { services, workers, client, areOwnedBy } = await prepare(t);
    const blows: Blow[] = [];
    for (const each of workers) each.start();
    await areOwnedBy(workers);

    // A worker and the service that would notice it, at the same moment.
    const [first, ...others] = workers as [Worker, ...Worker[]];
    const killedAt = now();
    blows.push({ what: 'kill', pid: first.pid, from: killedAt, until: Infinity });
    const [leaderless] = await Promise.all([services.killLeader(), first.end('SIGKILL')]);
    t.diagnostic(`another service leads after ${Math.round(leaderless)} ms`);
    assert.equal(leaderless < 5_000, true, `nobody led for ${leaderless} ms`);
    await areOwnedBy(others);
    t.diagnostic(`what a killed worker had is owned after ${Math.round(now() - killedAt)} ms`);
    first.start();
    await services.start();

    const faults = playOf(new Random(seed));
    const killing = sleep(PLAY_MS / 2).then(async () => {
      await services.killLeader();
      await sleep(TTL * 1_000);
      await services.start();
    });
    const played = await Promise.all(
      faults.map(async (fault) => {
        const worker = workers[fault.worker];
        await sleep(fault.at);
        return worker && play(worker, fault);
      }),
    );
    await killing;
    blows.push(...played.filter((each) => each !== undefined));
    const mendedAt = now();
    await areOwnedBy(workers);
    t.diagnostic(`${faults.length} faults; all is owned ${Math.round(now() - mendedAt)} ms later`);

    assert.deepEqual(
      await Promise.all(workers.map((each) => each.end('SIGTERM'))),
      workers.map(() => 0),
    );
    await eventually('nobody has anything', async () => {
      const { items } = await client.listSpecs({ kind: KIND, state: 'waiting', limit: 1_000 });
      return items.length === OBJECTS;
    });

    const logs = workers.flatMap((each) => each.logs.map(readLog));
    const { tenures, wrong } = judgeTenures(logs, blows);
    assert.deepEqual(wrong, []);
    const counts = { drop: 0, kill: 0, stop: 0, none: 0 };
    for (const { end } of tenures) counts[end]++;
    t.diagnostic(`${tenures.length} tenures, by their ends: ${JSON.stringify(counts)}`);
    assert.equal(counts.none, 0);
    assert.equal(Math.min(counts.drop, counts.kill, counts.stop) > 0, true);
  });
});
