import { describe, expect, test } from '@jest/globals';
import type { KernelOp } from '../../../extend/ops.ts';
import { hostAttrsOf } from '../../../savedmodel/flatten/host-attrs.ts';
import type { HostTensor } from '../../../savedmodel/host-value.ts';
import { customKernel } from '../../../savedmodel/ops/custom-kernel.ts';
import { attrs as attributes } from '../flatten/graphs.ts';

const op = (run: unknown, more: Partial<KernelOp> = {}): KernelOp => ({
  name: 'Halve',
  form: 'kernel',
  outputs: [{ dtype: { like: 0 } }],
  run: run as KernelOp['run'],
  ...more,
});
const floats = (...values: readonly number[]): HostTensor => ({ dtype: 'float', shape: [values.length], data: Float32Array.from(values) });

function call(definition: KernelOp, inputs: readonly HostTensor[] = [floats(1, 2)], values: Parameters<typeof attributes>[0] = {}) {
  const node = { name: 'n', op: definition.name, inputs: [], controls: [], attrs: attributes(values), outputCount: 1 };
  return customKernel(definition)(inputs, hostAttrsOf(node));
}

describe('the kernel of a custom op', () => {
  test('gives what it computes', () => {
    expect(call(op(([x]: readonly HostTensor[]) => [x]))).toEqual([floats(1, 2)]);
  });

  test.each([
    ['an error', new Error('no such thing'), 'Halve: no such thing'],
    ['text', 'no', 'Halve: no'],
    ['something like an error', { message: 'from elsewhere' }, 'Halve: from elsewhere'],
  ])('that throws %s is INVALID_ARGUMENT with its name before the text', (_, thrown, message) => {
    const run = () => {
      throw thrown;
    };
    expect(() => call(op(run))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message }));
  });

  test.each([
    ['nothing', undefined, 'gave nothing, not a list of tensors'],
    ['a promise', Promise.resolve([floats(1)]), 'gave a promise, not a list of tensors'],
    ['a tensor without a list', floats(1), 'gave an object, not a list of tensors'],
    ['too many', [floats(1), floats(1)], 'gave 2 outputs, 1 were expected'],
    ['no tensor', [7], 'gave as output 0 a number, not a tensor'],
    [
      'another dtype',
      [{ dtype: 'double', shape: [1], data: Float64Array.of(1) }],
      'gave as output 0 a tensor of dtype double, float was expected',
    ],
    [
      'a dtype that there is not',
      [{ dtype: 'float32', shape: [1], data: Float32Array.of(1) }],
      'gave as output 0 a tensor of dtype float32',
    ],
    ['no shape', [{ dtype: 'float', data: Float32Array.of(1) }], 'gave as output 0 a tensor of shape undefined'],
    ['a shape of unknown sizes', [{ dtype: 'float', shape: [-1], data: Float32Array.of(1) }], 'gave as output 0 a tensor of shape -1'],
    [
      'too few elements',
      [{ dtype: 'float', shape: [3], data: Float32Array.of(1) }],
      'gave as output 0 1 elements, float of shape [3] has 3',
    ],
    [
      'another array',
      [{ dtype: 'float', shape: [1], data: Float64Array.of(1) }],
      'gave as output 0 a tensor of dtype float whose data is Float64Array, not Float32Array',
    ],
    [
      'a plain list',
      [{ dtype: 'float', shape: [1], data: [1] }],
      'gave as output 0 a tensor of dtype float whose data is a list, not Float32Array',
    ],
  ])('that gives %s is INTERNAL, naming it', (_, result, why) => {
    expect(() => call(op(() => result))).toThrow(expect.objectContaining({ code: 'INTERNAL', message: `the custom op Halve ${why}` }));
  });

  test('gives strings as lists of bytes, of the dtype that an attribute says', () => {
    const result = { dtype: 'string', shape: [1], data: [Uint8Array.of(7)] };
    const definition = op(() => [result], { outputs: [{ dtype: { attribute: 'T' } }] });
    expect(call(definition, [], { T: { type: 'dtype', value: 7 } })).toEqual([result]);
    expect(() => call(definition, [], { T: { type: 'dtype', value: 1 } })).toThrow('a tensor of dtype string, float was expected');
    const texts = op(() => [{ ...result, data: ['text'] }], { outputs: [{ dtype: 'string' }] });
    expect(() => call(texts)).toThrow('a tensor of strings whose data is no list of Uint8Array');
  });

  test('is held to the shapes that it promises', () => {
    const run = ([x]: readonly HostTensor[]) => [x];
    const promising = (shapes: unknown) => op(run, { shapes: shapes as KernelOp['shapes'] & {} });
    expect(call(promising(() => [[-1]]))).toEqual([floats(1, 2)]);
    expect(call(promising(() => [null]))).toEqual([floats(1, 2)]);
    expect(() => call(promising(() => [[3]]))).toThrow('gave as output 0 a tensor of shape [2], its "shapes" promised [3]');
    expect(() => call(promising(() => []))).toThrow('has no shape for output 0 in what its "shapes" gave');
  });
});
