// A kind's workers on a fake clock: the real leases, controller and tables on SQLite, and workers that take
// the same decisions as ShardServer, with crashes, pauses, lost and late messages and clocks that go wrong.
// All that happens follows from the seed.

import assert from 'node:assert/strict';
import type { Database as SqliteConnection } from 'better-sqlite3';
import type { Knex } from 'knex';
import { AGAIN_MS, surelyHeldMs } from '../../src/client/keeper.js';
import { stepsFor } from '../../src/client/holdings.js';
import { SharderError, type Database } from '../../src/index.js';
import { getKind } from '../../src/store/kinds.js';
import { ownedPage, type Spec } from '../../src/store/specs.js';
import { runRound } from '../../src/workers/controller.js';
import type { Granted } from '../../src/workers/granted.js';
import { claimLease, releaseLease } from '../../src/workers/leases.js';
import { readWorkers } from '../../src/workers/objects.js';
import { registerObjects, unregisterObject } from '../../src/workers/register.js';
import { acknowledge } from '../../src/workers/hand-over.js';
import { surplus } from '../../src/workers/placing.js';
import { Random } from '../random.js';

export const KIND = 'queue';
const BY = { actor: 'simulator' };

/** Faults happen for so long, and then everything has to come to rest within so long. */
const FAULTS_MS = 60_000;
const REST_MS = 60_000;

/** The time of a database is that of `clock` from now on, on all its connections. */
export async function fakeClock({ knex }: Database, clock: () => number): Promise<void> {
  const client = knex.client as Knex.Client;
  const connections = [
    (await client.acquireConnection()) as SqliteConnection,
    (await client.acquireConnection()) as SqliteConnection,
  ];
  for (const connection of connections) {
    connection.pragma('synchronous = off'); // nobody pulls the plug here
    connection.function('unixepoch', { varargs: true }, () => clock() / 1_000);
    await client.releaseConnection(connection);
  }
}

type Task = () => Promise<void> | void;

interface Event {
  readonly at: number;
  readonly order: number;
  readonly task: Task;
}

export class Simulation {
  readonly database: Database;
  readonly random: Random;
  /** What has happened, the last first to be read. */
  readonly trace: string[] = [];
  readonly workers: SimulatedWorker[] = [];
  now = 0;
  faultsEnd = 0;
  /** Grows whenever anything may be otherwise for a worker, as what it watches tells it. */
  told = 0;
  rounds = 0;
  moves = 0;
  faults = 0;
  #order = 0;
  readonly #queue: Event[] = [];
  readonly #last = new Map<string, { readonly epoch: number; readonly process: string }>();
  readonly #objects = new Set<string>();
  #objectCount = 0;

  constructor(database: Database, seed: number) {
    this.database = database;
    this.random = new Random(seed);
  }

  get isFaulty(): boolean {
    return this.now < this.faultsEnd;
  }

  after(ms: number, task: Task): void {
    const event = { at: this.now + Math.max(0, ms), order: this.#order++, task };
    let i = this.#queue.length;
    while (i > 0 && goesBefore(event, this.#queue[i - 1])) i--;
    this.#queue.splice(i, 0, event);
  }

  note(text: string): void {
    this.trace.push(`${(this.now / 1_000).toFixed(3)} ${text}`);
  }

  /** Plays it all. Throws at the first thing that is not so. */
  async run(): Promise<void> {
    const { random } = this;
    this.now = 1_000_000;
    this.faultsEnd = this.now + FAULTS_MS;
    await fakeClock(this.database, () => this.now);
    const count = Math.floor(random.between(3, 21));
    for (let i = 0; i < count; i++) this.workers.push(new SimulatedWorker(this, `w${i}`));
    for (const worker of this.workers) {
      this.after(random.between(0, 5_000), () => {
        worker.start();
      });
    }
    await this.#register(Math.floor(random.between(5, 60)));
    this.after(0, () => this.#round());
    this.after(2_000, () => {
      this.#fault();
    });
    await this.#playUntil(this.faultsEnd);
    this.note('-- no more faults --');
    for (const worker of this.workers) worker.heal();
    await this.#playUntil(this.now + REST_MS);
    await this.#checkRest();
    const before = this.moves;
    await this.#playUntil(this.now + 10_000);
    assert.equal(this.moves, before, 'objects move though nothing happens');
  }

  async #playUntil(end: number): Promise<void> {
    for (;;) {
      const event = this.#queue[0];
      if (!event || event.at > end) break;
      this.#queue.shift();
      this.now = Math.max(this.now, event.at);
      await event.task();
    }
    this.now = end;
  }

  // The controller. Sometimes none is there, sometimes two are.
  async #round(): Promise<void> {
    const { random } = this;
    const gap = this.isFaulty && random.chance(0.05) ? random.between(2_000, 8_000) : 1_000;
    this.after(gap, () => this.#round());
    const times = this.isFaulty && random.chance(0.05) ? 2 : 1;
    for (let i = 0; i < times; i++) {
      const most = await this.database.read(async (knex) => {
        const { workers } = await readWorkers(knex as Knex.Transaction, KIND, this.now);
        const strays = await knex('spec').where({ kind: KIND }).whereNotNull('pin').pluck('name');
        const { settings } = await getKind(knex, KIND);
        const above = [...surplus(workers, settings.threshold).values()];
        return strays.length + above.reduce((sum, n) => sum + n, 0);
      });
      const round = await this.database.write((trx) => runRound(trx, KIND));
      this.rounds++;
      this.moves += round.dropped;
      if (round.placed + round.dropped > 0) {
        this.told++;
        this.note(`round: ${round.placed} placed, ${round.dropped} to be handed over`);
      }
      // What lapses in the round makes the others fuller, not emptier.
      if (round.placed === 0) {
        assert.equal(round.dropped <= most, true, `${round.dropped} moves, ${most} are needed`);
      }
    }
    await this.#checkTables();
  }

  async #checkTables(): Promise<void> {
    const { knex } = this.database;
    const odd: unknown[] = await knex('spec as p')
      .leftJoin('shard as s', (on) => on.on('s.kind', 'p.kind').on('s.name', 'p.name'))
      .whereRaw(`(p.state = 'waiting') <> (s.bucket is null)`)
      .select('p.name', 'p.state', 's.bucket');
    assert.deepEqual(odd, [], 'a state and an owner that do not fit');
    const over = await knex('bucket').whereRaw('members > capacity').pluck<string[]>('name');
    assert.deepEqual(over, [], 'more objects than a worker has room for');
  }

  #fault(): void {
    const { random } = this;
    if (!this.isFaulty) return;
    this.after(random.between(200, 4_000), () => {
      this.#fault();
    });
    this.faults++;
    const worker = random.pick(this.workers);
    const faults: Task[] = [
      () => {
        worker.crash(random.between(100, 20_000));
      },
      () => {
        worker.pause(random.between(500, 25_000));
      },
      () => {
        worker.cutOff(random.between(500, 20_000));
      },
      () => {
        worker.leave(random.between(100, 10_000));
      },
      () => this.#register(1),
      () => this.#unregister(),
      () => this.#change(),
    ];
    this.after(0, random.pick(faults));
  }

  async #register(count: number): Promise<void> {
    const { random } = this;
    const wishes = Array.from({ length: count }, () => {
      const name = `o${this.#objectCount++}`;
      this.#objects.add(name);
      return {
        name,
        weight: random.chance(0.2) ? 2 : 1,
        group: random.chance(0.15) ? 'gpu' : null,
        ...(random.chance(0.1) && {
          pin: random.pick(this.workers).bucket,
          pin_rule: 'any' as const,
        }),
      };
    });
    this.told++;
    await this.database.write((trx) => registerObjects(trx, KIND, wishes, BY));
  }

  async #unregister(): Promise<void> {
    const names = [...this.#objects];
    if (names.length === 0) return;
    const name = this.random.pick(names);
    this.#objects.delete(name);
    this.note(`${name} is taken away`);
    this.told++;
    await this.database.write((trx) => unregisterObject(trx, KIND, name, BY));
  }

  async #change(): Promise<void> {
    const names = [...this.#objects];
    if (names.length === 0) return;
    const name = this.random.pick(names);
    const wish = { name, spec: { version: this.now }, pin: null };
    this.note(`${name} has another spec`);
    this.told++;
    await this.database.write((trx) => registerObjects(trx, KIND, [wish], BY));
  }

  /** A worker begins an object: nobody else may believe that it has it, and all epochs were lower. */
  begins(worker: SimulatedWorker, name: string, epoch: number): void {
    const others = this.workers.filter((each) => each !== worker && each.believesIn(name));
    assert.deepEqual(
      others.map(({ bucket }) => bucket),
      [],
      `${name} is begun by ${worker.bucket}, and another has it`,
    );
    const before = this.#last.get(name);
    const isNewer = before === undefined || epoch > before.epoch;
    const isAgain = before?.epoch === epoch && before.process === worker.process;
    this.note(`${worker.process} begins ${name} with epoch ${epoch}`);
    assert.equal(isNewer || isAgain, true, `${name}: epoch ${epoch} after ${before?.epoch}`);
    this.#last.set(name, { epoch, process: worker.process });
  }

  /** A worker goes by an index: nobody else may. */
  goesBy(worker: SimulatedWorker, index: number): void {
    const others = this.workers.filter((each) => each !== worker && each.index === index);
    assert.deepEqual(
      others.map(({ bucket }) => bucket),
      [],
      `${worker.bucket} goes by ${index}, and another does`,
    );
  }

  async #checkRest(): Promise<void> {
    const { knex } = this.database;
    const rows = await knex('spec as p')
      .leftJoin('shard as s', (on) => on.on('s.kind', 'p.kind').on('s.name', 'p.name'))
      .select<{ name: string; state: string; bucket: string | null }[]>(
        'p.name',
        'p.state',
        's.bucket',
      );
    assert.deepEqual(rows.map(({ name }) => name).sort(), [...this.#objects].sort());
    for (const { name, state, bucket } of rows) {
      assert.equal(state, 'owned', `${name} is ${state} at the end`);
      const owners = this.workers.filter((each) => each.believesIn(name));
      assert.deepEqual(
        owners.map((each) => each.bucket),
        [bucket],
        `${name} is not where it should be at the end`,
      );
    }
    const indexes = this.workers.map(({ index }) => index ?? -1).sort((a, b) => a - b);
    assert.deepEqual(
      indexes,
      Array.from(this.workers, (_, i) => i),
      'the places at the end',
    );
  }
}

function goesBefore(a: Event, b: Event | undefined): boolean {
  return b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order));
}

/** A worker's process, and its network and its clock. */
export class SimulatedWorker {
  readonly bucket: string;
  readonly #world: Simulation;
  readonly #ttl: number;
  readonly #group: string | null;
  readonly #capacity: number | null;
  // Its clock goes wrong by some percent.
  readonly #rate: number;
  #process = 0;
  #isAlive = false;
  #pausedUntil = 0;
  #cutUntil = 0;
  #holdings = new Map<string, number>();
  #lease: Granted | undefined;
  #since = 0;
  #isHeld = false;
  #isAll = true;
  #isSyncing = false;
  #isTold = false;
  #seen = -1;

  constructor(world: Simulation, bucket: string) {
    const { random } = world;
    this.#world = world;
    this.bucket = bucket;
    this.#ttl = random.pick([3, 6, 10]);
    // w0 and w1 make sure that there is always one who may have anything.
    this.#group = bucket === 'w0' || random.chance(0.3) ? 'gpu' : null;
    this.#capacity = bucket < 'w2' || random.chance(0.7) ? null : Math.floor(random.between(2, 9));
    this.#rate = random.between(0.95, 1.05);
  }

  /** Another one after each start. */
  get process(): string {
    return `${this.bucket}-${this.#process}`;
  }

  get #clock(): number {
    return this.#world.now * this.#rate;
  }

  get #isSure(): boolean {
    return this.#isAlive && this.#isHeld && this.#leftMs() > 0;
  }

  #leftMs(): number {
    return surelyHeldMs(this.#ttl) - (this.#clock - this.#since);
  }

  /** Whether it would work for an object now, were it not paused. */
  believesIn(name: string): boolean {
    return this.#isSure && this.#holdings.get(name) !== undefined;
  }

  /** The index by which it goes. */
  get index(): number | null {
    return this.#isSure ? (this.#lease?.index ?? null) : null;
  }

  start(): void {
    if (this.#isAlive) return;
    this.#process++;
    this.#isAlive = true;
    this.#holdings = new Map();
    this.#lease = undefined;
    this.#isHeld = false;
    this.#isAll = true;
    this.#isSyncing = false;
    this.#isTold = false;
    this.#world.note(`${this.bucket} starts`);
    this.#do(() => {
      this.#claim();
    });
    this.#do(() => {
      this.#look();
    });
  }

  crash(ms: number): void {
    if (!this.#isAlive) return;
    this.#world.note(`${this.bucket} crashes`);
    this.#isAlive = false;
    this.#process++;
    this.#world.after(ms, () => {
      this.start();
    });
  }

  pause(ms: number): void {
    this.#world.note(`${this.bucket} is paused for ${ms.toFixed(0)} ms`);
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#world.now + ms);
  }

  cutOff(ms: number): void {
    this.#world.note(`${this.bucket} is cut off for ${ms.toFixed(0)} ms`);
    this.#cutUntil = Math.max(this.#cutUntil, this.#world.now + ms);
  }

  /** Gives everything back, and comes again later. */
  leave(ms: number): void {
    if (!this.#isAlive) return;
    this.#world.note(`${this.bucket} leaves`);
    const lease = this.#lease;
    this.#isAlive = false;
    this.#process++;
    if (lease) {
      this.#send(() =>
        this.#world.database.write((trx) => releaseLease(trx, KIND, this.bucket, lease)),
      );
    }
    this.#world.after(ms, () => {
      this.start();
    });
  }

  heal(): void {
    this.#pausedUntil = 0;
    this.#cutUntil = 0;
    this.start();
  }

  // Runs in this process when it runs at all; never in the next one.
  #do(task: Task, ms = 0, process = this.#process): void {
    const attempt = async (): Promise<void> => {
      if (process !== this.#process || !this.#isAlive) return;
      const pausedMs = this.#pausedUntil - this.#world.now;
      if (pausedMs > 0) {
        this.#world.after(pausedMs, attempt);
        return;
      }
      await task();
    };
    this.#world.after(ms / this.#rate, attempt);
  }

  // A request: it may be lost, or late; and so may its answer.
  #send<T>(
    request: () => Promise<T>,
    onAnswer: (answer: T) => void = () => undefined,
    onFailure: (error: unknown) => void = () => undefined,
    timeoutMs = 1_000,
  ): void {
    const { random } = this.#world;
    let isOver = false;
    const process = this.#process;
    const finish = (task: Task, ms: number): void => {
      this.#do(
        () => {
          if (isOver) return;
          isOver = true;
          return task();
        },
        ms,
        process,
      );
    };
    finish(() => {
      onFailure(new Error('no answer came'));
    }, timeoutMs);
    const delay = (): number =>
      this.#world.isFaulty && random.chance(0.05)
        ? random.between(200, 9_000)
        : random.between(1, 40);
    const isLost = (): boolean =>
      this.#world.now < this.#cutUntil || (this.#world.isFaulty && random.chance(0.03));
    if (isLost()) return;
    this.#world.after(delay(), async () => {
      let reply: Task;
      try {
        const answer = await request();
        reply = () => {
          onAnswer(answer);
        };
      } catch (error) {
        if (!(error instanceof SharderError)) throw error;
        reply = () => {
          onFailure(error);
        };
      }
      if (!isLost()) finish(reply, delay());
    });
  }

  // As Keeper does.
  #claim(): void {
    const sent = this.#clock;
    const renewed = this.#isHeld ? this.#lease : undefined;
    const { epoch, index } = renewed ?? {};
    const claim = {
      ...{ holder: this.process, ttl: this.#ttl, epoch, index },
      ...(!this.#isTold && { group: this.#group, capacity: this.#capacity }),
    };
    this.#send(
      () => claimLease(this.#world.database, KIND, this.bucket, claim),
      (lease) => {
        if (renewed && !this.#isHeld) {
          this.#do(() => {
            this.#claim();
          });
          return;
        }
        if (lease.is_new || lease.is_pending) this.#world.told++;
        this.#hold(lease, sent);
        this.#do(() => {
          this.#claim();
        }, lease.renew_in * 1_000);
      },
      (error) => {
        const isLost = error instanceof SharderError && error.code === 'lease_lost';
        if (isLost) {
          this.#lose('its lease is lost');
          this.#lease = undefined;
        }
        this.#do(
          () => {
            this.#claim();
          },
          isLost ? 0 : Math.min(AGAIN_MS, this.#ttl * 100),
        );
      },
      (this.#ttl * 1_000) / 3,
    );
  }

  #hold(lease: Granted, sent: number): void {
    this.#lease = lease;
    this.#since = sent;
    if (this.#leftMs() <= 0) {
      this.#lose('the answer came too late');
      return;
    }
    this.#isHeld = true;
    this.#isTold = true;
    if (lease.is_new) this.#isAll = true;
    if (lease.index !== null) this.#world.goesBy(this, lease.index);
    this.#world.note(`${this.process} holds epoch ${lease.epoch}, index ${lease.index}`);
    this.#do(() => {
      if (this.#since === sent) this.#lose('it could not be renewed in time');
    }, this.#leftMs());
  }

  #lose(why: string): void {
    if (!this.#isHeld) return;
    this.#world.note(`${this.bucket} has lost its lease: ${why}`);
    this.#isHeld = false;
    this.#isAll = true;
    this.#isTold = false;
    this.#holdings = new Map();
  }

  #look(): void {
    this.#do(() => {
      this.#look();
    }, 400);
    if (!this.#isSure || this.#isSyncing || (this.#seen === this.#world.told && !this.#isAll))
      return;
    this.#seen = this.#world.told;
    this.#sync();
  }

  // As ShardServer does.
  #sync(): void {
    const lease = this.#lease;
    if (!lease) return;
    const isAll = this.#isAll;
    this.#isSyncing = true;
    const end = (): void => {
      this.#isSyncing = false;
    };
    const isMine = (): boolean => this.#isSure && this.#lease?.epoch === lease.epoch;
    const how = { isPending: !isAll, limit: 1_000 };
    this.#send(
      () => this.#world.database.read((knex) => ownedPage(knex, KIND, this.bucket, how)),
      (told) => {
        if (!isMine()) {
          end();
          return;
        }
        this.#isAll = false;
        const names = new Set(told.map(({ name }) => name));
        const foreign = [...this.#holdings.keys()].filter((name) => isAll && !names.has(name));
        const steps = [
          ...told.map((each) => ({ name: each.name, ...this.#stepsFor(each.name, each) })),
          ...foreign.map((name) => ({ name, ...this.#stepsFor(name, undefined) })),
        ];
        const drop = steps.filter((each) => each.drop).map(({ name }) => name);
        const add = steps.flatMap((each) => each.add ?? []);
        const slow = this.#world.random.chance(0.2) ? this.#world.random.between(0, 3_000) : 0;
        this.#do(() => {
          for (const name of drop) this.#holdings.delete(name);
          const stopped = told.filter(
            ({ name, state }) => state === 'dropping' && this.#holdings.get(name) === undefined,
          );
          if (isMine()) {
            for (const { name, epoch } of add) {
              this.#world.begins(this, name, epoch);
              this.#holdings.set(name, epoch);
            }
          }
          const begun = told.filter(
            ({ name, state, epoch }) => state === 'adding' && this.#holdings.get(name) === epoch,
          );
          this.#acknowledge(lease, begun, stopped, end);
        }, slow);
      },
      () => {
        this.#seen = -1;
        end();
      },
    );
  }

  #stepsFor(name: string, told: Spec | undefined) {
    return stepsFor(this.#holdings.get(name), told);
  }

  #acknowledge(
    { holder, epoch }: Granted,
    begun: readonly Spec[],
    stopped: readonly Spec[],
    end: () => void,
  ): void {
    if (begun.length + stopped.length === 0) {
      end();
      return;
    }
    const [added, dropped] = [begun, stopped].map((specs) =>
      specs.map((each) => ({ name: each.name, epoch: each.epoch ?? 0 })),
    );
    const done = { added: added ?? [], dropped: dropped ?? [] };
    this.#send(
      () =>
        this.#world.database.write((trx) =>
          acknowledge(trx, KIND, this.bucket, { holder, epoch }, done),
        ),
      ({ dropped }) => {
        if (dropped > 0) this.#world.told++;
        end();
      },
      () => {
        this.#seen = -1;
        end();
      },
    );
  }
}
