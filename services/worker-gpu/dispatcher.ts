import type { Executor } from './executor.ts';
import type { ModelKey } from './executor-protocol.ts';

/** Work that waits for an executor. */
export interface Waiting {
  readonly model: ModelKey;
  /** Where it may run; read anew at each try. */
  readonly executors: readonly Executor[];
  /** Called once, with an executor that can take it now; runs on it, or finds there is nothing left to do. */
  start(executor: Executor): void;
  /** Called instead when it can never run. */
  refuse(): void;
}

/** Gives waiting work to executors, first come first served, each to the idlest executor that can take it. */
export interface Dispatcher {
  /** Work not started yet. */
  readonly waiting: number;
  submit(work: Waiting): void;
  /** Something may be able to run now. */
  pump(): void;
  /** Takes all waiting work of a servable out, unstarted. */
  withdraw(model: ModelKey): readonly Waiting[];
}

/** Makes a dispatcher. Work whose executors are busy does not hold up work behind it that can run elsewhere. */
export function createDispatcher(): Dispatcher {
  let queue: Waiting[] = [];
  let pumping = false;

  function pump(): void {
    if (pumping || queue.length === 0) return;
    pumping = true;
    try {
      for (let index = 0; index < queue.length; ) {
        const work = queue[index];
        const executor = work && idlest(work);
        if (work && executor) {
          queue.splice(index, 1);
          work.start(executor);
        } else index++;
      }
    } finally {
      pumping = false;
    }
  }

  return {
    get waiting() {
      return queue.length;
    },
    submit(work) {
      queue.push(work);
      pump();
    },
    pump,
    withdraw(model) {
      const taken = queue.filter((work) => work.model === model);
      queue = queue.filter((work) => work.model !== model);
      return taken;
    },
  };
}

/**
 * The executor with least to do; one that loads something comes after all that do not, since the batch would wait for the load. Code of users
 * may load for long, or for ever: then it rather waits for a busy one.
 */
function idlest(work: Waiting): Executor | undefined {
  let best: Executor | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const executor of work.executors) {
    if (!executor.canTake(work.model)) continue;
    if (executor.kind === 'guarded' && executor.loading > 0 && work.executors.some(({ loading }) => loading === 0)) continue;
    const load = executor.inFlight + 100 * executor.loading;
    if (load < least) {
      least = load;
      best = executor;
    }
  }
  return best;
}
