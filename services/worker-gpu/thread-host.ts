import { Worker } from 'node:worker_threads';
import type { ExecutorHost, HostListener } from './executor-host.ts';
import type { FromThread, ThreadData } from './executor-protocol.ts';

/**
 * A run leaves hardly any garbage: tensors are in shared memory. Where the process was started without a bound (`--max-semi-space-size`), a thread's
 * young generation may grow to 128 MB, and pages that were touched once stay.
 */
const YOUNG_MEBIBYTES = 8;

/** Starts a thread of this process: the fastest place, for code that is known. */
export function startThreadHost(listener: HostListener): ExecutorHost {
  const memory = new SharedArrayBuffer(4);
  const wake = new Int32Array(memory);
  const worker = new Worker(new URL('./executor-thread.ts', import.meta.url), {
    workerData: { wake: memory } satisfies ThreadData,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
  });
  let ended = false;
  const end = (reason: string) => {
    if (ended) return;
    ended = true;
    listener.onEnd({ reason, outOfMemory: false });
  };
  worker.on('message', (message: FromThread) => {
    if (!ended) listener.onMessage(message);
  });
  worker.on('error', (error: unknown) => end(`threw ${error instanceof Error ? error.message : String(error)}`));
  worker.on('exit', (code) => end(`left with code ${code}`));
  return {
    sharesMemory: true,
    post(message) {
      worker.postMessage(message);
      Atomics.add(wake, 0, 1);
      Atomics.notify(wake, 0);
    },
    memoryBytes: () => undefined,
    async end() {
      ended = true;
      await worker.terminate();
    },
  };
}
