// Times: those of RFC 3339 that exist, and nothing that must be guessed.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseTime } from '../src/time.js';

describe('a time', () => {
  const right: Readonly<Record<string, string>> = {
    '2026-02-03T04:05:06Z': '2026-02-03T04:05:06.000Z',
    '2026-02-03t04:05:06z': '2026-02-03T04:05:06.000Z',
    '2026-02-03 04:05:06Z': '2026-02-03T04:05:06.000Z',
    '2026-02-03T04:05Z': '2026-02-03T04:05:00.000Z',
    '2026-02-03T04:05:06.789Z': '2026-02-03T04:05:06.789Z',
    '2026-02-03T04:05:06.7Z': '2026-02-03T04:05:06.700Z',
    '2026-02-03T04:05:06.789999Z': '2026-02-03T04:05:06.789Z',
    '2026-02-03T04:05:06+01:00': '2026-02-03T03:05:06.000Z',
    '2026-02-03T04:05:06-05:30': '2026-02-03T09:35:06.000Z',
    '2026-02-03 04:05:06.123456+00': '2026-02-03T04:05:06.123Z',
    '2026-02-03T04:05:06+0530': '2026-02-02T22:35:06.000Z',
    '2026-02-03': '2026-02-03T00:00:00.000Z',
    '2024-02-29': '2024-02-29T00:00:00.000Z',
    '0001-01-01T00:00:00Z': '0001-01-01T00:00:00.000Z',
    '9999-12-31T23:59:59.999Z': '9999-12-31T23:59:59.999Z',
    '0000-12-31T23:00:00-02:00': '0001-01-01T01:00:00.000Z',
  };
  for (const [text, iso] of Object.entries(right)) {
    it(`${text} is ${iso}`, () => {
      assert.equal(parseTime(text)?.toISOString(), iso);
    });
  }

  const wrong = [
    ...['', ' ', 'now', 'yesterday', 'hub-1', '2026', '2026-02', '03.02.2026', '02/03/2026'],
    ...['2026-02-30', '2026-02-29', '2026-04-31', '2026-13-01', '2026-00-10', '2026-01-00'],
    ...[
      '1900-02-29',
      '26-02-03',
      '02026-02-03',
      '2026-2-3',
      '2026-W05-2',
      '20260203',
      '1770000000',
    ],
    ...['2026-02-03T04:05:06', '2026-02-03T04', '2026-02-03T4:05:06Z', '2026-02-03T24:00:00Z'],
    ...['2026-02-03T04:60:00Z', '2026-02-03T04:05:60Z', '2026-02-03T04:05:06.Z'],
    ...['2026-02-03T04:05:06,5Z', '2026-02-03T04:05:06 Z', '2026-02-03T04:05:06UTC'],
    ...['2026-02-03T04:05:06+24:00', '2026-02-03T04:05:06+01:60', '2026-02-03T04:05:06+1'],
    ...['2026-02-03Z', ' 2026-02-03', '2026-02-03 ', '2026-02-03\n', '+2026-02-03', '-0001-01-01'],
    ...['0000-12-31', '0001-01-01T00:00:00+01:00', '9999-12-31T23:59:59-01:00', '10000-01-01'],
    ...['２０２６-02-03', '2026–02–03', 'Tue Feb 03 2026', 'Infinity', 'NaN', 'null'],
  ];
  for (const text of wrong) {
    it(`${JSON.stringify(text)} is none`, () => {
      assert.equal(parseTime(text), undefined);
    });
  }

  it('is read as it was written, in any zone', () => {
    const dates = fc.date({
      min: new Date('0001-01-02T00:00:00Z'),
      max: new Date('9999-12-30T00:00:00Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(dates, fc.integer({ min: -1_439, max: 1_439 }), (date, offset) => {
        const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, -1);
        const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
        const pad = (n: number) => String(n).padStart(2, '0');
        const text = `${local}${offset < 0 ? '-' : '+'}${pad(hours)}:${pad(minutes)}`;
        assert.equal(parseTime(text)?.getTime(), date.getTime(), text);
      }),
    );
  });
});
