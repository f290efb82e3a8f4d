import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Lines } from '../../src/run/lines.js';
import { Output } from '../../src/run/output.js';

function prefixed(pieces: readonly string[]): string {
  const lines = new Lines('a | ');
  return pieces.map((piece) => lines.push(piece)).join('') + lines.end();
}

describe('the lines of a copy', () => {
  it('are the same in whatever pieces they come', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[ab\n]{0,5}$/)), (pieces) => {
        const all = pieces.join('');
        const expected = all.replace(/\n$/, '').split('\n');
        const whole = all === '' ? '' : expected.map((line) => `a | ${line}\n`).join('');
        assert.equal(prefixed(pieces), whole);
      }),
    );
  });

  it('wait for their end, and are broken only where they would never end', () => {
    const lines = new Lines('');
    assert.equal(lines.push('half'), '');
    assert.equal(lines.push(' a line\nand'), 'half a line\n');
    assert.equal(lines.push('x'.repeat(70_000)).length, 70_000 + 'and\n'.length);
  });

  it('of two who write at once are not torn', async () => {
    const stdout = new PassThrough();
    const output = new Output(['a-0', 'a-10'], { stdout, stderr: stdout });
    const [one, other] = [new PassThrough(), new PassThrough()];
    const followed = [output.follow('a-0', one, 'stdout'), output.follow('a-10', other, 'stdout')];
    one.write('be');
    other.write('hel');
    one.write('gin\nlast');
    other.end('lo\n');
    one.end(Buffer.from('é').subarray(0, 1));
    const printed = text(stdout);
    await Promise.all(followed);
    stdout.end();
    assert.deepEqual((await printed).split('\n').sort(), [
      '',
      'a-0  | begin',
      'a-0  | last\ufffd',
      'a-10 | hello',
    ]);
  });

  it('of a copy wait while nobody reads them, and so does the copy', async () => {
    const stdout = new PassThrough({ highWaterMark: 10 });
    const output = new Output(['a-0'], { stdout, stderr: stdout });
    const from = new PassThrough({ highWaterMark: 10 });
    void output.follow('a-0', from, 'stdout');
    let written = 0;
    while (from.write('0123456789\n') || written < 5) {
      written++;
      await new Promise((resolve) => setImmediate(resolve));
      if (written > 100) break;
    }
    assert.ok(written < 100, 'it was read although nobody takes it');
    assert.ok(stdout.readableLength < 100);
  });

  it('have colours on a terminal, and nowhere else', async () => {
    const before = process.env.FORCE_COLOR;
    delete process.env.FORCE_COLOR;
    for (const isTTY of [true, false]) {
      const stdout = Object.assign(new PassThrough(), { isTTY });
      const from = new PassThrough();
      from.end('x\n');
      await new Output(['a-0'], { stdout, stderr: stdout }).follow('a-0', from, 'stdout');
      stdout.end();
      assert.equal((await text(stdout)).includes('\u001b['), isTTY);
    }
    if (before !== undefined) process.env.FORCE_COLOR = before;
  });
});
