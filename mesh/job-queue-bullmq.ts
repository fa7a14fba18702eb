import { createHash } from 'node:crypto';
import { type Job, Queue, QueueEvents, WaitingError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { type Clock, createSystemClock } from './clock.ts';
import { ServeError, toServeError } from './errors.ts';
import type { JobQueue, JobState } from './job-queue.ts';
import { noSuchJob, notEnded, WORKER_STOP_MS, workerStops } from './job-queue-memory.ts';

/** Where the queue keeps its jobs, and how long it waits for Redis and for a silent worker. Fixed while the process runs. */
export interface BullJobQueueOptions {
  /** Such as `redis://127.0.0.1:6379`. */
  readonly url: string;
  /** What every key starts with: separates meshes that share a Redis. */
  readonly prefix: string;
  readonly clock: Clock;
  /** Hears of lost connections and of jobs that came back from a dead worker. The queue reconnects by itself. */
  readonly onTrouble: (trouble: Error) => void;
  /** A running job whose worker has not renewed its lock for this long goes to another worker; default 15,000 ms. */
  readonly lockMs?: number;
  /** The bound of `add`, `find` and `remove`; default 2000 ms. */
  readonly timeoutMs?: number;
}

/** What BullMQ keeps of a job of ours: its own ids may hold neither `:` nor be numbers, so ours travels beside them. */
interface JobData {
  readonly id: string;
  readonly payload: unknown;
}

/** Ended jobs that are kept for `find`, so that Redis cannot fill with them. */
const KEEP_ENDED = 10_000;

/** How often a waiting caller looks for itself, in case an event was lost with a connection. */
const RECHECK_MS = 1000;

/** A job queue in Redis. */
export function createBullJobQueue(options: BullJobQueueOptions): JobQueue {
  const { url, clock, onTrouble, lockMs = 15_000, timeoutMs = 2000 } = options;
  const prefix = `{${options.prefix}}:jobs`;
  const retryStrategy = (attempt: number) => Math.min(50 * attempt, 1000);
  // Workers and event streams block on Redis and wait for it as long as it takes; questions of ours are bounded instead.
  const patient = { url, maxRetriesPerRequest: null, retryStrategy };
  // The connection of our own questions, shared by all queues. It is ours to end: a Queue that closes before Redis was ever there would not.
  const asking = new Redis(url, { maxRetriesPerRequest: 1, retryStrategy });
  asking.on('error', onTrouble);
  const queues = new Map<string, Queue<JobData>>();
  const events = new Map<string, QueueEvents>();
  const workers = new Set<AsyncDisposable>();

  function queueOf(name: string): Queue<JobData> {
    let queue = queues.get(name);
    if (queue === undefined) {
      queue = new Queue<JobData>(name, { connection: asking, prefix });
      queue.on('error', onTrouble);
      queues.set(name, queue);
    }
    return queue;
  }

  function eventsOf(name: string): QueueEvents {
    let stream = events.get(name);
    if (stream === undefined) {
      stream = new QueueEvents(name, { connection: patient, prefix });
      // Each `wait` listens on its own.
      stream.setMaxListeners(0);
      stream.on('error', onTrouble);
      events.set(name, stream);
    }
    return stream;
  }

  /** Runs one question to Redis within the bound. */
  async function bounded<Answer>(doing: Promise<Answer>): Promise<Answer> {
    const bound = new AbortController();
    const late = clock.sleep(timeoutMs, bound.signal).then(() => {
      throw new ServeError('UNAVAILABLE', `the job queue in Redis did not answer within ${timeoutMs} ms`);
    });
    try {
      return await Promise.race([doing, late]);
    } catch (caught) {
      if (caught instanceof ServeError) throw caught;
      throw new ServeError('UNAVAILABLE', `the job queue in Redis cannot be reached: ${toServeError(caught).message}`, { cause: caught });
    } finally {
      late.catch(() => {});
      doing.catch(() => {});
      bound.abort();
    }
  }

  async function stateOf(queue: string, id: string): Promise<JobState | null> {
    const job = await queueOf(queue).getJob(jobIdOf(id));
    if (!job) return null;
    const state = await job.getState();
    if (state === 'completed') {
      // The copy read above may be from before the end: the result is read again.
      const ended = await queueOf(queue).getJob(jobIdOf(id));
      return ended ? { type: 'done', result: ended.returnvalue ?? null } : null;
    }
    if (state === 'failed') {
      const ended = await queueOf(queue).getJob(jobIdOf(id));
      return ended ? { type: 'failed', message: ended.failedReason } : null;
    }
    if (state === 'active') {
      const progress = job.progress as { readonly percent?: number; readonly doing?: string } | number;
      if (typeof progress === 'number') return { type: 'running', percent: progress, doing: '' };
      return { type: 'running', percent: progress.percent ?? 0, doing: progress.doing ?? '' };
    }
    return state === 'unknown' ? null : { type: 'waiting' };
  }

  async function runJob(job: Job<JobData>, token: string | undefined, signal: AbortSignal, handler: Parameters<JobQueue['work']>[2]) {
    try {
      const result = await handler({
        id: job.data.id,
        payload: job.data.payload,
        signal,
        progress: (percent, doing) => {
          job.updateProgress({ percent, doing }).catch(onTrouble);
        },
      });
      return result ?? null;
    } catch (caught) {
      if (!signal.aborted) throw caught;
      // A handler that gave up because its worker leaves has not failed: another worker takes the job.
      await job.moveToWait(token);
      throw new WaitingError();
    }
  }

  return {
    async add({ queue, id, payload, attempts = 1 }) {
      const kept = { attempts, removeOnComplete: { count: KEEP_ENDED }, removeOnFail: { count: KEEP_ENDED } };
      await bounded(queueOf(queue).add(queue, { id, payload }, { jobId: jobIdOf(id), ...kept }));
    },
    find: (queue, id) => bounded(stateOf(queue, id)),
    async wait(queue, id, signal) {
      signal.throwIfAborted();
      const stream = eventsOf(queue);
      let wake = () => {};
      const onEvent = ({ jobId }: { readonly jobId: string }) => jobId === jobIdOf(id) && wake();
      stream.on('completed', onEvent);
      stream.on('failed', onEvent);
      try {
        for (;;) {
          const woken = new AbortController();
          wake = () => woken.abort();
          const state = await bounded(stateOf(queue, id)).catch((caught) => {
            // While Redis is away nothing is known of the job: the caller's signal bounds the wait.
            if (toServeError(caught).code !== 'UNAVAILABLE') throw caught;
            return { type: 'waiting' } as const;
          });
          if (state === null) throw noSuchJob(queue, id);
          if (state.type === 'done' || state.type === 'failed') return state;
          await clock.sleep(RECHECK_MS, AbortSignal.any([signal, woken.signal])).catch(() => {});
          signal.throwIfAborted();
        }
      } finally {
        stream.off('completed', onEvent);
        stream.off('failed', onEvent);
      }
    },
    async remove(queue, id) {
      const state = await bounded(stateOf(queue, id));
      if (state === null) return;
      if (state.type === 'waiting' || state.type === 'running') throw notEnded(queue, id, state.type);
      await bounded(queueOf(queue).remove(jobIdOf(id)));
    },
    work(name, concurrency, handler) {
      const stopping = new AbortController();
      const worker = new Worker<JobData>(name, (job, token) => runJob(job, token, stopping.signal, handler), {
        connection: patient,
        prefix,
        concurrency,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        // A job that outlives several workers is not at fault: processes come and go. `attempts` bounds what it may fail by itself.
        maxStalledCount: 100,
      });
      worker.on('error', onTrouble);
      const work: AsyncDisposable = {
        async [Symbol.asyncDispose]() {
          if (!workers.delete(work)) return;
          stopping.abort(workerStops());
          const bound = new AbortController();
          const late = clock.sleep(WORKER_STOP_MS, bound.signal).then(
            () => worker.close(true),
            () => {},
          );
          await Promise.race([worker.close(), late]);
          bound.abort();
        },
      };
      workers.add(work);
      return work;
    },
    async [Symbol.asyncDispose]() {
      for (const work of [...workers]) await work[Symbol.asyncDispose]();
      const open = [...queues.values(), ...events.values()];
      queues.clear();
      events.clear();
      const bound = new AbortController();
      await Promise.race([Promise.allSettled(open.map((one) => one.close())), clock.sleep(timeoutMs, bound.signal).catch(() => {})]);
      bound.abort();
      asking.disconnect();
    },
  };
}

/** BullMQ's id of a job. */
function jobIdOf(id: string): string {
  return `job-${createHash('sha256').update(id).digest('hex')}`;
}

/**
 * Opens the job queue of a mesh. Does not wait for Redis: what is asked while it is away is refused as UNAVAILABLE, which is also how lost
 * connections show when nobody listens to them.
 */
export async function connectBullMq(url: string, meshName: string, onTrouble: (trouble: Error) => void = () => {}): Promise<JobQueue> {
  return createBullJobQueue({ url, prefix: meshName, clock: createSystemClock(), onTrouble });
}
