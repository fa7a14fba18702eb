/** The answers of one connection on their way out: heads, messages and trailers in order, within the client's windows (RFC 9113, section 5.2). */
import type { FrameWriter } from './frame-writer.ts';
import { EMPTY_TABLE_UPDATE } from './hpack-encoder.ts';
import { ConnectionError, DEFAULT_FRAME_BYTES, DEFAULT_WINDOW, ERROR, FLAG, LARGEST_WINDOW, StreamError } from './protocol.ts';
import { SendTurns } from './send-turns.ts';
import type { ServerStream } from './stream.ts';

/** Who hears of what was written. */
export interface OutflowListener {
  /** The last frame of an answer has been written. */
  answered(stream: ServerStream): void;
  /** One frame of a body that had to wait has been written. */
  frameSent(): void;
}

/** While the socket holds more than this, no body is cut into frames. */
export const MOST_BACKLOG_BYTES = 1024 * 1024;
/** The largest payload of our frames, also for clients that take larger ones. */
const MOST_FRAME_BYTES = 128 * 1024;

/** The sending side of one connection. */
export class Outflow {
  readonly #writer: FrameWriter;
  readonly #listener: OutflowListener;
  readonly #turns: SendTurns;
  #window = DEFAULT_WINDOW;
  /** The largest payload that we send: what the client takes, and no more than is fair to its other streams. */
  #frameBytes = DEFAULT_FRAME_BYTES;
  /** The table that the client allows us; ours is always empty. */
  #tableBytes = 4096;
  /** The next header block begins by saying that it is. */
  #tableUpdateDue = false;
  /** The window of streams that begin now. */
  initialWindow = DEFAULT_WINDOW;

  constructor(writer: FrameWriter, listener: OutflowListener) {
    this.#writer = writer;
    this.#listener = listener;
    this.#turns = new SendTurns((stream, most) => this.#sendFrame(stream, most));
  }

  /** Writes a HEADERS frame. */
  headers(stream: ServerStream, flags: number, block: Uint8Array): void {
    let prefix = -1;
    if (this.#tableUpdateDue) {
      this.#tableUpdateDue = false;
      prefix = EMPTY_TABLE_UPDATE;
    }
    this.#writer.headers(flags, stream.id, prefix, block);
  }

  /** Sends a message. Returns false when some of it has to wait: `onDrain` follows. */
  message(stream: ServerStream, message: Uint8Array): boolean {
    const bytes = message.length + 5;
    const fits = bytes <= stream.sendWindow && bytes <= this.#window && bytes <= this.#frameBytes;
    if (fits && stream.unsent === undefined && this.#writer.backlogBytes <= MOST_BACKLOG_BYTES) {
      stream.sendWindow -= bytes;
      this.#window -= bytes;
      stream.sentBytes += bytes;
      this.#writer.messageFrame(stream.id, message);
      return true;
    }
    const head = Buffer.allocUnsafe(5);
    head[0] = 0;
    head.writeUInt32BE(message.length, 1);
    this.#turns.add(stream, head, message);
    this.pump();
    return stream.unsent === undefined;
  }

  /** Ends an answer, once what was sent before has left. */
  trailers(stream: ServerStream, block: Uint8Array): void {
    if (stream.unsent !== undefined) {
      stream.unsent.trailers = block;
      return;
    }
    this.headers(stream, FLAG.endHeaders | FLAG.endStream, block);
    this.#listener.answered(stream);
  }

  /** Sends what waits, as far as windows and the socket allow. */
  pump(): void {
    while (this.#window > 0 && this.#writer.backlogBytes <= MOST_BACKLOG_BYTES) {
      if (!this.#turns.next(Math.min(this.#window, this.#frameBytes))) return;
    }
  }

  /** The client opens the window of the connection. */
  grow(more: number): void {
    if (more === 0) throw new ConnectionError(ERROR.protocol, 'WINDOW_UPDATE adds nothing');
    this.#window += more;
    if (this.#window > LARGEST_WINDOW) throw new ConnectionError(ERROR.flowControl, 'the window of the connection is too large');
  }

  /** The client opens the window of a stream. */
  growStream(stream: ServerStream, more: number): void {
    if (more === 0) throw new StreamError(ERROR.protocol, 'WINDOW_UPDATE adds nothing');
    stream.sendWindow += more;
    if (stream.sendWindow > LARGEST_WINDOW) throw new StreamError(ERROR.flowControl, 'the window of the stream is too large');
    this.#turns.mayGoOn(stream);
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE: also changes the windows of `streams`, which may become negative. */
  setInitialWindow(bytes: number, streams: readonly ServerStream[]): void {
    const more = bytes - this.initialWindow;
    this.initialWindow = bytes;
    for (const stream of streams) {
      stream.sendWindow += more;
      if (stream.sendWindow > LARGEST_WINDOW) throw new ConnectionError(ERROR.flowControl, 'the window of a stream is too large');
      this.#turns.mayGoOn(stream);
    }
  }

  /** SETTINGS_MAX_FRAME_SIZE. */
  setFrameBytes(bytes: number): void {
    this.#frameBytes = Math.min(bytes, MOST_FRAME_BYTES);
  }

  /** SETTINGS_HEADER_TABLE_SIZE: a client whose table shrinks wants to hear it, although ours is empty. */
  setTableBytes(bytes: number): void {
    if (bytes >= this.#tableBytes) return;
    this.#tableBytes = 0;
    this.#tableUpdateDue = true;
  }

  /** Sends one DATA frame of at most `most` bytes, and the trailers when it was the last. */
  #sendFrame(stream: ServerStream, most: number): void {
    const { unsent } = stream;
    if (unsent === undefined) return;
    const bytes = Math.min(most, unsent.bytes, stream.sendWindow);
    this.#writer.dataHead(0, stream.id, bytes);
    for (let left = bytes; left > 0; ) {
      const [part] = unsent.parts;
      if (part === undefined) throw new Error('a body is shorter than its length: this is a bug');
      const piece = Math.min(left, part.length - unsent.offset);
      this.#writer.payload(part.subarray(unsent.offset, unsent.offset + piece));
      left -= piece;
      unsent.offset += piece;
      if (unsent.offset === part.length) {
        unsent.parts.shift();
        unsent.offset = 0;
      }
    }
    unsent.bytes -= bytes;
    stream.sendWindow -= bytes;
    this.#window -= bytes;
    stream.sentBytes += bytes;
    this.#listener.frameSent();
    if (unsent.bytes > 0) return;
    stream.unsent = undefined;
    if (unsent.trailers !== undefined) this.trailers(stream, unsent.trailers);
    stream.onDrain();
  }
}
