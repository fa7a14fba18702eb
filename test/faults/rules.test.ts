import { describe, expect, test } from '@jest/globals';
import { parseFaultOptions } from './options.ts';
import { createRandom } from './random.ts';
import { broken } from './run-steps.ts';
import { theilSenSlope } from './slope.ts';
import { disturbedForMs } from './steady.ts';
import type { Tally } from './traffic.ts';

describe('the slope of a series', () => {
  test('is the median over all pairs, which outliers do not move', () => {
    const line = Array.from({ length: 21 }, (_, x) => [x, 3 * x + 5] as const);
    expect(theilSenSlope(line)).toBe(3);
    expect(theilSenSlope(line.map(([x, y]) => [x, x === 7 || x === 15 ? 1000 : y] as const))).toBe(3);
    expect(theilSenSlope([[1, 2]])).toBe(0);
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
