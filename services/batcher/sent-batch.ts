import type { BatchId, MemberId } from '#mesh/ids.ts';
import type { BatchFrame, BatchPart } from '#mesh/messages.ts';
import { paddedRows } from './batch-policy.ts';
import type { Piece } from './held-request.ts';
import type { Lane } from './lane.ts';
import type { Slot } from './workers.ts';

/** A batch under way. */
export interface SentBatch {
  readonly id: BatchId;
  readonly slot: Slot;
  readonly lane: Lane;
  readonly pieces: readonly Piece[];
  /** Rows, or 1 for a request that does not share a batch. */
  readonly units: number;
  readonly sentMs: number;
  /** Its one request is a suspect: the worker executes it while nothing else is. */
  readonly solo: boolean;
  /** With `solo`: the worker has said that it executes it now. */
  begun: boolean;
}

/** A batch as it travels; `rows` 0: its one request does not share it. */
export function frameOf(batcherId: MemberId, { id: batchId, slot, lane, pieces, sentMs, solo }: SentBatch, rows: number): BatchFrame {
  const { id: servable, batching } = slot.group;
  const parts: BatchPart[] = [];
  for (const { request, rowStart, rowCount } of pieces) {
    parts.push({
      gatewayId: request.gateway.id,
      requestId: request.requestId,
      rowStart: rows === 0 ? 0 : rowStart,
      rowCount: rows === 0 ? 0 : rowCount,
      totalRows: rows === 0 ? 0 : request.rows,
      budgetMs: request.deadlineMs - sentMs,
      queuedMs: sentMs - request.arrivedMs,
      traceparent: request.partTraceparent,
      callers: request.callers,
      body: request.body,
    });
  }
  // Suspects of several lanes share one queue, but never a batch: the first piece's lane is that of all pieces.
  const { signature, outputs } = pieces[0]?.request.lane ?? lane;
  const executeRows = rows === 0 ? 0 : paddedRows(rows, batching?.allowedBatchSizes ?? []);
  const padRagged = rows > 0 && batching?.padVariableLengthInputs === true;
  return { batcherId, batchId, servable, signature, outputs, executeRows, padRagged, alone: solo, parts };
}
