import { Worker } from 'node:worker_threads';

/** How often it looks, in ms. */
const LOOK_EVERY_MS = 500;

/**
 * Ends this process when the one that started it has gone, which code that never returns would not notice: a thread of its own looks. A worker
 * that is killed leaves nothing behind.
 */
export function startOrphanWatch(parentId: number): void {
  const watch = new Worker(
    `const { workerData: { parentId, everyMs } } = require('node:worker_threads');
     const cell = new Int32Array(new SharedArrayBuffer(4));
     for (;;) {
       Atomics.wait(cell, 0, 0, everyMs);
       if (process.ppid !== parentId) process.kill(process.pid, 'SIGKILL');
     }`,
    {
      eval: true,
      name: 'orphan watch',
      workerData: { parentId, everyMs: LOOK_EVERY_MS },
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    },
  );
  watch.unref();
}
