import { type Refusal, sizeRefusal } from './admission.ts';
import type { HeldRequest, Piece } from './held-request.ts';
import type { Lane } from './lane.ts';

/** Pieces that leave a lane together. */
export interface FormedBatch {
  readonly pieces: readonly Piece[];
  /** Sum of their rows; 0 for a request that cannot share a batch. */
  readonly rows: number;
  /** The last piece was cut off a request of which the rest is still in the lane. */
  readonly cut: boolean;
}

/** The transport's bound on a batch, and where requests go that no batch can carry. */
export interface FormOptions {
  /** What one message of the transport can carry: a request beyond it can never be sent. */
  readonly maxMessageBytes: number;
  /** Called for a request at the head that cannot be sent; it must leave the lane before this returns. */
  readonly reject: (request: HeldRequest, refusal: Refusal, nowMs: number) => void;
}

/**
 * Takes the next batch from a lane's head, within the limits of its servable, cutting the last request where splitting is on. Requests
 * whose deadline has come, or that no batch can carry, are handed to `reject` on the way. Undefined when nothing is left to send.
 */
export function formBatch(lane: Lane, nowMs: number, { maxMessageBytes, reject }: FormOptions): FormedBatch | undefined {
  const { limits, batching } = lane.group;
  const alone = lane === lane.group.suspects;
  const pieces: Piece[] = [];
  let rows = 0;
  let bytes = lane.headerBytes;
  let cut = false;
  for (;;) {
    const piece = lane.first();
    if (piece === undefined) break;
    const { request } = piece;
    const refusal = overdueRefusal(request, nowMs) ?? fitRefusal(request, maxMessageBytes) ?? sizeRefusal(piece.rowCount, batching);
    if (refusal !== null) {
      reject(request, refusal, nowMs);
      continue;
    }
    const shares = limits.maxRows > 0 && piece.rowCount > 0;
    if (pieces.length > 0 && (!shares || bytes + request.bytes > limits.maxBytes)) break;
    const room = limits.maxRows - rows;
    if (shares && piece.rowCount > room) {
      if (room > 0 && batching?.enableLargeBatchSplitting === true) {
        pieces.push(lane.cutFirst(piece, room));
        rows += room;
        cut = true;
      }
      break;
    }
    lane.takeFirst(piece);
    pieces.push(piece);
    rows += shares ? piece.rowCount : 0;
    bytes += request.bytes;
    if (!shares || alone) break;
  }
  return pieces.length === 0 ? undefined : { pieces, rows, cut };
}

/** What a batch frame may have in bytes on a transport with this limit: some is left for the broker's own header. */
export function maxMessageBytesOf(maxPayloadBytes: number): number {
  return maxPayloadBytes - Math.min(4096, Math.floor(maxPayloadBytes / 8));
}

/** The answer to a request whose deadline came while it was queued, in TensorFlow's words; null when it has not. */
export function overdueRefusal(request: HeldRequest, nowMs: number): Refusal | null {
  return request.deadlineMs > nowMs ? null : OVERDUE;
}

const OVERDUE: Refusal = { reason: 'deadline', code: 'DEADLINE_EXCEEDED', message: 'Timed out waiting for notification', resend: false };

function fitRefusal(request: HeldRequest, maxMessageBytes: number): Refusal | null {
  const { lane, bytes } = request;
  if (bytes + lane.headerBytes <= maxMessageBytes) return null;
  return {
    reason: 'too-large',
    code: 'INVALID_ARGUMENT',
    message: `Request of ${bytes} bytes for ${lane.group.key} does not fit one message of the mesh, which has at most ${maxMessageBytes} bytes`,
    resend: false,
  };
}
