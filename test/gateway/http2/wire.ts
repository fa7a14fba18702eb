/** One connection of our server without a socket: a test writes frames and reads frames, and time is the test's. */
import { Duplex } from 'node:stream';
import { createFakeClock } from '#mesh/clock.ts';
import {
  FLAG,
  FRAME,
  FrameReader,
  frame,
  headerBlock,
  type IncomingFrame,
  number31,
  PREFACE,
  settings,
} from '../../../bench/load/http2-frames.ts';
import { createByteBudget } from '../../../services/gateway/byte-budget.ts';
import { createCallMaker } from '../../../services/gateway/grpc/headrace-carrier.ts';
import { Connection, type ConnectionHost } from '../../../services/gateway/http2/connection.ts';
import { ScratchPool } from '../../../services/gateway/http2/frame-writer.ts';
import { HpackDecoder } from '../../../services/gateway/http2/hpack-decoder.ts';
import { DEFAULT_LIMITS, type Http2Limits } from '../../../services/gateway/http2/limits.ts';
import { createEchoService } from './echo-service.ts';

export { FLAG, FRAME, frame, headerBlock, type IncomingFrame, number31, PREFACE, settings };

/** The types that the load generator has no use for. */
export const MORE = { priority: 2, pushPromise: 5, continuation: 9 } as const;
export const NO_BYTES = Buffer.alloc(0);

/** A socket that keeps what is written to it, or takes nothing while it is stuck. */
class TestSocket extends Duplex {
  readonly written: Buffer[] = [];
  bytesWritten = 0;
  stuck = false;
  #release: (() => void) | undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _: string, done: () => void): void {
    const take = () => {
      // A copy: what was written may be filled anew once it is taken.
      this.written.push(Buffer.from(chunk));
      this.bytesWritten += chunk.length;
      done();
    };
    if (this.stuck) this.#release = take;
    else take();
  }

  release(): void {
    this.stuck = false;
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }
}

/** The head of a call as a client writes it. */
export function callHeaders(path: string, more: ReadonlyArray<readonly [string, string]> = []): Buffer {
  return headerBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
    ...more,
  ]);
}

/** gRPC's frame around a message. */
export function message(bytes: Uint8Array, flag = 0, length = bytes.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

/** The frames of a whole unary call. */
export function unaryCall(stream: number, path: string, bytes: Uint8Array, more: ReadonlyArray<readonly [string, string]> = []): Buffer {
  return Buffer.concat([
    frame(FRAME.headers, FLAG.endHeaders, stream, callHeaders(path, more)),
    frame(FRAME.data, FLAG.endStream, stream, message(bytes)),
  ]);
}

/** What a stream was answered with. */
export interface WireAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly ended: boolean;
  /** The code of RST_STREAM. */
  readonly reset: number | undefined;
}

/** Opens a connection. Unless `greet` is false the preface and empty settings have been exchanged. */
export function openWire(
  options: {
    readonly limits?: Partial<Http2Limits>;
    readonly maxReceiveBytes?: number;
    readonly budgetBytes?: number;
    readonly greet?: boolean;
  } = {},
) {
  const clock = createFakeClock();
  const socket = new TestSocket();
  socket.on('error', () => {});
  const echo = createEchoService();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { maxReceiveBytes = 2 ** 31 - 1 } = options;
  const budget = createByteBudget(options.budgetBytes ?? Number.POSITIVE_INFINITY);
  const host: ConnectionHost = {
    ...createCallMaker([echo.service], {
      maxReceiveBytes,
      maxSendBytes: 2 ** 31 - 1,
      now: () => clock.now(),
      stallMs: limits.stallMs,
      budget,
    }),
    flushLater: () => {},
    now: () => clock.now(),
    limits,
    scratch: new ScratchPool(),
  };
  const connection = new Connection(host, socket);
  socket.on('drain', () => connection.drain());
  const hpack = new HpackDecoder(2 ** 20);
  const reader = new FrameReader();
  const frames: IncomingFrame[] = [];
  let readBytes = 0;

  const wire = {
    clock,
    socket,
    connection,
    echo,
    budget,
    /** Every frame that came so far. */
    frames,
    /** Delivers bytes to the server and takes what it says at once. */
    send(...bytes: readonly Buffer[]): void {
      for (const chunk of bytes) connection.receive(chunk);
      wire.read();
    },
    read(): void {
      connection.flush();
      for (const chunk of socket.written.splice(0)) reader.push(chunk, (one) => frames.push({ ...one, payload: Buffer.from(one.payload) }));
    },
    /** Lets time pass as a server's timer does, and promises settle. */
    async pass(ms: number, stepMs = ms): Promise<void> {
      for (let passed = 0; passed < ms; passed += stepMs) {
        await clock.advance(stepMs);
        connection.tick(clock.now(), stepMs);
        wire.read();
      }
    },
    of: (type: number) => frames.filter((one) => one.type === type),
    /** The last GOAWAY: its code, and what it says. */
    get goAway(): { readonly code: number; readonly text: string; readonly lastStream: number } | undefined {
      const last = wire.of(FRAME.goAway).at(-1)?.payload;
      return last && { code: last.readUInt32BE(4), text: last.toString('utf8', 8), lastStream: last.readUInt32BE() };
    },
    answer(stream: number): WireAnswer {
      const own = frames.filter((one) => one.stream === stream);
      const reset = own.find(({ type }) => type === FRAME.rstStream)?.payload.readUInt32BE();
      const ended = own.some(({ type, flags }) => type <= FRAME.headers && (flags & FLAG.endStream) !== 0);
      return {
        headers: headersOf(stream),
        body: Buffer.concat(own.filter(({ type }) => type === FRAME.data).map((one) => one.payload)),
        ended,
        reset,
      };
    },
  };
  const decoded = new Map<number, Record<string, string>>();

  /** Blocks must be decoded once and in order, or the table is not the server's. */
  function headersOf(stream: number): Readonly<Record<string, string>> {
    for (; readBytes < frames.length; readBytes++) {
      const one = frames[readBytes];
      if (one?.type !== FRAME.headers) continue;
      const { fields } = hpack.decode(one.payload, 0, one.payload.length);
      decoded.set(one.stream, { ...decoded.get(one.stream), ...Object.fromEntries(fields.map(({ name, value }) => [name, value])) });
    }
    return decoded.get(stream) ?? {};
  }

  if (options.greet !== false) wire.send(PREFACE, frame(FRAME.settings, 0, 0, NO_BYTES));
  else wire.read();
  return wire;
}

export type Wire = ReturnType<typeof openWire>;
