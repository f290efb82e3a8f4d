// Settings: flags before the environment before sharder.yml before the default; every mistake named
// with its key, all of them at once; and no secret in any message.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readConfig, type Config, type Flags } from '../src/config.js';
import { SharderError } from '../src/errors.js';
import { temporaryDirectory } from './engines.js';
import { secretLists } from './secret-lists.js';

const dir = temporaryDirectory();
before(() => {
  process.chdir(dir); // where no sharder.yml is
});

let files = 0;
function write(text: string): string {
  const path = join(dir, `${++files}.txt`);
  writeFileSync(path, text);
  return path;
}

function read(yaml: string, env: NodeJS.ProcessEnv = {}, flags: Flags = {}): Config {
  return readConfig({ configFile: write(yaml), ...flags }, env);
}

/** The lines that say what is wrong. */
function mistakes(yaml: string, env: NodeJS.ProcessEnv = {}, flags: Flags = {}): string[] {
  try {
    read(yaml, env, flags);
  } catch (error) {
    assert.ok(error instanceof SharderError, String(error));
    assert.equal(error.code, 'settings');
    const [first = '', ...rest] = error.message.split('\n  ');
    return first === 'wrong settings:' ? rest : [error.message];
  }
  assert.fail('these settings were taken');
}

describe('without a file and without an environment', () => {
  it('every setting has the default of the design', () => {
    assert.deepEqual(readConfig({}, {}), {
      listen: { host: '127.0.0.1', port: 8888 },
      database: 'sqlite:sharder.db',
      user_header: 'REMOTE_USER',
      trusted_proxies: ['loopback'],
      hosts: [],
      callback_networks: [],
      cookie: { secure: 'auto', same_site: 'lax' },
      log: { level: 'info', names: 'none' },
      cache_size: 200_000,
      queue_limit: 10_000,
      kinds: {},
      cookieSecrets: [],
      proxySecrets: [],
      loginSecrets: [],
      adminTokens: [],
    });
  });

  it('an empty file is the same', () => {
    assert.deepEqual(read(''), readConfig({}, {}));
    assert.deepEqual(read('# all of it commented out\n'), readConfig({}, {}));
  });
});

describe('log.names', () => {
  for (const [yaml, names] of [
    ['true', 'plain'],
    ['false', 'none'],
    ['plain', 'plain'],
    ['hash', 'hash'],
    ['none', 'none'],
  ]) {
    it(`of ${yaml} is ${names}`, () => {
      assert.equal(read(`log: { names: ${yaml} }`).log.names, names);
    });
  }
});

describe('where a setting comes from', () => {
  const EVERYTHING = `
listen: 127.0.0.1:1
database: sqlite:file.db
user_header: X-File
trusted_proxies: [10.0.0.0/8]
log: { level: warn, names: hash }
`;
  const ENV = {
    SHARDER_LISTEN: '127.0.0.1:2',
    DATABASE_URL: 'postgres://u:secret@env/db',
    SHARDER_USER_HEADER: 'X-Env',
    SHARDER_TRUSTED_PROXIES: 'loopback, 192.0.2.1 2001:db8::/32',
    SHARDER_LOG_LEVEL: 'error',
  };
  const FLAGS = { listen: '127.0.0.1:3', database: 'sqlite:flag.db' };

  it('is the file before the default', () => {
    const config = read(EVERYTHING);
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 1 });
    assert.equal(config.database, 'sqlite:file.db');
    assert.equal(config.user_header, 'X-File');
    assert.deepEqual(config.trusted_proxies, ['10.0.0.0/8']);
    assert.deepEqual(config.log, { level: 'warn', names: 'hash' });
  });

  it('is the environment before the file', () => {
    const config = read(EVERYTHING, ENV);
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 2 });
    assert.equal(config.database, 'postgres://u:secret@env/db');
    assert.equal(config.user_header, 'X-Env');
    assert.deepEqual(config.trusted_proxies, ['loopback', '192.0.2.1', '2001:db8::/32']);
    assert.deepEqual(config.log, { level: 'error', names: 'hash' });
  });

  it('is a flag before all', () => {
    const config = read(EVERYTHING, ENV, FLAGS);
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 3 });
    assert.equal(config.database, 'sqlite:flag.db');
    assert.equal(config.user_header, 'X-Env');
  });

  it('is a flag, or the environment, without any file too', () => {
    assert.equal(readConfig(FLAGS, ENV).database, 'sqlite:flag.db');
    assert.equal(readConfig({}, ENV).database, 'postgres://u:secret@env/db');
  });

  it('is sharder.yml in the working directory, unless --config-file names another', () => {
    const here = temporaryDirectory();
    writeFileSync(join(here, 'sharder.yml'), 'user_header: X-Here');
    process.chdir(here);
    try {
      assert.equal(readConfig({}, {}).user_header, 'X-Here');
      assert.equal(read('user_header: X-There').user_header, 'X-There');
    } finally {
      process.chdir(dir);
    }
  });
});

describe('what the file may say', () => {
  it('is all of the settings', () => {
    const config = read(`
cookie: { secure: true, same_site: none, domain: uni.example, max_age: 3600 }
cache_size: 10
queue_limit: 20
kinds:
  hub:
    buckets:
      - hub-0
      - { name: hub-1, url: 'https://hub-1.example/', weight: 2, capacity: 0 }
  homedir:
`);
    assert.deepEqual(config.cookie, {
      secure: true,
      same_site: 'none',
      domain: 'uni.example',
      max_age: 3600,
    });
    assert.deepEqual([config.cache_size, config.queue_limit], [10, 20]);
    assert.deepEqual(config.kinds, {
      hub: {
        buckets: [
          { name: 'hub-0' },
          { name: 'hub-1', url: 'https://hub-1.example/', weight: 2, capacity: 0 },
        ],
      },
      homedir: { buckets: [] },
    });
  });

  const listens: readonly [listen: string, host: string, port: number][] = [
    ['0.0.0.0:80', '0.0.0.0', 80],
    ['localhost:0', 'localhost', 0],
    ['"[::1]:8888"', '::1', 8888],
    ['"[::]:65535"', '::', 65_535],
  ];
  it('is to listen on a unix socket', () => {
    const { listen, listen_mode, listen_group } = read(
      "listen: unix:/run/sharder.sock\nlisten_mode: '0660'\nlisten_group: www-data",
    );
    assert.deepEqual(listen, { path: '/run/sharder.sock' });
    assert.deepEqual([listen_mode, listen_group], [0o660, 'www-data']);
  });

  for (const [listen, host, port] of listens) {
    it(`is to listen at ${listen}`, () => {
      assert.deepEqual(read(`listen: ${listen}`).listen, { host, port });
    });
  }
});

describe('a mistake', () => {
  const cases: readonly [yaml: string, ...expected: RegExp[]][] = [
    ['databse: sqlite:x.db', /^sharder\.yml: Unrecognized key: "databse"$/],
    ['password: x', /^sharder\.yml: Unrecognized key: "password"$/],
    ['cookie: { secret: x }', /^cookie: Unrecognized key: "secret"$/],
    ['log: { colour: 1 }', /^log: Unrecognized key: "colour"$/],
    ['kinds: { hub: { bucket: [] } }', /^kinds\.hub: Unrecognized key: "bucket"$/],
    [
      'kinds: { hub: { normalize: LOWER } }',
      /^kinds\.hub\.normalize: must be none, lower or lower-local$/,
    ],
    ['kinds: { hub: { cookie: "no" } }', /^kinds\.hub\.cookie: must be true or false$/],
    ['kinds: { hub: { threshold: 0 } }', /^kinds\.hub\.threshold: must be 1 to 1000 percent$/],
    ['kinds: { hub: { leased: 1 } }', /^kinds\.hub\.leased: must be true or false$/],
    ['kinds: { hub: { grace: 1m } }', /^kinds\.hub\.grace: must be a number of seconds$/],
    [
      'kinds: { hub: { reshard_interval: -1 } }',
      /^kinds\.hub\.reshard_interval: must be 0 to 86400/,
    ],
    ['kinds: { hub: { max_moving: 0.5 } }', /^kinds\.hub\.max_moving: must be a whole number$/],
    ['kinds: { hub: { cooldown: 90000 } }', /^kinds\.hub\.cooldown: must be 0 to 86400 seconds$/],
    ['kinds: { hub: { breaker: 100 } }', /^kinds\.hub\.breaker: must be 1 to 99 percent, or null$/],
    ['kinds: { hub: { ramp: 0.9 } }', /^kinds\.hub\.ramp: must be 1 to 1000, or null$/],
    [
      'kinds: { hub: { ramp: "2" } }',
      /^kinds\.hub\.ramp: must be a number from 1 to 1000, or null$/,
    ],
    ['kinds: { hub: { policy: modulo } }', /^kinds\.hub\.policy: must be emptiest or hash$/],
    ['kinds: { hub: { hash: md5 } }', /^kinds\.hub\.hash: must be rendezvous or modulo$/],
    ['kinds: { hub: { key: name } }', /^kinds\.hub\.key: must be user, or have one of header, q/],
    ['kinds: { hub: { key: {} } }', /^kinds\.hub\.key: must have one of header, query and cookie/],
    [
      'kinds: { hub: { key: { cookie: "a;b" } } }',
      /^kinds\.hub\.key\.cookie: must be the name of a/,
    ],
    [
      "kinds: { hub: { key: { header: A, pattern: '(a)\\1' } } }",
      /^kinds\.hub\.key\.pattern: the pattern "\(a\)\\\\1" is no .* nor refer back to a group/,
    ],
    [
      'kinds: { hub: { key: { header: A, pattern: /users/.* } } }',
      /^kinds\.hub\.key\.pattern: the pattern "\/users\/\.\*" has no group: put what is the key/,
    ],
    ['listen: 8888', /^listen: .*expected string/],
    ['listen: localhost', /^listen: "localhost" must be HOST:PORT, such as /],
    ['listen: "localhost:65536"', /^listen: /],
    ['listen: "localhost:0x10"', /^listen: /],
    ['listen: "::1:8888"', /^listen: /],
    [
      'listen: unix:sharder.sock',
      /^listen: "unix:sharder.sock" must be unix: and an absolute path/,
    ],
    [`listen: unix:/${'x'.repeat(107)}`, /^listen: .* of at most 107 bytes/],
    ...["'0999'", 'rw', '0o660', '660', '0x1ff', 'true'].map((mode): [string, RegExp] => [
      `listen: unix:/run/x\nlisten_mode: ${mode}`,
      /^listen_mode: must be three octal digits in quotes/,
    ]),
    ['listen: unix:/run/x\nlisten_group: a b', /^listen_group: is not a group/],
    ["listen_mode: '0660'", /^listen_mode: is for `listen: unix:\/path`/],
    ['listen_group: www-data', /^listen_group: is for `listen: unix:\/path`/],
    ['database: 5', /^database: .*expected string/],
    ['database: mysql://host/db', /^database: is not a database URL; write sqlite:FILE or/],
    ['database: sharder.db', /^database: is not a database URL/],
    ['database: "postgres://host:port/db"', /^database: is not a database URL/],
    ['user_header: "a b"', /^user_header: must be the name of a header/],
    ['user_header: ""', /^user_header: /],
    ['user_header: "Rémote"', /^user_header: /],
    ['trusted_proxies: [loopback, nonsense]', /^trusted_proxies\[1\]: "nonsense" must be an addr/],
    ['trusted_proxies: 10.0.0.0/33', /^trusted_proxies\[0\]: "10\.0\.0\.0\/33" must be/],
    ['trusted_proxies: { a: 1 }', /^trusted_proxies: /],
    ['cookie: { secure: perhaps }', /^cookie\.secure: must be auto, true or false$/],
    ['cookie: { same_site: Lax }', /^cookie\.same_site: .*"lax"\|"strict"\|"none"/],
    ['cookie: { domain: "a; b" }', /^cookie\.domain: is not a domain$/],
    ['cookie: { max_age: 0 }', /^cookie\.max_age: /],
    ['cookie: { max_age: 1.5 }', /^cookie\.max_age: /],
    ['cookie: { same_site: none, secure: false }', /^cookie\.same_site: browsers refuse "none"/],
    ['log: { level: loud }', /^log\.level: .*"debug"/],
    ['log: { names: some }', /^log\.names: .*"plain"\|"hash"\|"none"/],
    ['cache_size: 0', /^cache_size: /],
    ['queue_limit: many', /^queue_limit: .*expected number/],
    ['kinds: [hub]', /^kinds: .*expected record/],
    ['kinds: { "a b": }', /^kinds\.a b: "a b" cannot name a kind: 1 to 63 of/],
    ['kinds: { hub: { buckets: 5 } }', /^kinds\.hub\.buckets: .*expected array/],
    ['kinds: { hub: { buckets: [a, 5] } }', /^kinds\.hub\.buckets\[1\]: .*expected object/],
    ['kinds: { hub: { buckets: [a, b, a] } }', /^kinds\.hub\.buckets: a stands there twice$/],
    ['kinds: { hub: { buckets: [a, { name: a }] } }', /^kinds\.hub\.buckets: a stands there tw/],
    ['kinds: { hub: { buckets: ["a b"] } }', /^kinds\.hub\.buckets\[0\]\.name: "a b" cannot name/],
    ['kinds: { hub: { buckets: [{ url: x }] } }', /\[0\]\.name: /, /\[0\]\.url: "x" is not a URL/],
    [
      'kinds: { hub: { buckets: [a, { name: b, weight: 0 }] } }',
      /^kinds\.hub\.buckets\[1\]\.weight: .*>=1/,
    ],
    [
      'kinds: { hub: { buckets: [{ name: b, capacity: -1, size: 1 }] } }',
      /\[0\]\.capacity: .*>=0/,
      /\[0\]: Unrecognized key: "size"/,
    ],
    [
      'kinds: { hub: { buckets: [{ name: b, url: "ftp://x" }] } }',
      /^kinds\.hub\.buckets\[0\]\.url: "ftp:\/\/x" is not a URL for a bucket: http:/,
    ],
  ];
  for (const [yaml, ...expected] of cases) {
    it(`is named with its key: ${yaml}`, () => {
      const said = mistakes(yaml);
      assert.equal(said.length, expected.length, said.join('\n'));
      expected.forEach((pattern, i) => {
        assert.match(said[i] ?? '', pattern);
      });
    });
  }

  it('keeps no other from being named', () => {
    const said = mistakes(
      `
listen: x
databse: x
database: postgres://u:hunter2@h/db
cookie: { secure: perhaps, max_age: -1 }
log: { level: loud }
kinds: { hub: { buckets: [a, { name: b, weight: 0 }] } }
`,
      {
        SHARDER_COOKIE_SECRET: 'too short',
        SHARDER_USER_HEADER: 'a b',
        SHARDER_TRUSTED_PROXIES: 'x',
      },
      { database: 'postgres://u:hunter2@h/db' },
    );
    const keys = said.map((line) => line.replace(/^.*txt: /, '').replace(/: .*/, ''));
    assert.deepEqual(keys.sort(), [
      '--database',
      'SHARDER_COOKIE_SECRET',
      'cookie.max_age',
      'cookie.secure',
      'database',
      'kinds.hub.buckets[1].weight',
      'listen',
      'log.level',
      'sharder.yml',
      'trusted_proxies[0]',
      'user_header',
    ]);
  });

  it('in the environment is named like one in the file', () => {
    assert.match(mistakes('', { SHARDER_LISTEN: 'x' })[0] ?? '', /^listen: "x" must be HOST:PORT/);
    assert.match(mistakes('', { SHARDER_LOG_LEVEL: 'loud' })[0] ?? '', /^log\.level: /);
  });
});

describe('a file that cannot be read', () => {
  it('is named when --config-file names it', () => {
    const configFile = join(dir, 'missing.yml');
    assert.deepEqual(mistakes('', {}, { configFile }), [
      `${configFile} cannot be read: ENOENT: no such file or directory, open '${configFile}'`,
    ]);
  });

  it('says in which line it is not YAML', () => {
    assert.match(
      mistakes('listen: 127.0.0.1:1\nkinds: a: b\n')[0] ?? '',
      /txt is not YAML, line 2, column 8: Nested mappings are not allowed/,
    );
    assert.match(
      mistakes('kinds: {}\nkinds: {}')[0] ?? '',
      /line 2, column 1: Map keys must be uni/,
    );
    assert.match(mistakes('kinds: *hub')[0] ?? '', /is not YAML: Unresolved alias/);
  });

  for (const yaml of ['- hub', 'hub', '5']) {
    it(`says that it has no keys: ${yaml}`, () => {
      assert.match(mistakes(yaml)[0] ?? '', /txt: must have keys, such as `kinds:`$/);
    });
  }
});

describe('a secret', () => {
  const SECRET = 'a secret of at least thirty-two characters'.replaceAll(' ', '_');
  const OTHER = 'x'.repeat(32);

  it('takes tokens with names and scopes, and one without', () => {
    const [a, b] = ['a'.repeat(32), `${'b'.repeat(42)}==`];
    const tokens = (SHARDER_ADMIN_TOKEN: string) => read('', { SHARDER_ADMIN_TOKEN }).adminTokens;
    assert.deepEqual(read('').adminTokens, []);
    for (const token of [a, b, `${a}=`]) {
      assert.deepEqual(tokens(token), [{ name: 'admin', scope: 'write', token }]);
    }
    assert.deepEqual(tokens(`ops=${a},dash-1:read=${b}\n x:write=${a}c w:lease=${a}`), [
      { name: 'ops', scope: 'write', token: a },
      { name: 'dash-1', scope: 'read', token: b },
      { name: 'x', scope: 'write', token: `${a}c` },
      { name: 'w', scope: 'lease', token: a },
    ]);
    const wrong = (SHARDER_ADMIN_TOKEN: string) => mistakes('', { SHARDER_ADMIN_TOKEN })[0];
    for (const short of ['short', `ops=${'a'.repeat(31)}`, `${a},ops:read=x`]) {
      assert.match(
        wrong(short) ?? '',
        /^SHARDER_ADMIN_TOKEN: number \d must have at least 32 visible ASCII char/,
      );
    }
    assert.match(wrong(`${a},${b}`) ?? '', /two tokens are called admin: write NAME=TOKEN/);
  });

  it('for cookies comes from the environment, or from a file that it names', () => {
    assert.deepEqual(read('', { SHARDER_COOKIE_SECRET: SECRET }).cookieSecrets, [SECRET]);
    const SHARDER_COOKIE_SECRET_FILE = write(`${SECRET}\n`);
    assert.deepEqual(read('', { SHARDER_COOKIE_SECRET_FILE }).cookieSecrets, [SECRET]);
  });

  it('for names in the log comes from the environment too, and has 32 characters or more', () => {
    assert.equal(read('', { SHARDER_LOG_KEY: SECRET }).logKey, SECRET);
    const SHARDER_LOG_KEY_FILE = write(`${SECRET}\n`);
    assert.equal(read('', { SHARDER_LOG_KEY_FILE }).logKey, SECRET);
    assert.deepEqual(mistakes('', { SHARDER_LOG_KEY: 'hunter2' }), [
      'SHARDER_LOG_KEY: has fewer than 32 characters; make one with: openssl rand -hex 32',
    ]);
  });

  it('that is set and empty, or set twice, is refused', () => {
    const SHARDER_COOKIE_SECRET_FILE = write('\n');
    for (const [env, message] of [
      [{ SHARDER_COOKIE_SECRET: '' }, 'SHARDER_COOKIE_SECRET: is empty'],
      [{ SHARDER_COOKIE_SECRET_FILE }, 'SHARDER_COOKIE_SECRET_FILE: is empty'],
      [
        { SHARDER_COOKIE_SECRET: OTHER, SHARDER_COOKIE_SECRET_FILE },
        'SHARDER_COOKIE_SECRET: is set, and SHARDER_COOKIE_SECRET_FILE too; unset one of them',
      ],
    ] as const) {
      assert.deepEqual(mistakes('', env), [message]);
    }
  });

  it('of each list is read by the one rule that Python and njs go by too', () => {
    const names = [
      'SHARDER_COOKIE_SECRET',
      'SHARDER_PROXY_SECRET',
      'SHARDER_LOGIN_SECRET',
    ] as const;
    const env = (text: string) => Object.fromEntries(names.map((name) => [name, text]));
    for (const { text, secrets } of secretLists) {
      if (secrets) {
        const { cookieSecrets, proxySecrets, loginSecrets } = read('', env(text));
        assert.deepEqual([cookieSecrets, proxySecrets, loginSecrets], [secrets, secrets, secrets]);
      } else {
        const wrong = mistakes('', env(text));
        assert.deepEqual(
          wrong.map((line) => line.split(':')[0]),
          names,
        );
      }
    }
  });

  it('may be several, the first to sign', () => {
    for (const list of [`${SECRET} ${OTHER}`, `${SECRET},${OTHER}`, `${SECRET}\n${OTHER}\n`]) {
      assert.deepEqual(read('', { SHARDER_COOKIE_SECRET: list }).cookieSecrets, [SECRET, OTHER]);
    }
  });

  it('of fewer than 32 characters is refused, and not shown', () => {
    for (const short of ['hunter2', `${SECRET} hunter2`, 'hunter2'.padEnd(31, 'x')]) {
      const [line = ''] = mistakes('', { SHARDER_COOKIE_SECRET: short });
      assert.match(
        line,
        /^SHARDER_COOKIE_SECRET: number \d must have at least 32 characters, .*; make one with/,
      );
      assert.doesNotMatch(line, /hunter2/);
    }
  });

  it('in a file that is not there is named with the variable', () => {
    for (const name of ['SHARDER_COOKIE_SECRET', 'DATABASE_URL']) {
      const env = { [`${name}_FILE`]: join(dir, 'missing') };
      assert.match(mistakes('', env)[0] ?? '', new RegExp(`^${name}_FILE: cannot be read: ENOENT`));
    }
  });

  it('in the database URL may stand in the environment, or in a file that it names', () => {
    const url = 'postgres://u:hunter2@h/db';
    assert.equal(read('', { DATABASE_URL: url }).database, url);
    assert.equal(read('', { DATABASE_URL_FILE: write(`${url}\n`) }).database, url);
    assert.equal(read('database: sqlite:x', { DATABASE_URL: url }).database, url);
  });

  const refused = [
    'postgres://u:hunter2@h/db',
    'postgresql://:hunter2@h/db',
    'postgres://u:hunter2@/db',
    'postgres://u@h/db?password=hunter2',
    'postgres://u@h/db?sslmode=require&password=hunter2',
    'postgres://u@h/db?PASSWORD=hunter2',
    'postgres://u:hunter2?x@h/db',
    'postgres://u:hunter2#x@h/db',
    'postgres://u:hunter2/x@h/db',
    'postgres://u:x@hunter2@h/db',
    'mysql://u:hunter2@h/db',
  ];
  for (const url of refused) {
    it(`in ${url} is refused in the file and on the command line, and not shown`, () => {
      const inFile = mistakes(`database: ${JSON.stringify(url)}`).join('\n');
      assert.match(inFile, /txt: database: a password may not stand here; set DATABASE_URL, or/);
      const onLine = mistakes('', {}, { database: url }).join('\n');
      assert.match(onLine, /^--database: a password may not stand here/);
      assert.doesNotMatch(inFile + onLine, /hunter2/);
    });
  }

  const allowed = [
    'postgres://u@h:5432/db',
    'postgres://h/db?sslmode=verify-full&sslrootcert=/a@b',
    'postgres:///db?host=/run/postgresql',
    'postgres://u@/db',
    'sqlite:/srv/a:b@c/sharder.db',
  ];
  for (const url of allowed) {
    it(`is not seen in ${url}`, () => {
      assert.equal(read(`database: ${JSON.stringify(url)}`).database, url);
      assert.equal(read('', {}, { database: url }).database, url);
    });
  }

  it('is in no message, whatever else is wrong with it or around it', () => {
    const urls = [
      'hunter2',
      'postgres:u:hunter2@h/db',
      ' postgres://u:hunter2@h/db',
      'postgres://u:hunter2@h:port/db',
      'postgres//u:hunter2@h/db',
      'postgres://u:hunter2?x@h/db',
      'mysql://u:hunter2@h/db',
    ];
    for (const DATABASE_URL of urls) {
      const env = { DATABASE_URL, SHARDER_COOKIE_SECRET: 'hunter2', SHARDER_LISTEN: 'x' };
      const said = mistakes('databse: x', env);
      assert.equal(said.length, 4, said.join('\n'));
      assert.doesNotMatch(said.join('\n'), /hunter2/);
    }
  });

  it('is in no message about a file that is not YAML', () => {
    const noise = fc.string({
      unit: fc.constantFrom(...Array.from(':-[]{}&*!|>%@`"\'# \n\tax')),
      maxLength: 12,
    });
    fc.assert(
      fc.property(noise, noise, (before, after) => {
        try {
          read(`${before}database: postgres://u:hunter2@h/db${after}`);
        } catch (error) {
          // A key that nobody knows is shown: that is what helps to find it.
          const said = (error as Error).message.replaceAll(/Unrecognized key.*/g, '');
          assert.doesNotMatch(said, /hunter2/);
          return;
        }
      }),
      { numRuns: 500 },
    );
  });
});
