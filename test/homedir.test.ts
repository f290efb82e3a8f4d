// Home directories on file servers, as examples/homedir has them: a real JupyterHub that asks a Sharder
// before it starts a notebook server.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { JupyterHub } from '../examples/jupyterhub/hub.js';
import { SharderClient } from '../src/client/index.js';
import { deriveLoginKey, LoginProofs } from '../src/login-proof.js';
import { launchChromium } from './chromium.js';
import { temporaryDirectory } from './engines.js';
import { needsJupyterHub, runInKernel } from './jupyterhub.js';
import { eventually } from './load.js';
import { CLI, Service } from './service.js';

const TOKEN = 'a-token-that-assigns-homes-and-does-nothing-else';
const LOGIN_SECRET = 'the-secret-that-login-keys-are-derived-from';
const CONFIG = fileURLToPath(new URL('../examples/homedir/jupyterhub_config.py', import.meta.url));

describe('home directories by the kind homedir', needsJupyterHub, () => {
  const state = temporaryDirectory();
  const homes = join(state, 'homes');
  const database = `sqlite:${join(state, 'sharder.db')}`;
  let browser: Browser;
  let sharder: Service;
  let hub: JupyterHub;

  before(async () => {
    writeFileSync(
      join(state, 'sharder.yml'),
      'kinds:\n  homedir:\n    buckets: [files-0, files-1]\n',
    );
    [browser, sharder] = await Promise.all([
      launchChromium(),
      Service.start(database, {
        cwd: state,
        env: { SHARDER_ADMIN_TOKEN: `homes:assign@homedir=${TOKEN}` },
      }),
    ]);
    writeFileSync(join(state, 'token'), `${TOKEN}\n`);
    hub = await JupyterHub.start(join(state, 'hub'), CONFIG, {
      SHARDER_LOGIN_KEY: deriveLoginKey(LOGIN_SECRET, 'hub', 'hub-0'),
      SHARDER_BUCKET: 'hub-0',
      SHARDER_URL: sharder.url,
      SHARDER_TOKEN_FILE: join(state, 'token'),
      HOMES: homes,
    });
    await hub.answers();
  });
  after(async () => {
    await browser.close();
    await hub.stop();
    await sharder.stop();
  });

  // There is no edge here: the browser brings the login proof itself.
  async function withPage<T>(user: string, work: (page: Page) => Promise<T>): Promise<T> {
    const proof = new LoginProofs([LOGIN_SECRET]).issue('hub', user, 'hub-0') ?? '';
    const context = await browser.newContext({
      extraHTTPHeaders: { REMOTE_USER: user, 'X-Shard-Login': proof },
    });
    try {
      return await work(await context.newPage());
    } finally {
      await context.close();
    }
  }

  /** The directory in which the user's notebooks run. */
  function homeOf(user: string): Promise<string> {
    return withPage(user, async (page) => {
      await page.goto(`${hub.url}/hub/spawn`);
      await page.waitForURL(/\/tree/, { timeout: 60_000 });
      return runInKernel(page, 'import os; print(os.getcwd())');
    });
  }

  it('each user has the home on the emptiest file server, whatever the letters of the name', async () => {
    assert.equal(await homeOf('iana'), join(homes, 'files-0', 'iana'));
    // Of such a name the hub starts the server, but Notebook 6 does not find its own pages.
    await withPage('josé', (page) => page.goto(`${hub.url}/hub/spawn`));
    await eventually('the server starts', () => existsSync(join(homes, 'files-1', 'josé')));
    const find = ['object', 'find', 'josé', '--kind', 'homedir', '--json', '--database', database];
    const [found] = JSON.parse(
      execFileSync(process.execPath, [CLI, ...find], { encoding: 'utf8' }),
    ) as { bucket: string }[];
    assert.equal(found?.bucket, 'files-1');
  });

  it('without an answer no notebook server starts, and no home is made anywhere', async () => {
    await sharder.stop('SIGKILL');
    // Nor where the hub would make one if nobody told it anything.
    const others = join(state, 'hub', 'home');
    const all = () =>
      [join(homes, 'files-0'), join(homes, 'files-1'), others].map((directory) =>
        existsSync(directory) ? readdirSync(directory) : [],
      );
    const before = all();
    await withPage('jude', async (page) => {
      await page.goto(`${hub.url}/hub/spawn`);
      await page.waitForSelector('text=/Spawn failed|Error in|Internal Server Error/');
    });
    assert.deepEqual(all(), before);
  });
});

// The hook alone, without a hub: what stands in its file before the hub of the other example.
const HOOK = `
import sys
from types import SimpleNamespace
source = open(sys.argv[1]).read().split("# The rest is")[0]
hook = {"get_config": lambda: SimpleNamespace(Spawner=SimpleNamespace())}
exec(compile(source, sys.argv[1], "exec"), hook)
for name in sys.argv[2:]:
    try:
        print(hook["home_of"](name))
    except Exception as why:
        print(f"{type(why).__name__}: {why}")
`;

describe('the hook of examples/homedir', () => {
  const homes = mkdtempSync(join(temporaryDirectory(), 'homes-'));
  let sharder: Service;
  const buckets = ['files-0', '..', '.', 'a/../../b', '/etc', 'a/b'];

  before(async () => {
    const cwd = temporaryDirectory();
    const kinds = { homedir: { buckets } };
    writeFileSync(join(cwd, 'sharder.yml'), JSON.stringify({ kinds }));
    sharder = await Service.start(`sqlite:${join(cwd, 'sharder.db')}`, {
      cwd,
      env: { SHARDER_ADMIN_TOKEN: `homes:assign@homedir=${TOKEN},ops=${'o'.repeat(32)}` },
    });
  });
  after(() => sharder.stop());

  /** What the hook says of each name. */
  function homesOf(names: readonly string[], env: NodeJS.ProcessEnv = {}): string[] {
    const all = { ...process.env, SHARDER_URL: sharder.url, HOMES: homes, SHARDER_TOKEN: TOKEN };
    const args = ['-c', HOOK, CONFIG, ...names];
    const { stdout, stderr } = spawnSync('python3', args, {
      encoding: 'utf8',
      env: { ...all, ...env },
    });
    return (stdout || stderr).trimEnd().split('\n');
  }

  // Somebody who may do everything.
  const kind = 'homedir';
  const client = () => new SharderClient({ url: sharder.url, token: 'o'.repeat(32) });
  const known = async () => (await client().listObjects({ kind })).items.map(({ name }) => name);

  it('a name that is a path has no home, and nobody is asked', async () => {
    const names = ['.', '..', '../x', 'a/b', '/', '/etc/passwd', 'a/..', '', 'a\\b', './a'];
    const said = homesOf(names);
    assert.equal(said.length, names.length);
    for (const line of said)
      assert.match(line, /^ValueError: .* cannot be the name of a directory/);
    assert.deepEqual(await known(), []);
  });

  it('a name is one part of the URL, whatever is in it, and one directory', async () => {
    for (const bucket of buckets.slice(1)) {
      await client().cordonBucket({ kind, bucket });
    }
    const names = [
      'iana',
      'josé',
      '%2e%2e',
      'a%2fb',
      'a?b',
      'a#b',
      'a b',
      '...',
      '..a',
      'a;b',
      '~root',
    ];
    assert.deepEqual(
      homesOf(names),
      names.map((name) => join(homes, 'files-0', name)),
    );
    assert.deepEqual(await known(), [...names].sort());
  });

  it('a bucket whose name is a path has no homes', async () => {
    for (const bucket of buckets.slice(1)) {
      await client().moveObject({ kind, name: 'iana', to: bucket, force: true });
      assert.match(homesOf(['iana'])[0] ?? '', /^ValueError: .* cannot be the name of a directory/);
    }
  });

  const tokens: readonly [title: string, env: NodeJS.ProcessEnv, says: RegExp][] = [
    ['no token', { SHARDER_TOKEN: '' }, /set SHARDER_TOKEN, or SHARDER_TOKEN_FILE/],
    ['a blank token', { SHARDER_TOKEN: ' ' }, /set SHARDER_TOKEN, or SHARDER_TOKEN_FILE/],
    ['a file that is not there', { SHARDER_TOKEN_FILE: '/nowhere' }, /FileNotFoundError/],
    ['another token', { SHARDER_TOKEN: 'x'.repeat(40) }, /^RuntimeError: .*wrong_token/],
  ];
  for (const [title, env, says] of tokens) {
    it(`${title}: no home`, () => {
      assert.match(homesOf(['eve'], env).join('\n'), says);
    });
  }
});
