// The login proof, from the Sharder that issues it to the authenticator that believes it: in Python,
// as the hub runs it.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { deriveLoginKey, LoginProofs } from '../src/login-proof.js';
import { hubs, temporaryDirectory } from './engines.js';
import { start } from './http/start.js';
import { exchange, get } from './http/wire.js';
import { runPython } from './jupyterhub-python.js';
import { needsJupyterHub } from './jupyterhub.js';
import { secretLists } from './secret-lists.js';

const SECRET = 'the secret that login keys are derived from';
const OTHER = 'another one, of more than 32 characters';
const PROXY_SECRET = 'what the edge proves itself with, always';
const KEY = deriveLoginKey(SECRET, 'hub', 'hub-0');
const NOW = 1_800_000_000;

const base64 = (text: string) => Buffer.from(text).toString('base64url');

/** A JWT as somebody may forge it. */
function jwt(claims: object | string, { key = KEY, header = '', hash = 'sha256' } = {}): string {
  const text = [
    base64(header || '{"alg":"HS256","typ":"JWT"}'),
    base64(typeof claims === 'string' ? claims : JSON.stringify(claims)),
  ].join('.');
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}

const VERIFY = `
import json, sys
from remote_user import verify_proof
answers = []
for proof, keys, audience, now in json.load(sys.stdin):
    try:
        answers.append([verify_proof(keys, audience, proof, now), None])
    except ValueError as error:
        answers.append([None, str(error)])
print(json.dumps(answers))
`;

/** Whom the authenticator takes each proof for; null: for nobody. */
function believed(
  proofs: readonly string[],
  { keys = [KEY], audience = 'hub/hub-0', now = NOW } = {},
): (string | null)[] {
  const input = proofs.map((proof) => [proof, keys, audience, now]);
  return (runPython(VERIFY, input) as [string | null][]).map(([user]) => user);
}

describe('a login proof', needsJupyterHub, () => {
  const proofs = new LoginProofs([SECRET, OTHER]);
  const good = proofs.issue('hub', 'iana', 'hub-0', NOW) ?? '';
  const claims = { sub: 'iana', aud: 'hub/hub-0', iat: NOW, exp: NOW + 60 };

  it('is a JWT for one user and one bucket, and holds for a minute', () => {
    assert.equal(good, jwt(claims));
    assert.deepEqual(believed([good]), ['iana']);
    assert.deepEqual(believed([good], { now: NOW + 64 }), ['iana']);
    for (const now of [NOW - 6, NOW + 65, NOW + 86_400])
      assert.deepEqual(believed([good], { now }), [null]);
  });

  it("is no proof to another bucket's hub, nor can that hub's key make one", () => {
    for (const [kind, bucket] of [
      ['hub', 'hub-1'],
      ['homedir', 'hub-0'],
    ] as const) {
      const keys = [deriveLoginKey(SECRET, kind, bucket)];
      assert.deepEqual(believed([good], { keys, audience: `${kind}/${bucket}` }), [null]);
      assert.deepEqual(believed([good], { keys }), [null]);
      assert.deepEqual(believed([jwt(claims, { key: keys[0] })]), [null]);
    }
  });

  it('is believed by a hub that has the old key and the new one, while they change', () => {
    const keys = [OTHER, SECRET].map((secret) => deriveLoginKey(secret, 'hub', 'hub-0'));
    assert.deepEqual(believed([good], { keys }), ['iana']);
    assert.deepEqual(believed([good], { keys: keys.slice(0, 1) }), [null]);
  });

  it('names any user, byte for byte', () => {
    const users = fc.sample(fc.string({ unit: 'grapheme', minLength: 1 }), 200);
    const issued = users.map((user) => proofs.issue('hub', user, 'hub-0', NOW) ?? '');
    assert.deepEqual(believed(issued), users);
  });

  const [header = '', payload = '', signature = ''] = good.split('.');
  const forged: Readonly<Record<string, string>> = {
    nothing: '',
    'two dots': '..',
    'no signature': `${header}.${payload}.`,
    'the signature of zeros': `${header}.${payload}.${'A'.repeat(43)}`,
    'the signature cut short': good.slice(0, -1),
    'the signature with more behind it': `${good}A`,
    padding: `${good}=`,
    'a line end behind it': `${good}\n`,
    'itself twice': `${good},${good}`,
    'alg none': `${base64('{"alg":"none","typ":"JWT"}')}.${payload}.`,
    'alg none, signed all the same': jwt(claims, { header: '{"alg":"none","typ":"JWT"}' }),
    'alg HS512': jwt(claims, { header: '{"alg":"HS512","typ":"JWT"}', hash: 'sha512' }),
    'alg RS256': jwt(claims, { header: '{"alg":"RS256","typ":"JWT"}' }),
    'a key in its header': jwt(claims, { header: '{"alg":"HS256","typ":"JWT","jwk":{}}' }),
    'an empty key': jwt(claims, { key: '' }),
    "the Sharders' own secret for a key": jwt(claims, { key: SECRET }),
    'another user under the old signature': `${header}.${base64(JSON.stringify({ ...claims, sub: 'root' }))}.${signature}`,
    'another audience': jwt({ ...claims, aud: 'hub/hub-1' }),
    'a list of audiences': jwt({ ...claims, aud: ['hub/hub-0'] }),
    'no audience': jwt({ ...claims, aud: undefined }),
    'no user': jwt({ ...claims, sub: undefined }),
    'a user that is a number': jwt({ ...claims, sub: 1 }),
    'a user that is a list': jwt({ ...claims, sub: ['iana'] }),
    'no expiry': jwt({ ...claims, exp: undefined }),
    'an expiry that is a text': jwt({ ...claims, exp: String(NOW + 60) }),
    'an expiry that is true': jwt({ ...claims, exp: true }),
    'an expiry in a day': jwt({ ...claims, exp: NOW + 86_400 }),
    'an expiry of 5,000 digits': jwt(
      `{"sub":"iana","aud":"hub/hub-0","iat":1,"exp":${'9'.repeat(5_000)}}`,
    ),
    'an expiry of infinity': jwt('{"sub":"iana","aud":"hub/hub-0","iat":1,"exp":1e999}'),
    'a time of issue in an hour': jwt({ ...claims, iat: NOW + 3_600, exp: NOW + 3_660 }),
    'no time of issue': jwt({ ...claims, iat: undefined }),
    'a list of claims': jwt('["iana"]'),
    'no JSON': jwt('iana'),
    'no UTF-8': `${header}.${Buffer.from([0xff]).toString('base64url')}.${signature}`,
    'a superscript digit': good.replace(/.$/, '²'),
    'letters of another alphabet': good.replace(/^e/, 'е'),
    '100,000 bytes': `${header}.${'A'.repeat(100_000)}.${signature}`,
    'a signed cookie': `hub-0.${NOW + 60}.${signature}`,
  };
  it('that is forged proves nothing, and no error comes of it', () => {
    const users = believed(Object.values(forged));
    const fooled = Object.keys(forged).filter((_, i) => users[i] !== null);
    assert.deepEqual(fooled, []);
  });
});

describe('X-Shard-Login', () => {
  const options = { loginSecrets: [SECRET], proxySecrets: [PROXY_SECRET], buckets: hubs(1) };
  const secret = { 'X-Shard-Proxy-Secret': PROXY_SECRET };

  it('comes from /auth to a proxy that has proved itself, and from nowhere else', async () => {
    const service = await start(options);
    const known = await service.ask('/auth', 'žofie', { headers: secret });
    const claims = JSON.parse(
      Buffer.from(known.headers.get('x-shard-login')?.split('.')[1] ?? '', 'base64url').toString(),
    ) as { sub: string; aud: string };
    assert.deepEqual([claims.sub, claims.aud], ['žofie', 'hub/hub-0']);
    for (const path of ['/shard', '/go']) {
      const other = await service.ask(path, 'iana', { headers: secret });
      assert.equal(other.headers.get('x-shard-login'), null, path);
    }
  });

  it('does not come where no proxy secret is set: an address proves too little', async () => {
    const service = await start({ ...options, proxySecrets: [] });
    const response = await service.ask('/auth', 'iana', { headers: secret });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('x-shard-login'), null);
  });
});

describe('the proxy secret', () => {
  const secrets = [PROXY_SECRET, OTHER];
  const wrong: Readonly<Record<string, readonly string[]>> = {
    'no header': [],
    'an empty one': ['X-Shard-Proxy-Secret:'],
    'another text': ['X-Shard-Proxy-Secret: x'],
    'as long, and another': [`X-Shard-Proxy-Secret: ${'x'.repeat(PROXY_SECRET.length)}`],
    'cut short': [`X-Shard-Proxy-Secret: ${PROXY_SECRET.slice(0, -1)}`],
    'longer by a letter': [`X-Shard-Proxy-Secret: ${PROXY_SECRET}x`],
    'both of them': [`X-Shard-Proxy-Secret: ${secrets.join(',')}`],
    twice: Array.from({ length: 2 }, () => `X-Shard-Proxy-Secret: ${PROXY_SECRET}`),
    'with underscores': [`X_Shard_Proxy_Secret: ${PROXY_SECRET}`],
    'a bearer token': [`Authorization: Bearer ${PROXY_SECRET}`],
  };
  for (const [title, headers] of Object.entries(wrong)) {
    it(`${title}: 403 from a trusted address, and nothing is stored`, async () => {
      const service = await start({ proxySecrets: secrets });
      for (const path of ['/shard', '/auth', '/auth/hub/x', '/go', '/shard/hub']) {
        const request = get(path, 'REMOTE_USER: iana', ...headers);
        const response = await exchange(service.port, request);
        assert.equal(response?.status, 403, path);
        assert.doesNotMatch(response.body, new RegExp(PROXY_SECRET));
      }
      assert.deepEqual(await service.sharder.database.knex('shard'), []);
    });
  }

  it('any of the list opens; without the right address it opens nothing', async () => {
    const service = await start({ proxySecrets: secrets });
    for (const secret of secrets) {
      const headers = { 'X-Shard-Proxy-Secret': secret };
      assert.equal((await service.ask('/auth', 'iana', { headers })).status, 200);
    }
    const elsewhere = await start({ proxySecrets: secrets, trustedProxies: ['192.0.2.1'] });
    const headers = { 'X-Shard-Proxy-Secret': PROXY_SECRET };
    assert.equal((await elsewhere.ask('/auth', 'iana', { headers })).status, 403);
  });
});

describe("the authenticator's settings", needsJupyterHub, () => {
  const START = `
import json, os, sys
from remote_user import RemoteUserAuthenticator, read_secret_list
answers = []
for environ, settings in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(environ)
    try:
        authenticator = RemoteUserAuthenticator(**settings)
        answers.append([read_secret_list(os.environ, "SHARDER_LOGIN_KEY"), None])
    except ValueError as error:
        answers.append([None, str(error)])
print(json.dumps(answers))
`;
  type Started = [keys: string[] | null, why: string | null];
  function started(...attempts: [environ: Record<string, string>, settings?: object][]): Started[] {
    return runPython(
      START,
      attempts.map(([environ, settings = {}]) => [environ, settings]),
    ) as Started[];
  }
  const SHARDER_BUCKET = 'hub-0';

  it('let the hub start with a key and a bucket, or with trust_header, and not otherwise', () => {
    const [good, ofBucket, trusting, none, noBucket, both] = started(
      [{ SHARDER_LOGIN_KEY: KEY, SHARDER_BUCKET }],
      [{ SHARDER_LOGIN_KEY: KEY }, { bucket: 'hub-0' }],
      [{}, { trust_header: true }],
      [{ SHARDER_BUCKET }],
      [{ SHARDER_LOGIN_KEY: KEY }],
      [{ SHARDER_LOGIN_KEY: KEY, SHARDER_BUCKET }, { trust_header: true }],
    );
    for (const each of [good, ofBucket]) assert.deepEqual(each, [[KEY], null]);
    assert.deepEqual(trusting, [[], null]);
    assert.match(none?.[1] ?? '', /^SHARDER_LOGIN_KEY: set it to what `sharder bucket login-key`/);
    assert.match(noBucket?.[1] ?? '', /^SHARDER_BUCKET: set it/);
    assert.match(both?.[1] ?? '', /both set; unset one/);
  });

  it('take the key from a file too, and no file that cannot be read', () => {
    const file = join(temporaryDirectory(), 'key');
    writeFileSync(file, `${KEY}\n`);
    const [read, missing, twice] = started(
      [{ SHARDER_LOGIN_KEY_FILE: file, SHARDER_BUCKET }],
      [{ SHARDER_LOGIN_KEY_FILE: `${file}s`, SHARDER_BUCKET }],
      [{ SHARDER_LOGIN_KEY_FILE: file, SHARDER_LOGIN_KEY: KEY, SHARDER_BUCKET }],
    );
    assert.deepEqual(read, [[KEY], null]);
    assert.match(missing?.[1] ?? '', /^SHARDER_LOGIN_KEY_FILE: cannot be read/);
    assert.match(twice?.[1] ?? '', /both set/);
  });

  it('read a list of keys as the Sharder reads its secrets', () => {
    const answers = started(
      ...secretLists.map(({ text }): [Record<string, string>] => [
        { SHARDER_LOGIN_KEY: text, SHARDER_BUCKET },
      ]),
    );
    secretLists.forEach(({ text, secrets = null }, i) => {
      assert.deepEqual(answers[i]?.[0], secrets, JSON.stringify(text));
    });
  });
});
