// sharder completion, in the shells themselves: somebody types on a terminal, and presses Tab.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { declareKinds, type Database } from '../../src/index.js';
import { engines, open, temporaryDirectory } from '../engines.js';
import { contents } from '../commands/prepare.js';
import { needsShell, Shell, SHELLS } from '../shells.js';

// What a shell would act on, each the only bucket of a kind: k0, k1, …
const ODD = [
  ...['hub$1', 'a&b', '[x]', '~', '#', "'", '*', '!x', 'a:b', 'a=b', 'a(b)', '`id`', '{a-b}', '?'],
  ...['$HOME', '-x', '<x>', 'a|b', '^x', 'http://x', '@', "it's", 'x!'],
];

// Where a quote is open, or a word has begun.
const WITHIN = ['hub$1', "'", '!x', 'a:b', '~', "it's", 'x!'];

for (const name of SHELLS) {
  describe(`in ${name}, Tab`, needsShell(name), () => {
    let shell: Shell;
    let database: Database;
    before(async () => {
      const [sqlite] = engines;
      assert.ok(sqlite);
      const url = await sqlite.createDatabase();
      database = await open(url);
      await declareKinds(
        database,
        {
          ...Object.fromEntries(ODD.map((odd, i) => [`k${i}`, { buckets: [{ name: odd }] }])),
          hub: { buckets: ['hub-0', 'hub-1'].map((name) => ({ name })) },
        },
        'test',
      );
      await database.knex('shard').insert({ kind: 'hub', bucket: 'hub-0', name: 'iana' });
      const cwd = temporaryDirectory();
      writeFileSync(join(cwd, 'my users.csv'), '');
      mkdirSync(join(cwd, 'settings'));
      writeFileSync(join(cwd, 'settings', 'other.yml'), '');
      shell = await Shell.start(name, cwd, { DATABASE_URL: url });
    });
    after(() => shell.stop());

    const lines: readonly [typed: string, given: string[]][] = [
      ['sharder obj\tmov\tiana hub-1', ['object', 'move', 'iana', 'hub-1']],
      ['sharder object move iana --dry\t', ['object', 'move', 'iana', '--dry-run']],
      ['sharder object list --kin\tk0 --js\t', ['object', 'list', '--kind', 'k0', '--json']],
      ['sharder export --format nd\t', ['export', '--format', 'ndjson']],
      ['sharder export --format=nd\t', ['export', '--format=ndjson']],
      ['sharder import my\t', ['import', 'my users.csv']],
      [
        'sharder --config-file sett\toth\tkind list',
        ['--config-file', 'settings/other.yml', 'kind', 'list'],
      ],
      ['sharder bucket list --kind=hu\t', ['bucket', 'list', '--kind=hub']],
      ['sharder object move iana hub\t1', ['object', 'move', 'iana', 'hub-1']],
    ];
    for (const [typed, given] of lines) {
      it(`completes ${JSON.stringify(typed)}`, async () => {
        assert.deepEqual(await shell.given(typed), given);
      });
    }

    for (const [i, odd] of ODD.entries()) {
      it(`writes a bucket called ${odd} so that it is given`, async () => {
        const list = ['object', 'list', '--kind', `k${i}`];
        const typed = `sharder ${list.join(' ')} --bucket`;
        // fish takes a word that it completes to ~ for a home directory: there it is not offered.
        if (name !== 'fish' || odd !== '~')
          assert.deepEqual(await shell.given(`${typed} \t`), [...list, '--bucket', odd]);
        if (!WITHIN.includes(odd)) return;
        assert.deepEqual(await shell.given(`${typed}=\t`), [...list, `--bucket=${odd}`]);
        for (const quote of ["'", '"']) {
          const words = await shell.given(`${typed} ${quote}\t`);
          assert.deepEqual(words, [...list, '--bucket', odd], `in ${quote}`);
        }
      });
    }

    it('offers no object, and leaves the database as it was', async () => {
      const before = await contents(database);
      assert.deepEqual(await shell.given('sharder object find i\tx'), ['object', 'find', 'ix']);
      assert.deepEqual(await contents(database), before);
    });
  });
}
