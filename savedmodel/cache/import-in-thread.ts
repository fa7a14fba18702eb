/** Imports are minutes of computing at worst: each has a thread of its own, beside a service's main thread and beside its executors. */
import { Worker } from 'node:worker_threads';
import { ServeError, type StatusCode } from '#mesh/errors.ts';
import type { OpModuleLayers } from '../ops/load-op-library.ts';
import { codeOf, messageOf } from './system-error.ts';
import { type UserCodeBounds, watchUserCode } from './user-code-watch.ts';

/** What an import is told. */
export interface ImportOrder {
  /** The SavedModel's. */
  readonly folder: string;
  readonly tags: readonly string[];
  /** An empty folder for the plan. */
  readonly into: string;
  /** Of an ONNX model with custom ops: the model files to import. */
  readonly files?: readonly string[];
  /** Modules of custom ops, which are run: absent for an import without user code. */
  readonly modules?: OpModuleLayers;
}

/** A module that imports. */
export interface ImporterModule {
  /** Writes the plan. Rejects with ServeError whose message names what cannot be served: op, node, function. */
  importSavedModel(
    order: ImportOrder & {
      readonly onProgress: (percent: number, doing: string) => void;
      /** Called before user code runs, with its name, and after it, with null. */
      readonly onUserCode: (name: string | null) => void;
    },
  ): Promise<unknown>;
}

/** What a thread is started with. */
export interface ImportThreadData extends ImportOrder {
  /** The URL of an {@link ImporterModule}. */
  readonly importer: string;
}

/** What a thread says. */
export type FromImportThread =
  | { readonly type: 'progress'; readonly percent: number; readonly doing: string }
  | { readonly type: 'user-code'; readonly name: string | null }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly code: StatusCode; readonly message: string; readonly diskFull: boolean };

/** A thread's share of JavaScript's heap. Weights lie outside of it; graphs of a hundred thousand nodes fit with room to spare. */
const HEAP_MEGABYTES = 4096;

/**
 * Runs one import. Rejects with the importer's ServeError, with the signal's reason once the thread has ended (nothing writes to `into` any
 * more), with INTERNAL when the thread dies, or with DEADLINE_EXCEEDED or RESOURCE_EXHAUSTED, naming it, for user code that breaks `bounds`.
 */
export function importInThread(
  order: ImportThreadData,
  options: {
    readonly signal: AbortSignal;
    readonly onProgress: (percent: number, doing: string) => void;
    /** For imports with modules. */
    readonly bounds?: UserCodeBounds;
  },
): Promise<void> {
  const { signal, onProgress, bounds } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const thread = new Worker(new URL('./import-thread.ts', import.meta.url), {
      workerData: order,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES },
      // What user code prints must not stand among the lines of this process's log.
      ...(order.modules === undefined ? {} : { stdout: true, stderr: true }),
    });
    if (order.modules !== undefined) {
      thread.stdout.resume();
      thread.stderr.resume();
    }
    let outcome: (() => void) | undefined;
    let running: string | null = null;
    const onBreach = (error: ServeError) => {
      outcome ??= () => reject(error);
      void thread.terminate();
    };
    const watch = bounds && watchUserCode(thread, bounds, onBreach);
    const onAbort = () => {
      outcome = () => reject(signal.reason);
      void thread.terminate();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    thread.on('message', (message: FromImportThread) => {
      if (message.type === 'progress') onProgress(message.percent, message.doing);
      else if (message.type === 'user-code') {
        running = message.name;
        watch?.running(running);
      } else {
        outcome ??= message.type === 'done' ? resolve : () => reject(failureOf(message));
        // Timers of user code would keep it for ever; all that is to be written is written.
        if (order.modules !== undefined) void thread.terminate();
      }
    });
    thread.on('error', (cause: unknown) => {
      const outOfMemory = codeOf(cause) === 'ERR_WORKER_OUT_OF_MEMORY';
      const needs = `${running ?? 'it'} needs more than ${HEAP_MEGABYTES} MiB of heap`;
      const why = outOfMemory ? needs : `${running === null ? 'its thread' : running} failed: ${messageOf(cause)}`;
      outcome ??= () => reject(new ServeError('INTERNAL', `${order.folder} cannot be imported: ${why}`, { cause }));
    });
    thread.on('exit', (code) => {
      signal.removeEventListener('abort', onAbort);
      watch?.[Symbol.dispose]();
      const who = running === null ? 'its thread' : `${running} ended its thread, which`;
      if (outcome) outcome();
      else reject(new ServeError('INTERNAL', `${order.folder} cannot be imported: ${who} left with code ${code}`));
    });
  });
}

/** A disk without room is told apart by its cause. */
function failureOf({ code, message, diskFull }: Extract<FromImportThread, { readonly type: 'failed' }>): ServeError {
  return new ServeError(code, message, diskFull ? { cause: Object.assign(new Error(message), { code: 'ENOSPC' }) } : {});
}
