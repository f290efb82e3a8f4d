// Stories of workers that fail: in none of them has an object two owners, or an index two workers. One that
// goes wrong is printed with its seed; `npm run simulate -- SEED 1` plays it again, and without a seed a
// thousand.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SIMULATE = fileURLToPath(new URL('simulate.ts', import.meta.url));

interface Played {
  readonly stories: number;
  readonly rounds: number;
  readonly moves: number;
  readonly faults: number;
  /** What has happened in the last one. */
  readonly last: readonly string[];
}

async function simulate(first: number, count: number): Promise<Played> {
  const args = ['--import', 'tsx', SIMULATE, String(first), String(count)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Played;
}

describe('workers, simulated', () => {
  it('of 15 stories none has an object with two owners or an index twice, and all end well', async () => {
    const { stories, rounds, moves, faults } = await simulate(1, 15);
    assert.equal(stories, 15);
    assert.equal(rounds > 15 * 100, true, `${rounds} rounds`);
    assert.equal(moves > 15 * 5, true, `${moves} moves`);
    assert.equal(faults > 15 * 10, true, `${faults} faults`);
  });

  it('a story is the same each time that it is played', async () => {
    const [one, two] = await Promise.all([simulate(41, 1), simulate(41, 1)]);
    assert.deepEqual(one, two);
    assert.equal(one.last.length > 20, true);
  });
});
