import type { Clock } from './clock.ts';
import { ServeError, toServeError } from './errors.ts';
import type { JobHandler, JobQueue, JobRequest, JobState } from './job-queue.ts';

interface Job {
  readonly request: JobRequest;
  state: JobState;
  failures: number;
  readonly waiters: Set<() => void>;
}

interface Worker {
  readonly handler: JobHandler;
  readonly concurrency: number;
  readonly running: Set<Promise<void>>;
  readonly stopping: AbortController;
}

interface Queue {
  readonly jobs: Map<string, Job>;
  readonly workers: Set<Worker>;
}

/** How long disposing a worker waits for the jobs under way. */
export const WORKER_STOP_MS = 10_000;

/** A job queue inside the process, for the embedded mesh and for tests. Payloads and results pass through JSON, as they would elsewhere. */
export function createMemoryJobQueue({ clock }: { readonly clock: Clock }): JobQueue {
  const queues = new Map<string, Queue>();
  const queueOf = (name: string): Queue => {
    const queue = queues.get(name) ?? { jobs: new Map(), workers: new Set() };
    queues.set(name, queue);
    return queue;
  };

  function change(job: Job, state: JobState): void {
    job.state = state;
    for (const waiter of [...job.waiters]) waiter();
  }

  /** Hands waiting jobs, oldest first, to workers with room. */
  function dispatch(queue: Queue): void {
    for (const worker of queue.workers) {
      for (const job of queue.jobs.values()) {
        if (worker.running.size >= worker.concurrency) break;
        if (job.state.type !== 'waiting') continue;
        change(job, { type: 'running', percent: 0, doing: '' });
        const run = runOn(worker, job).finally(() => {
          worker.running.delete(run);
          dispatch(queue);
        });
        worker.running.add(run);
      }
    }
  }

  async function runOn(worker: Worker, job: Job): Promise<void> {
    // The handler starts in a later turn: `add` and `work` return before any job of theirs has begun.
    await Promise.resolve();
    try {
      const result = await worker.handler({
        id: job.request.id,
        payload: copyJson(job.request.payload),
        signal: worker.stopping.signal,
        progress: (percent, doing) => change(job, { type: 'running', percent, doing }),
      });
      change(job, { type: 'done', result: copyJson(result) });
    } catch (caught) {
      // A handler that gave up because its worker leaves has not failed: another worker takes the job.
      if (worker.stopping.signal.aborted) return change(job, { type: 'waiting' });
      job.failures++;
      change(
        job,
        job.failures < (job.request.attempts ?? 1) ? { type: 'waiting' } : { type: 'failed', message: toServeError(caught).message },
      );
    }
  }

  return {
    async add(request) {
      const queue = queueOf(request.queue);
      if (queue.jobs.has(request.id)) return;
      queue.jobs.set(request.id, {
        request: { ...request, payload: copyJson(request.payload) },
        state: { type: 'waiting' },
        failures: 0,
        waiters: new Set(),
      });
      dispatch(queue);
    },
    async find(queue, id) {
      return queueOf(queue).jobs.get(id)?.state ?? null;
    },
    wait(queue, id, signal) {
      const job = queueOf(queue).jobs.get(id);
      if (job === undefined) return Promise.reject(noSuchJob(queue, id));
      return new Promise((resolve, reject) => {
        const look = () => {
          if (job.state.type === 'done' || job.state.type === 'failed') settle(() => resolve(job.state));
        };
        const onAbort = () => settle(() => reject(signal.reason));
        function settle(finish: () => void): void {
          job?.waiters.delete(look);
          signal.removeEventListener('abort', onAbort);
          finish();
        }
        if (signal.aborted) return reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        job.waiters.add(look);
        look();
      });
    },
    async remove(queue, id) {
      const state = queueOf(queue).jobs.get(id)?.state.type;
      if (state === 'waiting' || state === 'running') throw notEnded(queue, id, state);
      queueOf(queue).jobs.delete(id);
    },
    work(name, concurrency, handler) {
      const queue = queueOf(name);
      const worker: Worker = { handler, concurrency, running: new Set(), stopping: new AbortController() };
      queue.workers.add(worker);
      dispatch(queue);
      return {
        async [Symbol.asyncDispose]() {
          queue.workers.delete(worker);
          worker.stopping.abort(workerStops());
          const bound = new AbortController();
          const late = clock.sleep(WORKER_STOP_MS, bound.signal).catch(() => {});
          await Promise.race([Promise.allSettled(worker.running), late]);
          bound.abort();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      queues.clear();
    },
  };
}

/** The error of waiting for a job that was never added, or was removed. */
export function noSuchJob(queue: string, id: string): ServeError {
  return new ServeError('NOT_FOUND', `the queue ${queue} has no job ${id}`);
}

/** The error of removing a job that has not ended. */
export function notEnded(queue: string, id: string, state: string): ServeError {
  return new ServeError('FAILED_PRECONDITION', `job ${id} of the queue ${queue} is ${state}: only a job that has ended can be removed`);
}

/** Why a running job's signal aborts. */
export function workerStops(): ServeError {
  return new ServeError('CANCELLED', 'the worker of this job is stopping');
}

function copyJson(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}
