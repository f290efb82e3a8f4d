// What an application imports needs nothing but Node, as long as it asks a service.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../engines.js';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

describe('sharder/client', () => {
  it('is imported where no other package is', async () => {
    const alone = temporaryDirectory();
    cpSync(DIST, join(alone, 'dist'), { recursive: true });
    writeFileSync(join(alone, 'package.json'), '{"type":"module"}');
    const script = `
      const client = await import('./dist/client/index.js');
      console.log(Object.keys(client).sort().join(' '));`;
    const args = ['--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: alone });
    assert.equal(stdout, 'CallVerifier ShardRegistrar ShardServer SharderClient SharderError\n');
  });
});
