/**
 * A load generator for unary gRPC that costs a few microseconds a request: it writes HTTP/2 frames itself, the same bytes for every request,
 * and looks at an answer only far enough to know that it is one. (A client on node:http2 or grpc-js costs more than the server under test.)
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { percentile } from '../rounds.ts';
import { FLAG, FRAME, FrameReader, frame, frameHead, headerBlock, type IncomingFrame, number31, PREFACE, settings } from './http2-frames.ts';
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
const WIDE_WINDOW = 2 ** 30;

/** Runs the load. Rejects when an answer carries no message (gRPC's errors do not) or a connection ends: a figure with errors means nothing. */
export async function runGrpc(load: GrpcLoad): Promise<LoadResult> {
  const request = grpcFrame(load.message);
  if (request.length > DEFAULT_WINDOW) throw new RangeError(`a message of ${load.message.length} bytes does not fit one stream's window`);
  const latencies: number[] = [];
  const run: Run = { request, headers: requestHeaders(load), latencies, endAt: performance.now() + load.seconds * 1000, streams: load.streams };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: load.connections }, () => runConnection(load.port, run)));
  const seconds = (performance.now() - startedAt) / 1000;
  const percent = (share: number) => percentile(latencies, share);
  return { requests: latencies.length, errors: 0, perSecond: latencies.length / seconds, p50Ms: percent(0.5), p90Ms: percent(0.9), p99Ms: percent(0.99) };
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
          if (incoming.type === FRAME.settings && (incoming.flags & FLAG.ack) === 0) socket.write(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
          if (incoming.stream !== 1) return;
          if (incoming.type === FRAME.data) bytes.push(Buffer.from(incoming.payload));
          if (!endsStream(incoming)) return;
          if (bytes.length > 0) resolve(Buffer.concat(bytes).subarray(5));
          else reject(new Error(`${path}: an error without a message; its headers are ${incoming.payload.toString('latin1')}`));
        }),
      );
      const headers = requestHeaders({ port, path });
      socket.write(frame(FRAME.headers, FLAG.endHeaders, 1, headers));
      socket.write(frame(FRAME.data, FLAG.endStream, 1, grpcFrame(message)));
    });
  } finally {
    socket.destroy();
  }
}

interface Run {
  /** The body of every request: gRPC's frame. */
  readonly request: Buffer;
  readonly headers: Buffer;
  readonly latencies: number[];
  readonly endAt: number;
  readonly streams: number;
}

async function runConnection(port: number, run: Run): Promise<void> {
  const socket = await open(port);
  const reader = new FrameReader();
  const startedAt = new Map<number, number>();
  const answered = new Set<number>();
  let nextStream = 1;
  let sendWindow = DEFAULT_WINDOW;
  let received = 0;
  let waiting = 0;

  const send = (): void => {
    if (sendWindow < run.request.length) {
      waiting++;
      return;
    }
    const stream = nextStream;
    nextStream += 2;
    sendWindow -= run.request.length;
    startedAt.set(stream, performance.now());
    socket.write(frameHead({ type: FRAME.headers, flags: FLAG.endHeaders, stream, length: run.headers.length }));
    socket.write(run.headers);
    socket.write(frameHead({ type: FRAME.data, flags: FLAG.endStream, stream, length: run.request.length }));
    socket.write(run.request);
  };
  const resume = (): void => {
    while (waiting > 0 && sendWindow >= run.request.length) {
      waiting--;
      send();
    }
  };

  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${startedAt.size} calls without an answer 30 s after the end`)), run.endAt - performance.now() + 30_000);
      const finish = (failure?: Error): void => {
        clearTimeout(late);
        if (failure) reject(failure);
        else resolve();
      };
      const take = (incoming: IncomingFrame): void => {
        if (incoming.type === FRAME.settings && (incoming.flags & FLAG.ack) === 0) socket.write(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
        else if (incoming.type === FRAME.ping && (incoming.flags & FLAG.ack) === 0) socket.write(frame(FRAME.ping, FLAG.ack, 0, incoming.payload));
        else if (incoming.type === FRAME.goAway) finish(new Error(`port ${port} sent GOAWAY: ${incoming.payload.subarray(8).toString('latin1')}`));
        else if (incoming.type === FRAME.rstStream) finish(new Error(`port ${port} reset a stream, code ${incoming.payload.readUInt32BE()}`));
        else if (incoming.type === FRAME.windowUpdate && incoming.stream === 0) sendWindow += incoming.payload.readUInt32BE();
        else if (incoming.type === FRAME.data) {
          received += incoming.payload.length;
          answered.add(incoming.stream);
        }
        if (incoming.stream === 0 || !endsStream(incoming)) return;
        const now = performance.now();
        run.latencies.push(now - (startedAt.get(incoming.stream) ?? now));
        startedAt.delete(incoming.stream);
        if (!answered.delete(incoming.stream)) return finish(new Error(`port ${port} answered with an error: ${incoming.payload.toString('latin1')}`));
        if (now < run.endAt) send();
        else if (startedAt.size === 0) finish();
      };
      socket.on('error', finish);
      socket.on('close', () => finish(new Error(`port ${port} closed the connection`)));
      socket.on('data', (chunk: Buffer) => {
        socket.cork();
        reader.push(chunk, take);
        resume();
        if (received > WIDE_WINDOW / 2) {
          socket.write(frame(FRAME.windowUpdate, 0, 0, number31(received)));
          received = 0;
        }
        socket.uncork();
      });
      socket.cork();
      for (let stream = 0; stream < run.streams; stream++) send();
      socket.uncork();
    });
  } finally {
    socket.removeAllListeners('close');
    socket.destroy();
  }
}

/** Connects, and asks the server to keep no header table: its trailers are then the same bytes for every answer. */
async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const [headerTableSize, initialWindowSize] = [1, 4];
  socket.write(PREFACE);
  socket.write(frame(FRAME.settings, 0, 0, settings([[headerTableSize, 0], [initialWindowSize, WIDE_WINDOW]])));
  socket.write(frame(FRAME.windowUpdate, 0, 0, number31(WIDE_WINDOW)));
  return socket;
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
