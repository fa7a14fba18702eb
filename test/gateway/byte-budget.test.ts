import { describe, expect, test } from '@jest/globals';
import { createByteBudget, UNCOUNTED_BYTES } from '../../services/gateway/byte-budget.ts';

const MB = 1_000_000;

describe('a byte budget', () => {
  test('refuses what would exceed the limit, with both figures and the setting, and keeps what was there', () => {
    const budget = createByteBudget(10 * MB);
    using first = budget.open();
    first.grow(6 * MB);
    using second = budget.open();
    expect(() => second.grow(5 * MB)).toThrow(
      expect.objectContaining({
        code: 'RESOURCE_EXHAUSTED',
        message: 'the gateway holds payloads of 6000000 bytes, and 5000000 more exceed its limit of 10000000 (max_in_flight_bytes)',
      }),
    );
    expect(budget.takenBytes).toBe(6 * MB);
    second.grow(4 * MB);
    expect(budget.takenBytes).toBe(10 * MB);
    expect(() => second.grow(4 * MB + 1)).toThrow('max_in_flight_bytes');
    expect(budget.takenBytes).toBe(10 * MB);
  });

  test('gives back what a share had, once', () => {
    const budget = createByteBudget(10 * MB);
    const share = budget.open();
    share.grow(6 * MB);
    share[Symbol.dispose]();
    share[Symbol.dispose]();
    expect(budget.takenBytes).toBe(0);
    using next = budget.open();
    next.grow(10 * MB);
  });

  test('lets one pass that is larger than all of it, while it has it to itself', () => {
    const budget = createByteBudget(10 * MB);
    const huge = budget.open();
    huge.grow(5 * MB);
    huge.grow(50 * MB);
    using other = budget.open();
    expect(() => other.grow(MB)).toThrow('max_in_flight_bytes');
    huge[Symbol.dispose]();
    other.grow(MB);
  });

  test('counts what cannot be refused any more, so that the next is', () => {
    const budget = createByteBudget(10 * MB);
    using answer = budget.open();
    answer.add(8 * MB);
    answer.add(8 * MB);
    expect(budget.takenBytes).toBe(16 * MB);
    using next = budget.open();
    expect(() => next.grow(MB)).toThrow('max_in_flight_bytes');
  });

  test('lets small payloads pass always', () => {
    const budget = createByteBudget(0);
    using large = budget.open();
    large.add(10 * MB);
    using small = budget.open();
    small.grow(UNCOUNTED_BYTES);
    small.add(UNCOUNTED_BYTES);
    expect(budget.takenBytes).toBe(10 * MB);
  });

  test('never shrinks a share', () => {
    const budget = createByteBudget(10 * MB);
    using share = budget.open();
    share.grow(6 * MB);
    share.grow(MB);
    expect(budget.takenBytes).toBe(6 * MB);
  });
});
