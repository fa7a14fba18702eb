/**
 * Calls between servables: a worker asks any gateway for an inference, as a client would, and hears from it on a subject of that call's own.
 *
 *   worker ──InferCall──► any gateway ──accepted──► worker ──(CallCancel to all gateways)
 *                                     ──outputs or error──► worker
 */
import { ByteReader, ByteWriter } from './bytes.ts';
import { ServeError, STATUS, type StatusCode, statusCodeFromNumber } from './errors.ts';
import { isMemberId, type MemberId } from './ids.ts';
import { decodeTensors, encodeTensors, WIRE_VERSION, type WireTensor } from './messages.ts';

/** What a servable asks of another one. */
export interface InferCall {
  readonly workerId: MemberId;
  /** Unique within that worker's life. */
  readonly callId: number;
  readonly model: string;
  /** At most one of the two is not null; neither: the latest version. */
  readonly version: number | null;
  readonly label: string | null;
  /** Empty: the default one. */
  readonly signature: string;
  /** Aliases of the outputs; empty: all. */
  readonly outputs: readonly string[];
  /** Milliseconds left when sent. Infinity: no deadline. */
  readonly budgetMs: number;
  /** W3C traceparent of the calling batch; empty without tracing. */
  readonly traceparent: string;
  /** Keys of the servables that wait for the answer, the one that calls last. Never empty. */
  readonly callers: readonly string[];
  readonly inputs: readonly WireTensor[];
}

/** What a gateway answers: first that it has the call, then what came of it. */
export type CallReply =
  /** `stateful`: the servable keeps state, so that a call lost with its gateway must not be sent again. */
  | { readonly type: 'accepted'; readonly gatewayId: MemberId; readonly stateful: boolean }
  | { readonly type: 'outputs'; readonly outputs: readonly WireTensor[] }
  | { readonly type: 'error'; readonly code: StatusCode; readonly message: string };

/** Nobody waits for the answer of a call any more. */
export interface CallCancel {
  readonly workerId: MemberId;
  readonly callId: number;
}

/** Servables that may wait for each other: a longer row of calls is refused. */
export const MAX_CALLERS = 8;

/** Encodes a call. */
export function encodeInferCall(call: InferCall): Uint8Array {
  const body = encodeTensors(call.inputs);
  const writer = new ByteWriter(256 + body.byteLength).u8(WIRE_VERSION).text(call.workerId).f64(call.callId).text(call.model);
  writer.f64(call.version ?? -1).u8(call.label === null ? 0 : 1);
  writer.text(call.label ?? '').text(call.signature);
  writeTexts(writer, call.outputs);
  writer.f64(call.budgetMs).text(call.traceparent);
  writeTexts(writer, call.callers);
  return writer.raw(body).finish();
}

/** Decodes a call; payloads are views. Throws DATA_LOSS on a broken message, as all decoders here do. */
export function decodeInferCall(bytes: Uint8Array): InferCall {
  const reader = open(bytes);
  const workerId = memberId(reader.text());
  const callId = whole(reader.f64());
  const model = reader.text();
  const version = reader.f64();
  const hasLabel = reader.u8() === 1;
  const label = reader.text();
  return {
    workerId,
    callId,
    model,
    version: version < 0 ? null : whole(version),
    label: hasLabel ? label : null,
    signature: reader.text(),
    outputs: readTexts(reader),
    budgetMs: budget(reader.f64()),
    traceparent: reader.text(),
    callers: readTexts(reader),
    inputs: decodeTensors(reader.raw(reader.remaining)),
  };
}

/** Encodes a reply. */
export function encodeCallReply(reply: CallReply): Uint8Array {
  const writer = new ByteWriter().u8(WIRE_VERSION);
  switch (reply.type) {
    case 'accepted':
      return writer
        .u8(0)
        .text(reply.gatewayId)
        .u8(reply.stateful ? 1 : 0)
        .finish();
    case 'outputs':
      return writer.u8(1).raw(encodeTensors(reply.outputs)).finish();
    case 'error':
      return writer.u8(2).u8(STATUS[reply.code].number).text(reply.message).finish();
  }
}

/** Decodes a reply; payloads are views. */
export function decodeCallReply(bytes: Uint8Array): CallReply {
  const reader = open(bytes);
  const type = reader.u8();
  if (type === 0) return { type: 'accepted', gatewayId: memberId(reader.text()), stateful: reader.u8() === 1 };
  if (type === 1) return { type: 'outputs', outputs: decodeTensors(reader.raw(reader.remaining)) };
  if (type === 2) return { type: 'error', code: statusCodeFromNumber(reader.u8()), message: reader.text() };
  throw broken(`has the type ${type}`);
}

/** Encodes a cancellation. */
export function encodeCallCancel({ workerId, callId }: CallCancel): Uint8Array {
  return new ByteWriter(64).u8(WIRE_VERSION).text(workerId).f64(callId).finish();
}

/** Decodes a cancellation. */
export function decodeCallCancel(bytes: Uint8Array): CallCancel {
  const reader = open(bytes);
  return { workerId: memberId(reader.text()), callId: whole(reader.f64()) };
}

function open(bytes: Uint8Array): ByteReader {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== WIRE_VERSION) throw broken(`has wire version ${version}, this member reads ${WIRE_VERSION}`);
  return reader;
}

function memberId(text: string): MemberId {
  if (!isMemberId(text)) throw broken(`names a member by ${text.length} characters that are no id`);
  return text;
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw broken(`holds the number ${value}`);
  return value;
}

function budget(ms: number): number {
  if (Number.isNaN(ms)) throw broken('holds a time that is not a number');
  return ms;
}

function writeTexts(writer: ByteWriter, values: readonly string[]): void {
  writer.u16(values.length);
  for (const value of values) writer.text(value);
}

function readTexts(reader: ByteReader): string[] {
  return Array.from({ length: reader.u16() }, () => reader.text());
}

function broken(why: string): ServeError {
  return new ServeError('DATA_LOSS', `a call between servables ${why}`);
}
