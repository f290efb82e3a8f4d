// Home directories on file servers, as examples/homedir has them: a real JupyterHub that asks a Sharder
// before it starts a notebook server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { JupyterHub } from '../examples/jupyterhub/hub.js';
import { launchChromium } from './chromium.js';
import { temporaryDirectory } from './engines.js';
import { needsJupyterHub, runInKernel } from './jupyterhub.js';
import { eventually } from './load.js';
import { CLI, Service } from './service.js';

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
      Service.start(database, { cwd: state }),
    ]);
    hub = await JupyterHub.start(join(state, 'hub'), CONFIG, {
      SHARDER_URL: sharder.url,
      HOMES: homes,
    });
    await hub.answers();
  });
  after(async () => {
    await browser.close();
    await hub.stop();
    await sharder.stop();
  });

  // There is no edge here: the browser says itself who the user is.
  async function withPage<T>(user: string, work: (page: Page) => Promise<T>): Promise<T> {
    const context = await browser.newContext({ extraHTTPHeaders: { REMOTE_USER: user } });
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
