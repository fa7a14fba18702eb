/**
 * Connections whose clients send plain requests (see `plain-head.ts`), read and answered here without node:http, which costs more than all the
 * rest of such a request. The first request that is not plain takes its connection to node:http for good, with every byte not read yet.
 */
import type { Socket } from 'node:net';
import type { Clock, Timer } from '#mesh/clock.ts';
import { type ByteBudget, type ByteShare, UNCOUNTED_BYTES } from '../byte-budget.ts';
import type { Answering } from './answering.ts';
import type { Exchange, RequestHeaders } from './exchange.ts';
import type { PendingReply } from './model-api.ts';
import { type PlainHead, readPlainHead } from './plain-head.ts';
import { createPlainReplies, type PlainReplies } from './plain-reply.ts';
import type { Reply } from './reply.ts';
import { type StallWatch, startStallWatch, type Watched } from './stall-watch.ts';

/** The connections of one server. Disposing ends all of them at once. */
export interface PlainConnections extends Disposable {
  /** Requests that are not answered yet, or whose answers are not sent yet. */
  readonly inFlight: number;
  /** Takes a new connection. */
  accept(socket: Socket): void;
  /** Ends those that wait for a request; the others end with their answers. */
  drain(): void;
}

/** What connections are made with. */
export interface PlainConnectionsOptions {
  readonly clock: Clock;
  readonly answering: Answering;
  readonly watch: StallWatch;
  /** What answers count against while clients do not take them. */
  readonly budget: ByteBudget;
  /** Larger bodies are node:http's. */
  readonly maxBodyBytes: number;
  /** A target that is no inference, though it looks like one. */
  readonly reserved: string | null;
  /** How long a new connection may wait with its first byte. */
  readonly firstByteMs: number;
  /** How long a connection may wait for its next request. */
  readonly keepAliveMs: number;
  /** Takes a connection over, with what has come and was not read put back. */
  readonly handOver: (socket: Socket) => void;
  /** A request was answered, or its client is gone. */
  readonly onSettled: () => void;
}

/** How often connections that wait are looked at. */
const LOOK_MS = 5000;
/**
 * How long a connection that has ended stays open for a client that still sends, and what is read and thrown away of it. A socket closed with
 * bytes that nobody read is reset, and a reset takes the answers with it that the client has not received yet.
 */
const LINGER_MS = 1000;
/** The same for one that sends a little now and then, for ever. */
const LONGEST_LINGER_MS = 30_000;
const DISCARD_BYTES = 64 * 1024 * 1024;
const CLOSING = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';

/** Makes the connections of a server: none yet. */
export function createPlainConnections(options: PlainConnectionsOptions): PlainConnections {
  const { clock } = options;
  const connections = new Set<Connection>();
  const shared: Shared = {
    ...options,
    replies: createPlainReplies(clock, options.keepAliveMs),
    connections,
    lingering: startStallWatch(clock, LINGER_MS),
    draining: false,
    inFlight: 0,
  };
  let looking: Timer | undefined;

  function look(): void {
    looking = undefined;
    const nowMs = clock.now();
    for (const connection of connections) connection.endIfIdle(nowMs);
    if (connections.size > 0) lookLater();
  }

  function lookLater(): void {
    looking ??= clock.schedule(Math.min(LOOK_MS, options.firstByteMs), look);
  }

  return {
    get inFlight() {
      return shared.inFlight;
    },
    accept(socket) {
      connections.add(new Connection(socket, shared));
      lookLater();
    },
    drain() {
      shared.draining = true;
      for (const connection of connections) connection.endIfWaiting();
    },
    [Symbol.dispose]() {
      looking?.[Symbol.dispose]();
      shared.lingering[Symbol.dispose]();
      for (const connection of connections) connection.destroy();
    },
  };
}

/** What all connections of a server have in common. */
interface Shared extends PlainConnectionsOptions {
  readonly replies: PlainReplies;
  readonly connections: Set<Connection>;
  /** Ended connections whose clients have not closed them yet. */
  readonly lingering: StallWatch;
  draining: boolean;
  inFlight: number;
}

/**
 * Where a connection is:
 * - `waiting`: for a request, or the rest of a head: no byte of it is here.
 * - `reading`: the body of a request.
 * - `answering`: a request is here whole; bytes that come now are of the next one.
 * - `sending`: its answer is written, and the client takes it slowly: the next request waits until it has.
 * - `ending`: its answer is written, and was the last one; what still comes is thrown away.
 * - `lingering`: that answer is sent, and the client has not closed the connection yet.
 * - `left`: ended, or node:http's.
 */
type State = 'waiting' | 'reading' | 'answering' | 'sending' | 'ending' | 'lingering' | 'left';

/** One connection, and the request that is under way on it: one at a time, so one object will do for all of them. */
class Connection implements Exchange, Watched {
  readonly verb = 'POST';
  readonly #socket: Socket;
  readonly #shared: Shared;
  #state: State = 'waiting';
  /** The head of the last request, which the next one mostly repeats byte by byte. */
  #head: PlainHead | undefined = undefined;
  /** The body while it is read, and how much of it is here. */
  #body: Buffer = NO_BYTES;
  #bodyLength = 0;
  /** What came after the request under way. No more is read until it is answered. */
  #next: Buffer | undefined = undefined;
  #paused = false;
  /** Present while the client has to do something, and may have stopped. */
  #watching: Disposable | undefined = undefined;
  /** Of the budget, while an answer is not sent yet. */
  #share: ByteShare | undefined = undefined;
  #pumping = false;
  #discarded = 0;
  #lastMs: number;
  #isNew = true;
  startedMs = 0;
  model = '';
  method = '';
  close = false;
  pending: PendingReply | undefined = undefined;

  readonly #onData = (chunk: Buffer): void => this.#received(chunk);
  readonly #onDrain = (): void => this.#drained();
  /** As node:http has it: a client that says it sends no more gets no more. */
  readonly #onEnd = (): void => void this.#socket.end();
  readonly #onFinish = (): void => this.#sent();
  readonly #onClose = (): void => this.#gone();

  constructor(socket: Socket, shared: Shared) {
    this.#socket = socket;
    this.#shared = shared;
    this.#lastMs = shared.clock.now();
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onClose);
    socket.on('error', ignore);
  }

  get url(): string {
    return this.#head?.url ?? '';
  }

  get headers(): RequestHeaders {
    return this.#head?.headers ?? NO_HEADERS;
  }

  get gone(): boolean {
    return this.#state === 'left';
  }

  /** Progress of the body while it is read, of the answer while the client takes it, of the client when nobody listens to it any more. */
  progress(): number {
    if (this.#state === 'reading') return this.#bodyLength;
    if (this.#state === 'lingering') return this.#shared.clock.now() - this.#lastMs < LONGEST_LINGER_MS ? this.#discarded : -1;
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  stalled(): void {
    this.#watching = undefined;
    if (this.#state !== 'reading' || this.#head === undefined) {
      this.#socket.destroy();
      return;
    }
    this.#state = 'answering';
    this.#shared.answering.infer(this, this.#head.target, { type: 'stalled' });
  }

  send(reply: Reply, { close }: { readonly close: boolean }): void {
    if (this.#state !== 'answering') return;
    const { replies, clock } = this.#shared;
    const socket = this.#socket;
    const nowMs = clock.now();
    this.#lastMs = nowMs;
    replies.write(socket, reply, { close, nowMs });
    if (close) {
      if (socket.writableLength > 0) this.#watchSending(reply.body.length);
      this.#end();
    } else if (socket.writableNeedDrain) {
      this.#state = 'sending';
      this.#watchSending(reply.body.length);
    } else {
      this.#state = 'waiting';
      this.#settle();
      if (this.#next !== undefined) this.#pump();
    }
  }

  endIfIdle(nowMs: number): void {
    if (this.#state !== 'waiting') return;
    const { firstByteMs, keepAliveMs } = this.#shared;
    if (nowMs - this.#lastMs < (this.#isNew ? firstByteMs : keepAliveMs)) return;
    if (this.#isNew) this.#socket.write(CLOSING, 'latin1');
    this.#state = 'left';
    this.#socket.destroySoon();
  }

  endIfWaiting(): void {
    if (this.#state === 'waiting') this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Sends what is written and no more, and goes on to read, so that the client gets it (see `LINGER_MS`). */
  #end(): void {
    this.#state = 'ending';
    this.#next = undefined;
    this.#socket.once('finish', this.#onFinish);
    this.#socket.end();
    this.#resume();
  }

  #sent(): void {
    if (this.#state !== 'ending') return;
    this.#unwatch();
    this.#state = 'lingering';
    this.#lastMs = this.#shared.clock.now();
    this.#watching = this.#shared.lingering.watch(this);
  }

  #discard(chunk: Buffer): void {
    this.#discarded += chunk.byteLength;
    if (this.#discarded > DISCARD_BYTES) this.destroy();
  }

  #received(chunk: Buffer): void {
    if (this.#state === 'reading') this.#collect(chunk);
    else if (this.#state === 'ending' || this.#state === 'lingering') this.#discard(chunk);
    else if (this.#state === 'waiting' && this.#next === undefined) {
      this.#next = chunk;
      this.#pump();
    } else this.#keep(this.#next === undefined ? chunk : Buffer.concat([this.#next, chunk]));
  }

  /** Bytes of the next request: no more of them are read for now. */
  #keep(bytes: Buffer): void {
    this.#next = bytes;
    this.#paused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Begins requests while there are bytes of them. A loop, because one may be answered before it returns. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#next !== undefined && this.#state === 'waiting') {
      const chunk = this.#next;
      this.#next = undefined;
      this.#begin(chunk);
    }
    this.#pumping = false;
    if (this.#next === undefined && this.#state !== 'left') this.#resume();
  }

  #begin(chunk: Buffer): void {
    const head = this.#headOf(chunk);
    const bodyStart = head?.bytes.byteLength ?? 0;
    const end = bodyStart + (head?.bodyBytes ?? 0);
    // A body that counts against the budget is node:http's, unless it is here already.
    if (head === undefined || (end > chunk.byteLength && head.bodyBytes > UNCOUNTED_BYTES)) {
      this.#handOver(chunk);
      return;
    }
    const { clock, answering, watch } = this.#shared;
    this.#head = head;
    this.#isNew = false;
    this.startedMs = clock.now();
    this.model = head.target.model;
    this.method = head.target.method;
    this.close = false;
    this.#shared.inFlight++;
    if (end <= chunk.byteLength) {
      if (end < chunk.byteLength) this.#next = chunk.subarray(end);
      this.#state = 'answering';
      answering.infer(this, head.target, { type: 'body', bytes: chunk.subarray(bodyStart, end) });
      return;
    }
    this.#state = 'reading';
    this.#body = Buffer.allocUnsafeSlow(head.bodyBytes);
    this.#bodyLength = chunk.copy(this.#body, 0, bodyStart);
    this.#watching = watch.watch(this);
  }

  #headOf(chunk: Buffer): PlainHead | undefined {
    const last = this.#head;
    const length = last?.bytes.byteLength ?? 0;
    if (last !== undefined && chunk.byteLength >= length && last.bytes.compare(chunk, 0, length) === 0) return last;
    const head = readPlainHead(chunk);
    if (head === undefined || head.bodyBytes === 0 || head.bodyBytes > this.#shared.maxBodyBytes) return undefined;
    return head.url === this.#shared.reserved ? undefined : head;
  }

  #collect(chunk: Buffer): void {
    const copied = chunk.copy(this.#body, this.#bodyLength);
    this.#bodyLength += copied;
    if (copied < chunk.byteLength) this.#keep(chunk.subarray(copied));
    const bytes = this.#body;
    const target = this.#head?.target;
    if (this.#bodyLength < bytes.byteLength || target === undefined) return;
    this.#body = NO_BYTES;
    this.#unwatch();
    this.#state = 'answering';
    this.#shared.answering.infer(this, target, { type: 'body', bytes });
  }

  #watchSending(byteLength: number): void {
    const { watch, budget } = this.#shared;
    this.#watching = watch.watch(this);
    this.#share = budget.open();
    this.#share.add(byteLength);
  }

  #unwatch(): void {
    this.#watching?.[Symbol.dispose]();
    this.#watching = undefined;
    this.#share?.[Symbol.dispose]();
    this.#share = undefined;
  }

  #drained(): void {
    if (this.#state !== 'sending') return;
    this.#unwatch();
    if (this.#shared.draining) {
      this.#end();
      return;
    }
    this.#state = 'waiting';
    this.#lastMs = this.#shared.clock.now();
    this.#settle();
    this.#pump();
  }

  #handOver(chunk: Buffer): void {
    const socket = this.#socket;
    this.#state = 'left';
    this.#shared.connections.delete(this);
    socket.off('data', this.#onData);
    socket.off('drain', this.#onDrain);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onClose);
    socket.off('error', ignore);
    socket.unshift(chunk);
    this.#resume();
    this.#shared.handOver(socket);
  }

  /** The client has gone, perhaps without its answer. */
  #gone(): void {
    const state = this.#state;
    this.#state = 'left';
    this.#shared.connections.delete(this);
    this.#unwatch();
    if (state === 'waiting' || state === 'left') return;
    if (state === 'answering') this.pending?.cancel();
    else if (state === 'reading' && this.#head !== undefined) this.#shared.answering.infer(this, this.#head.target, { type: 'gone' });
    this.#settle();
  }

  /** The request under way is done with. */
  #settle(): void {
    this.#body = NO_BYTES;
    this.#shared.inFlight--;
    this.#shared.onSettled();
  }
}

const NO_BYTES = Buffer.alloc(0);
const NO_HEADERS: RequestHeaders = {};

/** An error is followed by 'close', which says it all. */
function ignore(): void {}
