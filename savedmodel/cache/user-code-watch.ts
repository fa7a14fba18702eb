/** Holds user code that a thread runs to a time and a memory limit, from outside of the thread. */
import type { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '#mesh/clock.ts';
import { ServeError } from '#mesh/errors.ts';

/** What bounds user code on a thread. */
export interface UserCodeBounds {
  readonly clock: Clock;
  /** How long one piece of it may run, in ms. */
  readonly callMs: number;
  /** Heap and buffers that the thread may gain meanwhile, in bytes. */
  readonly memoryBytes: number;
}

/** Watches one thread. Disposing it ends the watch. */
export interface UserCodeWatch extends Disposable {
  /** The code that runs from now on; null: none. */
  running(name: string | null): void;
}

/** How often memory is looked at while user code runs. */
const LOOK_MS = 50;

/** Makes a watch. `onBreach` is called once, at the first limit that is broken; whoever hears it ends the thread. */
export function watchUserCode(thread: Worker, bounds: UserCodeBounds, onBreach: (error: ServeError) => void): UserCodeWatch {
  const { clock, callMs, memoryBytes } = bounds;
  let deadline: Timer | undefined;
  let look: Timer | undefined;
  let done = false;

  function stop(): void {
    deadline?.[Symbol.dispose]();
    look?.[Symbol.dispose]();
    deadline = undefined;
    look = undefined;
  }

  function breach(error: ServeError): void {
    if (done) return;
    done = true;
    stop();
    onBreach(error);
  }

  async function watchMemory(name: string, started: Timer, before: number | undefined): Promise<void> {
    const used = await usedBytes(thread);
    // It has ended, or something else runs.
    if (used === undefined || deadline !== started || done) return;
    const gained = used - (before ?? used);
    if (gained > memoryBytes) {
      const text = `${name} took ${gained} bytes of memory, ${memoryBytes} is the limit (--user_code_memory_limit_bytes)`;
      breach(new ServeError('RESOURCE_EXHAUSTED', text));
      return;
    }
    look = clock.schedule(LOOK_MS, () => void watchMemory(name, started, before ?? used));
  }

  return {
    running(name) {
      if (done) return;
      stop();
      if (name === null) return;
      deadline = clock.schedule(callMs, () => {
        breach(new ServeError('DEADLINE_EXCEEDED', `${name} did not end within ${callMs} ms (--user_code_call_limit_ms)`));
      });
      void watchMemory(name, deadline, undefined);
    },
    [Symbol.dispose]() {
      done = true;
      stop();
    },
  };
}

/** Heap and buffers of a thread; undefined when it has ended. */
async function usedBytes(thread: Worker): Promise<number | undefined> {
  try {
    const { used_heap_size: heap, external_memory: buffers } = await thread.getHeapStatistics();
    return heap + buffers;
  } catch {
    return undefined;
  }
}
