import type { AssignedServable, BatchingLimits } from '#mesh/control.ts';
import type { ServableId } from '#mesh/ids.ts';
import type { Executor } from './executor.ts';
import { type ModelKey, SLOTS_PER_EXECUTOR } from './executor-protocol.ts';
import type { UserCode } from './platforms.ts';
import type { ModelDescription } from './runtime.ts';

/** A loaded servable: where it runs and who uses it. */
export interface Servable {
  readonly id: ServableId;
  readonly generation: number;
  readonly model: ModelKey;
  readonly description: ModelDescription;
  readonly estimatedBytes: number;
  /** The code of users that it runs; null: none. */
  readonly userCode: UserCode | null;
  /** The batching in force; null: one request at a time. May be changed while it serves. */
  batching: BatchingLimits | null;
  /** Where it can run. Shrinks when an executor cannot load it again after a death. */
  readonly executors: readonly Executor[];
  /** Batches it takes at once from each batcher; see `tokensOf`. */
  readonly tokens: number;
  /** False once it was closed: what still waits for it will never run. */
  readonly usable: boolean;
  /** Pins it until the returned handle is disposed. */
  pin(): Disposable;
  /** Resolves when nothing pins it. */
  idle(): Promise<void>;
  /** Gives its memory back. Nobody may run it any more. */
  close(): Promise<void>;
}

/** What a servable is made of. */
export interface ServableParts {
  readonly assigned: AssignedServable;
  readonly model: ModelKey;
  readonly description: ModelDescription;
  readonly estimatedBytes: number;
  readonly userCode: UserCode | null;
  readonly batching: BatchingLimits | null;
  readonly executors: readonly Executor[];
  readonly close: () => Promise<void>;
}

/** Makes a servable of what a load brought. */
export function createServable(parts: ServableParts): Servable {
  let pins = 0;
  let usable = true;
  let whenIdle: (() => void)[] = [];
  const servable: Servable = {
    id: parts.assigned.id,
    generation: parts.assigned.generation,
    model: parts.model,
    description: parts.description,
    estimatedBytes: parts.estimatedBytes,
    userCode: parts.userCode,
    batching: parts.batching,
    executors: parts.executors,
    get tokens() {
      return tokensOf(parts.executors.length, servable.batching?.numBatchThreads ?? 0);
    },
    get usable() {
      return usable;
    },
    pin() {
      pins++;
      let pinned = true;
      return {
        [Symbol.dispose]() {
          if (!pinned) return;
          pinned = false;
          if (--pins > 0) return;
          for (const resolve of whenIdle) resolve();
          whenIdle = [];
        },
      };
    },
    idle: () => (pins === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
    close() {
      usable = false;
      return parts.close();
    },
  };
  return servable;
}

/**
 * Batches at once on so many executors: one running and one ready on each. With `numBatchThreads` no more than that run, and one more is ready, so
 * that no executor waits for it to be made; fewer than there are executors are all, since what is ready on an idle executor runs. 0: not said.
 */
export function tokensOf(executorCount: number, numBatchThreads: number): number {
  const slots = executorCount * SLOTS_PER_EXECUTOR;
  if (numBatchThreads === 0) return slots;
  return numBatchThreads < executorCount ? numBatchThreads : Math.min(slots, numBatchThreads + 1);
}
