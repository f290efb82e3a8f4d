// nginx's own script reads SHARDER_COOKIE_SECRET by the Sharder's rule. Real nginx, a list at a time.

import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { signed } from './edge.js';
import { temporaryDirectory } from './engines.js';
import { needsNginx, Nginx } from './nginx.js';
import { secretLists } from './secret-lists.js';

// Answers the bucket that the cookie proves to iana.
const TELL = (text: string): string => `
  js_import sharder from sharder/signed.js;
  js_set $sharder_signed sharder.bucket;
  server {
    listen ${/listen ([^;]+);/.exec(text)?.[1] ?? ''};
    set $sharder_kind hub;
    set $sharder_user iana;
    location / { return 200 "$sharder_signed"; }
  }`;

async function withNginx(
  env: { SHARDER_COOKIE_SECRET?: string; SHARDER_COOKIE_SECRET_FILE?: string },
  work: (proven: (secret: string) => Promise<string>) => Promise<void>,
): Promise<void> {
  const nginx = await Nginx.start({
    sharders: [],
    upstreams: '',
    secret: '', // turns the script on
    env: { SHARDER_COOKIE_SECRET: undefined, ...env },
    edit: { 'edge.conf': TELL },
  });
  try {
    await work(async (secret) => {
      const cookie = `hub=${signed('iana', 'hub-0', { secret })}`;
      return (await fetch(nginx.url, { headers: { cookie } })).text();
    });
  } finally {
    await nginx.stop();
  }
}

describe('the secrets of signed cookies, in nginx', needsNginx, () => {
  for (const { text, secrets, why } of secretLists) {
    const title = JSON.stringify(text.length > 100 ? `${text.slice(0, 20)}…` : text);
    it(`${title}: ${secrets ? `${secrets.length} of them` : `none is believed (${why ?? ''})`}`, async () => {
      await withNginx({ SHARDER_COOKIE_SECRET: text }, async (proven) => {
        for (const secret of secrets ?? []) assert.equal(await proven(secret), 'hub-0');
        for (const secret of ['', ' ', text, 'x', 'x'.repeat(31)]) {
          if (secrets?.includes(secret)) continue;
          assert.equal(await proven(secret), '', JSON.stringify(secret));
        }
      });
    });
  }

  it('are read from a file too', async () => {
    const dir = temporaryDirectory();
    chmodSync(dir, 0o755); // for nginx's workers
    const file = join(dir, 'secret');
    const secret = 'x'.repeat(40);
    writeFileSync(file, `${secret}\n`, { mode: 0o644 });
    await withNginx({ SHARDER_COOKIE_SECRET_FILE: file }, async (proven) => {
      assert.equal(await proven(secret), 'hub-0');
      assert.equal(await proven(''), '');
    });
  });
});
