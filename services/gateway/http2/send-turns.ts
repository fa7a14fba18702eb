import type { ServerStream } from './stream.ts';

/** Whose turn it is to send: streams that have bytes and a window, each one frame at a time, so that a large answer does not hold up small ones. */
export class SendTurns {
  readonly #send: (stream: ServerStream, mostBytes: number) => void;
  #waiting: ServerStream[] = [];
  #first = 0;

  constructor(send: (stream: ServerStream, mostBytes: number) => void) {
    this.#send = send;
  }

  /** Adds two parts of a body to what a stream has to send. */
  add(stream: ServerStream, head: Uint8Array, body: Uint8Array): void {
    stream.unsent ??= { parts: [], offset: 0, bytes: 0, trailers: undefined, inTurn: false };
    stream.unsent.parts.push(head);
    if (body.length > 0) stream.unsent.parts.push(body);
    stream.unsent.bytes += head.length + body.length;
    this.mayGoOn(stream);
  }

  /** The window of a stream has grown. */
  mayGoOn(stream: ServerStream): void {
    const { unsent } = stream;
    if (unsent === undefined || unsent.inTurn || stream.sendWindow <= 0) return;
    unsent.inTurn = true;
    this.#waiting.push(stream);
  }

  /** Lets the next stream send one frame. Returns false when none can. */
  next(mostBytes: number): boolean {
    const stream = this.#waiting[this.#first];
    if (stream === undefined) return false;
    this.#first++;
    // The part in front is cut off once it is the larger one.
    if (this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    const { unsent } = stream;
    if (unsent === undefined) return true;
    unsent.inTurn = false;
    if (stream.sendWindow <= 0) return true;
    this.#send(stream, mostBytes);
    this.mayGoOn(stream);
    return true;
  }
}
