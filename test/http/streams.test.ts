// What the service has commands do for a client: who reads nothing is given up, nothing of the
// database's own words gets into the log, and the settings are those of the service's start.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createCommands } from '../../src/http/v1/commands.js';
import type { Database } from '../../src/index.js';
import { directoryWith } from '../commands/run.js';
import { engines, open, temporaryDirectory, type TestEngine } from '../engines.js';
import { CLI, Service } from '../service.js';
import { start } from './start.js';

const TOKEN = 'w'.repeat(32);
const AUTHORIZED = { Authorization: `Bearer ${TOKEN}` };
const NAME = 'vera-xyzzy';

for (const engine of engines) {
  describe(`on ${engine.name}, the commands of the service`, engine.options, () => {
    it('end when a client reads nothing of its export, and so does the connection', async () => {
      const ends: Promise<unknown[]>[] = [];
      const service = await start({
        engine,
        adminTokens: [{ name: 'ops', scope: 'write', token: TOKEN }],
        commands: (...how) => {
          const child = createCommands(CLI, environmentOf(service.sharder.database))(...how);
          ends.push(once(child, 'exit'));
          return child;
        },
        patienceMs: 500,
      });
      await fill(service.sharder.database);

      const asking = get(`${service.url}/v1/export`, { headers: AUTHORIZED });
      const [response] = (await once(asking, 'response')) as [IncomingMessage];
      assert.deepEqual(await Promise.all(ends), [[null, 'SIGKILL']]);

      response.resume(); // what had come by then
      const [error] = (await once(response, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNRESET');
      assert.equal(response.complete, false);
    });

    for (const names of ['hash', 'none'] as const) {
      it(`with log.names ${names} leave no name in the log, whatever a trigger says`, async () => {
        const service = await serve(engine, `log: { names: ${names}, level: debug }`);
        const database = await open(service.database);
        for (const statement of REFUSE[engine.name]) await database.knex.raw(statement);

        const reply = await importOne(service, NAME);
        assert.equal(reply.status, 500);
        assert.deepEqual(await reply.json(), {
          error: { code: 'internal', message: 'internal error' },
        });
        await service.stop();
        assert.match(service.log, /"code":"internal".*a command ended with 1: /);
        assert.doesNotMatch(service.log, /xyzzy/);
      });
    }

    it('mind no settings that were broken since the service started', async () => {
      const secret = join(temporaryDirectory(), 'secret');
      writeFileSync(secret, 's'.repeat(32));
      const service = await serve(engine, '', { SHARDER_COOKIE_SECRET_FILE: secret });
      writeFileSync(join(service.cwd, 'sharder.yml'), 'kinds: [');
      rmSync(secret);
      assert.equal((await importOne(service, NAME)).status, 200);
      const exported = await ask(service, '/export');
      assert.equal(exported.status, 200);
      assert.match(await exported.text(), /^hub,vera-xyzzy,hub-0,/m);
      for (const method of ['GET', 'POST']) {
        const checked = await ask(service, '/check', { method });
        assert.equal(checked.status, 200);
        assert.equal(((await checked.json()) as { ok: boolean }).ok, true);
      }
    });
  });
}

async function serve(
  engine: TestEngine,
  settings: string,
  secrets: NodeJS.ProcessEnv = {},
): Promise<Service & { cwd: string }> {
  const cwd = directoryWith(`kinds: { hub: { buckets: [hub-0] } }\n${settings}\n`);
  const env = { SHARDER_ADMIN_TOKEN: TOKEN, SHARDER_LOG_KEY: 'k'.repeat(32), ...secrets };
  const service = await Service.start(await engine.createDatabase(), { cwd, env });
  return Object.assign(service, { cwd });
}

interface Asking {
  readonly method?: string;
  readonly type?: string;
  readonly body?: string;
}

function ask(
  service: Service,
  path: string,
  { method = 'GET', type, body }: Asking = {},
): Promise<Response> {
  return fetch(`${service.url}/v1${path}`, {
    method,
    headers: { ...AUTHORIZED, ...(type !== undefined && { 'Content-Type': type }) },
    ...(body !== undefined && { body }),
  });
}

function importOne(service: Service, name: string): Promise<Response> {
  const body = `user,hub\n${name},hub-0\n`;
  return ask(service, '/import', { method: 'POST', type: 'text/csv', body });
}

function environmentOf(database: Database): NodeJS.ProcessEnv {
  return { ...process.env, DATABASE_URL: database.location };
}

// More than the connection and the pipe can hold: 25 MB.
async function fill({ knex, engineName }: Database): Promise<void> {
  const name = engineName === 'sqlite' ? `printf('%0250d', i)` : `lpad(i::text, 250, '0')`;
  await knex.transaction(async (trx) => {
    if (engineName === 'postgres') await trx.raw('set local statement_timeout = 0');
    await trx.raw(`
      insert into shard (kind, bucket, name)
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 100000)
      select 'hub', 'hub-0', ${name} from n`);
  });
}

const REFUSE = {
  sqlite: [
    `create trigger refuse before insert on shard begin
      select raise(abort, '${NAME} is not welcome');
    end`,
  ],
  postgres: [
    `create function refuse() returns trigger language plpgsql as $$ begin
      raise exception '% is not welcome', new.name; end $$`,
    `create trigger refuse before insert on shard for each row execute function refuse()`,
  ],
};
