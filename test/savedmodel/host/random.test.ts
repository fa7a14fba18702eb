import { describe, expect, test } from '@jest/globals';
import type { DType } from '#mesh/tensor.ts';
import { int32s } from '../../../savedmodel/host/host-tensor.ts';
import { HOST_OPS } from '../../../savedmodel/host/index.ts';
import type { HostAttrs, HostTensor } from '../../../savedmodel/host-value.ts';

const COUNT = 20_000;

function run(op: string, inputs: readonly HostTensor[], dtype?: DType): HostTensor {
  const attrs = { has: (name: string) => name === 'dtype' && dtype !== undefined, dtype: () => dtype } as unknown as HostAttrs;
  const [output] = HOST_OPS.get(op)?.(inputs, attrs) ?? [];
  if (output === undefined) throw new Error(`${op} gave nothing`);
  return output;
}

function moments(tensor: HostTensor): { mean: number; deviation: number; least: number; most: number } {
  const values = Array.from(tensor.data as Float32Array);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return { mean, deviation, least: Math.min(...values), most: Math.max(...values) };
}

// The bounds lie more than seven standard errors away: a correct generator does not leave them in a lifetime of runs.
describe('random ops without a seed', () => {
  test.each([
    ['RandomUniform', 0.5, Math.sqrt(1 / 12), 0, 1],
    ['RandomStandardNormal', 0, 1, -8, 8],
    ['TruncatedNormal', 0, 0.8796, -2, 2],
  ] as const)('%s has its mean, its deviation and its bounds', (op, mean, deviation, least, most) => {
    const drawn = run(op, [int32s([2], [COUNT / 10, 10])], 'float');
    expect(drawn.shape).toEqual([COUNT / 10, 10]);
    expect(drawn.dtype).toBe('float');
    const found = moments(drawn);
    expect(Math.abs(found.mean - mean)).toBeLessThan(0.06);
    expect(Math.abs(found.deviation - deviation)).toBeLessThan(0.06);
    expect(found.least).toBeGreaterThanOrEqual(least);
    expect(found.most).toBeLessThanOrEqual(most);
    expect(run(op, [int32s([1], [8])], 'float').data).not.toEqual(run(op, [int32s([1], [8])], 'float').data);
  });

  test('RandomUniformInt gives every number of its range and none beside', () => {
    const drawn = run('RandomUniformInt', [int32s([1], [COUNT]), int32s([], [-2]), int32s([], [3])]);
    expect(drawn.dtype).toBe('int32');
    expect([...new Set(drawn.data as Int32Array)].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
  });

  test('Multinomial draws classes as often as their logits say', () => {
    const logits: HostTensor = { dtype: 'float', shape: [1, 3], data: Float32Array.of(Math.log(1), Math.log(3), Number.NEGATIVE_INFINITY) };
    const drawn = run('Multinomial', [logits, int32s([], [COUNT])]);
    expect(drawn.shape).toEqual([1, COUNT]);
    const ones = Array.from(drawn.data as BigInt64Array).filter((value) => value === 1n).length;
    expect(Array.from(drawn.data as BigInt64Array)).not.toContain(2n);
    expect(Math.abs(ones / COUNT - 0.75)).toBeLessThan(0.03);
  });

  test('RandomShuffle keeps every row', () => {
    const rows = int32s(
      [50, 2],
      Array.from({ length: 100 }, (_, at) => at),
    );
    const shuffled = Array.from(run('RandomShuffle', [rows]).data as Int32Array);
    expect(shuffled).not.toEqual(Array.from(rows.data as Int32Array));
    const firsts = shuffled.filter((_, at) => at % 2 === 0);
    expect(shuffled.filter((_, at) => at % 2 === 1)).toEqual(firsts.map((first) => first + 1));
    expect([...firsts].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, at) => 2 * at));
  });
});

test('Cholesky of a matrix without a factor is NaN', () => {
  const matrix: HostTensor = { dtype: 'double', shape: [2, 2], data: Float64Array.of(1, 2, 2, 1) };
  expect(run('Cholesky', [matrix]).data).toEqual(Float64Array.of(Number.NaN, 0, Number.NaN, Number.NaN));
});
