// With log.names none or hash, whatever fails and at every level, no line of the log has a name in it.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { createLogNames, type NamesInLog } from '../../src/log-names.js';
import { SharderError, type ErrorCode } from '../../src/index.js';
import { engines, type TestEngine } from '../engines.js';
import { start, type Running } from './start.js';
import { exchange, get } from './wire.js';

const KEY = 'a key of at least thirty-two characters';
const NAME = 'zoë quux';
const OTHER = 'vera-xyzzy';
const TRACES = /zo(ë|Ã«|%c3%ab|\\u00eb)|quux|xyzzy/i;

/** A service, and what it has written to its log since the last time it was asked. */
async function logging(names: NamesInLog, engine?: TestEngine) {
  const lines = new PassThrough({ encoding: 'utf8' });
  const log = pino({ level: 'debug' }, lines);
  const buckets = { 'hub-0': { capacity: 1 } };
  const logNames = createLogNames(names, names === 'hash' ? KEY : undefined);
  const trustedProxies = ['127.0.0.1'];
  const kinds = ['homedir'];
  const service = await start({ engine, log, logNames, trustedProxies, buckets, kinds });
  return { service, written: () => String(lines.read() ?? '') };
}

// What goes wrong with the service as it is: everything that a client can do.
async function misuse(service: Running): Promise<void> {
  const encoded = encodeURIComponent(NAME);
  await service.ask('/shard', 'somebody');
  await service.ask('/shard', NAME); // no_room
  await service.ask('/shard/homedir', NAME); // an answer
  await service.ask('/go/homedir?next=/lab', NAME); // no_url
  await service.ask(`/go/homedir?next=//${encoded}`, NAME);
  for (const route of ['/shard/', '/auth/', '/go/']) {
    await service.ask(`${route}nosuch`, NAME); // unknown_kind
    await service.ask(`${route}${encoded}`, NAME);
    await service.ask(`${route}${encoded}`);
  }
  await service.ask(`/user/${encoded}/lab`, NAME); // unknown_route
  await service.ask(`/user/%7a%6f%c3%ab%20%71%75ux/lab`, NAME);
  await service.ask(`/go/homedir/${encoded}?${encoded}`, NAME);
  await service.ask(`/go/${encoded}%zz`, NAME); // bad_request
  await service.ask('/shard', NAME, { method: 'POST' }); // wrong_method
  await service.ask('/go', NAME, { method: 'POST' });
  await service.ask('/shard', `${NAME}\t${NAME}`); // bad_name
  await service.ask('/shard', NAME.repeat(60));
  await service.ask('/shard', NAME, { headers: { 'Remote-User': 'quux' } }); // bad_identity
  await exchange(service.port, get('/shard', 'REMOTE_USER: quux', 'REMOTE_USER: quux'));
  await exchange(service.port, get('/shard', 'REMOTE_USER: quux'), '127.0.0.2');
}

// Errors from within that quote the name, one of each code.
function failures(): Error[] {
  const about = `about ${NAME}, "${NAME}" at /user/${encodeURIComponent(NAME)} (zoÃ« quux)`;
  const codes: ErrorCode[] = [
    ...(['bad_request', 'bad_name', 'unknown_bucket', 'unknown_object', 'exists'] as const),
    ...(['not_empty', 'closed', 'forgotten', 'wrong_method', 'unknown_route'] as const),
  ];
  const row = { detail: `Failing row contains (${NAME})`, where: NAME, parameters: [NAME] };
  return [
    ...codes.map((code) => new SharderError(code, about)),
    new Error(about, { cause: new TypeError(about, { cause: about }) }),
    Object.assign(new Error(`a row of ${OTHER}`), { code: '23505', ...row }),
    Object.assign(new Error(`a row of ${OTHER}`), { code: 'SQLITE_CONSTRAINT_TRIGGER' }),
    Object.assign(new Error('first\n    second'), row),
  ];
}

async function fail(service: Running, error: Error): Promise<void> {
  const fails = () => Promise.reject(error);
  Object.assign(service.sharder, { assign: fails, check: fails });
  for (const path of ['/shard', '/auth', '/go', '/readyz']) await service.ask(path, NAME);
}

describe('the log at debug', () => {
  for (const names of ['none', 'hash'] as const) {
    it(`with names ${names} has no name in it, whatever a client sends`, async () => {
      const { service, written } = await logging(names);
      await misuse(service);
      const log = written();
      const codes = [
        ...['no_room', 'no_url', 'unknown_kind', 'unknown_route', 'bad_request', 'wrong_method'],
        ...['bad_name', 'bad_identity', 'untrusted_peer', 'no_identity'],
      ];
      for (const code of codes) assert.match(log, new RegExp(`"code":"${code}"`));
      assert.doesNotMatch(log, TRACES);
      const user = createLogNames('hash', KEY).of('homedir', NAME);
      if (names === 'hash') {
        assert.ok(log.includes(`"kind":"homedir","user":"${user}","bucket":"homedir-0"`), log);
        assert.ok(log.includes(`"code":"no_url","user":"${user}"`), log);
      } else {
        assert.doesNotMatch(log, /"user"/);
      }
    });

    it(`with names ${names} has no name in it, whatever an error says`, async () => {
      for (const error of failures()) {
        const { service, written } = await logging(names); // each says so only once a second
        await fail(service, error);
        const log = written();
        assert.match(log, /"code":/);
        assert.doesNotMatch(log, TRACES);
        if (!(error instanceof SharderError)) assert.match(log, / at .*log-names\.test/, 'a stack');
      }
    });

    it(`with names ${names} has no name in it when the database is down`, async () => {
      const { service, written } = await logging(names);
      service.sharder.emit('down', Object.assign(new Error('no'), { parameters: [NAME] }));
      assert.match(written(), /the database is down/);
    });
  }

  it('with names plain has them', async () => {
    const { service, written } = await logging('plain');
    await misuse(service);
    const log = written();
    for (const code of ['no_room', 'no_url', 'unknown_kind', 'bad_name']) {
      assert.match(log, new RegExp(`"code":"${code}","user":"${NAME}`));
    }
    assert.match(log, /there is nothing at \/user\/zo%C3%AB%20quux\/lab/);
    await fail(service, new Error(`about ${NAME}`));
    assert.match(written(), new RegExp(`"message":"about ${NAME}","stack":"Error: about ${NAME}`));
  });
});

for (const engine of engines) {
  describe(
    `what a trigger says of somebody else of the same batch, on ${engine.name}`,
    engine.options,
    () => {
      it('does not come into the log, unless names may stand there', async () => {
        for (const names of ['hash', 'plain'] as const) {
          const { service, written } = await logging(names, engine);
          for (const statement of REFUSE[engine.name])
            await service.sharder.database.knex.raw(statement);
          const error = await Promise.resolve(service.sharder.assign('homedir', OTHER)).then(
            () => assert.fail('it was assigned'),
            (why: unknown) => why as Error, // that of all who are in the batch
          );
          await fail(service, error);
          const log = written();
          assert.match(log, /"code":"internal"/);
          if (names === 'plain') assert.match(log, new RegExp(`${OTHER} is not welcome`));
          else assert.doesNotMatch(log, TRACES);
        }
      });
    },
  );
}

for (const engine of engines) {
  describe(`a statement that fails on ${engine.name}`, engine.options, () => {
    it('has its values in no message', async () => {
      const { service } = await logging('none', engine);
      const { database } = service.sharder;
      const failing = database.read((knex) => knex('nosuch').where({ name: OTHER }));
      await assert.rejects(failing, (error: Error) => !TRACES.test(error.message));
    });
  });
}

const REFUSE = {
  sqlite: [
    `create trigger refuse before insert on shard when new.name = '${OTHER}' begin
      select raise(abort, '${OTHER} is not welcome');
    end`,
  ],
  postgres: [
    `create function refuse() returns trigger language plpgsql as $$ begin
      raise exception '% is not welcome', new.name; end $$`,
    `create trigger refuse before insert on shard for each row
      when (new.name = '${OTHER}') execute function refuse()`,
  ],
};
