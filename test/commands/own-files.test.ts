// No command writes to the database's own files, however they are named.

import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { openDatabase } from '../../src/index.js';
import { declareHub, temporaryDirectory } from '../engines.js';
import { run } from './run.js';

/** A database with three objects, open, so that its -wal and -shm are there. */
async function prepare() {
  const dir = temporaryDirectory();
  mkdirSync(join(dir, 'data'));
  const path = join(dir, 'data', 'sharder.db');
  const database = await openDatabase(`sqlite:${path}`);
  await declareHub(database, { 'hub-0': { url: 'http://10.0.0.10:8000' } });
  for (const name of ['a', 'b', 'c'])
    await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name });
  symlinkSync(path, join(dir, 'link.db'));
  symlinkSync(join(dir, 'data'), join(dir, 'elsewhere'));
  linkSync(path, join(dir, 'hard.db'));
  return { dir, path, database };
}

const FILES = [
  ...['data/sharder.db', './data/../data/sharder.db', 'link.db', 'hard.db', 'elsewhere/sharder.db'],
  ...['data/sharder.db-wal', 'data/sharder.db-shm', 'data/sharder.db-journal'],
  ...['elsewhere/sharder.db-wal', 'data//sharder.db'],
];
const WRITERS: Readonly<Record<string, (file: string) => string[]>> = {
  backup: (file) => ['backup', file, '--overwrite'],
  export: (file) => ['export', file, '--overwrite', '--format', 'csv'],
  'render nginx': (file) => ['render', 'nginx', '--output', file],
  'render nginx --watch': (file) => ['render', 'nginx', '--output', file, '--watch'],
};

describe("the database's own files", () => {
  for (const [title, args] of Object.entries(WRITERS)) {
    it(`are not written to by ${title}`, async () => {
      const { dir, path, database } = await prepare();
      const before = readFileSync(path);
      const urls = [`sqlite:${path}`, `sqlite:${join(dir, 'link.db')}`, 'sqlite:data/sharder.db'];
      for (const DATABASE_URL of urls) {
        for (const file of FILES) {
          const { code, stdout, stderr } = await run(args(file), {
            cwd: dir,
            env: { DATABASE_URL },
          });
          assert.equal(code, 2, `${DATABASE_URL} ${file}: ${stderr}`);
          assert.equal(stdout, '');
          assert.match(stderr, /is the database itself, or one of its files: nothing was written/);
        }
      }
      assert.deepEqual(readFileSync(path), before);
      await database.close();
      const n = new Sqlite(path).prepare('select count(*) from shard').pluck().get();
      assert.equal(n, 3);
    });
  }

  it('are not written to as the draft of another file', async () => {
    const { dir, path, database } = await prepare();
    await database.close();
    for (const [command, suffix] of [
      [['backup'], '.part'],
      [['export', '--format', 'csv'], '.part'],
      [['render', 'nginx', '--output'], '.new'],
    ] as const) {
      const own = join(dir, `x${suffix}`);
      renameSync(path, own);
      const env = { DATABASE_URL: `sqlite:${own}` };
      const { code, stderr } = await run([...command, 'x'], { cwd: dir, env });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /is the database itself/);
      renameSync(own, path);
    }
  });

  it('give way to no text either, of whichever database they are', async () => {
    const { dir, path, database } = await prepare();
    await database.close();
    const other = { DATABASE_URL: `sqlite:${join(dir, 'other.db')}` };
    await run(['migrate'], { cwd: dir, env: other });
    const before = readFileSync(path);
    const image = ['--image', 'x', '--shards', '1', '--url-pattern', '^/(.*)'];
    for (const args of [
      ['export', 'data/sharder.db', '--overwrite', '--format', 'csv'],
      ['render', 'nginx', '--output', 'data/sharder.db'],
      ['render', 'kubernetes', ...image, '--output', 'data/sharder.db'],
      ['render', 'compose', ...image, '--output', 'data/sharder.db'],
    ]) {
      const { code, stderr } = await run(args, { cwd: dir, env: other });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /is a SQLite database: nothing was written/);
    }
    assert.deepEqual(readFileSync(path), before);
  });
});
