/**
 * Gathers the frames that a connection sends in one turn of the event loop and writes them to its socket at once. What is small is copied into
 * one buffer; large payloads are handed to the socket where they are.
 */
import type { Duplex } from 'node:stream';
import { FRAME, HEAD_BYTES } from './protocol.ts';

/** Buffers that turn after turn are filled and written, shared by the connections of a server. */
export class ScratchPool {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  }

  /** Gives back a buffer whose bytes nobody needs any more. */
  give(buffer: Buffer): void {
    if (buffer.length === SCRATCH_BYTES && this.#free.length < MOST_FREE) this.#free.push(buffer);
  }
}

const SCRATCH_BYTES = 64 * 1024;
const MOST_FREE = 16;
/** From here on a payload is handed over instead of copied: a copy costs less than one more buffer in a write. */
const HAND_OVER_BYTES = 32 * 1024;

/** The writing side of one connection. Nothing is sent before `flush`. */
export class FrameWriter {
  readonly #socket: Duplex;
  readonly #pool: ScratchPool;
  /** Called with the first bytes after a flush. */
  readonly #wake: () => void;
  #scratch: Buffer | undefined = undefined;
  /** What of the scratch buffer is in use, and from where it is not yet among the parts. */
  #length = 0;
  #partStart = 0;
  #parts: Uint8Array[] = [];
  #filled: Buffer[] = [];
  #partBytes = 0;

  constructor(socket: Duplex, pool: ScratchPool, wake: () => void) {
    this.#socket = socket;
    this.#pool = pool;
    this.#wake = wake;
  }

  /** Bytes that the socket has not taken yet. */
  get backlogBytes(): number {
    return this.#partBytes + this.#length - this.#partStart + this.#socket.writableLength;
  }

  /** Writes a frame whose payload is copied. */
  frame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const at = this.#reserve(HEAD_BYTES + payload.length);
    this.#scratch?.set(payload, this.#head(at, type, flags, stream, payload.length));
  }

  /** Writes a frame of one or two 32-bit numbers. */
  numbers(type: number, flags: number, stream: number, first: number, second?: number): void {
    const bytes = second === undefined ? 4 : 8;
    const at = this.#reserve(HEAD_BYTES + bytes);
    const start = this.#head(at, type, flags, stream, bytes);
    this.#scratch?.writeUInt32BE(first, start);
    if (second !== undefined) this.#scratch?.writeUInt32BE(second, start + 4);
  }

  /** Writes a HEADERS frame. `prefix` is a byte before the block, or -1. */
  headers(flags: number, stream: number, prefix: number, block: Uint8Array): void {
    const prefixBytes = prefix < 0 ? 0 : 1;
    const at = this.#reserve(HEAD_BYTES + prefixBytes + block.length);
    let to = this.#head(at, FRAME.headers, flags, stream, prefixBytes + block.length);
    const scratch = this.#scratch as Buffer;
    if (prefix >= 0) scratch[to++] = prefix;
    scratch.set(block, to);
  }

  /** Begins a DATA frame; `payload` calls that add up to `length` must follow at once. */
  dataHead(flags: number, stream: number, length: number): void {
    this.#head(this.#reserve(HEAD_BYTES), FRAME.data, flags, stream, length);
  }

  /** Writes a gRPC message as one DATA frame: a byte that says that it is not compressed, its length, and itself. */
  messageFrame(stream: number, message: Uint8Array): void {
    const { length } = message;
    const at = this.#reserve(HEAD_BYTES + 5 + (length < HAND_OVER_BYTES ? length : 0));
    const to = this.#head(at, FRAME.data, 0, stream, length + 5);
    const scratch = this.#scratch as Buffer;
    scratch[to] = 0;
    scratch[to + 1] = length >>> 24;
    scratch[to + 2] = length >>> 16;
    scratch[to + 3] = length >>> 8;
    scratch[to + 4] = length;
    if (length < HAND_OVER_BYTES) scratch.set(message, to + 5);
    else this.payload(message);
  }

  /** A part of a payload: a view, which must not change until it is sent. */
  payload(part: Uint8Array): void {
    if (part.length < HAND_OVER_BYTES) {
      const at = this.#reserve(part.length);
      this.#scratch?.set(part, at);
      return;
    }
    this.#endPart();
    this.#parts.push(part);
    this.#partBytes += part.length;
  }

  /** Hands everything to the socket. */
  flush(): void {
    const scratch = this.#scratch;
    const socket = this.#socket;
    if (scratch === undefined) return;
    if (this.#parts.length === 0) {
      socket.write(scratch.subarray(0, this.#length));
    } else {
      this.#endPart();
      socket.cork();
      for (const part of this.#parts) socket.write(part);
      socket.uncork();
      this.#parts = [];
      this.#partBytes = 0;
    }
    // With nothing left in the socket the system has copied the bytes. Otherwise the buffers are the socket's, and then the collector's.
    if (socket.writableLength === 0) {
      this.#pool.give(scratch);
      for (const filled of this.#filled) this.#pool.give(filled);
    }
    if (this.#filled.length > 0) this.#filled = [];
    this.#scratch = undefined;
    this.#length = 0;
    this.#partStart = 0;
  }

  #head(at: number, type: number, flags: number, stream: number, length: number): number {
    const scratch = this.#scratch as Buffer;
    scratch[at] = length >>> 16;
    scratch[at + 1] = length >>> 8;
    scratch[at + 2] = length;
    scratch[at + 3] = type;
    scratch[at + 4] = flags;
    scratch[at + 5] = stream >>> 24;
    scratch[at + 6] = stream >>> 16;
    scratch[at + 7] = stream >>> 8;
    scratch[at + 8] = stream;
    return at + HEAD_BYTES;
  }

  /** Makes room for `bytes` and says where. */
  #reserve(bytes: number): number {
    if (this.#scratch === undefined) {
      this.#scratch = this.#pool.take();
      this.#wake();
    }
    if (this.#length + bytes > this.#scratch.length) {
      this.#endPart();
      this.#filled.push(this.#scratch);
      this.#scratch = this.#pool.take();
      this.#length = 0;
      this.#partStart = 0;
    }
    const at = this.#length;
    this.#length += bytes;
    return at;
  }

  /** What was copied so far becomes a part of its own. */
  #endPart(): void {
    if (this.#length === this.#partStart || this.#scratch === undefined) return;
    this.#parts.push(this.#scratch.subarray(this.#partStart, this.#length));
    this.#partBytes += this.#length - this.#partStart;
    this.#partStart = this.#length;
  }
}
