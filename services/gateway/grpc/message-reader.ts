/** Cuts the body of a stream into gRPC's messages: a flag, a length of 32 bits, and that many bytes. */
import { ServeError } from '#mesh/errors.ts';
import type { ByteBudget, ByteShare } from '../byte-budget.ts';

/** Who takes the messages. */
export interface MessageTaker {
  /** A whole message; `flag` is 1 when it is compressed. A view of what the socket delivered, or memory of its own. */
  onMessage(flag: number, message: Buffer): void;
  /** True once nothing more is wanted. */
  readonly ended: boolean;
}

/** Bytes of a message's head. */
const HEAD_BYTES = 5;
/** A message up to this size gets its memory at once. */
const SMALL_BYTES = 64 * 1024;
/** A larger one when an eighth of it has come: a client cannot make us hold much more than it has sent. */
const EARNED_SHARE = 8;

/** The state between two pieces of one stream. */
export class MessageReader {
  readonly #taker: MessageTaker;
  readonly #maxBytes: number;
  readonly #budget: ByteBudget;
  #share: ByteShare | undefined = undefined;
  #head: Buffer | undefined = undefined;
  #headBytes = 0;
  #flag = 0;
  /** Of the message that is under way; -1: none is. */
  #length = -1;
  #received = 0;
  #memory: Buffer | undefined = undefined;
  /** What came before there was memory for all of it. */
  #pieces: Buffer[] = [];

  constructor(taker: MessageTaker, maxBytes: number, budget: ByteBudget) {
    this.#taker = taker;
    this.#maxBytes = maxBytes;
    this.#budget = budget;
  }

  /** Lets go of a message that is not complete. */
  drop(): void {
    this.#share?.[Symbol.dispose]();
    this.#memory = undefined;
    this.#pieces = [];
  }

  /** True in the middle of a message. */
  get inMessage(): boolean {
    return this.#length >= 0 || this.#headBytes > 0;
  }

  /** Takes `chunk` from `at` to `end`. Throws RESOURCE_EXHAUSTED for a message larger than allowed or than there is memory for, INTERNAL for what is none. */
  push(chunk: Buffer, at: number, end: number): void {
    while (at < end && !this.#taker.ended) at = this.#length >= 0 ? this.#continue(chunk, at, end) : this.#begin(chunk, at, end);
  }

  #begin(chunk: Buffer, at: number, end: number): number {
    if (this.#headBytes > 0 || end - at < HEAD_BYTES) {
      this.#head ??= Buffer.allocUnsafe(HEAD_BYTES);
      const copied = chunk.copy(this.#head, this.#headBytes, at, Math.min(end, at + HEAD_BYTES - this.#headBytes));
      this.#headBytes += copied;
      if (this.#headBytes === HEAD_BYTES) {
        this.#headBytes = 0;
        this.#open(this.#head[0] as number, this.#head.readUInt32BE(1));
        if (this.#length === 0) this.#finish(NOTHING);
      }
      return at + copied;
    }
    const length =
      (chunk[at + 1] as number) * 0x1000000 +
      (((chunk[at + 2] as number) << 16) | ((chunk[at + 3] as number) << 8) | (chunk[at + 4] as number));
    this.#open(chunk[at] as number, length);
    const start = at + HEAD_BYTES;
    if (end - start < length) return start;
    this.#finish(chunk.subarray(start, start + length));
    return start + length;
  }

  #open(flag: number, length: number): void {
    if (flag > 1) throw new ServeError('INTERNAL', `Invalid flag ${flag} before a message`);
    if (length > this.#maxBytes) {
      throw new ServeError('RESOURCE_EXHAUSTED', `Received message larger than max (${length} vs ${this.#maxBytes})`);
    }
    this.#flag = flag;
    this.#length = length;
    this.#received = 0;
  }

  #continue(chunk: Buffer, at: number, end: number): number {
    const to = Math.min(end, at + this.#length - this.#received);
    const earned = this.#length <= SMALL_BYTES || (this.#received + to - at) * EARNED_SHARE >= this.#length;
    if (this.#memory === undefined && earned) {
      this.#share ??= this.#budget.open();
      this.#share.grow(this.#length);
      this.#memory = Buffer.allocUnsafeSlow(this.#length);
      let offset = 0;
      for (const piece of this.#pieces) offset += piece.copy(this.#memory, offset);
      this.#pieces = [];
    }
    if (this.#memory === undefined) this.#pieces.push(chunk.subarray(at, to));
    else chunk.copy(this.#memory, this.#received, at, to);
    this.#received += to - at;
    if (this.#received === this.#length) {
      const message = this.#memory ?? NOTHING;
      this.#memory = undefined;
      // From here on it is counted by who takes it.
      this.#share?.[Symbol.dispose]();
      this.#finish(message);
    }
    return to;
  }

  #finish(message: Buffer): void {
    this.#length = -1;
    this.#taker.onMessage(this.#flag, message);
  }
}

const NOTHING = Buffer.alloc(0);
