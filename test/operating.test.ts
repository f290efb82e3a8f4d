// A term of an operator: operating.sh, from each engine to the other, on the database and on a service.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { directoryWith } from './commands/run.js';
import { engines, open, temporaryDirectory } from './engines.js';
import { CLI, Service } from './service.js';

const SCRIPT = fileURLToPath(new URL('operating.sh', import.meta.url));
const TOKEN = 't'.repeat(40);

// `sharder` as it is after an installation.
const bin = temporaryDirectory();
writeFileSync(join(bin, 'sharder'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`, {
  mode: 0o755,
});

async function operate(env: NodeJS.ProcessEnv): Promise<void> {
  const path = `${bin}:${process.env.PATH ?? ''}`;
  const { stdout } = await promisify(execFile)(SCRIPT, { env: { PATH: path, ...env } });
  assert.match(stdout, /all is as it should be\n$/);
}

const [sqlite, postgres] = engines;
for (const [engine, other] of [
  [sqlite, postgres],
  [postgres, sqlite],
]) {
  if (!engine || !other) throw new Error('no engine');
  describe(`from ${engine.name} to ${other.name}, a term`, postgres?.options, () => {
    it('of an operator on the database', async () => {
      const url = await engine.createDatabase();
      await open(url);
      await operate({ DATABASE_URL: url, OTHER_DATABASE_URL: await other.createDatabase() });
    });

    it('of an operator who has a token of the service', async () => {
      const service = await Service.start(await engine.createDatabase(), {
        cwd: directoryWith('{}'),
        env: { SHARDER_ADMIN_TOKEN: `ops=${TOKEN}` },
      });
      await operate({
        SHARDER_URL: service.url,
        SHARDER_TOKEN: TOKEN,
        OTHER_DATABASE_URL: await other.createDatabase(),
      });
    });
  });
}
