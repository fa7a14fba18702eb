import { availableParallelism } from 'node:os';
import type { Executor } from './executor.ts';

/** The executors of a worker: a few that small servables share, dedicated ones for big servables, and guarded ones for code of users. */
export interface ExecutorPool extends AsyncDisposable {
  /** How many shared ones there are. */
  readonly sharedCount: number;
  /**
   * `count` executors: shared ones (at most all of them, those that hold least first), or new ones. Guarded ones of one `group` are taken again
   * for all who name it; without a group they are new.
   */
  take(kind: Executor['kind'], count: number, group?: string): readonly Executor[];
  /** Gives an executor back. A dedicated one ends, which returns its memory, a guarded one when nobody else has it; a shared one stays. */
  release(executor: Executor): Promise<void>;
}

/** The processors this process may use. */
export function processorCount(): number {
  return availableParallelism();
}

/** Makes a pool. Threads start when something is loaded on them. */
export function createExecutorPool(sharedCount: number, make: (kind: Executor['kind']) => Executor): ExecutorPool {
  const shared = Array.from({ length: sharedCount }, () => make('shared'));
  /** Those that end when they are given back so many times. */
  const owners = new Map<Executor, number>();
  const groups = new Map<string, Executor[]>();

  function create(kind: 'dedicated' | 'guarded'): Executor {
    const executor = make(kind);
    owners.set(executor, 0);
    return executor;
  }

  function takeOwned(kind: 'dedicated' | 'guarded', count: number, group: string | undefined): readonly Executor[] {
    const members = group === undefined ? [] : (groups.get(group) ?? []);
    while (members.length < count) members.push(create(kind));
    if (group !== undefined) groups.set(group, members);
    const taken = members.slice(0, count);
    for (const executor of taken) owners.set(executor, (owners.get(executor) ?? 0) + 1);
    return taken;
  }

  return {
    sharedCount,
    take(kind, count, group) {
      if (kind === 'shared') return [...shared].sort((a, b) => a.held - b.held).slice(0, count);
      return takeOwned(kind, count, group);
    },
    async release(executor) {
      const left = (owners.get(executor) ?? 0) - 1;
      if (left > 0) owners.set(executor, left);
      else if (owners.delete(executor)) {
        for (const [group, members] of groups) {
          const others = members.filter((member) => member !== executor);
          if (others.length > 0) groups.set(group, others);
          else groups.delete(group);
        }
        await executor[Symbol.asyncDispose]();
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...shared, ...owners.keys()].map((executor) => executor[Symbol.asyncDispose]()));
      owners.clear();
    },
  };
}
