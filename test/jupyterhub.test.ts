// Two real JupyterHubs behind the edge, in a real browser: examples/jupyterhub.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { deriveLoginKey, LoginProofs } from '../src/login-proof.js';
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

  /** The hub's own address, past the edge. */
  function hubUrl(hub: string): string {
    const shown = execFileSync(process.execPath, [CLI, 'bucket', 'show', hub, '--json'], {
      env: { ...process.env, DATABASE_URL: `sqlite:${join(state, 'sharder.db')}` },
      encoding: 'utf8',
    });
    return (JSON.parse(shown) as { url: string }).url;
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
    await page.waitForURL(`${example.url}/user/${user}/tree**`, { timeout: 150_000 });
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

  /** What a hub answers to requests that a user's kernel makes to the hub's own port. */
  async function fromNotebook(
    page: Page,
    requests: readonly { path: string; headers: Readonly<Record<string, string>> }[],
  ): Promise<string[]> {
    const output = await runInKernel(
      page,
      `
import http.client, json, os, urllib.parse
hub = urllib.parse.urlparse(os.environ["JUPYTERHUB_API_URL"])
answers = []
for request in json.loads(${JSON.stringify(JSON.stringify(requests))}):
    connection = http.client.HTTPConnection(hub.hostname, hub.port)
    connection.putrequest("GET", hub.path.removesuffix("/api") + request["path"])
    for name, value in request["headers"].items():
        connection.putheader(name, value.encode())
    connection.endheaders()
    answer = connection.getresponse()
    answers.append(str(answer.status) + " " + (answer.headers["Location"] or "")
        + (" logged in" if "jupyterhub-hub-login" in str(answer.headers) else ""))
print(json.dumps(answers))
`,
    );
    return JSON.parse(output) as string[];
  }

  const proofOf = (secret: string, user: string, bucket: string) =>
    new LoginProofs([secret]).issue('hub', user, bucket) ?? '';

  it('a notebook, which reaches the hub, is nobody there but its own user', async () => {
    const { page, home } = await arrive('brian');
    const other = home === 'hub-0' ? 'hub-1' : 'hub-0';
    const key = deriveLoginKey(readFileSync(join(state, 'login-secret'), 'utf8'), 'hub', other);
    const log = () => readFileSync(join(state, home, 'log'), 'utf8');
    const REMOTE_USER = 'victim';
    const expiry = Math.floor(Date.now() / 1_000) + 60;
    const proofs: Readonly<Record<string, string>>[] = [
      {},
      { 'X-Shard-Login': '' },
      { 'X-Shard-Login': 'victim' },
      { 'X-Shard-Login': proofOf('x'.repeat(32), 'victim', home) },
      { 'X-Shard-Login': proofOf(key, 'victim', home) }, // by the key of a hub that was taken over
      { 'X-Shard-Login': proofOf('', 'victim', home) },
      { Cookie: `hub=${home}` },
      { Cookie: `hub=${home}.${expiry}.${'A'.repeat(43)}` },
      // These made the authenticator throw.
      { Cookie: 'hub=a.\u00b2.x' },
      { Cookie: `hub=a.${'9'.repeat(5_000)}.x` },
      { Authorization: 'token x' },
    ];
    const requests = proofs.map((headers) => ({
      path: '/login',
      headers: { REMOTE_USER, ...headers },
    }));
    const answers = await fromNotebook(page, requests);
    assert.deepEqual(
      answers,
      proofs.map(() => '403 '),
    );
    assert.doesNotMatch(log(), /User logged in: victim/);
    assert.doesNotMatch(log(), /Traceback|Uncaught/);
    await page.close();
  });

  it('whatever a user sends to the edge, the hub logs in who the edge knows', async () => {
    const key = deriveLoginKey(readFileSync(join(state, 'login-secret'), 'utf8'), 'hub', 'hub-0');
    const forged: Readonly<Record<string, string>>[] = [
      { REMOTE_USER: 'victim', 'Remote-User': 'victim', 'X-Forwarded-User': 'victim' },
      { 'X-Shard-Login': proofOf(key, 'victim', 'hub-0') },
      { 'X-Shard-Login': 'x', 'X-Shard-Bucket': 'hub-1' },
      { X_Shard_Login: 'x' },
    ];
    for (const headers of forged) {
      const response = await fetch(`${example.url}/hub/login`, {
        headers: { ...headers, Authorization: `Basic ${btoa('user-7:user-7')}` },
        redirect: 'manual',
      });
      assert.equal(response.status, 302);
    }
    for (const hub of ['hub-0', 'hub-1'])
      assert.doesNotMatch(readFileSync(join(state, hub, 'log'), 'utf8'), /User logged in: victim/);
  });

  it('a session of somebody before does not live on by a token that proves nothing', async () => {
    const home = homes.get('iana') ?? '';
    const other = USERS.find((user) => user !== 'iana' && homes.get(user) === home) ?? '';
    const cookies = await contextOf('iana').cookies(`${example.url}/hub/`);
    const Cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    const asked = async (user: string, Authorization: string): Promise<string> => {
      // At the hub's own port: the edge would take Authorization for its own.
      const response = await fetch(`${hubUrl(home)}/hub/home`, {
        headers: { Cookie, REMOTE_USER: user, Authorization },
        redirect: 'manual',
      });
      return String(response.status);
    };
    assert.equal(await asked('iana', ''), '200');
    for (const token of ['token x', 'Bearer x', 'token '])
      assert.equal(await asked(other, token), '302', token);
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
