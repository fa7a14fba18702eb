import { describe, expect, test } from '@jest/globals';
import { parseFaultOptions } from './options.ts';
import { createRandom } from './random.ts';
import { broken } from './run-steps.ts';
import { theilSen } from './slope.ts';
import { disturbedForMs } from './steady.ts';
import type { Tally } from './traffic.ts';

describe('the slope of a series', () => {
  test('is the median over all pairs, which outliers do not move', () => {
    const line = Array.from({ length: 21 }, (_, x) => [x, 3 * x + 5] as const);
    expect(theilSen(line).slope).toBe(3);
    expect(theilSen(line.map(([x, y]) => [x, x === 7 || x === 15 ? 1000 : y] as const)).slope).toBe(3);
    expect(theilSen([[1, 2]]).slope).toBe(0);
  });

  test('comes with an interval that holds the truth 19 times out of 20, and that too few points make infinite', () => {
    const random = createRandom(20_260_101);
    const noise = () => random.next() + random.next() + random.next() - 1.5;
    let held = 0;
    let growthSeen = 0;
    for (let round = 0; round < 200; round++) {
      const flat = theilSen(Array.from({ length: 24 }, (_, x) => [x, noise()] as const));
      if (flat.low <= 0 && flat.high >= 0) held++;
      if (theilSen(Array.from({ length: 24 }, (_, x) => [x, 0.1 * x + noise()] as const)).low > 0) growthSeen++;
    }
    expect(held).toBeGreaterThan(180);
    expect(growthSeen).toBeGreaterThan(180);
    expect(
      theilSen([
        [1, 2],
        [2, 3],
        [3, 4],
      ]),
    ).toMatchObject({ slope: 1, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY });
  });
});

describe('a disturbance', () => {
  const good = (startMs: number, endMs: number) => ({ startMs, endMs, good: true });
  const bad = (startMs: number, endMs: number) => ({ startMs, endMs, good: false });

  test.each([
    ['nobody noticed', [good(0, 5), good(100, 110), good(900, 910)], 0],
    ['one was slow', [good(90, 700), good(710, 715)], 600],
    ['one failed', [bad(120, 130)], 30],
    ['one after the other', [good(90, 700), good(720, 1400)], 1300],
    ['much later is another one', [good(90, 400), good(2000, 3000)], 300],
    ['before the event does not count', [bad(10, 50)], 0],
  ])('%s', (_, samples, expected) => {
    expect(disturbedForMs(samples, 100, 100)).toBe(expected);
  });
});

describe('a step', () => {
  const tally: Tally = {
    step: 's',
    sent: 3,
    answered: 3,
    refused: 0,
    failed: 0,
    wrong: 0,
    reconnected: 0,
    steadyAfterMs: null,
    p50Ms: 1,
    p99Ms: 1,
    examples: [],
  };
  test('is broken by one wrong answer, one failure, one refusal, or silence', () => {
    expect(broken(tally)).toBeUndefined();
    for (const spoiled of [{ wrong: 1 }, { failed: 1 }, { refused: 1 }, { answered: 0 }])
      expect(broken({ ...tally, ...spoiled })).toMatch(/^s: /);
  });
});

describe('the command', () => {
  test('takes --soak with minutes or without', () => {
    expect(parseFaultOptions(['--soak'])?.soakMinutes).toBe(20);
    expect(parseFaultOptions(['--soak', '8', '--seed', '5'])).toMatchObject({ soakMinutes: 8, seed: 5 });
    expect(parseFaultOptions(['--soak', '--write-results'])).toMatchObject({ soakMinutes: 20, writeResults: true });
    expect(parseFaultOptions(['--help'])).toBeUndefined();
    expect(() => parseFaultOptions(['--seed', 'x'])).toThrow('--seed: expected a number, found x');
  });

  test('does faults and overload unless told one of them', () => {
    const wanted = (...args: string[]) => {
      const { faults, overload } = parseFaultOptions(args) ?? {};
      return [faults, overload];
    };
    expect(wanted()).toEqual([true, true]);
    expect(wanted('--faults')).toEqual([true, false]);
    expect(wanted('--overload')).toEqual([false, true]);
    expect(wanted('--only', 'kill')).toEqual([true, false]);
  });

  test('makes the same choices for the same seed', () => {
    const [one, other] = [createRandom(7), createRandom(7)];
    expect(Array.from({ length: 20 }, () => one.below(100))).toEqual(Array.from({ length: 20 }, () => other.below(100)));
  });
});
