import { describe, expect, test } from '@jest/globals';
import { toRunError } from '../../services/worker-gpu/runtimes/onnx-errors.ts';

const failed = (op: string, why: string) => `Non-zero status code returned while running ${op} node. Name:'n' Status Message: ${why}`;

describe('onnxruntime’s errors of a run', () => {
  test.each([
    failed('Conv', 'Input channels C is not equal to kernel channels * group. C: 2 kernel channels: 1 group: 1'),
    failed('ReduceSum', 'IsAxisInRange(axis, tensor_rank) was false. axis 1 is not in valid range [-1,0]'),
    failed('Gemm', 'GEMM: Dimension mismatch, W: {64,256} K: 3 N:256'),
    failed('Gather', 'indices element out of data bounds, idx=9 must be within the inclusive range [-5,4]'),
    failed('ScatterND', 'invalid indice found, indice = 493030430'),
    failed('Resize', 'Integer overflow'),
    failed('ReverseSequence', 'Invalid sequence length: 1666657801. Value must be in range [0,7]'),
    'Invalid rank for input: x Got: 1 Expected: 2 Please fix either the inputs/outputs or the model.',
  ])('the inputs are to blame: %s', (text) => {
    expect(toRunError(new Error(text))).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.not.stringContaining('Please fix') });
  });

  test('memory that is not there is said to be missing', () => {
    expect(toRunError(new Error(failed('Conv', 'Failed to allocate memory')))).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(toRunError(new Error('std::bad_alloc'))).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  });

  test('anything else is a fault of ours', () => {
    expect(toRunError(new Error(failed('Conv', 'the kernel is confused')))).toMatchObject({ code: 'INTERNAL' });
  });
});
