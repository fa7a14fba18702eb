/** Imports are minutes of computing at worst: each has a thread of its own, beside a service's main thread and beside its executors. */
import { Worker } from 'node:worker_threads';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import { codeOf, messageOf } from './system-error.ts';

/** What an import is told. */
export interface ImportOrder {
  /** The SavedModel's. */
  readonly folder: string;
  readonly tags: readonly string[];
  /** An empty folder for the plan. */
  readonly into: string;
}

/** A module that imports. */
export interface ImporterModule {
  /** Writes the plan. Rejects with ServeError whose message names what cannot be served: op, node, function. */
  importSavedModel(order: ImportOrder & { readonly onProgress: (percent: number, doing: string) => void }): Promise<unknown>;
}

/** What a thread is started with. */
export interface ImportThreadData extends ImportOrder {
  /** The URL of an {@link ImporterModule}. */
  readonly importer: string;
}

/** What a thread says. */
export type FromImportThread =
  | { readonly type: 'progress'; readonly percent: number; readonly doing: string }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly code: StatusCode; readonly message: string; readonly diskFull: boolean };

/** A thread's share of JavaScript's heap. Weights lie outside of it; graphs of a hundred thousand nodes fit with room to spare. */
const HEAP_MEGABYTES = 4096;

/**
 * Runs one import. Rejects with the importer's ServeError, with the signal's reason once the thread has ended (nothing writes to `into` any
 * more), or with INTERNAL when the thread dies.
 */
export function importInThread(
  order: ImportThreadData,
  options: { readonly signal: AbortSignal; readonly onProgress: (percent: number, doing: string) => void },
): Promise<void> {
  const { signal, onProgress } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const thread = new Worker(new URL('./import-thread.ts', import.meta.url), {
      workerData: order,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES },
    });
    let outcome: (() => void) | undefined;
    const onAbort = () => {
      outcome = () => reject(signal.reason);
      void thread.terminate();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    thread.on('message', (message: FromImportThread) => {
      if (message.type === 'progress') onProgress(message.percent, message.doing);
      else if (message.type === 'done') outcome ??= resolve;
      else outcome ??= () => reject(failureOf(message));
    });
    thread.on('error', (cause: unknown) => {
      const outOfMemory = codeOf(cause) === 'ERR_WORKER_OUT_OF_MEMORY';
      const why = outOfMemory ? `it needs more than ${HEAP_MEGABYTES} MiB of heap` : `its thread failed: ${messageOf(cause)}`;
      outcome ??= () => reject(new ServeError('INTERNAL', `${order.folder} cannot be imported: ${why}`, { cause }));
    });
    thread.on('exit', (code) => {
      signal.removeEventListener('abort', onAbort);
      if (outcome) outcome();
      else reject(new ServeError('INTERNAL', `${order.folder} cannot be imported: its thread left with code ${code}`));
    });
  });
}

/** A disk without room is told apart by its cause. */
function failureOf({ code, message, diskFull }: Extract<FromImportThread, { readonly type: 'failed' }>): ServeError {
  return new ServeError(code, message, diskFull ? { cause: Object.assign(new Error(message), { code: 'ENOSPC' }) } : {});
}
