// sharder render nginx: the buckets' addresses as nginx's own configuration. Whatever buckets are
// called, nginx takes it, and each leads where it should.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { addressesIn, hostNames, renderNginx } from '../../src/deploy/nginx.js';
import { BUCKET_PATTERN } from '../../src/names.js';
import { listBuckets } from '../../src/store/buckets.js';
import { Run, run } from '../commands/run.js';
import { declareHub, engines, open, temporaryDirectory } from '../engines.js';
import { eventually } from '../load.js';
import { needsNginx, Nginx } from '../nginx.js';
import { startUpstream } from '../upstream.js';

const running: Nginx[] = [];
after(async () => {
  for (const nginx of running) await nginx.stop();
});

// Answers where a bucket leads, by the maps alone.
const TELL = `
  map $http_kind $sharder_kind { default $http_kind; }
  map $http_bucket $sharder_bucket { default $http_bucket; }
  server { listen LISTEN; location / { return 200 "$sharder_base $sharder_host"; } }`;

async function startTelling(upstreams: string): Promise<Nginx> {
  const nginx = await Nginx.start({
    sharders: [],
    upstreams,
    edit: {
      'edge.conf': (text) => TELL.replace('LISTEN', /listen ([^;]+);/.exec(text)?.[1] ?? ''),
    },
  });
  running.push(nginx);
  return nginx;
}

async function lead(nginx: Nginx, kind: string, bucket: string): Promise<string> {
  const response = await fetch(nginx.url, { headers: { kind, bucket, connection: 'close' } });
  return (await response.text()).trim();
}

describe('render nginx', () => {
  it('has an upstream for each bucket with a URL, and both maps', () => {
    const { text, leftOut } = renderNginx(
      [
        { kind: 'hub', name: 'hub-0', url: 'http://10.0.0.10:8000' },
        { kind: 'hub', name: 'hub-1', url: 'https://hub-1.example/base' },
        { kind: 'hub', name: 'hub-2', url: null },
        { kind: 'homedir', name: 'home-0', url: 'http://[::1]' },
      ],
      new Map([['hub-1.example', ['10.0.0.11', '2001:db8::11']]]),
      [],
      { kinds: [], keys: [] },
    );
    assert.deepEqual(leftOut, []);
    assert.equal(
      text,
      `# Written by \`sharder render nginx\` from the table of buckets; changes by hand are lost.

# A WebSocket's connection to a bucket is used for nothing else.
map $http_upgrade $sharder_ws {
    default "";
    websocket ._ws;
}

upstream sharder.hub.hub-0 {
    server 10.0.0.10:8000;
    keepalive 32;
    keepalive_timeout 4s;
}
upstream sharder.hub.hub-0._ws {
    server 10.0.0.10:8000;
}

upstream sharder.hub.hub-1 {
    server 10.0.0.11:443; # hub-1.example
    server [2001:db8::11]:443; # hub-1.example
    keepalive 32;
    keepalive_timeout 4s;
}
upstream sharder.hub.hub-1._ws {
    server 10.0.0.11:443; # hub-1.example
    server [2001:db8::11]:443; # hub-1.example
}

upstream sharder.homedir.home-0 {
    server [::1]:80;
    keepalive 32;
    keepalive_timeout 4s;
}
upstream sharder.homedir.home-0._ws {
    server [::1]:80;
}

map "$sharder_kind/$sharder_bucket" $sharder_base {
    volatile;
    default "";
    "hub/hub-0" "http://sharder.hub.hub-0$sharder_ws";
    "hub/hub-1" "https://sharder.hub.hub-1$sharder_ws/base";
    "homedir/home-0" "http://sharder.homedir.home-0$sharder_ws";
}

map "$sharder_kind/$sharder_bucket" $sharder_host {
    volatile;
    default "";
    "hub/hub-0" "10.0.0.10";
    "hub/hub-1" "hub-1.example";
    "homedir/home-0" "[::1]";
}

# Of a browser's cookies the Sharders get their own, and a bucket gets the others.
map "" $sharder_own_cookies {
    default "";
}
map $http_cookie $sharder_other_cookies {
    default $http_cookie;
}
`,
    );
  });

  it('leaves out what nginx would not start with, or could not verify, and says so', () => {
    const { text, leftOut } = renderNginx([
      { kind: 'hub', name: 'hub-0', url: 'http://gone.invalid' },
      { kind: 'hub', name: 'hub-1', url: 'https://10.0.0.10' },
    ]);
    assert.deepEqual(leftOut, [
      'bucket "hub-0" of kind hub: its host gone.invalid cannot be resolved',
      'bucket "hub-1" of kind hub: for https nginx verifies a name, and no address: give its name',
    ]);
    assert.doesNotMatch(text, /upstream/);
  });

  it('can read from what it wrote which addresses names had', () => {
    const addresses = new Map([
      ['a.example', ['10.0.0.10', '2001:db8::10']],
      ['b.example', ['10.0.0.11']],
    ]);
    const buckets = ['http://a.example:8000', 'https://b.example', 'http://10.0.0.12'].map(
      (url, i) => ({ kind: 'hub', name: `hub-${i}`, url }),
    );
    assert.deepEqual(hostNames(buckets), new Set(addresses.keys()));
    assert.deepEqual(addressesIn(renderNginx(buckets, addresses).text), addresses);
  });

  it('leaves out what somebody has written into the table by hand, and says so', () => {
    const url = 'http://127.0.0.1';
    const odd = [
      { kind: 'hub', name: 'a"b', url },
      { kind: 'hub', name: 'a\nb', url },
      { kind: 'h b', name: 'x', url },
      ...['http://a;b', 'http://a$b', 'http://a{b}', 'file:///etc/passwd', 'x', 'http://u:p@h'].map(
        (address, i) => ({ kind: 'hub', name: `odd-${i}`, url: address }),
      ),
    ];
    const { text, leftOut } = renderNginx(odd);
    assert.equal(leftOut.length, odd.length);
    assert.doesNotMatch(text, /upstream/);
  });

  it('never gives two buckets one upstream', () => {
    const names = fc.uniqueArray(
      fc.tuple(fc.constantFrom('hub', 'Hub', 'h.b', 'h'), fc.stringMatching(BUCKET_PATTERN)),
      { selector: ([kind, name]) => `${kind}/${name}` },
    );
    fc.assert(
      fc.property(names, (pairs) => {
        const buckets = pairs.map(([kind, name]) => ({ kind, name, url: 'http://127.0.0.1' }));
        const { text, leftOut } = renderNginx(buckets);
        const upstreams = [...text.matchAll(/^upstream (\S+) \{$/gm)].map(([, name = '']) =>
          name.toLowerCase(),
        );
        assert.deepEqual(leftOut, []);
        assert.equal(new Set(upstreams).size, 2 * pairs.length); // one more each for WebSockets
        assert.equal(upstreams.length, 2 * pairs.length);
      }),
    );
  });
});

describe('what render nginx prints', needsNginx, () => {
  const names = [
    ...['hub-0', 'Hub-0', 'HUB-0', 'default', 'include', 'volatile', 'hostnames', '*', '.x', '*.x'],
    ...[
      '~.*',
      '~',
      '$host',
      '${host}',
      '{',
      '}',
      "'",
      '#',
      'a.b',
      'a|b',
      '(',
      '[',
      '^',
      '$',
      'a+b?',
    ],
  ];

  it('nginx takes, and each bucket leads to its own, whatever it is called', async () => {
    const buckets = names.map((name, i) => ({
      kind: 'hub',
      name,
      url: `http://127.0.0.${i + 1}:80${i}`,
    }));
    const { text, leftOut } = renderNginx(buckets);
    assert.deepEqual(leftOut, []);
    const nginx = await startTelling(text);
    for (const [i, name] of names.entries()) {
      const [base = '', host] = (await lead(nginx, 'hub', name)).split(' ');
      assert.equal(host, `127.0.0.${i + 1}`, name);
      const upstream = base.replace('http://', '');
      assert.ok(text.includes(`upstream ${upstream} {\n    server 127.0.0.${i + 1}:80${i};`), name);
    }
    for (const other of ['hub-1', 'hub-', 'xhub-0', 'aab', '~hub-0']) {
      assert.equal(await lead(nginx, 'hub', other), '', other);
    }
    assert.equal(await lead(nginx, 'homedir', 'hub-0'), '');
  });

  it('leads nowhere for a bucket without a URL that differs in capitals only', async () => {
    const { text } = renderNginx([
      { kind: 'hub', name: 'hub-0', url: 'http://127.0.0.1:81' },
      { kind: 'hub', name: 'Hub-0', url: null },
    ]);
    const nginx = await startTelling(text);
    assert.equal(await lead(nginx, 'hub', 'Hub-0'), '');
    assert.match(await lead(nginx, 'hub', 'hub-0'), /127\.0\.0\.1$/);
  });

  it('nginx takes, whatever buckets are called', { timeout: 120_000 }, async () => {
    const any = fc.uniqueArray(fc.stringMatching(BUCKET_PATTERN), { minLength: 30, maxLength: 60 });
    for (const sample of fc.sample(any, { numRuns: 5, seed: 7 })) {
      const buckets = sample.map((name, i) => ({
        kind: 'hub',
        name,
        url: `http://127.1.0.${i + 1}/p$a'b;c`,
      }));
      const nginx = await startTelling(renderNginx(buckets).text);
      for (const [i, name] of sample.entries()) {
        const said = await lead(nginx, 'hub', name);
        assert.ok(said.endsWith(`/p%24a'b;c 127.1.0.${i + 1}`), `${name}: ${said}`);
      }
      await nginx.stop();
    }
  });
});

for (const engine of engines) {
  describe(`on ${engine.name}, sharder render nginx`, engine.options, () => {
    it('prints the file, or writes it whole', async () => {
      const url = await engine.createDatabase();
      await declareHub(await open(url), { 'hub-0': { url: 'http://127.0.0.1:1' }, 'hub-1': {} });
      const env = { DATABASE_URL: url };
      const cwd = temporaryDirectory();
      const { code, stdout, stderr } = await run(['render', 'nginx'], { env });
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^upstream sharder\.hub\.hub-0 \{$/m);
      assert.doesNotMatch(stdout, /hub-1/);
      await run(['render', 'nginx', '--output', 'map.conf'], { env, cwd });
      assert.equal(readFileSync(`${cwd}/map.conf`, 'utf8'), stdout);
      const watch = await run(['render', 'nginx', '--watch'], { env });
      assert.equal(watch.code, 2);
      assert.match(watch.stderr, /^sharder: --watch: needs --output FILE\n$/);
    });

    it('--watch has a running nginx follow the buckets', needsNginx, async () => {
      const url = await engine.createDatabase();
      const database = await open(url);
      const first = await startUpstream('first');
      await declareHub(database, { 'hub-0': { url: first.url } });
      const { text } = renderNginx(await database.read((knex) => listBuckets(knex)));
      const nginx = await startTelling(text);
      const watching = new Run(
        [
          ...['render', 'nginx', '--watch', '--output', nginx.upstreamsFile],
          ...['--reload', nginx.reloadCommand],
        ],
        { env: { DATABASE_URL: url } },
      );
      const env = { DATABASE_URL: url };
      await run(['bucket', 'add', 'hub-1', '--url', 'http://127.0.0.1:81'], { env });
      await eventually(
        'hub-1 leads somewhere',
        async () => (await lead(nginx, 'hub', 'hub-1')) !== '',
      );
      await run(['bucket', 'set', 'hub-1', '--no-url'], { env });
      await eventually('and nowhere', async () => (await lead(nginx, 'hub', 'hub-1')) === '');

      // A name that cannot be resolved is in nobody else's way.
      await run(['bucket', 'add', 'hub-2', '--url', 'http://no-such-host.invalid'], { env });
      await watching.says('left out bucket "hub-2"');
      await run(['bucket', 'add', 'hub-3', '--url', 'http://localhost:83'], { env });
      await eventually(
        'hub-3 leads somewhere',
        async () => (await lead(nginx, 'hub', 'hub-3')) !== '',
      );
      assert.match(
        readFileSync(nginx.upstreamsFile, 'utf8'),
        /^ {4}server 127\.0\.0\.1:83; # localhost$/m,
      );

      // While nginx is not there the file goes on being right, and nginx starts with it.
      await nginx.stopped();
      await run(['bucket', 'set', 'hub-1', '--url', 'http://127.0.0.1:84'], { env });
      await watching.says('fails: ');
      await nginx.started();
      assert.notEqual(await lead(nginx, 'hub', 'hub-1'), '');

      watching.process.kill('SIGTERM');
      assert.equal((await watching.ended).code, 0);
    });

    it('--watch takes back what nginx refuses, and tries again', async () => {
      const url = await engine.createDatabase();
      await declareHub(await open(url), { 'hub-0': { url: 'http://127.0.0.1:80' } });
      const cwd = temporaryDirectory();
      const env = { DATABASE_URL: url };
      await run(['render', 'nginx', '--output', 'map.conf'], { env, cwd });
      const before = readFileSync(`${cwd}/map.conf`, 'utf8');
      // In the place of an nginx: it takes no hub-1.
      const reload = '! grep -q hub-1 map.conf';
      const watching = new Run(
        ['render', 'nginx', '--watch', '--output', 'map.conf', '--reload', reload],
        { env, cwd },
      );
      await run(['bucket', 'add', 'hub-1', '--url', 'http://127.0.0.1:81'], { env });
      await watching.says('failed, and map.conf is as it was');
      assert.equal(readFileSync(`${cwd}/map.conf`, 'utf8'), before);
      await run(['bucket', 'set', 'hub-1', '--no-url'], { env });
      await run(['bucket', 'add', 'hub-2', '--url', 'http://127.0.0.1:82'], { env });
      await watching.says('wrote map.conf, and ran');
      assert.match(readFileSync(`${cwd}/map.conf`, 'utf8'), /hub-2/);
      watching.process.kill('SIGTERM');
      assert.equal((await watching.ended).code, 0);
    });
  });
}
