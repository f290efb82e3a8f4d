// A real browser gets the page and keeps the cookie, out of the reach of scripts.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContext } from 'playwright-core';
import { launchChromium, needsChromium } from './chromium.js';
import { hubs } from './engines.js';
import { Example } from './examples.js';
import { start, type Running } from './http/start.js';
import { needsNginx } from './nginx.js';

describe('in a browser', needsChromium, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchChromium();
  });
  after(() => browser.close());

  function visitor(user: string): Promise<BrowserContext> {
    return browser.newContext({ extraHTTPHeaders: { REMOTE_USER: user } });
  }

  async function visit(context: BrowserContext, { url }: Running): Promise<string> {
    const page = await context.newPage();
    const response = await page.goto(`${url}/shard`);
    assert.equal(response?.status(), 200);
    assert.equal(await page.evaluate('document.cookie'), '');
    const text = await page.evaluate('document.body.innerText');
    await page.close();
    return String(text).trim();
  }

  it('the page is the bucket, and the cookie is kept, HttpOnly, for every visit', async () => {
    const service = await start({ buckets: hubs(5) });
    const iana = await visitor('iana');
    const bucket = await visit(iana, service);
    assert.equal(bucket, 'hub-0');
    for (let visits = 0; visits < 2; visits++) {
      const [cookie, ...others] = await iana.cookies();
      assert.deepEqual(others, []);
      assert.equal(cookie?.name, 'hub');
      assert.equal(cookie.value, bucket);
      assert.equal(cookie.path, '/');
      assert.equal(cookie.httpOnly, true);
      assert.equal(cookie.secure, false);
      assert.equal(cookie.sameSite, 'Lax');
      assert.equal(cookie.expires, -1); // as long as the browser's session
      assert.equal(await visit(iana, service), bucket);
    }
    const jude = await visitor('jude');
    assert.equal(await visit(jude, service), 'hub-1');
    assert.equal((await jude.cookies())[0]?.value, 'hub-1');
  });

  it('a signed cookie is kept as it was given, with its bucket in front', async () => {
    const secrets = ['a secret of at least thirty-two characters'];
    const service = await start({ buckets: hubs(1), cookie: { secrets, maxAge: 3600 } });
    const iana = await visitor('iana');
    assert.equal(await visit(iana, service), 'hub-0');
    const [cookie] = await iana.cookies();
    assert.match(cookie?.value ?? '', /^hub-0\.\d{10}\.[\w-]{43}$/);
    assert.equal(cookie?.httpOnly, true);
    assert.ok(cookie.expires > 0);
  });

  it('/go leads to the bucket, and to the page that was asked for', async () => {
    const target = await start({ buckets: hubs(1) });
    const service = await start({ buckets: { 'hub-0': { url: target.url } } });
    const iana = await visitor('iana');
    const page = await iana.newPage();
    const response = await page.goto(`${service.url}/go?next=/healthz%3Fx%3D1`);
    assert.equal(page.url(), `${target.url}/healthz?x=1`);
    assert.equal(response?.status(), 200);
    assert.match(await page.content(), /ok/);
  });

  it('two who log in at `npm run edge` see two hubs at one address', needsNginx, async () => {
    const edge = await Example.start('edge');
    const { url } = edge;
    assert.ok(edge.line.startsWith(`The edge listens on ${url}.`), edge.line);
    try {
      for (const [username, hub] of [
        ['iana', 'hub-0'],
        ['brian', 'hub-1'],
        ['iana', 'hub-0'],
      ] as const) {
        const context = await browser.newContext({
          httpCredentials: { username, password: username },
        });
        const page = await context.newPage();
        await page.goto(`${url}/lab/tree?reset`);
        assert.equal(page.url(), `${url}/lab/tree?reset`);
        assert.equal(await page.title(), hub);
        assert.match(await page.content(), new RegExp(`Hello, ${username}\\.`));
        assert.equal((await context.cookies())[0]?.value, hub);
        await context.close();
      }
      assert.equal((await fetch(url)).status, 401);
    } finally {
      await edge.stop();
    }
  });
});
