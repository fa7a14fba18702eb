import { describe, expect, test } from '@jest/globals';
import { chosenAxis, measuredAxis, tickText } from '../../bench/picture-axis.ts';

describe('the axis of what was measured', () => {
  test.each([
    ['linear', [37], [0, 10, 20, 30, 40]],
    ['linear', [800, 3120], [0, 1000, 2000, 3000, 4000]],
    ['linear', [0.5, 1.2], [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2]],
    ['linear', [0], [0, 0.2, 0.4, 0.6, 0.8, 1]],
    ['log', [200, 560], [200, 500, 1000]],
    ['log', [0.344, 1.39], [0.2, 0.5, 1, 2]],
    ['log', [7], [5, 10]],
    ['log', [100], [100, 200]],
    ['log', [3, 20_000], [10, 100, 1000, 10_000]],
    ['log', [1e-6, 1e9], [1e-6, 1e-3, 1, 1e3, 1e6, 1e9]],
  ] as const)('of a %s scale for %j has the ticks %j', (scale, values, ticks) => {
    expect(measuredAxis(values, scale).ticks).toEqual(ticks);
  });

  test('puts every value between its ends, and ten times as much always as far away on a log scale', () => {
    for (const scale of ['log', 'linear'] as const) {
      const values = [0.07, 1, 3.3, 99_999];
      const { place } = measuredAxis(values, scale);
      for (const value of values) {
        expect(place(value)).toBeGreaterThanOrEqual(0);
        expect(place(value)).toBeLessThanOrEqual(1);
      }
    }
    const { place } = measuredAxis([1, 1000], 'log');
    expect(place(100) - place(10)).toBeCloseTo(place(10) - place(1), 10);
    expect([measuredAxis([40], 'linear').place(0), measuredAxis([40], 'linear').place(20)]).toEqual([0, 0.5]);
  });

  test.each([
    [[], 'log', 'a chart without values has no axis'],
    [[1, 0], 'log', '0 has no place on a log axis'],
    [[-1], 'linear', '-1 has no place on a linear axis'],
    [[Number.NaN], 'linear', 'NaN has no place on a linear axis'],
    [[Number.POSITIVE_INFINITY], 'log', 'Infinity has no place on a log axis'],
  ] as const)('refuses %j on a %s scale', (values, scale, words) => {
    expect(() => measuredAxis(values, scale)).toThrow(words);
    expect(() => chosenAxis(values, scale)).toThrow(words);
  });
});

describe('the axis of what was asked for', () => {
  test('has the values themselves as ticks, each once and ascending', () => {
    const { ticks, place } = chosenAxis([16, 1, 4, 1, 64], 'log');
    expect(ticks).toEqual([1, 4, 16, 64]);
    expect(ticks.map(place)).toEqual([0, expect.closeTo(1 / 3, 10), expect.closeTo(2 / 3, 10), 1]);
  });

  test('puts a value that is alone in the middle', () => {
    expect(chosenAxis([7], 'linear').place(7)).toBe(0.5);
  });
});

test.each([
  [0.5, '0.5'],
  [0.30000000000000004, '0.3'],
  [200, '200'],
  [1000, '1,000'],
  [20_000, '20k'],
  [12_500, '12.5k'],
  [3_000_000, '3M'],
])('the tick %d is written %s', (value, text) => expect(tickText(value)).toBe(text));
