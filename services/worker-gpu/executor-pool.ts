import { availableParallelism } from 'node:os';
import type { Executor } from './executor.ts';

/** The executors of a worker: a few that small servables share, and dedicated ones for big servables. */
export interface ExecutorPool extends AsyncDisposable {
  /** How many shared ones there are. */
  readonly sharedCount: number;
  /** `count` executors: shared ones (at most all of them, those that hold least first), or new ones. */
  take(kind: Executor['kind'], count: number): readonly Executor[];
  /** Gives an executor back. A dedicated one ends, which returns its memory; a shared one stays. */
  release(executor: Executor): Promise<void>;
}

/** The processors this process may use. */
export function processorCount(): number {
  return availableParallelism();
}

/** Makes a pool. Threads start when something is loaded on them. */
export function createExecutorPool(sharedCount: number, make: (kind: Executor['kind']) => Executor): ExecutorPool {
  const shared = Array.from({ length: sharedCount }, () => make('shared'));
  const dedicated = new Set<Executor>();
  return {
    sharedCount,
    take(kind, count) {
      if (kind === 'shared') return [...shared].sort((a, b) => a.held - b.held).slice(0, count);
      const made = Array.from({ length: count }, () => make('dedicated'));
      for (const executor of made) dedicated.add(executor);
      return made;
    },
    async release(executor) {
      if (dedicated.delete(executor)) await executor[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...shared, ...dedicated].map((executor) => executor[Symbol.asyncDispose]()));
      dedicated.clear();
    },
  };
}
