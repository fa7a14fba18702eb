import { describe, expect, test } from '@jest/globals';
import { type BatchingLimits, DEFAULT_BATCHING } from '#mesh/control.ts';
import type { Signatures } from '#mesh/signature.ts';
import type { DType } from '#mesh/tensor.ts';
import { checkPaddedBatches } from '../../services/worker-gpu/batching-file.ts';

const GIB = 2 ** 30;
const limits = (...allowedBatchSizes: number[]): BatchingLimits => ({ ...DEFAULT_BATCHING, allowedBatchSizes });

function signatures(dtype: DType, shape: readonly number[] | null, batchable = true): Signatures {
  const spec = { dtype, shape, accepts: shape, tensorName: 'x:0' };
  return {
    s: { method: 'tensorflow/serving/predict', inputs: { x: spec }, outputs: { y: { ...spec, shape: [-1], accepts: [-1] } }, batchable },
  };
}

describe('allowed batch sizes', () => {
  test('that no memory could be padded to are refused with the numbers', () => {
    const check = () => checkPaddedBatches(limits(8, GIB), signatures('float', [-1, 3]), 4 * GIB);
    expect(check).toThrow(
      /go up to 1073741824; padded to that, a batch of signature s takes at least 17179869184 bytes, and this worker has 4294967296/,
    );
  });

  test.each<[string, BatchingLimits | null, Signatures]>([
    ['that fit', limits(8, 1024), signatures('float', [-1, 224, 224, 3])],
    ['of a signature that is not batched', limits(GIB), signatures('float', [1, 3], false)],
    ['that there are none of', limits(), signatures('float', [-1, 3])],
    ['of a model without batching', null, signatures('float', [-1, 3])],
  ])('%s are taken', (_, given, of) => {
    expect(() => checkPaddedBatches(given, of, 4 * GIB)).not.toThrow();
  });

  test('count an unknown size as one, and a string as its offset', () => {
    expect(() => checkPaddedBatches(limits(GIB), signatures('string', [-1, -1]), 8 * GIB)).not.toThrow();
    expect(() => checkPaddedBatches(limits(GIB), signatures('string', [-1, -1]), 8 * GIB - 1)).toThrow(/8589934592 bytes/);
    expect(() => checkPaddedBatches(limits(GIB), signatures('uint8', null), 2 * GIB - 1)).toThrow(/allowed_batch_sizes/);
  });
});
