import { describe, expect, test } from '@jest/globals';
import { DEFAULT_BATCHING } from '#mesh/control.ts';
import { parseBatchingParametersText, printBatchingParametersText, toBatchingLimits } from '#proto/batching-parameters.ts';

const limitsOf = (text: string) => toBatchingLimits(parseBatchingParametersText(text));

describe('batching parameters', () => {
  test('what a file leaves out has the default of TensorFlow Serving', () => {
    expect(limitsOf('')).toEqual(DEFAULT_BATCHING);
    expect(limitsOf('max_batch_size { value: 32 }')).toEqual({ ...DEFAULT_BATCHING, maxBatchSize: 32, maxExecutionBatchSize: 32 });
  });

  test('every parameter is read from its wrapper', () => {
    const text = `max_batch_size { value: 128 } batch_timeout_micros { value: 500 } max_enqueued_batches { value: 7 }
      num_batch_threads { value: 3 } thread_pool_name { value: "pool" } allowed_batch_sizes: 8 allowed_batch_sizes: 64
      pad_variable_length_inputs: true enable_large_batch_splitting { value: true } max_execution_batch_size { value: 64 }`;
    const parameters = parseBatchingParametersText(text);
    expect(toBatchingLimits(parameters)).toEqual({
      maxBatchSize: 128,
      batchTimeoutMicros: 500,
      maxEnqueuedBatches: 7,
      numBatchThreads: 3,
      threadPoolName: 'pool',
      allowedBatchSizes: [8, 64],
      padVariableLengthInputs: true,
      enableLargeBatchSplitting: true,
      maxExecutionBatchSize: 64,
    });
    expect(parseBatchingParametersText(printBatchingParametersText(parameters))).toEqual(parameters);
  });

  test('a wrapper that is there without a value is zero, not absent', () => {
    expect(parseBatchingParametersText('batch_timeout_micros {}')).toEqual({ batchTimeoutMicros: 0 });
    expect(parseBatchingParametersText('enable_large_batch_splitting {}')).toEqual({ enableLargeBatchSplitting: false });
  });

  test('the execution size counts only with splitting', () => {
    expect(limitsOf('max_batch_size { value: 8 } max_execution_batch_size { value: 4 }').maxExecutionBatchSize).toBe(8);
    const split = 'max_batch_size { value: 8 } max_execution_batch_size { value: 4 } enable_large_batch_splitting { value: true }';
    expect(limitsOf(`${split} allowed_batch_sizes: [2, 4]`).maxExecutionBatchSize).toBe(4);
  });

  const refused: readonly (readonly [string, string])[] = [
    ['max_batch_size { value: 0 }', 'max_batch_size is 0; a whole number of at least 1 was expected'],
    ['batch_timeout_micros { value: -1 }', 'batch_timeout_micros is -1; a whole number of at least 0 was expected'],
    ['max_enqueued_batches { value: -5 }', 'max_enqueued_batches is -5'],
    ['num_batch_threads { value: 0 }', 'num_batch_threads is 0; a whole number of at least 1 was expected'],
    ['max_batch_size { value: 9007199254740993 }', 'max_batch_size is 9007199254740992; a whole number'],
    [
      'max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]',
      'allowed_batch_sizes is [4, 2, 8]; it must hold increasing sizes of at least 1, and 2 is not more than 4',
    ],
    ['max_batch_size { value: 8 } allowed_batch_sizes: [0, 8]', '0 is not more than 0'],
    [
      'max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]',
      'allowed_batch_sizes is [2, 4]; its last entry must equal max_batch_size, 8',
    ],
    [
      'max_batch_size { value: 8 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 } allowed_batch_sizes: 8',
      'allowed_batch_sizes is [8]; its last entry must equal max_execution_batch_size, 4',
    ],
    [
      'max_batch_size { value: 8 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }',
      'max_execution_batch_size is 16; it must not exceed max_batch_size, 8',
    ],
    ['max_batch_size: 8', 'Error parsing text-format tensorflow.serving.BatchingParameters: 1:17: Expected "{", found "8".'],
  ];
  test.each(refused)('%s is refused', (text, message) => {
    expect(() => limitsOf(text)).toThrow(message);
  });
});
