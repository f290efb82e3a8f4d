// Calls to workers are signed, and a worker takes each of them once. One file of vectors for every language.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { signCall } from '../../src/call-signature.js';
import { CallVerifier } from '../../src/client/index.js';

interface Vector {
  readonly title: string;
  readonly secret: string;
  readonly now: number;
  /** The epoch of the lease that the worker holds. */
  readonly held: number;
  readonly timestamp: string | null;
  readonly epoch: string | null;
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly signature: string | null;
  readonly isGenuine: boolean;
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const vectors = JSON.parse(readFileSync(here('call-vectors.json'), 'utf8')) as Vector[];

function received({ method, path: url, body, timestamp, epoch, signature }: Vector) {
  const headers = {
    'x-shard-timestamp': timestamp ?? undefined,
    'x-shard-epoch': epoch ?? undefined,
    'x-shard-signature': signature ?? undefined,
  };
  return { method, url, headers, body: Buffer.from(body) };
}

describe('a signed call', () => {
  for (const vector of vectors) {
    it(`${vector.title}: ${vector.isGenuine ? 'taken, and once' : 'refused'}`, () => {
      const { secret, now, held, isGenuine, method, path, body } = vector;
      const calls = new CallVerifier({ now: () => now });
      calls.lease = { epoch: held, secret };
      assert.equal(calls.refusal(received(vector)) === undefined, isGenuine);
      if (!isGenuine) return;
      const signed = { method, path, body };
      const [timestamp, epoch] = [Number(vector.timestamp), Number(vector.epoch)];
      assert.equal(signCall(secret, { timestamp, epoch, ...signed }), vector.signature);
      assert.equal(calls.refusal(received(vector)), 'the call is a replay');
    });
  }

  it('without a lease every call is refused', () => {
    for (const vector of vectors) {
      assert.equal(new CallVerifier().refusal(received(vector)), 'no lease is held');
    }
  });

  it('a replay is refused for as long as its timestamp would be taken', () => {
    const [vector] = vectors;
    if (!vector) throw new Error('no vectors');
    let now = vector.now - 60_000;
    const calls = new CallVerifier({ now: () => now });
    calls.lease = { epoch: vector.held, secret: vector.secret };
    assert.equal(calls.refusal(received(vector)), undefined);
    for (now = vector.now - 60_000; now <= vector.now + 60_000; now += 1_000) {
      assert.equal(calls.refusal(received(vector)), 'the call is a replay');
    }
    now = vector.now + 60_001;
    assert.match(calls.refusal(received(vector)) ?? '', /too old/);
  });

  it('the verifier in Python judges every vector the same', async () => {
    const { stdout } = await promisify(execFile)('python3', [here('call_vectors.py')]);
    assert.equal(stdout, `${vectors.length}\n`);
  });
});
