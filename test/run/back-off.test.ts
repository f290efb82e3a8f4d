import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BackOff } from '../../src/run/back-off.js';

describe('a copy that ends', () => {
  it('again and again is left alone twice as long each time, and half a minute at most', () => {
    const backOff = new BackOff();
    const waits = Array.from({ length: 10 }, () => backOff.after(100));
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('after it has run well is started again as at first', () => {
    const backOff = new BackOff();
    for (let i = 0; i < 5; i++) backOff.after(0);
    assert.equal(backOff.after(10_000), 250);
    assert.equal(backOff.after(9_999), 500);
  });
});
