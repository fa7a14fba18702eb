import type { BatchingLimits } from '#mesh/control.ts';

/** What a lane looks like at one instant: all that its next action depends on. */
export interface LaneSnapshot {
  /** Live requests in the lane, or parts of them. */
  readonly queuedRequests: number;
  /** Rows of those; requests that cannot share a batch count 0. */
  readonly queuedRows: number;
  /** Bytes that those would take in a batch frame. */
  readonly queuedBytes: number;
  /** When the oldest of them arrived, on the batcher's clock. */
  readonly oldestArrivedMs: number;
  /** The earliest deadline among them; Infinity when none has one. */
  readonly earliestDeadlineMs: number;
  /** How long a batch of this lane takes from sending to its ready frame: a moving average, 0 when not known yet. */
  readonly executionMs: number;
  /** Ready tokens of the servable that can be spent now. */
  readonly freeTokens: number;
  /** A worker that has a free token does nothing at all for this batcher. */
  readonly idleWorker: boolean;
}

/** The bounds of one batch. */
export interface BatchLimits {
  /** Rows; 0: one request at a time (batching is off). */
  readonly maxRows: number;
  /** Bytes of parts in one batch frame. */
  readonly maxBytes: number;
  /** How long an unfilled batch waits for more requests while the workers are busy. */
  readonly delayMs: number;
}

/** Why a batch is held back no longer; the `reason` label of metrics. `full` includes a request that may not share a batch. */
export type CloseReason = 'full' | 'delay' | 'deadline' | 'idle-worker';

/** What a lane does next, decided anew by `nextAction` after anything that may have changed it. */
export type LaneAction =
  /** Nothing to do until a request arrives or a token comes back. */
  | { readonly type: 'idle' }
  /** Nothing to do before this instant, unless a request arrives or a token comes back. */
  | { readonly type: 'wait'; readonly untilMs: number }
  /** Form a batch of the requests at the head and send it now. */
  | { readonly type: 'close'; readonly reason: CloseReason };

/** Added to the execution time when a deadline is judged near: forming, sending and answering take time as well. */
const DEADLINE_MARGIN_MS = 2;

const IDLE: LaneAction = { type: 'idle' };
const FULL: LaneAction = { type: 'close', reason: 'full' };
const IDLE_WORKER: LaneAction = { type: 'close', reason: 'idle-worker' };
const DELAY: LaneAction = { type: 'close', reason: 'delay' };
const DEADLINE: LaneAction = { type: 'close', reason: 'deadline' };

/**
 * Decides what a lane does next. Stateless and idempotent: the same snapshot at the same time always gives the same action, so every rule is
 * a row in a test. Rules in order: nothing to send or no token to spend; a full batch (one request, when batching is off); a worker with
 * nothing to do; the oldest request has waited `delayMs`; a deadline would be missed by waiting longer; wait for the earlier of the two.
 */
export function nextAction(lane: LaneSnapshot, limits: BatchLimits, nowMs: number): LaneAction {
  if (lane.queuedRequests === 0 || lane.freeTokens <= 0) return IDLE;
  if (limits.maxRows === 0 || lane.queuedRows >= limits.maxRows || lane.queuedBytes >= limits.maxBytes) return FULL;
  if (lane.idleWorker) return IDLE_WORKER;
  const delayOverMs = lane.oldestArrivedMs + limits.delayMs;
  if (nowMs >= delayOverMs) return DELAY;
  const lastCallMs = lane.earliestDeadlineMs - lane.executionMs - DEADLINE_MARGIN_MS;
  if (nowMs >= lastCallMs) return DEADLINE;
  return { type: 'wait', untilMs: Math.min(delayOverMs, lastCallMs) };
}

/** The bounds of one batch of a servable; `batching` null: off. With splitting, batches are formed at the size of execution. */
export function limitsOf(batching: BatchingLimits | null, maxBytes: number): BatchLimits {
  if (batching === null) return { maxRows: 0, maxBytes, delayMs: 0 };
  return { maxRows: executionRows(batching), maxBytes, delayMs: batching.batchTimeoutMicros / 1000 };
}

/** The most rows of one executed batch. */
export function executionRows(batching: BatchingLimits): number {
  if (!batching.enableLargeBatchSplitting || batching.maxExecutionBatchSize <= 0) return batching.maxBatchSize;
  return Math.min(batching.maxBatchSize, batching.maxExecutionBatchSize);
}

/** Rows to execute for a batch of `rows`: the next allowed batch size, or `rows` when there is none. */
export function paddedRows(rows: number, allowedBatchSizes: readonly number[]): number {
  for (const size of allowedBatchSizes) if (size >= rows) return size;
  return rows;
}
