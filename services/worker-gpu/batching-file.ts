import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AssignedServable, BatchingLimits } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
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
