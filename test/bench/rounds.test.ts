import { describe, expect, test } from '@jest/globals';
import { interleave, median, medianRatio, percentile } from '../../bench/rounds.ts';

describe('interleave', () => {
  test('measures A B A B, and keeps what each round gave', async () => {
    const order: string[] = [];
    const subject = (name: string) => async () => order.push(name);
    expect(await interleave({ a: subject('a'), b: subject('b') }, 2)).toEqual({ a: [1, 3], b: [2, 4] });
    expect(order).toEqual(['a', 'b', 'a', 'b']);
  });
});

describe('figures', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[7], 7],
    [[], Number.NaN],
  ])('the median of %j is %d', (values, expected) => expect(median(values)).toBe(expected));

  test('a ratio is taken within each round before the median', () => {
    // The machine slowed down after the first round: the ratio did not.
    expect(medianRatio([200, 100, 50], [100, 50, 25])).toBe(2);
  });

  test('a percentile is the value that so many lie below', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)]).toEqual([51, 100, Number.NaN]);
  });
});
