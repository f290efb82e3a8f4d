// sharder backup.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { engines, needsPostgres, temporaryDirectory } from '../engines.js';
import { createLegacy } from '../legacy.js';
import { again, assertKept, Load, names } from '../load.js';
import { Service } from '../service.js';
import { prepare } from './prepare.js';
import { directoryWith, run } from './run.js';

const [sqlite] = engines;
assert.ok(sqlite);

describe('sharder backup', () => {
  it('copies all that was answered before it, while the service goes on', async () => {
    const cwd = directoryWith('kinds: { hub: { buckets: [hub-0, hub-1, hub-2] } }');
    const url = await sqlite.createDatabase();
    const service = await Service.start(url, { cwd });
    const before = new Load(16);
    const known = [...names('known', 3_000)];
    await before.run(service.url, known);

    const fresh = new Load(8);
    const load = new Load(8);
    const running = [fresh.run(service.url, names('new')), load.run(service.url, again(known))];
    for (const i of [1, 2, 3]) {
      const answered = new Map([...before.answers, ...fresh.answers]);
      const { code, stdout, stderr } = await run(['backup', `copy-${i}.db`], {
        env: { DATABASE_URL: url },
        cwd,
      });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^backed up sqlite:.* to copy-\d\.db: [\d,]+ bytes, checked\n$/);
      const copy = `sqlite:${join(cwd, `copy-${i}.db`)}`;
      await assertKept(copy, answered);
      const checked = await run(['check'], { env: { DATABASE_URL: copy } });
      assert.equal(checked.code, 0, checked.stdout);
    }
    fresh.stop();
    load.stop();
    assert.deepEqual(await Promise.all(running), [0, 0]);
    assert.deepEqual([...fresh.refusals, ...load.refusals], []);
    for (const each of [before, fresh, load]) each.close();
    assert.equal(await service.stop(), 0);
  });

  it('writes over a file only when told, and leaves no draft', async () => {
    const { env } = await prepare(sqlite);
    const cwd = temporaryDirectory();
    writeFileSync(join(cwd, 'copy.db'), 'precious');
    const refused = await run(['backup', 'copy.db'], { env, cwd });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^sharder: copy\.db is there already: name another, or overwrite/);
    assert.equal(readFileSync(join(cwd, 'copy.db'), 'utf8'), 'precious');
    assert.equal((await run(['backup', 'copy.db', '--overwrite'], { env, cwd })).code, 0);
    assert.match(readFileSync(join(cwd, 'copy.db'), 'latin1'), /^SQLite format 3/);
    assert.equal((await run(['backup', 'no/where.db'], { env, cwd })).code, 1);
    assert.equal((await run(['backup', '-'], { env, cwd })).code, 2);
    assert.deepEqual(readdirSync(cwd), ['copy.db']);
  });

  it('of a damaged database is refused, and what was there before stays', async () => {
    const { env } = await prepare(sqlite);
    const cwd = temporaryDirectory();
    assert.equal((await run(['backup', 'copy.db'], { env, cwd })).code, 0);
    const good = readFileSync(join(cwd, 'copy.db'));

    // What is wrong with a row is copied, and found in the copy.
    const wrong = join(cwd, 'wrong.db');
    copyFileSync(join(cwd, 'copy.db'), wrong);
    const connection = new Sqlite(wrong);
    connection.pragma('ignore_check_constraints = on');
    connection.exec("update shard set name = '' where name = 'a'");
    connection.close();
    // A page that is none cannot be read at all.
    const broken = join(cwd, 'broken.db');
    writeFileSync(
      broken,
      Buffer.concat([good.subarray(0, 8192), Buffer.alloc(good.length - 8192, 7)]),
    );

    for (const [file, says] of [
      [wrong, /^sharder: the copy is damaged \(CHECK constraint failed in shard\), and was thrown/],
      [broken, /^sharder: the database cannot be used \(SQLITE_CORRUPT/],
    ] as const) {
      const { code, stderr } = await run(
        ['backup', 'copy.db', '--overwrite', '--database', `sqlite:${file}`],
        { cwd },
      );
      assert.match(stderr, says);
      assert.equal(code, 1);
      assert.deepEqual(readFileSync(join(cwd, 'copy.db')), good);
      assert.ok(!existsSync(join(cwd, 'copy.db.part')));
    }
  });

  it("copies the Python sharder's database, too, before it is adopted", async () => {
    const cwd = temporaryDirectory();
    await createLegacy('sqlite', `sqlite:${join(cwd, 'old.db')}`, [['hub', 'hub-0', 'iana']]);
    const args = ['backup', 'copy.db', '--database', 'sqlite:old.db'];
    const { code, stderr } = await run(args, { cwd });
    assert.equal(code, 0, stderr);
    const copy = new Sqlite(join(cwd, 'copy.db'), { readonly: true });
    assert.deepEqual(copy.prepare('select name from shard').pluck().all(), ['iana']);
    copy.close();
  });
});

describe('sharder backup on PostgreSQL', needsPostgres, () => {
  it('says which pg_dump to type, without the password', async () => {
    const env = { DATABASE_URL: 'postgres://me:geheim@db.example:5433/hubs?sslmode=require' };
    const { code, stdout, stderr } = await run(['backup', 'hubs.dump'], { env });
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /type pg_dump --format=custom --file=hubs\.dump 'postgres:\/\/me@db\.example:5433\/hubs'/); // prettier-ignore
    assert.doesNotMatch(stderr, /geheim/);
  });
});
