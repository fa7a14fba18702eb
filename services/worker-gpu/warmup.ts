/** Warmup: recorded requests that a version folder carries are replayed on every new executor before the version becomes available. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#mesh/clock.ts';
import { ServeError, toServeError } from '#mesh/errors.ts';
import { DEFAULT_SIGNATURE, type Signatures, withDefaults } from '#mesh/signature.ts';
import { type NamedTensors, packStrings } from '#mesh/tensor.ts';
import { decodeInputs } from '#proto/predict.ts';
import { decodePredictionLog, type PredictionLog } from '#proto/prediction-log.ts';
import { readTfRecords } from '#proto/tfrecord.ts';
import { assembleInputs } from './batch-assembly.ts';
import type { CallDesk } from './call-desk.ts';
import type { WorkerEvents } from './events.ts';
import type { LoaderOptions } from './loader.ts';

/** Where TF Serving looks for the records. */
const WARMUP_FILE = join('assets.extra', 'tf_serving_warmup_requests');
/** TF Serving's bound on records. */
const MAX_RECORDS = 1000;

/** One run of one signature. */
export interface WarmupRun {
  readonly signature: string;
  readonly inputs: NamedTensors;
  readonly outputs: readonly string[];
}

/** What warming up needs. */
export interface WarmUpDeps {
  readonly clock: Clock;
  readonly events: WorkerEvents;
  /** Begins a run of user code: it may call other servables, as it does for a request. */
  readonly beginRun: CallDesk['begin'];
}

/** How long user code may wait for other servables that it calls in one warmup request. */
const WARMUP_CALL_MS = 30_000;

/** Makes the function that warms an executor up. It rejects with TF Serving's errors, which fail the load. */
export function createWarmUp({ clock, events, beginRun }: WarmUpDeps): LoaderOptions['warmUp'] {
  return async (assigned, executor, model, description) => {
    const path = join(assigned.path, WARMUP_FILE);
    const file = await readIfThere(path);
    if (file === undefined) return;
    const startedMs = clock.now();
    let records = 0;
    const report = (status: string) => events.warmedUp({ path: assigned.path, status, records, tookMs: clock.now() - startedMs });
    try {
      for (const log of readWarmupRecords(file, path)) {
        records++;
        for (const { signature, inputs, outputs } of warmupRuns(log, description.signatures)) {
          const tensors = [...inputs].map(([name, tensor]) => ({ name, ...tensor }));
          const run = {
            model,
            signature,
            outputs,
            inputs: assembleInputs([{ tensors, rowStart: 0, rowCount: 0 }], { executeRows: 0, padRagged: false }),
          };
          for (let iteration = 0; iteration < Math.max(1, assigned.run.warmupIterations); iteration++) {
            const untilMs = clock.now() + WARMUP_CALL_MS;
            const facts = { servable: assigned.id, deadlineMs: untilMs, untilMs, callers: [], traceparent: '' };
            using begun = description.userCode === undefined ? undefined : beginRun(facts);
            await executor.runWhenFree(begun === undefined ? run : { ...run, context: begun.context });
          }
        }
      }
      report('OK');
    } catch (caught) {
      const error = toServeError(caught);
      report(error.code);
      throw error;
    }
  };
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    // A version that is a file has none either.
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new ServeError('FAILED_PRECONDITION', `${path} cannot be read`, { cause });
  }
}

/** The records of a warmup file. Throws DATA_LOSS when it is no TFRecord file, INVALID_ARGUMENT for a broken record or more than 1000. */
export function* readWarmupRecords(file: Uint8Array, path: string): Generator<PredictionLog, void, void> {
  let records = 0;
  const reader = readTfRecords(file);
  for (;;) {
    let next: IteratorResult<Uint8Array, void>;
    try {
      next = reader.next();
    } catch (caught) {
      throw new ServeError('DATA_LOSS', `${toServeError(caught).message}. Please verify your warmup data is in TFRecord format.`, {
        cause: caught,
      });
    }
    if (next.done) return;
    if (++records > MAX_RECORDS) {
      throw new ServeError('INVALID_ARGUMENT', `Number of warmup records exceeds the maximum (${MAX_RECORDS}) at ${path}`);
    }
    yield parseRecord(next.value);
  }
}

function parseRecord(record: Uint8Array): PredictionLog {
  try {
    return decodePredictionLog(record);
  } catch (caught) {
    throw new ServeError('INVALID_ARGUMENT', `Failed to parse warmup record: ${toServeError(caught).message}`, { cause: caught });
  }
}

/** What replaying a record means. Throws UNIMPLEMENTED for a kind that is not replayed, and what a live request would get for its inputs. */
export function warmupRuns(log: PredictionLog, signatures: Signatures): readonly WarmupRun[] {
  switch (log.type) {
    case 'predict': {
      const name = log.request.spec.signatureName || DEFAULT_SIGNATURE;
      const signature = signatureOf(signatures, name);
      const outputs = log.request.outputFilter.length > 0 ? log.request.outputFilter : Object.keys(signature.outputs);
      return [{ signature: name, inputs: withDefaults(signature, decodeInputs(log.request.inputs)), outputs }];
    }
    case 'classify':
    case 'regress':
      return [examplesRun(signatures, log.request.spec.signatureName, log.request.examples)];
    case 'multi-inference':
      return log.request.tasks.map(({ spec }) => examplesRun(signatures, spec.signatureName, log.request.examples));
    case 'other':
      throw new ServeError('UNIMPLEMENTED', `Unsupported log_type for warmup: ${log.logType}`);
  }
}

function examplesRun(signatures: Signatures, signatureName: string, examples: readonly Uint8Array[]): WarmupRun {
  if (examples.length === 0) throw new ServeError('INVALID_ARGUMENT', 'Input is empty.');
  const name = signatureName || DEFAULT_SIGNATURE;
  const signature = signatureOf(signatures, name);
  const [alias, ...others] = Object.keys(signature.inputs);
  if (alias === undefined || others.length > 0) throw new ServeError('INVALID_ARGUMENT', 'Expected one input Tensor.');
  const inputs = new Map([[alias, { dtype: 'string' as const, shape: [examples.length], bytes: packStrings(examples) }]]);
  return { signature: name, inputs, outputs: Object.keys(signature.outputs) };
}

function signatureOf(signatures: Signatures, name: string): Signatures[string] {
  const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
  if (signature === undefined) throw new ServeError('FAILED_PRECONDITION', `Serving signature key "${name}" not found.`);
  return signature;
}
