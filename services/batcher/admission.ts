import type { BatchingLimits } from '#mesh/control.ts';
import type { StatusCode } from '#mesh/errors.ts';
import { executionRows } from './batch-policy.ts';

/** Why a request is refused or given up; the `reason` label of metrics. */
export type RefusalReason =
  | 'too-large'
  | 'lane-full'
  | 'bytes-full'
  | 'draining'
  | 'deadline'
  | 'too-late'
  | 'no-worker'
  | 'quarantined'
  | 'crashed'
  | 'stateful'
  | 'transport';

/** An error answer of the batcher itself. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly code: StatusCode;
  readonly message: string;
  /** Another batcher may succeed at once: the gateway may resend. */
  readonly resend: boolean;
}

/** The request that asks to enter and the lane as it is at that instant: all that admission depends on. */
export interface AdmissionQuestion {
  readonly rows: number;
  readonly queuedRequests: number;
  readonly queuedRows: number;
  /** Null: batching is off. */
  readonly batching: BatchingLimits | null;
  /** Requests that a lane without batching may hold. */
  readonly maxQueuedRequests: number;
}

/**
 * Decides whether a lane takes one more request; null: it does. Texts and bounds are those of TensorFlow's `shared_batch_scheduler.h`
 * (`ValidateBatchTaskQueueCapacity`), so that clients that match on them keep working.
 */
export function refusalOf(question: AdmissionQuestion): Refusal | null {
  const { rows, queuedRequests, queuedRows, batching, maxQueuedRequests } = question;
  if (batching === null || rows === 0) {
    if (queuedRequests < maxQueuedRequests) return null;
    return laneFull(`currently ${queuedRequests} requests enqueued and batcher_max_queued_requests is ${maxQueuedRequests}`);
  }
  const tooLarge = sizeRefusal(rows, batching);
  if (tooLarge) return tooLarge;
  const batchRows = executionRows(batching);
  const capacity = Math.max(0, batching.maxEnqueuedBatches * batchRows - queuedRows);
  if (rows <= capacity) return null;
  const queuedBatches = Math.ceil(queuedRows / batchRows);
  if (!batching.enableLargeBatchSplitting)
    return laneFull(`currently ${queuedBatches} batches enqueued and max_enqueued_batches is ${batching.maxEnqueuedBatches}`);
  return laneFull(
    `task size is ${rows} but scheduling capacity is only ${capacity} (num_enqueued_batches=${queuedBatches}, max_enqueued_batches=${batching.maxEnqueuedBatches}, open_batch_size=${queuedRows % batchRows}, max_execution_batch_size=${batchRows})`,
  );
}

/** Refuses a request with more rows than a batch may have, unless it may be split. */
export function sizeRefusal(rows: number, batching: BatchingLimits | null): Refusal | null {
  if (batching === null || batching.enableLargeBatchSplitting || rows <= batching.maxBatchSize) return null;
  return {
    reason: 'too-large',
    code: 'INVALID_ARGUMENT',
    message: `Task size ${rows} is larger than maximum input batch size ${batching.maxBatchSize}`,
    resend: false,
  };
}

function laneFull(detail: string): Refusal {
  return {
    reason: 'lane-full',
    code: 'UNAVAILABLE',
    message: `The batch scheduling queue to which this task was submitted is full; ${detail}`,
    resend: false,
  };
}
