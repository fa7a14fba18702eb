import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AssignedServable, BatchingLimits } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { Signatures, TensorSpec } from '#mesh/signature.ts';
import { DTYPES } from '#mesh/tensor.ts';
import { parseBatchingParametersText, toBatchingLimits } from '#proto/batching-parameters.ts';

/**
 * The batching of a servable under `--enable_per_model_batching_parameters`: from `batching_params.pbtxt` in the version's folder, null without
 * one. The assignment's own batching only gives the thread pool. Rejects with the parser's error, naming the file.
 */
export async function readBatchingFile(assigned: AssignedServable): Promise<BatchingLimits | null> {
  const path = join(assigned.path, 'batching_params.pbtxt');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    // A version that is a file has none either.
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw new ServeError('FAILED_PRECONDITION', `${path} cannot be read`, { cause });
  }
  try {
    const { numBatchThreads, threadPoolName } = assigned.batching ?? {};
    return {
      ...toBatchingLimits(parseBatchingParametersText(text)),
      ...(numBatchThreads === undefined ? {} : { numBatchThreads }),
      ...(threadPoolName === undefined ? {} : { threadPoolName }),
    };
  } catch (caught) {
    const { code, message } = toServeError(caught);
    throw new ServeError(code, `${path}: ${message}`, { cause: caught });
  }
}

/**
 * Refuses batch sizes that padding could not reach: a batch is padded with rows up to the next allowed size, and those rows take memory like any
 * others. Throws INVALID_ARGUMENT with the numbers when the inputs and outputs of the largest allowed size alone are more than a worker has.
 */
export function checkPaddedBatches(limits: BatchingLimits | null, signatures: Signatures, memoryLimitBytes: number): void {
  const largest = limits?.allowedBatchSizes.at(-1) ?? 0;
  for (const [name, { batchable, inputs, outputs }] of Object.entries(signatures)) {
    const rowBytes = [...Object.values(inputs), ...Object.values(outputs)].reduce((sum, spec) => sum + leastRowBytes(spec), 0);
    if (!batchable || largest * rowBytes <= memoryLimitBytes) continue;
    throw new ServeError(
      'INVALID_ARGUMENT',
      `batching parameters: allowed_batch_sizes go up to ${largest}; padded to that, a batch of signature ${name} takes at least ${largest * rowBytes} bytes, and this worker has ${memoryLimitBytes} for its models`,
    );
  }
}

/** An element of a string tensor takes its offset at least. */
const STRING_BYTES = 4;

/** The bytes of a row at the least: sizes that are not known count as 1. */
function leastRowBytes({ dtype, accepts, shape }: TensorSpec): number {
  const inner = (accepts ?? shape ?? []).slice(1);
  return inner.reduce((product, dim) => product * Math.max(1, dim), DTYPES[dtype].byteSize || STRING_BYTES);
}
