/**
 * The server's side of one HTTP/2 connection (RFC 9113): its streams, windows and settings, and what it puts up with. It knows no time of its
 * own: whoever owns it calls `tick`.
 */
import type { Duplex } from 'node:stream';
import { IdTable } from '#mesh/id-table.ts';
import { FrameCutter, type FrameTaker } from './frame-cutter.ts';
import { FrameWriter, type ScratchPool } from './frame-writer.ts';
import { HeadReader, paddingAt } from './head-reader.ts';
import type { HeaderList } from './hpack-decoder.ts';
import type { Http2Limits } from './limits.ts';
import { MOST_BACKLOG_BYTES, Outflow } from './outflow.ts';
import { Patience, PRICE, WAGE } from './patience.ts';
import {
  ConnectionError,
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW,
  ERROR,
  FLAG,
  FRAME,
  LARGEST_FRAME_BYTES,
  LARGEST_WINDOW,
  PREFACE,
  SETTING,
  StreamError,
} from './protocol.ts';
import { checkTrailers } from './request-head.ts';
import { ResetMemory } from './reset-memory.ts';
import type { ServerStream } from './stream.ts';
import { standsStill, Vigil } from './vigil.ts';

/** What owns connections and understands their requests. */
export interface ConnectionHost {
  /** Reads the head of a request; the result is kept for equal header blocks. Throws StreamError when it is malformed. */
  readHead(list: HeaderList): unknown;
  /** Makes the stream of a request. `head` is what `readHead` returned. */
  open(connection: Connection, id: number, head: unknown): ServerStream;
  /** The connection has something to flush at the end of this turn. */
  flushLater(connection: Connection): void;
  /** Monotonic ms. */
  now(): number;
  readonly limits: Http2Limits;
  readonly scratch: ScratchPool;
}

/** How long a closed connection may take to say that it has read our last words. */
const LAST_WORDS_MS = 1000;
/** What our own pings carry: a client's pings are answered, ours recognised. */
const PING_DRAIN = 1;
const PING_ALIVE = 2;
const PING_MARK = 0x48524345;
/** What a client that took the port for another one gets. */
const HTTP1_ANSWER =
  'HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 59\r\n\r\nThis port speaks gRPC over HTTP/2. REST has another port.\r\n';

/** One connection. */
export class Connection implements FrameTaker {
  readonly #host: ConnectionHost;
  readonly #socket: Duplex & { readonly bytesWritten?: number };
  readonly #limits: Http2Limits;
  readonly #writer: FrameWriter;
  readonly #cutter: FrameCutter;
  readonly #heads: HeadReader;
  readonly #streams = new IdTable<number, ServerStream>();
  readonly #resets = new ResetMemory();
  readonly #patience = new Patience();
  readonly #outflow: Outflow;
  readonly #vigil: Vigil;
  #prefaceBytes = 0;
  #settled = false;
  #lastStream = 0;
  #untoldBytes = 0;
  /** `asked`: GOAWAY was sent, streams are still taken. `told`: no more are taken; the connection ends with its last stream. */
  #leaving: 'no' | 'asked' | 'told' = 'no';
  #peerLeaving = false;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #readPaused = false;
  #owed = 0;
  #bytesRead = 0;
  #closingSinceMs = 0;
  #lastPingMs = Number.NEGATIVE_INFINITY;
  #pingStrikes = 0;

  constructor(host: ConnectionHost, socket: Duplex) {
    this.#host = host;
    this.#socket = socket;
    this.#limits = host.limits;
    this.#writer = new FrameWriter(socket, host.scratch, () => host.flushLater(this));
    this.#cutter = new FrameCutter(this);
    this.#heads = new HeadReader(host.limits.maxHeaderListBytes, (flags, id, bytes, start, end) =>
      this.#onBlock(flags, id, bytes, start, end),
    );
    this.#outflow = new Outflow(this.#writer, {
      answered: (stream) => this.#answered(stream),
      frameSent: () => this.#patience.earn(WAGE.frame),
    });
    this.#vigil = new Vigil(host.limits, host.now());
  }

  /** True once nothing more is to be read. */
  get deaf(): boolean {
    return this.#state !== 'open';
  }

  /** The window of streams that begin now. */
  get peerInitialWindow(): number {
    return this.#outflow.initialWindow;
  }

  /** Streams under way. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** Takes what the socket delivered. */
  receive(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    this.#bytesRead += chunk.length;
    try {
      const at = this.#prefaceBytes < PREFACE.length ? this.#readPreface(chunk) : 0;
      if (at < chunk.length) this.#cutter.push(chunk, at);
    } catch (caught) {
      this.#fail(caught);
    }
    if (!this.#readPaused && this.#writer.backlogBytes > MOST_BACKLOG_BYTES) {
      this.#readPaused = true;
      this.#socket.pause();
    }
  }

  /** Writes what this turn has gathered. */
  flush(): void {
    if (this.#state === 'closed') return;
    this.#writer.flush();
    if (this.#socket.writableLength === 0) this.drain();
  }

  /** The socket has taken what it held. */
  drain(): void {
    if (this.#state !== 'open') return;
    this.#owed = 0;
    this.#outflow.pump();
    if (this.#readPaused) {
      this.#readPaused = false;
      this.#socket.resume();
    }
  }

  /** The socket is gone: everything under way is cancelled. */
  gone(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#dropStreams();
  }

  /** Asks the client to go: streams that are on their way are still taken, then those under way end, then the connection. */
  leave(): void {
    if (this.#leaving !== 'no' || this.#state !== 'open') return;
    if (!this.#settled) {
      this.destroy();
      return;
    }
    this.#leaving = 'asked';
    this.#writer.numbers(FRAME.goAway, 0, 0, LARGEST_WINDOW, ERROR.none);
    this.#writer.numbers(FRAME.ping, 0, 0, PING_MARK, PING_DRAIN);
  }

  /** Ends the connection now. */
  destroy(): void {
    this.#socket.destroy();
    this.gone();
  }

  /** Sends the head of an answer. */
  sendHeaders(stream: ServerStream, block: Uint8Array): void {
    if (stream.ended) return;
    this.#pingStrikes = 0;
    this.#lastPingMs = Number.NEGATIVE_INFINITY;
    this.#outflow.headers(stream, FLAG.endHeaders, block);
  }

  /** Sends a head that is the whole answer. */
  sendOnlyHeaders(stream: ServerStream, block: Uint8Array): void {
    if (!stream.ended) this.#outflow.trailers(stream, block);
  }

  /** Sends a whole answer of one message. */
  sendAnswer(stream: ServerStream, head: Uint8Array, message: Uint8Array, trailers: Uint8Array): void {
    if (stream.ended) return;
    this.sendHeaders(stream, head);
    this.#outflow.message(stream, message);
    this.#outflow.trailers(stream, trailers);
  }

  /** Sends a message. Returns false when some of it has to wait: `onDrain` follows. */
  sendMessage(stream: ServerStream, message: Uint8Array): boolean {
    return stream.ended || this.#outflow.message(stream, message);
  }

  /** Ends an answer, once what was sent before has left. */
  sendTrailers(stream: ServerStream, trailers: Uint8Array): void {
    if (!stream.ended) this.#outflow.trailers(stream, trailers);
  }

  /** Ends a stream in the middle. */
  sendReset(stream: ServerStream, errorCode: number): void {
    if (stream.ended) return;
    this.#writer.numbers(FRAME.rstStream, 0, stream.id, errorCode);
    this.#resets.add(stream.id);
    this.#close(stream);
  }

  /** Lets a client that was told to wait go on. */
  resumeReading(stream: ServerStream): void {
    stream.paused = false;
    this.#tellStreamWindow(stream);
  }

  /** Looks at what stands still, and at what is too old. */
  tick(nowMs: number, elapsedMs: number): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'closing') {
      if (nowMs - this.#closingSinceMs >= LAST_WORDS_MS) this.destroy();
      return;
    }
    this.#patience.rest(elapsedMs);
    this.#tickConnection(nowMs);
    if (this.#state !== 'open') return;
    for (const stream of this.#streams.values()) {
      if (stream.ended) continue;
      if (!standsStill(stream, nowMs, this.#limits.stallMs)) stream.onTick(nowMs);
      else if (stream.unsent === undefined) stream.onStalled();
      else {
        this.sendReset(stream, ERROR.cancel);
        stream.onGone();
      }
    }
  }

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FRAME.settings && !this.#settled) throw new ConnectionError(ERROR.protocol, 'the first frame is not SETTINGS');
    if (this.#heads.inBlock && type !== FRAME.continuation) {
      throw new ConnectionError(ERROR.protocol, 'a frame came in the middle of a header block');
    }
    try {
      switch (type) {
        case FRAME.data:
          this.#onData(flags, stream, bytes, start, end);
          return;
        case FRAME.headers:
          this.#heads.onHeaders(flags, stream, bytes, start, end);
          return;
        case FRAME.windowUpdate:
          this.#onWindowUpdate(stream, bytes, start, end);
          return;
        case FRAME.rstStream:
          this.#onReset(stream, end - start);
          return;
        case FRAME.settings:
          this.#onSettings(flags, stream, bytes, start, end);
          return;
        case FRAME.ping:
          this.#onPing(flags, stream, bytes, start, end);
          return;
        case FRAME.continuation:
          this.#heads.onContinuation(flags, stream, bytes, start, end);
          return;
        case FRAME.goAway:
          if (stream !== 0) throw new ConnectionError(ERROR.protocol, 'GOAWAY came on a stream');
          if (end - start < 8) throw new ConnectionError(ERROR.frameSize, 'GOAWAY is too short');
          this.#peerLeaving = true;
          this.#endIfDone();
          return;
        case FRAME.priority:
          if (stream === 0) throw new ConnectionError(ERROR.protocol, 'PRIORITY came on no stream');
          if (end - start !== 5) throw new StreamError(ERROR.frameSize, 'PRIORITY does not have 5 bytes');
          this.#patience.spend(PRICE.frame);
          return;
        case FRAME.pushPromise:
          throw new ConnectionError(ERROR.protocol, 'a client sent PUSH_PROMISE');
        default:
          this.#patience.spend(PRICE.frame);
      }
    } catch (caught) {
      if (!(caught instanceof StreamError)) throw caught;
      this.#failStream(stream, caught);
    }
  }

  dataBegins(id: number, length: number): void {
    if (!this.#settled) throw new ConnectionError(ERROR.protocol, 'the first frame is not SETTINGS');
    if (this.#heads.inBlock) throw new ConnectionError(ERROR.protocol, 'a frame came in the middle of a header block');
    try {
      this.#takeWindow(id, length);
    } catch (caught) {
      if (!(caught instanceof StreamError)) throw caught;
      this.#failStream(id, caught);
    }
  }

  dataPiece(flags: number, id: number, bytes: Buffer, start: number, end: number, last: boolean): void {
    const stream = this.#streams.get(id);
    // Gone since the frame began, or never there: nobody wants the rest.
    if (stream === undefined || stream.remoteEnded) return;
    try {
      this.#take(stream, bytes, start, end, last && (flags & FLAG.endStream) !== 0);
    } catch (caught) {
      if (!(caught instanceof StreamError)) throw caught;
      this.#failStream(id, caught);
    }
  }

  #readPreface(chunk: Buffer): number {
    const bytes = Math.min(chunk.length, PREFACE.length - this.#prefaceBytes);
    if (PREFACE.compare(chunk, 0, bytes, this.#prefaceBytes, this.#prefaceBytes + bytes) !== 0) {
      if (this.#prefaceBytes === 0 && /^[A-Z]{3,10} [/*h]/.test(chunk.toString('latin1', 0, 16))) {
        this.#socket.end(HTTP1_ANSWER);
        this.#startClosing();
        return chunk.length;
      }
      throw new ConnectionError(ERROR.protocol, 'the connection does not begin with the preface of HTTP/2');
    }
    this.#prefaceBytes += bytes;
    // Not before: a client of HTTP/1.1 could not read its answer behind it.
    if (this.#prefaceBytes === PREFACE.length) this.#sendSettings();
    return bytes;
  }

  #onData(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if ((flags & FLAG.padded) !== 0) {
      from++;
      to -= paddingAt(bytes, start, end);
      if (to < from) throw new ConnectionError(ERROR.protocol, 'DATA has more padding than payload');
    }
    const stream = this.#takeWindow(id, end - start);
    if (stream === undefined) return;
    if (from === to && (flags & FLAG.endStream) === 0) this.#patience.spend(PRICE.frame);
    this.#take(stream, bytes, from, to, (flags & FLAG.endStream) !== 0);
  }

  /** Counts a DATA frame against the windows; undefined when its stream is not there any more and the frame is to be ignored. */
  #takeWindow(id: number, length: number): ServerStream | undefined {
    if (id === 0) throw new ConnectionError(ERROR.protocol, 'DATA came on no stream');
    this.#untoldBytes += length;
    if (this.#untoldBytes >= this.#limits.connectionWindowBytes / 2) {
      this.#writer.numbers(FRAME.windowUpdate, 0, 0, this.#untoldBytes);
      this.#untoldBytes = 0;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) throw new ConnectionError(ERROR.protocol, 'DATA came on a stream that was never opened');
      // What was on its way when we reset the stream.
      if (this.#resets.has(id)) return undefined;
      throw new StreamError(ERROR.streamClosed, 'DATA came on a closed stream');
    }
    if (stream.remoteEnded) throw new StreamError(ERROR.streamClosed, 'DATA came after the end of the stream');
    stream.untoldBytes += length;
    if (stream.untoldBytes > this.#limits.streamWindowBytes)
      throw new StreamError(ERROR.flowControl, 'DATA exceeds the window of the stream');
    return stream;
  }

  #take(stream: ServerStream, bytes: Buffer, start: number, end: number, ends: boolean): void {
    stream.receivedBytes += end - start;
    if (stream.contentLength >= 0 && (ends ? stream.receivedBytes !== stream.contentLength : stream.receivedBytes > stream.contentLength)) {
      throw new StreamError(ERROR.protocol, 'the body does not have the length that content-length says');
    }
    if (end > start && !stream.ended) stream.onData(bytes, start, end);
    if (ends) {
      stream.remoteEnded = true;
      if (!stream.ended) stream.onEnd();
    } else if (!stream.paused && !stream.ended && stream.untoldBytes >= this.#limits.streamWindowBytes / 2) {
      this.#tellStreamWindow(stream);
    }
  }

  #tellStreamWindow(stream: ServerStream): void {
    if (stream.untoldBytes === 0 || stream.remoteEnded || stream.ended) return;
    this.#writer.numbers(FRAME.windowUpdate, 0, stream.id, stream.untoldBytes);
    stream.untoldBytes = 0;
  }

  #onBlock(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const ends = (flags & FLAG.endStream) !== 0;
    if (id > this.#lastStream && (id & 1) === 1) {
      this.#lastStream = id;
      this.#openStream(id, this.#heads.meaning(bytes, start, end, this.#host.readHead), ends);
      return;
    }
    // Whatever becomes of the block, the table must follow it.
    const list = this.#heads.read(bytes, start, end);
    if ((id & 1) === 0) throw new ConnectionError(ERROR.protocol, 'a client opened a stream with an even number');
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (this.#resets.has(id)) return;
      throw new ConnectionError(ERROR.streamClosed, 'HEADERS came on a closed stream');
    }
    if (stream.remoteEnded) throw new StreamError(ERROR.streamClosed, 'HEADERS came after the end of the stream');
    if (!ends) throw new StreamError(ERROR.protocol, 'HEADERS came in the middle of a body');
    checkTrailers(list.fields);
    this.#take(stream, bytes, end, end, true);
  }

  #openStream(id: number, head: unknown, ends: boolean): void {
    if (this.#leaving === 'told' || this.#streams.size >= this.#limits.maxConcurrentStreams) {
      if (this.#leaving !== 'told') this.#patience.spend(PRICE.reset);
      this.#resets.add(id);
      this.#writer.numbers(FRAME.rstStream, 0, id, ERROR.refusedStream);
      return;
    }
    const stream = this.#host.open(this, id, head);
    this.#streams.set(id, stream);
    stream.remoteEnded = ends;
    if (ends && stream.contentLength > 0)
      throw new StreamError(ERROR.protocol, 'the body does not have the length that content-length says');
    stream.onStart();
    if (ends && !stream.ended) stream.onEnd();
  }

  #onWindowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(ERROR.frameSize, 'WINDOW_UPDATE does not have 4 bytes');
    const more = bytes.readUInt32BE(start) & LARGEST_WINDOW;
    this.#patience.spend(PRICE.frame);
    const stream = this.#streams.get(id);
    if (id === 0) this.#outflow.grow(more);
    else if (stream !== undefined) this.#outflow.growStream(stream, more);
    else if (this.#isIdle(id)) throw new ConnectionError(ERROR.protocol, 'WINDOW_UPDATE came on a stream that was never opened');
    this.#outflow.pump();
  }

  #onReset(id: number, length: number): void {
    if (id === 0) throw new ConnectionError(ERROR.protocol, 'RST_STREAM came on no stream');
    if (length !== 4) throw new ConnectionError(ERROR.frameSize, 'RST_STREAM does not have 4 bytes');
    if (this.#isIdle(id)) throw new ConnectionError(ERROR.protocol, 'RST_STREAM came on a stream that was never opened');
    const stream = this.#streams.get(id);
    this.#patience.spend(stream === undefined ? PRICE.frame : PRICE.reset);
    if (stream === undefined) return;
    this.#close(stream);
    stream.onGone();
  }

  #onSettings(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) throw new ConnectionError(ERROR.protocol, 'SETTINGS came on a stream');
    if ((flags & FLAG.ack) !== 0) {
      if (end !== start) throw new ConnectionError(ERROR.frameSize, 'an acknowledgement of SETTINGS has a payload');
      if (!this.#settled) throw new ConnectionError(ERROR.protocol, 'the first frame is not SETTINGS');
      return;
    }
    if ((end - start) % 6 !== 0) throw new ConnectionError(ERROR.frameSize, 'SETTINGS is cut in the middle of one');
    this.#settled = true;
    this.#patience.spend(PRICE.settings);
    for (let at = start; at < end; at += 6) this.#onSetting(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    this.#owe();
    this.#writer.frame(FRAME.settings, FLAG.ack, 0, NOTHING);
    this.#outflow.pump();
  }

  #onSetting(setting: number, value: number): void {
    if (setting === SETTING.initialWindowSize) {
      if (value > LARGEST_WINDOW) throw new ConnectionError(ERROR.flowControl, 'SETTINGS_INITIAL_WINDOW_SIZE is too large');
      this.#outflow.setInitialWindow(value, this.#streams.values());
    } else if (setting === SETTING.maxFrameSize) {
      if (value < DEFAULT_FRAME_BYTES || value > LARGEST_FRAME_BYTES) {
        throw new ConnectionError(ERROR.protocol, `SETTINGS_MAX_FRAME_SIZE is ${value}`);
      }
      this.#outflow.setFrameBytes(value);
    } else if (setting === SETTING.headerTableSize) this.#outflow.setTableBytes(value);
    else if (setting === SETTING.enablePush && value > 1) throw new ConnectionError(ERROR.protocol, `SETTINGS_ENABLE_PUSH is ${value}`);
  }

  #onPing(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) throw new ConnectionError(ERROR.protocol, 'PING came on a stream');
    if (end - start !== 8) throw new ConnectionError(ERROR.frameSize, 'PING does not have 8 bytes');
    if ((flags & FLAG.ack) !== 0) {
      const asked = bytes.readUInt32BE(start) === PING_MARK && bytes.readUInt32BE(start + 4) === PING_DRAIN;
      if (asked && this.#leaving === 'asked') this.#stopTaking();
      return;
    }
    this.#patience.spend(PRICE.frame);
    this.#countPing();
    this.#owe();
    this.#writer.frame(FRAME.ping, FLAG.ack, 0, bytes.subarray(start, end));
  }

  #countPing(): void {
    const { minPingIntervalMs, maxPingStrikes } = this.#limits;
    if (minPingIntervalMs === 0) return;
    const nowMs = this.#host.now();
    const tooSoon = nowMs - this.#lastPingMs < minPingIntervalMs;
    this.#lastPingMs = nowMs;
    // gRPC's word for it, which clients know.
    if (tooSoon && ++this.#pingStrikes > maxPingStrikes) throw new ConnectionError(ERROR.enhanceYourCalm, 'too_many_pings');
  }

  /** Counts an answer that a client makes us keep for it as long as it does not read. */
  #owe(): void {
    if (++this.#owed > MOST_OWED) {
      throw new ConnectionError(ERROR.enhanceYourCalm, `${MOST_OWED} answers to PING and SETTINGS wait to be read`);
    }
  }

  /** All of an answer has been written. */
  #answered(stream: ServerStream): void {
    this.#patience.earn(WAGE.answer);
    if (!stream.remoteEnded) {
      // The client may stop sending what nobody reads (RFC 9113, section 8.1).
      this.#writer.numbers(FRAME.rstStream, 0, stream.id, ERROR.none);
      this.#resets.add(stream.id);
    }
    this.#close(stream);
  }

  #close(stream: ServerStream): void {
    stream.ended = true;
    stream.unsent = undefined;
    this.#streams.delete(stream.id);
    if (this.#streams.size === 0) this.#endIfDone();
  }

  #isIdle(id: number): boolean {
    return id > this.#lastStream || (id & 1) === 0;
  }

  /** The second half of leaving: what the client opens from now on is refused, so that it tries elsewhere. */
  #stopTaking(): void {
    this.#leaving = 'told';
    this.#writer.numbers(FRAME.goAway, 0, 0, this.#lastStream, ERROR.none);
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#streams.size > 0 || this.#state !== 'open' || (this.#leaving !== 'told' && !this.#peerLeaving)) return;
    this.#startClosing();
    this.#writer.flush();
    this.#socket.end();
  }

  #startClosing(): void {
    this.#state = 'closing';
    this.#closingSinceMs = this.#host.now();
    // What still comes is read and thrown away: unread bytes would make the system drop our last words.
    if (this.#readPaused) this.#socket.resume();
  }

  #failStream(id: number, { errorCode }: StreamError): void {
    this.#patience.spend(PRICE.reset);
    this.#writer.numbers(FRAME.rstStream, 0, id, errorCode);
    this.#resets.add(id);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#close(stream);
    stream.onGone();
  }

  /** Ends the connection with an error that the client can read. */
  #fail(caught: unknown): void {
    if (this.#state !== 'open') return;
    const error = caught instanceof ConnectionError ? caught : new ConnectionError(ERROR.internal, 'a bug in the server');
    const text = Buffer.from(error.message, 'utf8');
    const payload = Buffer.alloc(8 + text.length);
    payload.writeUInt32BE(this.#lastStream);
    payload.writeUInt32BE(error.errorCode, 4);
    payload.set(text, 8);
    this.#writer.frame(FRAME.goAway, 0, 0, payload);
    this.#startClosing();
    this.#writer.flush();
    this.#socket.end();
    this.#dropStreams();
    if (!(caught instanceof ConnectionError)) throw caught;
  }

  #dropStreams(): void {
    for (const stream of this.#streams.values()) {
      this.#streams.delete(stream.id);
      stream.ended = true;
      stream.unsent = undefined;
      stream.onGone();
    }
  }

  #tickConnection(nowMs: number): void {
    const { writableLength, bytesWritten = 0 } = this.#socket;
    const verdict = this.#vigil.look(nowMs, {
      bytesRead: this.#bytesRead,
      bytesWritten: bytesWritten - writableLength,
      bytesWaiting: writableLength,
      halfway: !this.#settled || this.#cutter.inFrame || this.#heads.inBlock,
      readPaused: this.#readPaused,
      streamCount: this.#streams.size,
      leaving: this.#leaving,
    });
    if (verdict === 'stopped') {
      const text = `no byte came for ${this.#limits.stallMs} ms in the middle of a frame`;
      this.#fail(new ConnectionError(ERROR.enhanceYourCalm, text));
    } else if (verdict === 'ping') this.#writer.numbers(FRAME.ping, 0, 0, PING_MARK, PING_ALIVE);
    else if (verdict === 'leave') this.leave();
    else if (verdict === 'stop-taking') this.#stopTaking();
    else if (verdict !== 'well') this.destroy();
  }

  #sendSettings(): void {
    const { maxConcurrentStreams, maxHeaderListBytes, streamWindowBytes, connectionWindowBytes } = this.#limits;
    const settings = [
      [SETTING.maxConcurrentStreams, maxConcurrentStreams],
      [SETTING.initialWindowSize, streamWindowBytes],
      [SETTING.maxHeaderListSize, maxHeaderListBytes],
    ] as const;
    const payload = Buffer.alloc(6 * settings.length);
    for (const [index, [setting, value]] of settings.entries()) {
      payload.writeUInt16BE(setting, 6 * index);
      payload.writeUInt32BE(value, 6 * index + 2);
    }
    this.#writer.frame(FRAME.settings, 0, 0, payload);
    this.#writer.numbers(FRAME.windowUpdate, 0, 0, connectionWindowBytes - DEFAULT_WINDOW);
  }
}

const NOTHING = new Uint8Array(0);
/** Answers to PING and SETTINGS that wait for one client to read. */
const MOST_OWED = 1000;
