import type { Span } from '@opentelemetry/api';
import type { IdTable } from '#mesh/id-table.ts';
import type { MemberId, RequestId } from '#mesh/ids.ts';
import type { SubmittedRequest } from '#mesh/messages.ts';
import type { Crash } from './crash-record.ts';
import type { Lane } from './lane.ts';
import type { Worker } from './workers.ts';

/** What the batcher knows of one gateway: the requests it holds for it, so that a resent one is not queued twice. */
export interface GatewayBook {
  readonly id: MemberId;
  readonly requests: IdTable<RequestId, HeldRequest>;
}

/** A request from its arrival until it is answered, cancelled or given up. */
export interface HeldRequest {
  /** Counts arrivals over all lanes: the order in which requests are put back. */
  readonly sequence: number;
  readonly gateway: GatewayBook;
  readonly requestId: RequestId;
  /** The lane it arrived in. While it is a suspect, its pieces queue in the suspects' lane of the same servable instead. */
  readonly lane: Lane;
  /** Rows as submitted; 0 when it cannot share a batch. */
  readonly rows: number;
  readonly arrivedMs: number;
  readonly deadlineMs: number;
  /** When it was expected to be answered, at its arrival; null once it was put back, which nobody could expect. */
  expectedMs: number | null;
  /** Bytes that it, or any part of it, takes in a batch frame. */
  readonly bytes: number;
  /** The traceparent it came with. */
  readonly traceparent: string;
  /** The servables that wait for its answer. */
  readonly callers?: readonly string[] | undefined;
  /** What its parts carry on: the queue span's traceparent, or its own without tracing. */
  partTraceparent: string;
  /** The span of its time in the lane; null without tracing, or once ended. */
  span: Span | null;
  body: Uint8Array;
  /** It was in a batch whose worker died: it is executed alone from now on, and answered INTERNAL when that ends a worker too. */
  suspect: boolean;
  /** The losses of workers that were executing it. */
  crashes: readonly Crash[];
  /** Answered, cancelled or given up: its pieces are skipped wherever they are. */
  done: boolean;
  /** It was cut, so that its pieces may be with several workers. */
  split: boolean;
  /** Pieces queued or sent; at 0 the request is done. */
  openPieces: number;
  queuedPieces: number;
  queuedRows: number;
  /** Where its latest piece was sent. */
  worker: Worker | null;
  /** Came again while a worker had it: see `Again`. */
  again: Again | null;
}

/**
 * A request that its gateway sent again while a worker had it. The gateway does that when the worker answered "send it again" for this
 * request while the rest of its batch goes on, or when it cannot know what became of it. So it waits until the batch returns, and is queued
 * then: two copies are never under way at once, and the first answer wins at the gateway.
 */
export interface Again {
  readonly request: SubmittedRequest;
  readonly arrivedMs: number;
}

/** Rows of one request that wait or travel together: all of them, unless the request was split. */
export interface Piece {
  readonly request: HeldRequest;
  rowStart: number;
  rowCount: number;
  /** In a lane now; false once sent, or moved to another lane. */
  queued: boolean;
}

/** Arrival order: by request, then by row. */
export function byArrival(a: Piece, b: Piece): number {
  return a.request.sequence - b.request.sequence || a.rowStart - b.rowStart;
}

/** Bytes that the names of waiting servables take in a batch frame, at most. */
export function callersBytes(callers: readonly string[] | undefined): number {
  return callers?.reduce((bytes, caller) => bytes + 4 + 3 * caller.length, 0) ?? 0;
}
