/** What all calls over our own HTTP/2 have in common: messages in, answers and errors out. */
import { ServeError, toServeError } from '#mesh/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import type { Connection } from '../http2/connection.ts';
import { ERROR } from '../http2/protocol.ts';
import { ServerStream } from '../http2/stream.ts';
import { type AnswerHeads, failureTrailers, OK_TRAILERS, trailersOnly } from './answer-blocks.ts';
import { inflateMessage } from './inflate.ts';
import { MessageReader, type MessageTaker } from './message-reader.ts';
import type { CallHead, RefusedHead } from './request-meaning.ts';

/** What the calls of a server share. */
export interface CallDeps {
  /** Monotonic ms. */
  readonly now: () => number;
  readonly heads: AnswerHeads;
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  readonly budget: ByteBudget;
  /** For the text of a call whose request stopped. */
  readonly stallMs: number;
}

/** A deadline that a handler keeps itself is left to it for this long. */
const DEADLINE_GRACE_MS = 250;

/** A request that is answered at once, whatever its body is. */
export class RefusedCall extends ServerStream {
  readonly #block: Uint8Array;

  constructor(connection: Connection, id: number, head: RefusedHead) {
    super(connection, id, head.contentLength);
    this.#block = head.block;
  }

  onStart(): void {
    this.connection.sendOnlyHeaders(this, this.#block);
  }

  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}
  onGone(): void {}
  onTick(): void {}
  onStalled(): void {}
}

/** A call of a method that is there. */
export abstract class Call extends ServerStream implements MessageTaker {
  protected readonly deps: CallDeps;
  protected readonly path: string;
  readonly #encoding: string;
  readonly traceparent: string;
  readonly deadlineMs: number;
  #reader: MessageReader | undefined = undefined;
  #inflating = false;
  /** What came while a message was being inflated, or the handler had paused. */
  #later: (readonly [flag: number, message: Buffer])[] = [];
  #bodyEnded = false;
  protected headersSent = false;
  /** The handler takes nothing now. */
  protected handlerPaused = false;

  constructor(deps: CallDeps, connection: Connection, id: number, head: CallHead) {
    super(connection, id, head.contentLength);
    this.deps = deps;
    this.path = head.path;
    this.#encoding = head.encoding;
    this.traceparent = head.traceparent;
    this.deadlineMs = head.timeoutMs === Number.POSITIVE_INFINITY ? head.timeoutMs : deps.now() + head.timeoutMs;
  }

  /** A message, inflated, in order. What it throws ends the call. */
  protected abstract take(message: Buffer): void;
  /** The client has sent its last message. What it throws ends the call. */
  protected abstract taken(): void;
  /** The call ends before the handler said so. */
  protected abstract drop(): void;

  onStart(): void {}

  onData(chunk: Buffer, start: number, end: number): void {
    // A whole message in one piece, which is what most calls are, needs no state.
    if (this.#reader === undefined && !this.#inflating && !this.handlerPaused && this.#isWhole(chunk, start, end)) {
      this.#guarded(chunk.subarray(start + 5, end));
      return;
    }
    try {
      this.#reader ??= new MessageReader(this, this.deps.maxReceiveBytes, this.deps.budget);
      this.#reader.push(chunk, start, end);
    } catch (caught) {
      this.abandon(toServeError(caught));
    }
  }

  onMessage(flag: number, message: Buffer): void {
    if (this.#inflating || this.handlerPaused) this.#later.push([flag, message]);
    else if (flag === 0) this.#guarded(message);
    else void this.#inflate(message);
  }

  onEnd(): void {
    if (this.#reader?.inMessage === true) {
      this.abandon(new ServeError('INTERNAL', 'half-closed in the middle of a message'));
      return;
    }
    this.#bodyEnded = true;
    this.goOn();
  }

  onDrain(): void {}

  onGone(): void {
    this.#forget();
    this.drop();
  }

  onStalled(): void {
    this.abandon(new ServeError('DEADLINE_EXCEEDED', `no byte of the request came for ${this.deps.stallMs} ms`));
  }

  onTick(nowMs: number): void {
    if (nowMs >= this.deadlineMs + DEADLINE_GRACE_MS) this.abandon(new ServeError('DEADLINE_EXCEEDED', 'Deadline exceeded'));
  }

  /** Ends the call with an error that is not its handler's, which hears of it. */
  protected abandon(error: ServeError): void {
    if (this.ended) return;
    // Nothing can be said after half a message.
    if (this.unsent !== undefined) this.connection.sendReset(this, ERROR.cancel);
    else this.sendFailure(error);
    this.#forget();
    this.drop();
  }

  /** Takes what had to wait, in order, and the end of the body after it. */
  protected goOn(): void {
    while (!this.#inflating && !this.handlerPaused && !this.ended) {
      const next = this.#later.shift();
      if (next === undefined) {
        if (this.#bodyEnded) this.#end();
        return;
      }
      this.onMessage(...next);
    }
  }

  protected sendFailure({ code, message }: ServeError): void {
    if (this.headersSent) this.connection.sendTrailers(this, failureTrailers(code, message));
    else this.connection.sendOnlyHeaders(this, trailersOnly(code, message));
  }

  /** Sends a message and before the first one the head. Returns false when it has to wait. */
  protected sendMessage(message: Uint8Array): boolean {
    if (this.ended) return true;
    const { maxSendBytes } = this.deps;
    if (message.length > maxSendBytes) {
      this.abandon(new ServeError('RESOURCE_EXHAUSTED', `Sent message larger than max (${message.length} vs. ${maxSendBytes})`));
      return true;
    }
    if (!this.headersSent) {
      this.headersSent = true;
      this.connection.sendHeaders(this, this.deps.heads.of(null));
    }
    return this.connection.sendMessage(this, message);
  }

  protected sendOk(): void {
    if (!this.headersSent) this.connection.sendHeaders(this, this.deps.heads.of(null));
    this.headersSent = true;
    this.connection.sendTrailers(this, OK_TRAILERS);
  }

  #isWhole(chunk: Buffer, start: number, end: number): boolean {
    const length = end - start - 5;
    return (
      length >= 0 &&
      chunk[start] === 0 &&
      length <= this.deps.maxReceiveBytes &&
      (chunk[start + 1] as number) * 0x1000000 +
        (((chunk[start + 2] as number) << 16) | ((chunk[start + 3] as number) << 8) | (chunk[start + 4] as number)) ===
        length
    );
  }

  /** Lets go of what has come and will not be taken. */
  #forget(): void {
    this.#later = [];
    this.#reader?.drop();
  }

  async #inflate(message: Buffer): Promise<void> {
    this.#inflating = true;
    // What comes meanwhile is kept, so little may come.
    this.paused = true;
    try {
      const inflated = await inflateMessage(this.#encoding, message, this.deps.maxReceiveBytes);
      this.#inflating = false;
      if (!this.ended) this.#guarded(inflated);
    } catch (caught) {
      this.#inflating = false;
      this.abandon(toServeError(caught));
    }
    if (!this.handlerPaused) this.connection.resumeReading(this);
    this.goOn();
  }

  #guarded(message: Buffer): void {
    try {
      this.take(message);
    } catch (caught) {
      this.abandon(toServeError(caught));
    }
  }

  #end(): void {
    this.#bodyEnded = false;
    try {
      this.taken();
    } catch (caught) {
      this.abandon(toServeError(caught));
    }
  }
}
