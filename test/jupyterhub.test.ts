// Two real JupyterHubs behind the edge, in a real browser: examples/jupyterhub.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchChromium } from './chromium.js';
import { temporaryDirectory } from './engines.js';
import { Example } from './examples.js';
import { eventually } from './load.js';
import { needsJupyterHub, runInKernel } from './jupyterhub.js';
import { freePort } from './postgres.js';
import { CLI } from './service.js';

const USERS = ['iana', 'brian', ...Array.from({ length: 8 }, (_, i) => `user-${i}`)] as const;

/** Whether there is such a process, and not only its zombie. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** Who a hub says that somebody is. */
const WHO = `document.querySelector('.navbar-text')?.textContent.trim()`;

describe('two JupyterHubs behind the edge', needsJupyterHub, () => {
  let browser: Browser;
  let example: Example;
  const port = freePort();
  const state = temporaryDirectory();
  /** Each user's browser, with its cookies. */
  const contexts = new Map<string, BrowserContext>();
  /** The hub that each was first sent to. */
  const homes = new Map<string, string>();

  async function startExample(): Promise<void> {
    example = await Example.start('jupyterhub', {
      PORT: String(await port),
      STATE: state,
      USERS: USERS.join(' '),
    });
  }
  before(async () => {
    [browser] = await Promise.all([launchChromium(), startExample()]);
  });
  after(() => browser.close());

  function contextOf(user: string): BrowserContext {
    const context = contexts.get(user);
    assert.ok(context, user);
    return context;
  }

  async function hubOf(context: BrowserContext): Promise<string | undefined> {
    const cookie = (await context.cookies()).find(({ name }) => name === 'hub');
    return cookie?.value.split('.')[0]; // behind it: expiry and signature
  }

  /** Goes to the one address, and on to the notebook server; says which hub's directory it is in. */
  async function arrive(user: string): Promise<{ page: Page; home: string }> {
    const page = await contextOf(user).newPage();
    // A loop of redirects would be an error of Chromium's here.
    await page.goto(`${example.url}/hub/spawn`);
    await page.waitForURL(`${example.url}/user/${user}/tree**`, { timeout: 60_000 });
    const directory = await runInKernel(page, 'import os; print(os.getcwd())');
    const hub = await hubOf(contextOf(user));
    assert.ok(hub !== undefined);
    assert.equal(directory, join(state, hub, 'home', user));
    return { page, home: hub };
  }

  /** For each user; a few at a time, for each has a notebook server and a kernel started. */
  async function inTurns(work: (user: string) => Promise<void>): Promise<void> {
    const left: string[] = [...USERS];
    const one = async (): Promise<void> => {
      for (let user = left.shift(); user !== undefined; user = left.shift()) await work(user);
    };
    await Promise.all([one(), one(), one()]);
  }

  it('ten users log in: five on each, each with a notebook server whose kernel answers', async () => {
    for (const user of USERS) {
      contexts.set(
        user,
        await browser.newContext({ httpCredentials: { username: user, password: user } }),
      );
    }
    await inTurns(async (user) => {
      const { page, home } = await arrive(user);
      homes.set(user, home);
      await runInKernel(page, 'open("was-here", "w").close()');
      await page.close();
    });
    const members = [...homes.values()];
    for (const hub of ['hub-0', 'hub-1'])
      assert.equal(members.filter((home) => home === hub).length, 5, hub);
  });

  it('two users open a notebook each, and run a cell of it', async () => {
    const two = ['hub-0', 'hub-1'].map(
      (hub) => USERS.find((user) => homes.get(user) === hub) ?? '',
    );
    for (const user of two) {
      const { page, home } = await arrive(user);
      await page.click('#new-buttons button');
      const [notebook] = await Promise.all([
        page.waitForEvent('popup'),
        page.click('#kernel-python3 a'),
      ]);
      await notebook.waitForSelector('.kernel_idle_icon');
      assert.ok(notebook.url().startsWith(`${example.url}/user/${user}/notebooks/`));
      await notebook.click('.code_cell .CodeMirror');
      await notebook.keyboard.type('import os; print(6 * 7, os.getcwd())');
      await notebook.keyboard.press('Shift+Enter');
      const output = await notebook.textContent('.output_text');
      assert.equal(output?.trim(), `42 ${join(state, home, 'home', user)}`);
      await notebook.close();
      await page.close();
    }
  });

  it('stopped and started again, everything keeps each user where they were', async () => {
    await example.stop();
    await assert.rejects(fetch(example.url));
    await startExample();
    await inTurns(async (user) => {
      const { page, home } = await arrive(user);
      assert.equal(home, homes.get(user));
      assert.ok(existsSync(join(state, home, 'home', user, 'was-here')));
      await page.close();
    });
  });

  it('a user who was moved lands on the other hub, and is logged in there anew', async () => {
    const [from, to] = homes.get('iana') === 'hub-0' ? ['hub-0', 'hub-1'] : ['hub-1', 'hub-0'];
    execFileSync(process.execPath, [CLI, 'object', 'move', 'iana', to], {
      env: { ...process.env, DATABASE_URL: `sqlite:${join(state, 'sharder.db')}` },
    });
    const context = contextOf('iana');
    const page = await context.newPage();
    await eventually('nginx has asked again', async () => {
      await page.goto(example.url);
      return (await hubOf(context)) === to;
    });
    await page.close();
    const { page: arrived, home } = await arrive('iana');
    assert.equal(home, to);
    assert.ok(!existsSync(join(state, to, 'home', 'iana', 'was-here')), `that is on ${from}`);
    assert.match(readFileSync(join(state, to, 'log'), 'utf8'), /User logged in: iana/);
    homes.set('iana', to);
    await arrived.close();
  });

  it('to the hub, whoever logs in after somebody else in the same browser is not them', async () => {
    const home = homes.get('iana');
    const other = USERS.find((user) => user !== 'iana' && homes.get(user) === home) ?? '';
    const storageState = await contextOf('iana').storageState();
    // Elsewhere she is active all the while.
    const active = await contextOf('iana').newPage();
    await active.goto(`${example.url}/hub/home`);
    await active.evaluate(`void setInterval(() => fetch('/hub/home'), 50)`);
    for (let i = 0; i < 5; i++) {
      const context = await browser.newContext({
        storageState,
        httpCredentials: { username: other, password: other },
      });
      const page = await context.newPage();
      await page.goto(`${example.url}/hub/home`);
      assert.equal(await page.evaluate(WHO), other);
      await context.close();
    }
    await active.close();
  });

  it('a notebook, which reaches the hub, is nobody there but its own user', async () => {
    const { page, home } = await arrive('brian');
    const log = () => readFileSync(join(state, home, 'log'), 'utf8');
    const status = await runInKernel(
      page,
      `
import http.cookiejar, os, urllib.error, urllib.request
cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
url = os.environ["JUPYTERHUB_API_URL"].removesuffix("/api") + "/login"
request = urllib.request.Request(url, headers={"REMOTE_USER": "victim"})
try:
    print(urllib.request.build_opener(cookies).open(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
`,
    );
    assert.equal(status, '403');
    assert.doesNotMatch(log(), /User logged in: victim/);
    await page.close();
  });

  it('ends at Ctrl-C with all that it has started, also while it starts', async () => {
    const proxies = ['hub-0', 'hub-1'].map((hub) =>
      Number(readFileSync(join(state, hub, 'proxy.pid'), 'utf8').split('\n')[0]),
    );
    assert.deepEqual(proxies.map(isRunning), [true, true]);
    await example.stop();
    assert.deepEqual(proxies.map(isRunning), [false, false]);

    const early = temporaryDirectory();
    const starting = Example.start('jupyterhub', { STATE: early });
    await eventually('the second hub starts', () =>
      existsSync(join(early, 'hub-1', 'jupyterhub.sqlite')),
    );
    await Example.stopAll();
    await starting.catch(() => undefined);
  });
});
