// A real browser: the system's Chromium, without a window.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';

const executablePath = (process.env.PATH ?? '')
  .split(':')
  .concat('/usr/bin', '/snap/bin')
  .flatMap((dir) =>
    ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(dir, name)),
  )
  .find((path) => existsSync(path));

if (executablePath === undefined && process.env.CI) {
  throw new Error('Chromium is not installed: run test/install-servers.sh');
}

/** For `describe` and `it`: where a browser is needed. */
export const needsChromium = {
  skip: executablePath === undefined && 'Chromium is not installed: run test/install-servers.sh',
} as const;

export function launchChromium(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: executablePath ?? '',
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...more,
    ],
  });
}
