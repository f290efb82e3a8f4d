// Plays stories of the simulator: `npm run simulate -- [FIRST [COUNT]]`. The first that goes wrong is
// printed with its seed, and ends it. A program of its own, for node:test makes promises slow.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../../src/index.js';
import { createKind } from '../../src/store/kinds.js';
import { KIND, Simulation } from './simulator.js';

const SHOWN = 200;

async function play(seed: number, directory: string): Promise<Simulation> {
  const database = await openDatabase(`sqlite:${join(directory, `${seed}.db`)}`);
  const simulation = new Simulation(database, seed);
  const { random } = simulation;
  const settings = {
    leased: true,
    grace: random.pick([0, 2, 5]),
    reshard_interval: random.pick([0, 1, 5]),
    cooldown: random.pick([0, 10]),
    max_moving: random.pick([2, 10, 100]),
    breaker: random.pick([null, 50]),
  };
  await database.write((trx) => createKind(trx, KIND, { settings }, { actor: 'test' }));
  try {
    await simulation.run();
  } catch (error) {
    const last = simulation.trace.slice(-SHOWN).join('\n');
    throw new Error(`seed ${seed}, ${JSON.stringify(settings)}:\n${last}`, { cause: error });
  } finally {
    await database.close();
  }
  return simulation;
}

const [first = 1, count = 1_000] = process.argv.slice(2).map(Number);
const directory = mkdtempSync(join(tmpdir(), 'sharder-simulate-'));
const total = { stories: 0, rounds: 0, moves: 0, faults: 0 };
let last: readonly string[] = [];
try {
  for (let seed = first; seed < first + count; seed++) {
    const { rounds, moves, faults, trace } = await play(seed, directory);
    total.stories++;
    total.rounds += rounds;
    total.moves += moves;
    total.faults += faults;
    last = trace;
    if (total.stories % 100 === 0) process.stderr.write(`${total.stories} stories\n`);
  }
} finally {
  rmSync(directory, { recursive: true });
}
process.stdout.write(`${JSON.stringify({ ...total, last })}\n`);
