// Whatever bytes come: every request that is one gets an answer, no answer is a 5xx, nothing hangs,
// and no name is stored but one that the header said and the rules allow.

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { whyNotStrict } from '../../src/names.js';
import { checkObjectName } from '../../src/names.js';
import { hubs } from '../engines.js';
import { assignedNames, start, type Running } from './start.js';
import { exchange, get, Wire } from './wire.js';

const RUNS = 300;

describe('random input', () => {
  let service: Running;
  before(async () => {
    service = await start({ buckets: hubs(3), kinds: ['homedir'] });
  });

  /** Sends bytes, and that there will be no more; reads until the connection ends. */
  async function pour(bytes: Uint8Array): Promise<number[]> {
    const wire = await Wire.connect(service.port);
    wire.send(bytes);
    wire.end();
    const statuses = [];
    for (;;) {
      const response = await wire.next({ isHead: isHead(bytes) });
      if (!response) return statuses;
      statuses.push(response.status);
    }
  }

  async function isWell(): Promise<void> {
    const response = await exchange(service.port, get('/shard', 'REMOTE_USER: iana'));
    assert.equal(response?.status, 200);
    for (const name of await assignedNames(service)) checkObjectName(name);
  }

  it('random bytes are refused or ignored', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        for (const status of await pour(bytes)) assert.equal(status, 400);
      }),
      { numRuns: RUNS },
    );
    await isWell();
  });

  it('a good request with random changes gets no 5xx and does not hang', async () => {
    const good = fc.constantFrom(
      get('/shard', 'REMOTE_USER: iana', 'Accept: application/json'),
      get('/go/hub?next=/lab', 'REMOTE_USER: iana', 'Cookie: hub=hub-0.1.x'),
      Buffer.from(
        'POST /auth/hub/x HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\nContent-Length: 5\r\n\r\nhello',
      ),
      Buffer.from(
        'PUT /auth HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      ),
      Buffer.concat([get('/healthz'), get('/shard', 'REMOTE_USER: iana')]),
    );
    const change = fc.record({
      at: fc.nat(),
      remove: fc.nat({ max: 5 }),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 5 }),
        fc
          .constantFrom(
            '\r\n',
            ' ',
            ':',
            '\0',
            '%',
            '/',
            '\t',
            'REMOTE_USER: x\r\n',
            '\r\n\r\n',
            '0',
          )
          .map((text) => Buffer.from(text)),
      ),
    });
    await fc.assert(
      fc.asyncProperty(
        good,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        async (bytes, all) => {
          let changed = bytes;
          for (const { at, remove, insert } of all) {
            const i = at % (changed.length + 1);
            changed = Buffer.concat([changed.subarray(0, i), insert, changed.subarray(i + remove)]);
          }
          for (const status of await pour(changed)) assert.ok(status < 500, String(status));
        },
      ),
      { numRuns: RUNS },
    );
    await isWell();
  });

  it('any header value is the name that its UTF-8 says, or refused and not stored', async () => {
    // The rest are refused by the parser.
    const byte = fc.integer({ min: 0x20, max: 0xff }).filter((b) => b !== 0x7f);
    const value = fc.oneof(
      fc.array(byte, { maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .string({ unit: 'binary', maxLength: 200 })
        .map((text) => Buffer.from(text.replaceAll(/[\0-\x08\x0a-\x1f\x7f]/g, ''))),
      fc.string({ unit: 'grapheme', maxLength: 150 }).map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(value, async (bytes) => {
        const name = nameOf(bytes);
        const header = Buffer.concat([Buffer.from('REMOTE_USER: '), bytes]);
        const response = await exchange(service.port, get('/shard', header));
        assert.equal(response?.status, name === undefined ? 400 : 200);
        if (name === undefined) return;
        const rows = await service.sharder.database.knex('shard').where({ name });
        assert.equal(rows.length, 1);
      }),
      { numRuns: RUNS },
    );
    await isWell();
  });

  it('any path is answered, and no answer is a 5xx', async () => {
    const piece = fc.constantFrom(
      ...['/', 'shard', 'auth', 'go', 'hub', 'homedir', '?', 'next=', '%', '%2f', '%00', '.', '..'],
      ...['//', '&', '=', '#', ';', ':', '@', '[', ']', 'healthz', 'readyz', 'metrics', '%c5', '~'],
    );
    const route = fc.constantFrom('/', '/shard/', '/auth/', '/go/', '/go?next=');
    const path = fc.oneof(
      fc.tuple(route, fc.array(piece, { maxLength: 6 })).map(([r, rest]) => r + rest.join('')),
      fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)) }),
      fc.webUrl({ withQueryParameters: true }),
    );
    const method = fc.constantFrom('GET', 'HEAD', 'POST', 'OPTIONS', 'DELETE', 'PROPFIND');
    await fc.assert(
      fc.asyncProperty(method, path, async (m, p) => {
        const wire = await Wire.connect(service.port);
        wire.send(`${m} ${p} HTTP/1.1\r\nHost: localhost\r\nREMOTE_USER: iana\r\n\r\n`);
        const response = await wire.next({ isHead: m === 'HEAD' });
        wire.destroy();
        assert.ok(response && response.status >= 200 && response.status < 500, response?.body);
      }),
      { numRuns: RUNS },
    );
    await isWell();
  });

  it('any other header changes nothing about the answer', async () => {
    const token = fc.stringMatching(/^[A-Za-z][A-Za-z-]{0,20}$/);
    const name = fc.oneof(
      token,
      fc.constantFrom('Accept', 'Cookie', 'X-Forwarded-Proto', 'If-None-Match', 'Range', 'Origin'),
    );
    const text = fc.string({ maxLength: 60 }).filter((value) => !/[^\x20-\x7e]/.test(value));
    const headers = fc.array(fc.tuple(name, text), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(headers, async (all) => {
        const others = all.filter(([header]) => !FRAMING.test(header));
        const given = others.map(([header, value]) => `${header}: ${value}`);
        const request = get('/shard', ...given, 'REMOTE_USER: iana');
        const response = await exchange(service.port, request);
        assert.equal(response?.status, 200);
        assert.match(response.headers.get('x-shard-bucket') ?? '', /^hub-\d$/);
      }),
      { numRuns: RUNS },
    );
    await isWell();
  });
});

// What says where a request ends, or who asks.
const FRAMING = /^(Host|Connection|Content-Length|Transfer-Encoding|Expect|Upgrade|Remote-User)$/i;

function isHead(bytes: Uint8Array): boolean {
  return Buffer.from(bytes).toString('latin1').trimStart().startsWith('HEAD ');
}

/**
 * What a header's bytes say, written down a second time: undefined when they are to be refused, as
 * U+FFFD is too, which stands for bytes that were no UTF-8.
 */
function nameOf(bytes: Buffer): string | undefined {
  const trimmed = Buffer.from(
    bytes.toString('latin1').replaceAll(/^[ \t]+|[ \t]+$/g, ''),
    'latin1',
  );
  const name = trimmed.toString('utf8');
  const isUtf8 = Buffer.from(name).equals(trimmed);
  const isClean = !/[\p{Cc}\uFFFD]/u.test(name) && name === name.trim();
  const isShort = trimmed.length >= 1 && trimmed.length <= 256;
  return isUtf8 && isClean && isShort && whyNotStrict(name) === undefined ? name : undefined;
}
