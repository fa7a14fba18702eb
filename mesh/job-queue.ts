/**
 * Work that takes seconds to minutes: checking and importing models. The contract, held by `test/contract/job-queue.contract.ts`:
 *
 * - A job has a caller-chosen id; adding an id that is waiting, running or finished (and not removed) returns the existing job.
 * - A job runs on one of the workers that called `work` for its queue; when that worker dies, another runs it again. So a job must be idempotent.
 * - A handler that throws fails the attempt; it is tried again up to `attempts` times, then the job has failed with the last error's text.
 * - Progress is a whole percentage plus a word for people.
 */
export interface JobQueue extends AsyncDisposable {
  /** Adds a job, or finds the one with this id. `payload` and the result are JSON. */
  add(job: JobRequest): Promise<void>;
  /** What became of a job; null when there is no job of this id. */
  find(queue: string, id: string): Promise<JobState | null>;
  /** Waits until the job has ended, one way or the other. Rejects with the signal's reason when it aborts, NOT_FOUND without such a job. */
  wait(queue: string, id: string, signal: AbortSignal): Promise<JobState>;
  /** Forgets a job that has ended, so that its id can run again. */
  remove(queue: string, id: string): Promise<void>;
  /** Runs jobs of a queue here, `concurrency` at a time, until disposed; disposal waits for those under way (at most 10 s). */
  work(queue: string, concurrency: number, handler: JobHandler): AsyncDisposable;
}

/** A job to be done once. */
export interface JobRequest {
  readonly queue: string;
  readonly id: string;
  readonly payload: unknown;
  /** Attempts in all; default 1. */
  readonly attempts?: number;
}

/** Does a job; its result is JSON. May run again after a crash. */
export type JobHandler = (job: RunningJob) => Promise<unknown>;

/** A job as its handler sees it. */
export interface RunningJob {
  readonly id: string;
  readonly payload: unknown;
  /** Aborts when the worker is being disposed. */
  readonly signal: AbortSignal;
  progress(percent: number, doing: string): void;
}

/** What became of a job. */
export type JobState =
  | { readonly type: 'waiting' }
  | { readonly type: 'running'; readonly percent: number; readonly doing: string }
  | { readonly type: 'done'; readonly result: unknown }
  | { readonly type: 'failed'; readonly message: string };
