import type { Connection } from './connection.ts';

/** What a stream has to send and may not yet. */
export interface Unsent {
  /** Bodies in order; of the first, what comes before `offset` is sent. */
  readonly parts: Uint8Array[];
  offset: number;
  bytes: number;
  /** A header block to end with, once there is one. */
  trailers: Uint8Array | undefined;
  /** True while it waits for its turn in its connection; false while it waits for its own window. */
  inTurn: boolean;
}

/** One stream as the server sees it: what comes in is told to its methods, what goes out is given to its connection. */
export abstract class ServerStream {
  readonly connection: Connection;
  readonly id: number;
  /** What the client says the body has; -1: nothing. */
  readonly contentLength: number;
  /** The client has sent all. */
  remoteEnded = false;
  /** We have sent all, or either side has reset the stream: nothing more may be sent. */
  ended = false;
  /** Whether the client may be silent for as long as it likes in the middle of its body. */
  mayIdle = false;
  /** What the client lets us send. */
  sendWindow: number;
  /** Bytes received that no window update has told of. */
  untoldBytes = 0;
  /** No window updates: the client is to stop. */
  paused = false;
  receivedBytes = 0;
  sentBytes = 0;
  unsent: Unsent | undefined = undefined;
  /** What the last look saw, for finding streams that stand still. */
  markedBytes = -1;
  markedMs = 0;

  constructor(connection: Connection, id: number, contentLength: number) {
    this.connection = connection;
    this.id = id;
    this.contentLength = contentLength;
    this.sendWindow = connection.peerInitialWindow;
  }

  /** The stream is in its connection's table; answers may be sent from here on. */
  abstract onStart(): void;
  /** A piece of the body: `chunk` from `start` to `end`, which nobody overwrites. */
  abstract onData(chunk: Buffer, start: number, end: number): void;
  /** The body is complete. */
  abstract onEnd(): void;
  /** Everything given to the connection has left. Only after something had to wait. */
  abstract onDrain(): void;
  /** The client has gone, or has broken a rule: nothing can be sent any more. */
  abstract onGone(): void;
  /** A look from time to time, on the server's Clock. */
  abstract onTick(nowMs: number): void;
  /** The client has sent nothing of its body for too long. */
  abstract onStalled(): void;
}
