import { readFile } from 'node:fs/promises';
import type { BatchingLimits, RunSettings } from '#mesh/control.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { parseBatchingParametersText, toBatchingLimits } from '#proto/batching-parameters.ts';
import type { RegistrySettings } from './config.ts';

/** How every version of this registry is run; part of its assignments. */
export interface ServingOptions {
  readonly batching: BatchingLimits | null;
  readonly perModelBatching: boolean;
  readonly run: RunSettings;
}

/**
 * Reads the options from flags and --batching_parameters_file. Rejects with NOT_FOUND for a file that cannot be read, INVALID_ARGUMENT for one
 * that cannot be used.
 */
export async function readServingOptions(settings: RegistrySettings): Promise<ServingOptions> {
  const run: RunSettings = {
    instances: 0,
    intraOpThreads: 0,
    executionProviders: [],
    warmup: settings.enableModelWarmup,
    warmupIterations: Math.max(1, settings.numRequestIterationsForWarmup),
    maxLoadRetries: settings.maxNumLoadRetries,
    loadRetryIntervalMicros: settings.loadRetryIntervalMicros,
  };
  if (!settings.enableBatching) return { batching: null, perModelBatching: false, run };
  const file = settings.batchingParametersFile;
  let batching: BatchingLimits;
  if (file === '') batching = toBatchingLimits({ threadPoolName: 'model_server_batch_threads' });
  else {
    const text = await readFile(file, 'utf8').catch((cause) => {
      throw new ServeError('NOT_FOUND', `${file}; ${toServeError(cause).message}`, { cause });
    });
    batching = toBatchingLimits(parseBatchingParametersText(text));
  }
  return { batching, perModelBatching: settings.enablePerModelBatchingParameters, run };
}
