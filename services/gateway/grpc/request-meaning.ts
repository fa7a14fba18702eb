/** What the head of a gRPC call says: the method, the time it has, how its messages are compressed. */
import type { HeaderList } from '../http2/hpack-decoder.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import { readRequestHead } from '../http2/request-head.ts';
import { CALL_FAILED, trailersOnly } from './answer-blocks.ts';
import type { GrpcMethod } from './port.ts';

/** A call that can be made. */
export interface CallHead {
  readonly type: 'call';
  readonly method: GrpcMethod;
  readonly path: string;
  /** What the client gives it, in ms; Infinity: no bound. */
  readonly timeoutMs: number;
  /** `grpc-encoding`; empty without one. */
  readonly encoding: string;
  readonly traceparent: string;
  readonly contentLength: number;
}

/** A request that is answered by its head alone. */
export interface RefusedHead {
  readonly type: 'refused';
  /** The header block of the answer. */
  readonly block: Uint8Array;
  readonly contentLength: number;
}

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000001 };

/** Reads a call's head. `methods` are by path. Throws StreamError when HTTP/2's rules are broken. */
export function readCallHead({ fields, tooLarge }: HeaderList, methods: ReadonlyMap<string, GrpcMethod>): CallHead | RefusedHead {
  if (tooLarge) return refused(trailersOnly('RESOURCE_EXHAUSTED', 'the metadata is larger than this server takes'));
  const { method: verb, path, fields: rest, contentLength } = readRequestHead(fields);
  let contentType = '';
  let timeout: string | undefined;
  let encoding = '';
  let traceparent = '';
  for (const { name, value } of rest) {
    if (name === 'content-type') contentType = value;
    else if (name === 'grpc-timeout') timeout ??= value;
    else if (name === 'grpc-encoding') encoding = value;
    else if (name === 'traceparent' && traceparent === '') traceparent = value;
  }
  if (verb !== 'POST') return refused(METHOD_NOT_ALLOWED, contentLength);
  if (!contentType.startsWith('application/grpc')) return refused(UNSUPPORTED_MEDIA_TYPE, contentLength);
  const method = methods.get(path);
  if (method === undefined) {
    return refused(trailersOnly('UNIMPLEMENTED', `The server does not implement the method ${path}`), contentLength);
  }
  const timeoutMs = timeout === undefined ? Number.POSITIVE_INFINITY : readTimeout(timeout);
  if (Number.isNaN(timeoutMs)) return refused(trailersOnly(CALL_FAILED, `Invalid grpc-timeout value "${timeout}"`), contentLength);
  return { type: 'call', method, path, timeoutMs, encoding, traceparent, contentLength };
}

const UNSUPPORTED_MEDIA_TYPE = encodeHeaders([[':status', '415']]);
const METHOD_NOT_ALLOWED = encodeHeaders([
  [':status', '405'],
  ['allow', 'POST'],
]);

function refused(block: Uint8Array, contentLength = -1): RefusedHead {
  return { type: 'refused', block, contentLength };
}

/** Milliseconds, or NaN. */
function readTimeout(text: string): number {
  const [, digits, unit = ''] = TIMEOUT.exec(text) ?? [];
  return Number(digits) * (UNIT_MS[unit] ?? Number.NaN);
}
