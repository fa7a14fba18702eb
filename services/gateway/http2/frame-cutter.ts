/** Cuts what a socket delivers into frames, in place where it can. */
import { ConnectionError, DEFAULT_FRAME_BYTES, ERROR, FLAG, FRAME, HEAD_BYTES } from './protocol.ts';

/** Who takes the frames. Each method may throw; what came before is done. */
export interface FrameTaker {
  /** A whole frame; its payload is `bytes` from `start` to `end`. */
  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void;
  /** The head of a DATA frame without padding, whose payload comes in pieces. */
  dataBegins(stream: number, length: number): void;
  /** A piece of it. `last`: with it the frame ends. */
  dataPiece(flags: number, stream: number, bytes: Buffer, start: number, end: number, last: boolean): void;
  /** True once nothing more is to be read. */
  readonly deaf: boolean;
}

/** The state between two chunks of one connection. */
export class FrameCutter {
  readonly #taker: FrameTaker;
  /** A frame of which some bytes are missing, and how many are there. */
  #partial: Buffer | undefined = undefined;
  #partialBytes = 0;
  /** A DATA frame that is handed on in pieces. */
  #dataLeft = 0;
  #dataFlags = 0;
  #dataStream = 0;

  constructor(taker: FrameTaker) {
    this.#taker = taker;
  }

  /** True in the middle of a frame. */
  get inFrame(): boolean {
    return this.#partial !== undefined || this.#dataLeft > 0;
  }

  /** Takes a chunk from `at` on. Throws ConnectionError FRAME_SIZE_ERROR for a frame larger than we allow. */
  push(chunk: Buffer, at: number): void {
    const taker = this.#taker;
    const { length } = chunk;
    while (at < length && !taker.deaf) {
      if (this.#dataLeft > 0) {
        at = this.#continueData(chunk, at);
        continue;
      }
      if (this.#partial !== undefined) {
        at = this.#continuePartial(chunk, at);
        continue;
      }
      if (length - at < HEAD_BYTES) {
        this.#partial = Buffer.allocUnsafe(HEAD_BYTES);
        this.#partialBytes = chunk.copy(this.#partial, 0, at, length);
        return;
      }
      const payloadBytes = payloadBytesAt(chunk, at);
      const start = at + HEAD_BYTES;
      const end = start + payloadBytes;
      const type = chunk[at + 3] as number;
      const flags = chunk[at + 4] as number;
      const stream = streamAt(chunk, at);
      if (end <= length) {
        taker.frame(type, flags, stream, chunk, start, end);
        at = end;
      } else if (isPlainData(type, flags)) {
        this.#beginData(flags, stream, payloadBytes);
        at = start;
      } else {
        this.#partial = Buffer.allocUnsafe(HEAD_BYTES + payloadBytes);
        this.#partialBytes = chunk.copy(this.#partial, 0, at, length);
        return;
      }
    }
  }

  #beginData(flags: number, stream: number, length: number): void {
    this.#taker.dataBegins(stream, length);
    this.#dataFlags = flags;
    this.#dataStream = stream;
    this.#dataLeft = length;
  }

  #continueData(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#dataLeft);
    this.#dataLeft -= end - at;
    this.#taker.dataPiece(this.#dataFlags, this.#dataStream, chunk, at, end, this.#dataLeft === 0);
    return end;
  }

  #continuePartial(chunk: Buffer, at: number): number {
    const partial = this.#partial as Buffer;
    const copied = chunk.copy(partial, this.#partialBytes, at);
    this.#partialBytes += copied;
    if (this.#partialBytes < partial.length) return at + copied;
    const payloadBytes = payloadBytesAt(partial, 0);
    const type = partial[3] as number;
    const flags = partial[4] as number;
    const stream = streamAt(partial, 0);
    // Only the head was waited for.
    if (partial.length < HEAD_BYTES + payloadBytes) {
      if (isPlainData(type, flags)) {
        this.#partial = undefined;
        this.#beginData(flags, stream, payloadBytes);
        return at + copied;
      }
      const whole = Buffer.allocUnsafe(HEAD_BYTES + payloadBytes);
      partial.copy(whole);
      this.#partial = whole;
      return at + copied;
    }
    this.#partial = undefined;
    this.#taker.frame(type, flags, stream, partial, HEAD_BYTES, HEAD_BYTES + payloadBytes);
    return at + copied;
  }
}

function isPlainData(type: number, flags: number): boolean {
  return type === FRAME.data && (flags & FLAG.padded) === 0;
}

function payloadBytesAt(bytes: Buffer, at: number): number {
  const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
  if (length > DEFAULT_FRAME_BYTES) {
    throw new ConnectionError(ERROR.frameSize, `a frame of ${length} bytes came, ${DEFAULT_FRAME_BYTES} are allowed`);
  }
  return length;
}

function streamAt(bytes: Buffer, at: number): number {
  const high = (bytes[at + 5] as number) & 0x7f;
  return high * 0x1000000 + (((bytes[at + 6] as number) << 16) | ((bytes[at + 7] as number) << 8) | (bytes[at + 8] as number));
}
