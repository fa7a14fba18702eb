import { describe, expect, test } from '@jest/globals';
import { createRegionPool } from '../../services/worker-gpu/region-pool.ts';

describe('a region pool', () => {
  test('hands a buffer out again after it was given back, and never one that was dropped', () => {
    const pool = createRegionPool(1 << 20, 1 << 30);
    const first = pool.take(100_000);
    expect(first.byteLength).toBe(131_072);
    pool.give(first);
    const again = pool.take(131_072);
    expect(again).toBe(first);
    pool.drop(again);
    expect(pool.take(100_000)).not.toBe(first);
  });

  test('keeps idle buffers up to its bound', () => {
    const pool = createRegionPool(150_000, 1 << 30);
    const [one, two] = [pool.take(131_072), pool.take(131_072)];
    pool.give(one);
    pool.give(two);
    expect(pool.take(131_072)).toBe(one);
    expect(pool.take(131_072)).not.toBe(two);
  });

  test('refuses what exceeds the limit until others are given back or dropped, and names the setting', () => {
    const pool = createRegionPool(1 << 20, 300_000);
    const [one, two] = [pool.take(131_072), pool.take(131_072)];
    expect(() => pool.take(131_072)).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('held_input_bytes') }),
    );
    pool.give(one);
    const three = pool.take(131_072);
    expect(() => pool.take(4096 * 10)).toThrow('held_input_bytes');
    pool.drop(two);
    pool.drop(three);
    expect(pool.take(1_000_000).byteLength).toBe(1_048_576);
  });
});
