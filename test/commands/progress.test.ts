// How far a command is, on a terminal.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { drawProgress, type Position } from '../../src/commands/progress.js';
import { engines, open, temporaryDirectory } from '../engines.js';
import { CLI, Service } from '../service.js';
import { prepare } from './prepare.js';
import { run } from './run.js';
import { rows } from './transfer.js';

const half: Position = { what: 'rows read', count: 1_234_567, fraction: 0.5, elapsedMs: 10_000 };

describe('the line of a progress', () => {
  const lines: readonly [columns: number, position: Position, line: string][] = [
    [
      100,
      half,
      ' 50% [###############---------------] 1,234,567 rows read, 123,457 per second, 0:10 left',
    ],
    [70, half, ' 50% [#####------] 1,234,567 rows read, 123,457 per second, 0:10 left'],
    [60, half, ' 50% [##########-----------] 1,234,567 rows read, 0:10 left'],
    [40, half, ' 50% [###########-----------] 0:10 left'],
    [12, half, ' 50%'],
    [3, half, ''],
    [100, { ...half, fraction: undefined }, '1,234,567 rows read, 123,457 per second'],
    [30, { ...half, fraction: undefined }, '1,234,567 rows read'],
    [
      80,
      { ...half, fraction: 0, count: 0 },
      '  0% [------------------------------] 0 rows read, 0 per second',
    ],
    [
      80,
      { ...half, count: 9, fraction: 1 },
      '100% [##############################] 9 rows read, 1 per second, 0:00 left',
    ],
    [
      90,
      { ...half, count: 9, fraction: 0.001, elapsedMs: 4_000 },
      '  0% [------------------------------] 9 rows read, 2 per second, 1:06:36 left',
    ],
  ];
  for (const [columns, position, line] of lines) {
    it(`of ${columns} columns is "${line}"`, () => {
      assert.equal(drawProgress(position, columns), line);
    });
  }

  it('is shorter than the terminal is wide, whatever is counted', () => {
    const position = fc.record({
      what: fc.constantFrom('rows read', 'objects exported', 'bytes sent'),
      count: fc.nat(),
      fraction: fc.option(fc.double({ min: -1, max: 2, noNaN: true }), { nil: undefined }),
      elapsedMs: fc.integer({ min: 1, max: 100_000_000 }),
    });
    fc.assert(
      fc.property(position, fc.integer({ min: 1, max: 200 }), (far, columns) => {
        const line = drawProgress(far, columns);
        assert.ok(line.length < columns);
        assert.match(line, /^[\x20-\x7e]*$/);
      }),
    );
  });
});

describe('on a terminal', () => {
  const [sqlite] = engines;
  assert.ok(sqlite);
  const cwd = temporaryDirectory();
  let env: NodeJS.ProcessEnv;
  before(async () => {
    ({ env } = await prepare(sqlite));
    writeFileSync(join(cwd, 'in.csv'), rows(600_000));
  });

  /** What a terminal gets of a command, stdout and stderr; `columns` wide. */
  function terminal(command: string, columns: number, more: NodeJS.ProcessEnv = {}): string {
    const typed = `stty cols ${columns} rows 24; '${process.execPath}' '${CLI}' ${command}`;
    const { stdout, status } = spawnSync('script', ['-qec', typed, '/dev/null'], {
      env: { ...process.env, ...env, TERM: 'xterm', NO_COLOR: '1', ...more },
      cwd,
      encoding: 'utf8',
      maxBuffer: 100_000_000,
    });
    assert.equal(status, 0, stdout);
    return stdout;
  }

  // Each is written over the one before, and the last one is wiped away.
  function assertClean(shown: string, columns: number): void {
    const drawn = shown.split('\u001b[K').slice(0, -1);
    for (const text of drawn) {
      const line = text.slice(text.lastIndexOf('\r') + 1);
      assert.ok(text.includes('\r') && line.length < columns, JSON.stringify(text));
    }
    assert.ok(drawn.length > 1 && drawn.at(-1)?.endsWith('\r'), shown);
    // No colours, and nothing else that a terminal acts on.
    assert.doesNotMatch(shown.replaceAll('\u001b[K', ''), /\u001b/);
  }

  it('an import, an export and a check show how much is done, and leave nothing of it', () => {
    const imported = terminal('import in.csv', 40);
    assert.match(imported, /\r +\d+% \[#*-*\] \d:\d\d left/);
    assert.match(imported, /\r\u001b\[Kimported in\.csv: 600000 new/);
    assertClean(imported, 40);
    const exported = terminal('export out.csv.gz', 100);
    assert.match(exported, /\r +\d+% \[#*-*\] [\d,]+ objects exported, [\d,]+ per second/);
    assertClean(exported, 100);
    assertClean(terminal('import out.csv.gz', 100), 100);
    assertClean(terminal('check', 80), 80);
  });

  it('so does pruning, and the search for a hashed name', async () => {
    const { knex } = await open(env.DATABASE_URL ?? '');
    await knex.raw(`insert into change (at, actor, action, kind, name)
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 500000)
      select '2020-01-01T00:00:00.000Z', 'x', 'object pin', 'hub', 'a' from n`);
    const pruned = terminal('history prune --before 2021-01-01', 80);
    assert.match(pruned, /\r +\d+% \[#*-*\] [\d,]+ lines looked at/);
    assert.match(pruned, /\r\u001b\[Kpruned 500000 lines/);
    assertClean(pruned, 80);
    const key = { SHARDER_LOG_KEY: 'x'.repeat(32) };
    const args = `object find --log-name u:${'0'.repeat(24)} || true`;
    const searched = terminal(args, 80, key);
    assert.match(searched, /\r +\d+% \[#*-*\] [\d,]+ names compared/);
    assert.match(searched, /\r\u001b\[Ksharder: no object/);
  });

  it('a refused import leaves the line clean for what is wrong with it', () => {
    const typed = `stty cols 80; '${process.execPath}' '${CLI}' import wrong.csv`;
    writeFileSync(join(cwd, 'wrong.csv'), `${readFileSync(join(cwd, 'in.csv'), 'utf8')}x,hub-9\n`);
    const { stdout } = spawnSync('script', ['-qec', typed, '/dev/null'], {
      env: { ...process.env, ...env, TERM: 'xterm', NO_COLOR: '1' },
      cwd,
      encoding: 'utf8',
    });
    assert.match(stdout, /\r\u001b\[Ksharder: wrong\.csv: 1 line is wrong/);
    assertClean(stdout, 80);
  });

  it('an export to the terminal or to a pipe, and a terminal that is dumb, show none', () => {
    assert.doesNotMatch(terminal('export - --format csv', 80), /%|\u001b/);
    assert.doesNotMatch(terminal('export - --format csv | tail -n 1', 80), /%|\u001b/);
    assert.doesNotMatch(terminal('export --overwrite dumb.csv', 80, { TERM: 'dumb' }), /%|\u001b/);
    assertClean(terminal('export - --format csv > there.csv', 80), 80);
    assert.ok(existsSync(join(cwd, 'there.csv')));
  });

  it('through --url an import shows the bytes that are sent, an export the objects', async () => {
    const SHARDER_ADMIN_TOKEN = 'x'.repeat(32);
    const database = env.DATABASE_URL ?? '';
    const service = await Service.start(database, {
      cwd: temporaryDirectory(),
      env: { SHARDER_ADMIN_TOKEN },
    });
    const token = { SHARDER_TOKEN: SHARDER_ADMIN_TOKEN };
    const imported = terminal(`import in.csv --url ${service.url}`, 100, token);
    assert.match(imported, /\r(.*bytes sent|all is sent: the service checks and writes it)/);
    assert.match(imported, /0 new, 0 moved, 600000 unchanged/);
    assertClean(imported, 100);
    const exported = terminal(`export far.csv --url ${service.url}`, 100, token);
    assert.match(exported, /\r +\d+% \[#*-*\] [\d,]+ objects exported/);
    assertClean(exported, 100);
    await service.stop();
  });

  it('elsewhere stderr has nothing of it', async () => {
    const { code, stderr } = await run(['import', 'in.csv'], { env, cwd });
    assert.deepEqual([code, stderr], [0, '']);
  });
});
