// `npm run sharded-service` as the README has it.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Example } from '../examples.js';

after(() => Example.stopAll());

describe('npm run sharded-service', () => {
  it('shows three host names, the same one for a user each time', async () => {
    const example = await Example.start('sharded-service');
    await example.prints((lines) => lines.find((line) => line.includes('listens on')));
    const names = new Set<string>();
    for (const user of ['iana', 'brian', 'carol', 'dora', 'emil', 'frida', 'gita', 'hugo']) {
      const [one, two] = await Promise.all(
        ['a', 'b?c=d'].map(async (rest) =>
          (await fetch(`${example.url}/users/${user}/${rest}`)).text(),
        ),
      );
      assert.equal(one, two);
      names.add(one ?? '');
    }
    const expected = [0, 1, 2].map((i) => `Hello World: hostname: server-${i}\n`);
    assert.deepEqual([...names].sort(), expected);
    await example.stop();
    await assert.rejects(fetch(example.url));
  });
});
