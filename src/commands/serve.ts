// sharder serve: the service, from its settings to its end.

import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { destination, pino, type Logger } from 'pino';
import { readConfig, type Config, type Flags } from '../config.js';
import { SharderError } from '../errors.js';
import { loggable } from '../http/report.js';
import { createServer } from '../http/server.js';
import { createCommands } from '../http/v1/commands.js';
import { createLogNames, type LogNames } from '../log-names.js';
import { PlanRunner } from '../rebalance/runner.js';
import { Sharder } from '../sharder.js';
import { openDatabase, type Database } from '../store/database.js';
import type { Plan } from '../store/plans.js';
import { declareKinds, listKinds, type Kind } from '../store/kinds.js';
import { describeAddress, listen } from './listen.js';
import { Callbacks, type CallbackEvents } from '../workers/callbacks.js';
import { Controller } from '../workers/controller.js';

const DATABASE_WAIT_MS = 1_000;
const STOP_AFTER_MS = 10_000;
const DISCONNECT_AFTER_MS = 2_000;

/** Serves until SIGTERM or SIGINT; a second one of either ends the process at once. */
export async function serve(flags: Flags, version: string): Promise<void> {
  const config = readConfig(flags, process.env);
  refuseOpenLogins(config);
  const names = createLogNames(config.log.names, config.logKey);
  // The log goes to stderr, a JSON object per line; stdout has the one line for people.
  const log = pino({ level: config.log.level }, destination({ fd: 2, sync: true }));
  const stop = stopSignal();

  // A database that hangs never lets go of its connections, and nobody needs them after a stop.
  const exitSoon = (): void => void setTimeout(() => process.exit(), DISCONNECT_AFTER_MS).unref();

  const started = await start(config, log, names, stop);
  if (!started) {
    exitSoon();
    return;
  }
  const { sharder, server, background, kinds } = started;
  const sockets = openSockets(server);
  process.stdout.write(`${describe(version, server, sharder.database, kinds)}\n`);

  await stop;
  log.info('stopping: answering what is in flight');
  const stopped = Promise.all(background.map((each) => each.stop()));
  await close(server, sockets);
  exitSoon();
  await stopped;
  await sharder.database.close();
}

// A login proof is as good as a password, so who asks for one must have proved to be the edge.
function refuseOpenLogins({ loginSecrets, proxySecrets, listen }: Config): void {
  if (loginSecrets.length === 0 || proxySecrets.length > 0 || 'path' in listen) return;
  throw new SharderError(
    'settings',
    'SHARDER_LOGIN_SECRET: also set SHARDER_PROXY_SECRET, or listen on a unix socket; otherwise any program at a trusted address can get a login proof for anybody',
  );
}

const CLI = fileURLToPath(new URL('../cli.js', import.meta.url));

// The commands that the service runs work on its own database. Its other settings, secrets among them,
// are not theirs: the file of one may be gone by now.
function commandEnvironment({ database }: Config): NodeJS.ProcessEnv {
  const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith('SHARDER_'));
  return { ...Object.fromEntries(foreign), DATABASE_URL: database, DATABASE_URL_FILE: undefined };
}

interface Background {
  start(): void;
  stop(): Promise<void>;
}

interface Started {
  readonly sharder: Sharder;
  readonly server: Server;
  /** What is done that nobody has just asked for. */
  readonly background: readonly Background[];
  readonly kinds: readonly Kind[];
}

// Waits for a database that is not there yet, until it is told to stop.
async function start(
  config: Config,
  log: Logger,
  names: LogNames,
  stop: Promise<void>,
): Promise<Started | undefined> {
  for (;;) {
    try {
      const database = await openDatabase(config.database);
      try {
        await declareKinds(database, config.kinds, 'sharder.yml');
        const sharder = await Sharder.start(database, {
          cacheSize: config.cache_size,
          queueLimit: config.queue_limit,
        });
        const server = createServer(sharder, {
          userHeader: config.user_header,
          trustedProxies: config.trusted_proxies,
          proxySecrets: config.proxySecrets,
          loginSecrets: config.loginSecrets,
          hosts: config.hosts,
          cookie: {
            secure: config.cookie.secure,
            sameSite: config.cookie.same_site,
            domain: config.cookie.domain,
            maxAge: config.cookie.max_age,
            secrets: config.cookieSecrets,
          },
          log,
          logNames: names,
          adminTokens: config.adminTokens,
          declared: config.kinds,
          callbackNetworks: config.callback_networks,
          commands: createCommands(CLI, commandEnvironment(config)),
        });
        const kinds = await database.read(listKinds);
        await listen(server, config);
        const controller = createController(database, log, names);
        const background = [
          createRunner(database, log, names),
          controller,
          createCallbacks(database, controller, log, config.callback_networks),
        ];
        for (const each of background) each.start();
        return { sharder, server, background, kinds };
      } catch (error) {
        await database.close();
        throw error;
      }
    } catch (error) {
      if (!mayPass(error, config.database)) throw error;
      log.warn({ err: loggable(error, names) }, 'waiting for the database');
    }
    const isStopped = await Promise.race([stop.then(() => true), sleep(DATABASE_WAIT_MS, false)]);
    if (isStopped) return undefined;
  }
}

function createRunner(database: Database, log: Logger, names: LogNames): PlanRunner {
  const told = ({ id: plan, kind, state, moves, made, skipped }: Plan) => {
    return { plan, kind, state, moves, made, skipped };
  };
  return new PlanRunner(database, {
    onStart: (plan) => {
      log.info(told(plan), 'making the moves of a plan');
    },
    onEnd: (plan) => {
      log.info(told(plan), 'the moves of a plan have ended');
    },
    onError: (error) => {
      log.warn({ err: loggable(error, names) }, 'a plan could not go on; it is tried again');
    },
  });
}

function createController(database: Database, log: Logger, names: LogNames): Controller {
  return new Controller(database, {
    onLead: (leads) => {
      log.info(leads ? 'watching over the workers' : 'another replica watches over the workers');
    },
    onHalt: (kind, isHalted) => {
      if (isHalted) {
        log.warn(
          { kind },
          'too many workers are silent at once: nothing moves until they are back',
        );
      } else log.info({ kind }, 'enough workers are back');
    },
    onError: (error) => {
      log.warn(
        { err: loggable(error, names) },
        'the workers were not looked at; it is tried again',
      );
    },
  });
}

function createCallbacks(
  database: Database,
  controller: Controller,
  log: Logger,
  networks: readonly string[],
): Callbacks {
  const events: CallbackEvents = {
    onRefused: (worker, why) => {
      const reason = (why as Error).message;
      log.warn({ ...worker, reason }, 'a worker was not told of its objects; it is tried again');
    },
    onBlocked: (worker, reason) => {
      log.warn({ ...worker, reason }, 'a worker is not called');
    },
    onUnblocked: (worker) => {
      log.info(worker, 'a worker is called again');
    },
  };
  return new Callbacks(database, () => controller.leads, events, { networks });
}

// A server may come up yet; a file that cannot be used stays as it is.
function mayPass(error: unknown, url: string): boolean {
  if (!(error instanceof SharderError)) return false;
  if (error.code === 'database_busy') return true;
  return error.code === 'database_unavailable' && !url.startsWith('sqlite:');
}

function describe(
  version: string,
  server: Server,
  database: Database,
  all: readonly Kind[],
): string {
  const kinds = all.map(({ name, buckets }) => `${name} (${abridge(buckets)})`);
  const what =
    kinds.length > 0 ? `kinds: ${kinds.join(', ')}` : 'no kinds: declare one in sharder.yml';
  return `sharder ${version} listens on ${describeAddress(server)}, database ${database.location}, ${what}`;
}

function abridge(buckets: readonly string[]): string {
  if (buckets.length <= 8) return buckets.join(' ') || 'no buckets';
  return `${buckets.slice(0, 3).join(' ')} … ${buckets.at(-1) ?? ''}, ${buckets.length} in all`;
}

// Takes no new connections, answers what is in flight, and lets go of what is still open after that.
async function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  const idle = setInterval(() => {
    // A connection that was answered just before the stop is idle only now.
    server.closeIdleConnections();
    // To Node one that has never said a word is not idle.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  }, 50);
  const late = setTimeout(() => {
    server.closeAllConnections();
  }, STOP_AFTER_MS);
  await closed;
  clearInterval(idle);
  clearTimeout(late);
}

function openSockets(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const onSignal = (): void => {
      process.removeListener('SIGTERM', onSignal);
      process.removeListener('SIGINT', onSignal);
      resolve();
    };
    process.once('SIGTERM', onSignal);
    process.once('SIGINT', onSignal);
  });
}
