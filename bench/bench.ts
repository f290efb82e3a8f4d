// npm run bench: measures the service against a bare server, and the figures against the targets.
// It starts everything it needs and ends it all, at Ctrl-C too. A missed target is printed; only
// what could not be measured makes it exit with 1.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { postgresBin, PostgresServer } from '../test/postgres.js';
import { postgresEngine, sqliteEngine, type Engine } from './engines.js';
import { assignCores, describeMachine, isOnPath, type Cores } from './machine.js';
import type { Bench, Settings } from './measure.js';
import { Paper } from './paper.js';
import { endProcesses } from './processes.js';
import { ask } from './reply.js';
import { TARGET_HEADINGS, targetRows, type Figures } from './report.js';
import { SECTIONS } from './sections.js';
import { Server } from './server.js';
import { Table, Tables } from './tables.js';

const USAGE = `npm run bench -- [options] [SECTION …]
  --quick         within two minutes and on smaller tables: for a look, not for the record
  --full          with 10,000,000 objects too
  --only SECTION  ${[...SECTIONS.keys()].join(', ')}; may be given more than once,
                  and without --only
  --write         write bench/RESULTS.md after --quick or --only too
`;

const DEFAULT: Settings = {
  seconds: 2,
  warmSeconds: 1.5,
  runs: { judged: 5, reported: 3 },
  isBrief: false,
  objects: [1_000, 1_000_000],
  growth: { objects: 1_000_000, runs: 3 },
  starts: 7,
  commands: { listed: 1_000_000, adopted: 200_000, runs: 3 },
  transfer: { rows: 1_000_000, runs: 3 },
  plans: { objects: 1_000_000, buckets: 200, runs: 3 },
  workers: { objects: 100_000, workers: 100, idle: 1_000, seconds: 20 },
};
const FULL: Settings = { ...DEFAULT, objects: [...DEFAULT.objects, 10_000_000] };
const QUICK: Settings = {
  seconds: 0.5,
  warmSeconds: 0.5,
  runs: { judged: 2, reported: 1 },
  isBrief: true,
  objects: [1_000, 100_000],
  growth: { objects: 100_000, runs: 1 },
  starts: 3,
  commands: { listed: 100_000, adopted: 20_000, runs: 1 },
  transfer: { rows: 100_000, runs: 1 },
  plans: { objects: 100_000, buckets: 200, runs: 1 },
  workers: { objects: 10_000, workers: 100, idle: 1_000, seconds: 10 },
};

interface Arguments {
  readonly settings: Settings;
  readonly sections: readonly string[];
  readonly isWritten: boolean;
}

function readArguments(): Arguments | 'help' {
  const isFlag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: isFlag,
      full: isFlag,
      write: isFlag,
      help: isFlag,
      only: { type: 'string', multiple: true, default: [] },
    },
  });
  const { quick, full, write, help } = values;
  const only = [...values.only, ...positionals];
  if (help) return 'help';
  if (quick && full) throw new Error('--quick and --full exclude each other');
  const unknown = only.find((name) => !SECTIONS.has(name));
  if (unknown !== undefined) throw new Error(`${unknown}: there is no such section`);
  return {
    settings: quick ? QUICK : full ? FULL : DEFAULT,
    sections: [...SECTIONS.keys()].filter((name) => only.length === 0 || only.includes(name)),
    isWritten: write || (!quick && only.length === 0),
  };
}

const cleanups: (() => unknown)[] = [];
const ending = new AbortController();

async function cleanUp(): Promise<void> {
  ending.abort();
  await endProcesses();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

// Everything is in it, PostgreSQL's cluster too.
function makeDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sharder-bench-'));
  chmodSync(dir, 0o711); // PostgreSQL, which root runs as another user, must get through
  process.env.TMPDIR = dir;
  cleanups.push(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

async function startEngines(dir: string): Promise<[Engine, ...Engine[]]> {
  const sqlite = sqliteEngine(dir);
  if (postgresBin === undefined) return [sqlite];
  const starting = PostgresServer.start({ isDurable: true });
  cleanups.push(() =>
    starting.then(
      (server) => server.stop(),
      () => undefined,
    ),
  );
  return [sqlite, await postgresEngine(await starting)];
}

/** The servers to compare with. They send what the service was seen to send. */
async function startOthers(
  engine: Engine,
  { server: core }: Cores,
): Promise<{ bare: Server; express: Server }> {
  const user = 'user-00000001';
  const table = await Table.create(engine, 'ordered', 1);
  const service = await Server.service(core, table.url);
  const reply = await ask(service.url, user);
  await service.stop();
  await table.remove();

  const bare = await Server.other(core, 'bare', reply);
  const express = await Server.other(core, 'express', reply);
  for (const { url } of [bare, express]) {
    const [ours, theirs] = [reply, await ask(url, user)].map((sent) => JSON.stringify(sent));
    if (ours !== theirs) throw new Error(`the servers differ: ${ours ?? ''} and ${theirs ?? ''}`);
  }
  return { bare, express };
}

async function run({ settings, sections, isWritten }: Arguments): Promise<number> {
  const started = performance.now();
  const dir = makeDirectory();
  const cores = assignCores();
  const hasWrk = isOnPath('wrk');
  const machine = describeMachine(dir, cores, hasWrk);
  const engines = await startEngines(dir);
  const versions = engines.map(({ name, version }) => `${name} ${version}`);
  if (engines.length === 1) versions.push('PostgreSQL is not installed, and left out');

  const paper = new Paper(ending.signal);
  const mode = settings === QUICK ? ', quick' : settings === FULL ? ', full' : '';
  const facts = [`${new Date().toISOString().slice(0, 10)}${mode}`, ...machine, ...versions];
  await paper.add(`# Benchmark
${facts.map((fact) => `- ${fact}`).join('\n')}

Each figure is the median of several runs of ${settings.seconds} s (${settings.runs.judged} where a
target is judged on it, else ${settings.runs.reported}), each run just after one of the bare server.
\`× bare\` is the median of the ratios of these pairs. The longest stop of the event loop, seen by a
timer of 1 ms, and the resident memory of the server are the highest of all runs.`);

  const others = await startOthers(engines[0], cores);
  const bench: Bench = {
    settings,
    cores,
    hasWrk,
    engines,
    tables: new Tables(),
    ...others,
    onEnd: (cleanup) => cleanups.push(cleanup),
  };
  const figures: Figures = {
    rates: [],
    growths: [],
    edges: [],
    starts: [],
    commands: [],
    transfers: [],
    plans: [],
    applications: [],
    takeovers: [],
    heartbeats: [],
    routers: [],
  };
  for (const name of sections) await SECTIONS.get(name)?.(bench, paper, figures);

  const targets = targetRows(figures);
  if (targets.length > 0) await paper.add('## Targets');
  await paper.addTable(TARGET_HEADINGS, targets);
  const minutes = (performance.now() - started) / 60_000;
  await paper.add(`All of this took ${minutes.toFixed(1)} minutes.`);
  if (isWritten) paper.write();
  return paper.failures > 0 ? 1 : 0;
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  // npm and tsx pass on a signal that the terminal has sent to all: it comes more than once.
  process.on(signal, () => {
    if (ending.signal.aborted) return;
    void cleanUp().finally(() => process.exit(code));
  });
}

try {
  const args = readArguments();
  if (args === 'help') process.stdout.write(USAGE);
  else process.exitCode = await run(args);
} catch (error) {
  // What fails while everything is being stopped has failed because of that.
  if (!ending.signal.aborted) {
    process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
    process.exitCode = 1;
  }
} finally {
  if (!ending.signal.aborted) await cleanUp();
}
