/** `tensorflow.serving.BatchingParameters` in text form (`--batching_parameters_file`, `batching_params.pbtxt`). */
import { type BatchingLimits, DEFAULT_BATCHING } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import { BOOL_VALUE, field, INT64_VALUE, message, repeated, SCALAR, STRING_VALUE, submessage } from './schema.ts';
import { parseText, printText } from './text-format.ts';

/** What a file sets; the rest has its default. Units and meanings are those of `BatchingLimits`. */
export type BatchingParameters = Partial<BatchingLimits>;

const BATCHING_PARAMETERS = message('tensorflow.serving.BatchingParameters', {
  max_batch_size: submessage(1, INT64_VALUE),
  batch_timeout_micros: submessage(2, INT64_VALUE),
  max_enqueued_batches: submessage(3, INT64_VALUE),
  num_batch_threads: submessage(4, INT64_VALUE),
  thread_pool_name: submessage(5, STRING_VALUE),
  allowed_batch_sizes: repeated(6, SCALAR.int64),
  pad_variable_length_inputs: field(7, SCALAR.bool),
  enable_large_batch_splitting: submessage(8, BOOL_VALUE),
  max_execution_batch_size: submessage(9, INT64_VALUE),
});

/** Parses a file's text. Throws INVALID_ARGUMENT naming line, column and field. */
export function parseBatchingParametersText(text: string): BatchingParameters {
  const parsed = parseText(BATCHING_PARAMETERS, text);
  return {
    ...given('maxBatchSize', parsed.max_batch_size?.value),
    ...given('batchTimeoutMicros', parsed.batch_timeout_micros?.value),
    ...given('maxEnqueuedBatches', parsed.max_enqueued_batches?.value),
    ...given('numBatchThreads', parsed.num_batch_threads?.value),
    ...given('threadPoolName', parsed.thread_pool_name?.value),
    ...given('allowedBatchSizes', parsed.allowed_batch_sizes.length > 0 ? parsed.allowed_batch_sizes : undefined),
    ...given('padVariableLengthInputs', parsed.pad_variable_length_inputs || undefined),
    ...given('enableLargeBatchSplitting', parsed.enable_large_batch_splitting?.value),
    ...given('maxExecutionBatchSize', parsed.max_execution_batch_size?.value),
  };
}

/** Prints parameters so that `parseBatchingParametersText` gives them back. */
export function printBatchingParametersText(parameters: BatchingParameters): string {
  const wrapped = <T>(value: T | undefined) => (value === undefined ? undefined : { value });
  return printText(BATCHING_PARAMETERS, {
    max_batch_size: wrapped(parameters.maxBatchSize),
    batch_timeout_micros: wrapped(parameters.batchTimeoutMicros),
    max_enqueued_batches: wrapped(parameters.maxEnqueuedBatches),
    num_batch_threads: wrapped(parameters.numBatchThreads),
    thread_pool_name: wrapped(parameters.threadPoolName),
    allowed_batch_sizes: parameters.allowedBatchSizes,
    pad_variable_length_inputs: parameters.padVariableLengthInputs,
    enable_large_batch_splitting: wrapped(parameters.enableLargeBatchSplitting),
    max_execution_batch_size: wrapped(parameters.maxExecutionBatchSize),
  });
}

/**
 * Fills in the defaults and checks what they make together. Throws INVALID_ARGUMENT naming the parameter, its value and what is allowed.
 * `max_execution_batch_size` counts only with splitting, as in TensorFlow Serving; without it, batches are executed as they are formed.
 */
export function toBatchingLimits(parameters: BatchingParameters): BatchingLimits {
  const maxBatchSize = parameters.maxBatchSize ?? DEFAULT_BATCHING.maxBatchSize;
  const splitSize = parameters.enableLargeBatchSplitting ? parameters.maxExecutionBatchSize : undefined;
  const limits = { ...DEFAULT_BATCHING, ...parameters, maxExecutionBatchSize: splitSize ?? maxBatchSize };
  checkInteger('max_batch_size', limits.maxBatchSize, 1);
  checkInteger('batch_timeout_micros', limits.batchTimeoutMicros, 0);
  checkInteger('max_enqueued_batches', limits.maxEnqueuedBatches, 1);
  checkInteger('num_batch_threads', limits.numBatchThreads, parameters.numBatchThreads === undefined ? 0 : 1);
  checkInteger('max_execution_batch_size', limits.maxExecutionBatchSize, 1);
  if (limits.maxExecutionBatchSize > maxBatchSize) {
    throw invalid(`max_execution_batch_size is ${limits.maxExecutionBatchSize}; it must not exceed max_batch_size, ${maxBatchSize}`);
  }
  checkAllowedSizes(limits);
  return limits;
}

function given<Key extends keyof BatchingLimits>(key: Key, value: BatchingLimits[Key] | undefined): BatchingParameters {
  return value === undefined ? {} : { [key]: value };
}

function checkInteger(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw invalid(`${name} is ${value}; a whole number of at least ${least} was expected`);
}

function checkAllowedSizes({ allowedBatchSizes, enableLargeBatchSplitting, maxBatchSize, maxExecutionBatchSize }: BatchingLimits): void {
  const last = allowedBatchSizes.at(-1);
  if (last === undefined) return;
  const sizes = `[${allowedBatchSizes.join(', ')}]`;
  let previous = 0;
  for (const size of allowedBatchSizes) {
    if (!(size > previous))
      throw invalid(
        `allowed_batch_sizes is ${sizes}; it must hold increasing sizes of at least 1, and ${size} is not more than ${previous}`,
      );
    previous = size;
  }
  const [name, most] = enableLargeBatchSplitting ? ['max_execution_batch_size', maxExecutionBatchSize] : ['max_batch_size', maxBatchSize];
  if (last !== most) throw invalid(`allowed_batch_sizes is ${sizes}; its last entry must equal ${name}, ${most}`);
}

function invalid(what: string): ServeError {
  return new ServeError('INVALID_ARGUMENT', `batching parameters: ${what}`);
}
