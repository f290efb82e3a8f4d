// The page at /docs/: with it alone, in a real browser and without a network, a person can do everything.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, needsChromium } from '../chromium.js';
import { directoryWith } from '../commands/run.js';
import { engines, temporaryDirectory } from '../engines.js';
import { Service } from '../service.js';
import { start, type Running } from './start.js';
import { exchange, get } from './wire.js';

describe('/docs', () => {
  let service: Running;
  before(async () => {
    service = await start();
  });

  it('leads to /docs/, below whatever path a proxy has put the service', async () => {
    const response = await service.ask('/docs');
    assert.equal(response.status, 301);
    assert.equal(response.headers.get('location'), 'docs/');
    assert.match(await (await service.ask('/docs/')).text(), /<div id="page">/);
    const text = await (await service.ask('/docs/')).text();
    const [...links] = text.matchAll(/(?:src|href)="([^"]*)"/g);
    assert.equal(links.length, 4);
    for (const [, link = ''] of links) {
      assert.match(link, /^[\w.-]+$/);
      assert.equal((await service.ask(`/docs/${link}`)).status, 200, link);
    }
  });

  it('allows itself alone: no script inline, no other site, no frame', async () => {
    for (const path of ['/docs/', '/docs/swagger-ui-bundle.js', '/docs/initializer.js']) {
      const { headers } = await service.ask(path);
      const policy = headers.get('content-security-policy')?.split(/; */) ?? [];
      assert.ok(policy.includes("default-src 'none'"), path);
      assert.ok(policy.includes("script-src 'self'"), path);
      assert.ok(policy.includes("connect-src 'self'"), path);
      assert.ok(policy.includes("frame-ancestors 'none'"), path);
      assert.doesNotMatch(policy.join(), /https?:|\*|unsafe-eval/);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
    }
    assert.doesNotMatch(await (await service.ask('/docs/')).text(), /<script>|\son\w+=|https?:/);
  });

  it('has its files with their types, and sends one again only when it is another', async () => {
    for (const [file, type] of [
      ['swagger-ui.css', /^text\/css/],
      ['swagger-ui-bundle.js', /^text\/javascript/],
      ['favicon-32x32.png', /^image\/png/],
    ] as const) {
      const { headers, status } = await service.ask(`/docs/${file}`);
      assert.equal(status, 200);
      assert.match(headers.get('content-type') ?? '', type);
      assert.equal(headers.get('cache-control'), 'no-cache');
      const etag = headers.get('etag') ?? '';
      assert.notEqual(etag, '');
      // `fetch` would ask for it whatever it has.
      const again = await exchange(service.port, get(`/docs/${file}`, `If-None-Match: ${etag}`));
      assert.equal(again?.status, 304);
    }
  });

  const elsewhere = [
    ...[
      '/docs/package.json',
      '/docs/index.html',
      '/docs/swagger-ui.css.map',
      '/docs/.',
      '/docs/..',
    ],
    ...['/docs/../package.json', '/docs/%2e%2e%2fpackage.json', '/docs/..%2f..%2fetc%2fpasswd'],
    ...['/docs/%2e%2e/%2e%2e/package.json', '/docs//etc/passwd', '/docs/swagger-ui.css/'],
    ...['/docs/swagger-ui.css%00', '/docs/SWAGGER-UI.CSS', '/docs/node_modules/', '/DOCS/'],
  ];
  for (const path of elsewhere) {
    it(`${path} is 404`, async () => {
      const response = await exchange(service.port, get(path));
      assert.equal(response?.status, 404);
      assert.match(response.body, /^there is nothing at /);
    });
  }

  it('is counted as one route', async () => {
    const metrics = await (await service.ask('/metrics')).text();
    assert.match(metrics, /sharder_requests_total\{route="docs",status="200"\} \d/);
    assert.match(metrics, /sharder_requests_total\{route="docs",status="404"\} \d/);
    await service.ask('/openapi.json');
    const after = await (await service.ask('/metrics')).text();
    assert.match(after, /sharder_requests_total\{route="openapi.json",status="200"\} 1\n/);
  });
});

describe('the package', () => {
  it('tells nobody that it was installed: what swagger-ui-dist brings along for that is off', () => {
    const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    const { scarfSettings, allowScripts } = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual(scarfSettings, { enabled: false });
    assert.equal((allowScripts as Record<string, boolean>)['@scarf/scarf'], false);
  });
});

const TOKEN = 'the-token-that-is-typed-into-the-page-0123456789';
const USERS = 20_000;

const YAML = `kinds:
  hub:
    buckets: [${[0, 1, 2, 3].map((i) => `{ name: hub-${i} }`).join(', ')}]
`;

/** What stands on the page as the answer. */
interface Answer {
  readonly status: number;
  readonly json: Readonly<Record<string, unknown>>;
}

interface Inputs {
  readonly fields?: Readonly<Record<string, string>>;
  readonly body?:
    string | { readonly type: string; readonly text?: string; readonly file?: string };
}

/** A person at the page: everything is done with its own controls. */
class Person {
  constructor(readonly page: Page) {}

  async authorize(token: string): Promise<void> {
    const { page } = this;
    await page.getByRole('button', { name: 'Authorize', exact: true }).click();
    await page.getByLabel('auth-bearer-value').fill(token);
    await page.getByLabel('Apply credentials').click();
    await page.getByRole('button', { name: 'Close', exact: true }).click();
  }

  /** Fills in the form of an operation, and presses Execute. */
  async execute(id: string, { fields = {}, body }: Inputs = {}): Promise<Answer> {
    const block = this.page.locator(`.opblock[id$="-${id}"]`);
    if (!(await block.getAttribute('class'))?.includes('is-open'))
      await block.locator('.opblock-summary-control').click();
    const clear = block.getByRole('button', { name: 'Clear', exact: true });
    if (await clear.isVisible()) await clear.click();

    for (const [name, value] of Object.entries(fields)) {
      const row = block.locator(`tr[data-param-name="${name}"]`);
      const choice = row.locator('select');
      if ((await choice.count()) > 0) await choice.selectOption(value);
      else await row.locator('input').fill(value);
    }
    if (typeof body === 'string') await block.locator('textarea').fill(body);
    else if (body) {
      await block.getByLabel('Request content type').selectOption(body.type);
      if (body.file !== undefined) await block.getByLabel('file to send').setInputFiles(body.file);
      else await this.#paste(`.opblock[id$="-${id}"] textarea`, body.text ?? '');
    }

    await block.getByRole('button', { name: 'Execute', exact: true }).click();
    const answer = block.locator('.live-responses-table .response');
    await answer.waitFor();
    const status = Number(await answer.locator('.response-col_status').innerText());
    const shown = answer.locator('.highlight-code pre');
    const text = (await shown.count()) > 0 ? await shown.first().innerText() : '{}';
    return { status, json: JSON.parse(text) as Answer['json'] };
  }

  // As Control+V does. Typed, so many lines take Chromium minutes.
  async #paste(selector: string, text: string): Promise<void> {
    const { page } = this;
    await page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(text)})`);
    await page.locator(selector).focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.press('Control+V');
  }

  /** Presses the link to the file that was answered, and reads it. */
  async download(id: string): Promise<{ name: string; text: string }> {
    const [download] = await Promise.all([
      this.page.waitForEvent('download'),
      this.page.locator(`.opblock[id$="-${id}"]`).getByText('Download file').click(),
    ]);
    return {
      name: download.suggestedFilename(),
      text: readFileSync(await download.path(), 'utf8'),
    };
  }
}

/** What the browser complains of, a violation of the policy too, and whom but the service it asks. */
async function watch(page: Page, service: string): Promise<string[]> {
  const complaints: string[] = [];
  await page.route(
    ({ origin }) => origin !== service,
    (route) => {
      complaints.push(route.request().url());
      return route.abort();
    },
  );
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', ({ message }) => complaints.push(message));
  return complaints;
}

describe('with the page alone', needsChromium, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchChromium();
  });
  after(() => browser.close());

  it('every form opens without a complaint of the browser, or a word to anybody else', async () => {
    const { url } = await start();
    const page = await browser.newPage();
    const complaints = await watch(page, url);
    await page.goto(`${url}/docs/`);
    const forms = page.locator('.opblock-summary-control');
    await forms.first().waitFor();
    const count = await forms.count();
    assert.ok(count > 30, `${count} forms`);
    const execute = page.getByRole('button', { name: 'Execute', exact: true });
    // Told, and not clicked: whether a person could click it is for the next test.
    for (let i = 0; i < count; i++) {
      await forms.nth(i).dispatchEvent('click');
      await execute.waitFor();
      await forms.nth(i).dispatchEvent('click'); // the page draws all that is open with every click
      await execute.waitFor({ state: 'detached' });
    }
    assert.deepEqual(complaints, []);
    await page.close();
  });

  // What the page does depends on no engine: operating.test.ts has the same on both.
  for (const engine of engines.slice(0, 1)) {
    it(
      `a person imports ${USERS} users over four hubs, by hand and by file, renames, merges, pins, explains, looks back, exports and checks, on ${engine.name}`,
      engine.options,
      async () => {
        const service = await Service.start(await engine.createDatabase(), {
          cwd: directoryWith(YAML),
          env: { SHARDER_ADMIN_TOKEN: TOKEN },
        });
        const context = await browser.newContext({
          permissions: ['clipboard-read', 'clipboard-write'],
        });
        const page = await context.newPage();
        const complaints = await watch(page, service.url);
        const person = new Person(page);
        await page.goto(`${service.url}/docs`);
        assert.equal(page.url(), `${service.url}/docs/`);

        await person.authorize(TOKEN);
        const odd = ['žofie', 'o"brien', "d'arc"];
        const names = Array.from({ length: USERS }, (_, i) => odd[i] ?? `user-${i}`);
        const hubOf = new Map(names.map((name, i) => [name, `hub-${i % 4}`]));
        const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const csv = names.map((name) => `${quoted(name)},${hubOf.get(name) ?? ''}\n`).join('');
        const rehearsed = await person.execute('import', {
          fields: { dry_run: 'true' },
          body: { type: 'text/csv', text: `user,hub\n${csv}` },
        });
        assert.equal(rehearsed.status, 200);
        assert.equal(rehearsed.json.new, USERS);
        const imported = await person.execute('import', {
          fields: { dry_run: 'false' },
        });
        assert.equal(imported.status, 200);
        assert.equal(imported.json.new, USERS);
        assert.equal(imported.json.wrong, 0);

        const file = join(temporaryDirectory(), 'users.ndjson');
        const ndjson = names.map((name) => JSON.stringify({ name, bucket: hubOf.get(name) }));
        writeFileSync(file, `${ndjson.join('\n')}\n`);
        const again = await person.execute('import', {
          body: { type: 'application/x-ndjson', file },
        });
        assert.equal(again.status, 200);
        assert.equal(again.json.unchanged, USERS);

        const then = new Date(Date.now() + 1);
        await new Promise((resolve) => setTimeout(resolve, 50));

        const hub = { kind: 'hub' };
        const renamed = await person.execute('objectRename', {
          fields: { ...hub, name: 'žofie' },
          body: '{ "to": "sofia", "reason": "has married" }',
        });
        assert.deepEqual([renamed.status, renamed.json.bucket], [200, 'hub-0']);
        const merged = await person.execute('objectMerge', {
          fields: { ...hub, name: 'o"brien' },
          body: '{ "into": "user-3" }',
        });
        assert.deepEqual([merged.status, merged.json.bucket], [200, 'hub-3']);
        const pinned = await person.execute('objectPin', {
          fields: { ...hub, name: 'sofia' },
          body: '{}',
        });
        assert.deepEqual([pinned.status, pinned.json.changed], [200, true]);

        const explained = await person.execute('objectExplain', {
          fields: { ...hub, name: 'sofia' },
        });
        const { object, scores } = explained.json as {
          object: { bucket: string; pinned: boolean };
          scores: unknown[];
        };
        assert.deepEqual([object.bucket, object.pinned, scores.length], ['hub-0', true, 4]);

        const gone = await person.execute('objectExplain', { fields: { name: 'žofie' } });
        assert.deepEqual([gone.status, gone.json.object], [200, null]);
        const back = await person.execute('objectList', {
          fields: { ...hub, limit: '5', at: then.toISOString() },
        });
        assert.equal(back.status, 200);
        const were = back.json.items as { name: string; bucket: string }[];
        assert.equal(were.length, 5);
        for (const { name, bucket } of were) assert.equal(bucket, hubOf.get(name), name);
        assert.ok(were.some(({ name }) => name === 'o"brien'));

        const exported = await person.execute('export', { fields: { format: 'csv' } });
        assert.equal(exported.status, 200);
        const { name, text } = await person.download('export');
        assert.equal(name, 'objects.csv');
        const [, ...lines] = text.trimEnd().split('\n');
        assert.equal(lines.length, USERS - 1);
        assert.ok(lines.some((line) => line.includes('sofia') && line.includes('hub-0')));
        assert.ok(!text.includes('žofie') && !text.includes('brien'));

        const checked = await person.execute('check');
        assert.deepEqual([checked.status, checked.json.ok], [200, true]);
        assert.equal(checked.json.objects, USERS - 1);

        assert.deepEqual(complaints, []);
        await context.close();
        await service.stop();
      },
    );
  }
});
