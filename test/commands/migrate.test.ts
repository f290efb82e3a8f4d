// sharder migrate: brings the schema up to date, says what it did, and refuses a newer one.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { engines, needsPostgres, open, postgresServer, temporaryDirectory } from '../engines.js';
import { run } from './run.js';

for (const engine of engines) {
  describe(`sharder migrate on ${engine.name}`, engine.options, () => {
    const schema = readdirSync(new URL(`../../schema/${engine.name}/`, import.meta.url))
      .filter((file) => /^\d{4}_/.test(file))
      .map((file) => file.replace(/\.sql$/, ''));

    it('applies what is pending and says so, and the next time that nothing was', async () => {
      const env = { DATABASE_URL: await engine.createDatabase() };
      const done = { code: 0, stderr: '' };
      assert.deepEqual(await run(['migrate'], { env }), {
        ...done,
        stdout: `${env.DATABASE_URL}: applied ${schema.join(', ')}\n`,
      });
      assert.deepEqual(await run(['migrate'], { env }), {
        ...done,
        stdout: `${env.DATABASE_URL}: up to date already\n`,
      });
    });

    it('has to come before the other commands, which say so', async () => {
      const env = { DATABASE_URL: await engine.createDatabase() };
      for (const args of [
        ['bucket', 'list'],
        ['bucket', 'add', 'hub-0'],
      ]) {
        const { code, stdout, stderr } = await run(args, { env });
        assert.equal(stdout, '');
        if (engine.name === 'sqlite') {
          // Nothing is made by looking for it.
          assert.match(stderr, /^sharder: database: there is no file .*; `sharder serve` makes it/);
          assert.equal(code, 2);
          assert.equal(existsSync(env.DATABASE_URL.slice('sqlite:'.length)), false);
        } else {
          assert.match(
            stderr,
            /^sharder: the database lacks 0001_\w+.*: type `sharder migrate` first/,
          );
          assert.equal(code, 1);
        }
      }
    });

    it('and every other command refuse a schema that is newer than they are', async () => {
      const url = await engine.createDatabase();
      const { knex } = await open(url);
      await knex('schema_migration').insert({ name: '9999_later', batch: 2 });
      for (const args of [['migrate'], ['bucket', 'list'], ['serve', '--listen', '127.0.0.1:0']]) {
        const { code, stderr } = await run(args, { env: { DATABASE_URL: url } });
        assert.equal(code, 1, args.join(' '));
        assert.match(stderr, /^sharder: the database was made by a newer version .*9999_later/m);
      }
    });
  });
}

describe('sharder migrate', () => {
  it('makes sharder.db in the working directory when nothing names another', async () => {
    const cwd = temporaryDirectory();
    const { code, stdout } = await run(['migrate'], { cwd });
    assert.equal(code, 0);
    assert.match(stdout, /^sqlite:sharder\.db: applied /);
    assert.ok(readdirSync(cwd).includes('sharder.db'));
  });

  it('shows no password of the database that it worked on', needsPostgres, async () => {
    const url = (await (await postgresServer()).createDatabase()).replace(
      'sharder@',
      'sharder:hunter2@',
    );
    const { stdout, stderr } = await run(['migrate'], { env: { DATABASE_URL: url } });
    assert.match(stdout, /^postgres:\/\/sharder@127\.0\.0\.1:\d+\/\w+: applied /);
    assert.doesNotMatch(stdout + stderr, /hunter2/);
  });
});
