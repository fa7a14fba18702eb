/**
 * A load generator for unary gRPC that costs a few microseconds a request: it writes HTTP/2 frames itself, the same bytes for every request,
 * and looks at an answer only far enough to know that it is one. (A client on node:http2 or grpc-js costs more than the server under test.)
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { percentile } from '../rounds.ts';
import {
  FLAG,
  FRAME,
  FrameReader,
  frame,
  frameHead,
  headerBlock,
  type IncomingFrame,
  number31,
  PREFACE,
  settings,
} from './http2-frames.ts';
import type { LoadResult } from './result.ts';

/** The load of one run: each connection keeps `streams` requests in flight. */
export interface GrpcLoad {
  readonly port: number;
  /** Such as `/tensorflow.serving.PredictionService/Predict`. */
  readonly path: string;
  /** The request message; it must fit a stream's window of 65,535 bytes. */
  readonly message: Uint8Array;
  readonly connections: number;
  readonly streams: number;
  readonly seconds: number;
}

/** Predict's path. */
export const PREDICT_PATH = '/tensorflow.serving.PredictionService/Predict';

const DEFAULT_WINDOW = 65_535;
const MAX_FRAME = 16_384;
const WIDE_WINDOW = 2 ** 30;
const OPEN_WITHIN_MS = 30_000;

/** Runs the load. Rejects when an answer carries no message (gRPC's errors do not) or a connection ends: a figure with errors means nothing. */
export async function runGrpc(load: GrpcLoad): Promise<LoadResult> {
  const request = grpcFrame(load.message);
  if (request.length > DEFAULT_WINDOW) throw new RangeError(`a message of ${load.message.length} bytes does not fit one stream's window`);
  const latencies: number[] = [];
  // A thousand sessions take a server a second to set up: that is not what is measured.
  const sockets = await Promise.all(Array.from({ length: load.connections }, () => open(load.port)));
  const run: Run = {
    request,
    headers: requestHeaders(load),
    latencies,
    endAt: performance.now() + load.seconds * 1000,
    streams: load.streams,
  };
  const startedAt = performance.now();
  await Promise.all(sockets.map((socket) => runConnection(socket, load.port, run)));
  const seconds = (performance.now() - startedAt) / 1000;
  const percent = (share: number) => percentile(latencies, share);
  return {
    requests: latencies.length,
    errors: 0,
    perSecond: latencies.length / seconds,
    p50Ms: percent(0.5),
    p90Ms: percent(0.9),
    p99Ms: percent(0.99),
  };
}

/** Calls once and resolves with the answer's message. Rejects with gRPC's status when there is none. */
export async function callOnce(port: number, path: string, message: Uint8Array): Promise<Buffer> {
  const socket = await open(port);
  const bytes: Buffer[] = [];
  try {
    return await new Promise((resolve, reject) => {
      const reader = new FrameReader();
      socket.on('error', reject);
      socket.on('close', () => reject(new Error(`port ${port} closed the connection`)));
      socket.setTimeout(30_000, () => reject(new Error(`${path}: no answer within 30 s`)));
      socket.on('data', (chunk: Buffer) =>
        reader.push(chunk, (incoming) => {
          if (incoming.type === FRAME.settings && (incoming.flags & FLAG.ack) === 0)
            socket.write(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
          if (incoming.stream !== 1) return;
          if (incoming.type === FRAME.data) bytes.push(Buffer.from(incoming.payload));
          if (!endsStream(incoming)) return;
          if (bytes.length > 0) resolve(Buffer.concat(bytes).subarray(5));
          else reject(new Error(`${path}: an error without a message; its headers are ${incoming.payload.toString('latin1')}`));
        }),
      );
      const headers = requestHeaders({ port, path });
      socket.write(frame(FRAME.headers, FLAG.endHeaders, 1, headers));
      writeData(socket, 1, grpcFrame(message));
    });
  } finally {
    socket.destroy();
  }
}

/** What all connections of a run share. */
interface Run {
  /** The body of every request: gRPC's frame. */
  readonly request: Buffer;
  readonly headers: Buffer;
  /** Milliseconds of each answered request. */
  readonly latencies: number[];
  readonly endAt: number;
  readonly streams: number;
}

async function runConnection(socket: Socket, port: number, run: Run): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      // While the others were opened.
      if (socket.destroyed) throw new Error(`port ${port} closed the connection`);
      const connection = createConnection(socket, run, resolve, (problem) => reject(new Error(`port ${port} ${problem}`)));
      const late = setTimeout(
        () => reject(new Error(`port ${port} leaves calls without an answer`)),
        run.endAt - performance.now() + 30_000,
      );
      late.unref();
      socket.on('error', reject);
      socket.on('close', () => reject(new Error(`port ${port} closed the connection`)));
      socket.on('data', (chunk: Buffer) => connection.receive(chunk));
      connection.start();
    });
  } finally {
    socket.removeAllListeners();
    socket.destroy();
  }
}

/** One connection's calls: as many in flight as the run wants, a new one for each answer until the run's end. */
function createConnection(socket: Socket, run: Run, finished: () => void, failed: (problem: string) => void) {
  const { request, headers, latencies } = run;
  const reader = new FrameReader();
  const startedAt = new Map<number, number>();
  const answered = new Set<number>();
  let nextStream = 1;
  let sendWindow = DEFAULT_WINDOW;
  let received = 0;
  /** Calls that wait for the server to open its window. */
  let waiting = 0;

  function send(): void {
    if (sendWindow < request.length) {
      waiting++;
      return;
    }
    const stream = nextStream;
    nextStream += 2;
    sendWindow -= request.length;
    startedAt.set(stream, performance.now());
    socket.write(frameHead({ type: FRAME.headers, flags: FLAG.endHeaders, stream, length: headers.length }));
    socket.write(headers);
    writeData(socket, stream, request);
  }

  function take(incoming: IncomingFrame): void {
    const { type, flags, stream, payload } = incoming;
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.settings && !isAck) socket.write(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
    else if (type === FRAME.ping && !isAck) socket.write(frame(FRAME.ping, FLAG.ack, 0, payload));
    else if (type === FRAME.goAway) failed(`sent GOAWAY: ${payload.subarray(8).toString('latin1')}`);
    else if (type === FRAME.rstStream) failed(`reset a stream, code ${payload.readUInt32BE()}`);
    else if (type === FRAME.windowUpdate && stream === 0) sendWindow += payload.readUInt32BE();
    else if (type === FRAME.data) {
      received += payload.length;
      answered.add(stream);
    }
    if (stream !== 0 && endsStream(incoming)) end(stream, payload);
  }

  function end(stream: number, payload: Buffer): void {
    const now = performance.now();
    latencies.push(now - (startedAt.get(stream) ?? now));
    startedAt.delete(stream);
    if (!answered.delete(stream)) failed(`answered with an error: ${payload.toString('latin1')}`);
    else if (now < run.endAt) send();
    else if (startedAt.size === 0) finished();
  }

  return {
    start(): void {
      socket.cork();
      for (let stream = 0; stream < run.streams; stream++) send();
      socket.uncork();
    },
    receive(chunk: Buffer): void {
      socket.cork();
      reader.push(chunk, take);
      for (let open = waiting; open > 0 && sendWindow >= request.length; open--) {
        waiting--;
        send();
      }
      if (received > WIDE_WINDOW / 2) {
        socket.write(frame(FRAME.windowUpdate, 0, 0, number31(received)));
        received = 0;
      }
      socket.uncork();
    },
  };
}

/** Connects, and asks the server to keep no header table: its trailers are then the same bytes for every answer. Resolves when the server has said something. */
async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.on('error', () => socket.destroy()); // Whoever reads from it sees that it has closed.
  const [headerTableSize, initialWindowSize] = [1, 4];
  socket.write(PREFACE);
  socket.write(
    frame(
      FRAME.settings,
      0,
      0,
      settings([
        [headerTableSize, 0],
        [initialWindowSize, WIDE_WINDOW],
      ]),
    ),
  );
  socket.write(frame(FRAME.windowUpdate, 0, 0, number31(WIDE_WINDOW)));
  await once(socket, 'readable', { signal: AbortSignal.timeout(OPEN_WITHIN_MS) });
  return socket;
}

/** The body of a stream, in frames of the size that every server takes. */
function writeData(socket: Socket, stream: number, body: Buffer): void {
  for (let start = 0; start < body.length; start += MAX_FRAME) {
    const part = body.subarray(start, start + MAX_FRAME);
    const flags = start + part.length === body.length ? FLAG.endStream : 0;
    socket.write(frameHead({ type: FRAME.data, flags, stream, length: part.length }));
    socket.write(part);
  }
}

function endsStream(incoming: IncomingFrame): boolean {
  return (incoming.type === FRAME.headers || incoming.type === FRAME.data) && (incoming.flags & FLAG.endStream) !== 0;
}

/** gRPC's length-prefixed message, not compressed. */
function grpcFrame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function requestHeaders({ port, path }: { readonly port: number; readonly path: string }): Buffer {
  return headerBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', `127.0.0.1:${port}`],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
  ]);
}
