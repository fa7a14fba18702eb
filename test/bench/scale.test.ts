import { describe, expect, test } from '@jest/globals';
import type { BenchContext } from '../../bench/section.ts';
import { amountText, loadCells, summarised, turnsOf } from '../../bench/sections/scale.ts';

const CONTEXT: BenchContext = {
  rounds: 5,
  seconds: 5,
  most: 1000,
  servers: { profile: '', profileFolder: '', flags: [] },
  python: '',
  say: () => {},
};

describe('sections about growth', () => {
  test.each([
    [
      { rounds: 5, seconds: 5 },
      { count: 2, seconds: 2 },
    ],
    [
      { rounds: 1, seconds: 1 },
      { count: 1, seconds: 1 },
    ],
    [
      { rounds: 1, seconds: 10 },
      { count: 1, seconds: 10 },
    ],
    [
      { rounds: 2, seconds: 10 },
      { count: 2, seconds: 5 },
    ],
    [
      { rounds: 5, seconds: 3 },
      { count: 1, seconds: 3 },
    ],
  ])('%j gives each point the turns %j', (asked, turns) => expect(turnsOf({ ...CONTEXT, ...asked })).toEqual(turns));

  test('give the medians of what the turns gave', () => {
    const result = (perSecond: number, p50Ms: number, p99Ms: number) => ({
      requests: 1,
      errors: 0,
      perSecond,
      p50Ms,
      p90Ms: 0,
      p99Ms,
      cpuMicros: 2 * p50Ms,
    });
    expect(summarised([result(100, 3, 9), result(300, 1, 7), result(200, 2, 50)])).toEqual({
      perSecond: 200,
      p50Ms: 2,
      p99Ms: 9,
      cpuMicros: 4,
    });
    expect(() => summarised([])).toThrow('a load without results has no figures');
  });

  test.each([
    [12_345.6, '12,346'],
    [99.96, '100'],
    [0.012345, '0.0123'],
    [0, '0'],
  ])('the figure %d is written %s', (value, text) => expect(amountText(value)).toBe(text));

  test('refuse a figure that is none', () => {
    expect(() => loadCells({ perSecond: Number.NaN, p50Ms: 1, p99Ms: 1, cpuMicros: 1 })).toThrow('NaN is no figure for a table');
  });
});
