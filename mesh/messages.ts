/**
 * The messages of the request path and how they are encoded. One frame holds many items, because frames cost more than bytes: a gateway
 * sends all requests of one turn for one batcher in a frame, a worker answers all requests of a batch from one gateway in a frame.
 *
 *   gateway ──SubmitFrame──► batcher ──BatchFrame──► worker ──AnswerFrame──► gateway
 *                               ◄──────ReadyFrame───── worker
 *
 * The batcher reads a request's envelope (`SubmittedRequest`) and passes its `body` (the tensors) on without looking inside.
 */
import { ByteReader, ByteWriter } from './bytes.ts';
import { ServeError, STATUS, type StatusCode, statusCodeFromNumber } from './errors.ts';
import { type BatchId, type ClaimId, isMemberId, type MemberId, type RequestId, type ServableId } from './ids.ts';
import { DTYPES, type DType, dtypeFromNumber, elementCount } from './tensor.ts';

/** Raised with every change of a frame's layout. A member that reads another version answers nothing and says so in its log. */
export const WIRE_VERSION = 2;

/** A tensor as it travels: its bytes inline, or a claim on bytes that a member holds (see `blobs.ts`). */
export interface WireTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly payload: WirePayload;
}

/** A tensor's bytes, or where to fetch them. */
export type WirePayload =
  | { readonly type: 'inline'; readonly bytes: Uint8Array }
  | { readonly type: 'claim'; readonly holder: MemberId; readonly claimId: ClaimId; readonly byteLength: number };

/** One request on its way to a batcher. */
export interface SubmittedRequest {
  readonly requestId: RequestId;
  readonly servable: ServableId;
  readonly signature: string;
  /** Output aliases asked for, in order; never empty. */
  readonly outputs: readonly string[];
  /** Which requests may share a batch: equal keys may. Made by the gateway from servable, signature, outputs, dtypes and inner shapes. */
  readonly laneKey: string;
  /** Rows along dimension 0 of every input; 0 when the request cannot share a batch (a scalar input, unequal rows, batching off). */
  readonly rows: number;
  /** Milliseconds left until the answer is useless, when sent. Infinity when the caller set no deadline. */
  readonly budgetMs: number;
  /** 0 the first time, then one more with each resend. */
  readonly attempt: number;
  /** W3C traceparent of the span that waits for the answer; empty without tracing. */
  readonly traceparent: string;
  /** Keys of the servables that wait for the answer, the first caller first; absent for a request of a client. */
  readonly callers?: readonly string[] | undefined;
  /** The encoded inputs: `encodeTensors`. */
  readonly body: Uint8Array;
}

/** Requests of one gateway for one batcher. */
export interface SubmitFrame {
  readonly gatewayId: MemberId;
  readonly requests: readonly SubmittedRequest[];
}

/** A caller has gone: nobody waits for these any more. Sent by gateways to the batcher, passed on to the worker. */
export interface CancelFrame {
  readonly gatewayId: MemberId;
  readonly requestIds: readonly RequestId[];
}

/** Batches that a batcher has sent to a worker and not got back, to ask whether it has them; and, as the answer, those that it does not have. */
export interface BatchList {
  readonly batcherId: MemberId;
  readonly batchIds: readonly BatchId[];
}

/** The part of a request that is in a batch: rows `[rowStart, rowStart + rowCount)` of its inputs; all of it, unless it was split. */
export interface BatchPart {
  readonly gatewayId: MemberId;
  readonly requestId: RequestId;
  readonly rowStart: number;
  readonly rowCount: number;
  /** Rows of the whole request; 0 for a request that cannot share a batch, which then is alone in its batch with rowStart = rowCount = 0. */
  readonly totalRows: number;
  /** Milliseconds left when the batch was sent. */
  readonly budgetMs: number;
  /** Milliseconds spent in the lane, for the answer's timings. */
  readonly queuedMs: number;
  readonly traceparent: string;
  /** As the request has them. */
  readonly callers?: readonly string[] | undefined;
  readonly body: Uint8Array;
}

/** A batch for one worker. It costs one ready token. */
export interface BatchFrame {
  readonly batcherId: MemberId;
  readonly batchId: BatchId;
  readonly servable: ServableId;
  readonly signature: string;
  readonly outputs: readonly string[];
  /** Rows to execute: the sum of the parts' rows, or more when padded to an allowed batch size. 0 when unbatched. */
  readonly executeRows: number;
  /** Pad inner dimensions to the largest in the batch (`pad_variable_length_inputs`). */
  readonly padRagged: boolean;
  /** Its one request may have ended a worker: it is executed while nothing else is, whoever sent that, and the worker says when it begins. */
  readonly alone: boolean;
  readonly parts: readonly BatchPart[];
}

/** What became of one request, or of one part of it. */
export type Answer =
  | {
      readonly type: 'outputs';
      readonly requestId: RequestId;
      readonly rowStart: number;
      readonly rowCount: number;
      readonly totalRows: number;
      readonly timings: AnswerTimings;
      readonly outputs: readonly WireTensor[];
    }
  | {
      readonly type: 'error';
      readonly requestId: RequestId;
      readonly code: StatusCode;
      readonly message: string;
      /** The sender knows that executing the request elsewhere or later may succeed: the gateway may resend it within the deadline. */
      readonly resend: boolean;
    };

/** Where a request's time went, in ms, and the rows of the batch it was in. For metrics and traces. */
export interface AnswerTimings {
  readonly queuedMs: number;
  readonly executedMs: number;
  readonly batchRows: number;
  readonly workerId: MemberId;
}

/** Answers for one gateway. */
export interface AnswerFrame {
  readonly answers: readonly Answer[];
}

const OUTCOMES = ['answered', 'refused', 'begun'] as const;

/** A worker returns the ready token of a batch: the batch is done (answered) or was never started. */
export interface ReadyFrame {
  readonly workerId: MemberId;
  readonly batchId: BatchId;
  /**
   * `answered`: the worker answered every part. `refused`: the worker does not serve this servable (any more), or has no room for the batch now; nothing was
   * executed, and it announces anew when that changes. `begun`: a batch that must be alone is executed from now on, and its token comes later.
   */
  readonly outcome: (typeof OUTCOMES)[number];
}

/** Encodes a frame of requests. */
export function encodeSubmit(frame: SubmitFrame): Uint8Array {
  let size = 64;
  for (const request of frame.requests) size += 96 + request.body.byteLength;
  const writer = begin(size).text(frame.gatewayId).u32(frame.requests.length);
  let before: SubmittedRequest | undefined;
  for (const request of frame.requests) {
    // Neighbours mostly share a lane, and the lane's key says all that is left out here.
    const sameLane = before !== undefined && before.laneKey === request.laneKey;
    before = request;
    writer.f64(request.requestId).u8(sameLane ? 1 : 0);
    if (!sameLane) {
      writer.text(request.servable.name).f64(request.servable.version).text(request.signature);
      texts(writer, request.outputs);
      writer.text(request.laneKey);
    }
    writer.u32(request.rows).f64(request.budgetMs).u16(request.attempt).text(request.traceparent);
    writeCallers(writer, request.callers);
    writer.bytes(request.body);
  }
  return writer.finish();
}

/** Decodes a frame of requests; bodies are views. Throws DATA_LOSS on a broken frame, as all decoders here do. */
export function decodeSubmit(bytes: Uint8Array): SubmitFrame {
  const reader = open(bytes);
  const gatewayId = memberId(reader.text());
  let lane: Pick<SubmittedRequest, 'servable' | 'signature' | 'outputs' | 'laneKey'> | undefined;
  const requests = list(reader, (): SubmittedRequest => {
    // Requests are held by their ids, in tables that take whole numbers.
    const requestId = size(reader.f64()) as RequestId;
    if (reader.u8() === 0 || lane === undefined) {
      lane = {
        servable: { name: reader.text(), version: reader.f64() },
        signature: reader.text(),
        outputs: readTexts(reader),
        laneKey: reader.text(),
      };
    }
    return {
      requestId,
      servable: lane.servable,
      signature: lane.signature,
      outputs: lane.outputs,
      laneKey: lane.laneKey,
      rows: reader.u32(),
      budgetMs: span(reader.f64()),
      attempt: reader.u16(),
      traceparent: reader.text(),
      callers: readCallers(reader),
      body: reader.bytes(),
    };
  });
  return { gatewayId, requests };
}

/** Encodes a cancellation. */
export function encodeCancel(frame: CancelFrame): Uint8Array {
  const writer = begin(64 + 8 * frame.requestIds.length)
    .text(frame.gatewayId)
    .u32(frame.requestIds.length);
  for (const requestId of frame.requestIds) writer.f64(requestId);
  return writer.finish();
}

/** Decodes a cancellation. */
export function decodeCancel(bytes: Uint8Array): CancelFrame {
  const reader = open(bytes);
  return { gatewayId: memberId(reader.text()), requestIds: list(reader, () => reader.f64() as RequestId) };
}

/** Encodes a list of batches. */
export function encodeBatchList({ batcherId, batchIds }: BatchList): Uint8Array {
  const writer = begin(64 + 8 * batchIds.length)
    .text(batcherId)
    .u32(batchIds.length);
  for (const batchId of batchIds) writer.f64(batchId);
  return writer.finish();
}

/** Decodes a list of batches. */
export function decodeBatchList(bytes: Uint8Array): BatchList {
  const reader = open(bytes);
  return { batcherId: memberId(reader.text()), batchIds: list(reader, () => reader.f64() as BatchId) };
}

/** Bits of a batch's flags. */
const PAD_RAGGED = 1;
const ALONE = 2;

/** Encodes a batch. */
export function encodeBatch(frame: BatchFrame): Uint8Array {
  let size = 256;
  for (const part of frame.parts) size += 160 + part.body.byteLength;
  const writer = begin(size)
    .text(frame.batcherId)
    .f64(frame.batchId)
    .text(frame.servable.name)
    .f64(frame.servable.version)
    .text(frame.signature);
  texts(writer, frame.outputs);
  writer
    .u32(frame.executeRows)
    .u8((frame.padRagged ? PAD_RAGGED : 0) | (frame.alone ? ALONE : 0))
    .u32(frame.parts.length);
  let gatewayId: MemberId | undefined;
  for (const part of frame.parts) {
    writer
      .text(part.gatewayId === gatewayId ? '' : part.gatewayId)
      .f64(part.requestId)
      .u32(part.rowStart)
      .u32(part.rowCount)
      .u32(part.totalRows);
    writer.f64(part.budgetMs).f64(part.queuedMs).text(part.traceparent);
    writeCallers(writer, part.callers);
    writer.bytes(part.body);
    gatewayId = part.gatewayId;
  }
  return writer.finish();
}

/** Decodes a batch; bodies are views. */
export function decodeBatch(bytes: Uint8Array): BatchFrame {
  const reader = open(bytes);
  const gatewayIdOf = createIdRepeater();
  const batcherId = memberId(reader.text());
  const batchId = reader.f64() as BatchId;
  const servable: ServableId = { name: reader.text(), version: reader.f64() };
  const signature = reader.text();
  const outputs = readTexts(reader);
  const executeRows = reader.u32();
  const flags = reader.u8();
  const parts = list(
    reader,
    (): BatchPart => ({
      gatewayId: gatewayIdOf(reader.text()),
      requestId: reader.f64() as RequestId,
      rowStart: reader.u32(),
      rowCount: reader.u32(),
      totalRows: reader.u32(),
      budgetMs: span(reader.f64()),
      queuedMs: span(reader.f64()),
      traceparent: reader.text(),
      callers: readCallers(reader),
      body: reader.bytes(),
    }),
  );
  const padRagged = (flags & PAD_RAGGED) !== 0;
  const alone = (flags & ALONE) !== 0;
  return { batcherId, batchId, servable, signature, outputs, executeRows, padRagged, alone, parts };
}

/** Encodes answers. */
export function encodeAnswers(frame: AnswerFrame): Uint8Array {
  let size = 64;
  for (const answer of frame.answers) size += answer.type === 'outputs' ? 96 + tensorsSize(answer.outputs) : 96 + answer.message.length * 3;
  const writer = begin(size).u32(frame.answers.length);
  let workerId: MemberId | undefined;
  for (const answer of frame.answers) {
    writer.f64(answer.requestId);
    if (answer.type === 'error') {
      writer
        .u8(1)
        .u8(STATUS[answer.code].number)
        .text(answer.message)
        .u8(answer.resend ? 1 : 0);
      continue;
    }
    writer.u8(0).u32(answer.rowStart).u32(answer.rowCount).u32(answer.totalRows);
    const { timings } = answer;
    writer
      .f64(timings.queuedMs)
      .f64(timings.executedMs)
      .u32(timings.batchRows)
      .text(timings.workerId === workerId ? '' : timings.workerId);
    workerId = timings.workerId;
    writeTensors(writer, answer.outputs);
  }
  return writer.finish();
}

/** Decodes answers; payloads are views. */
export function decodeAnswers(bytes: Uint8Array): AnswerFrame {
  const reader = open(bytes);
  const workerIdOf = createIdRepeater();
  const answers = list(reader, (): Answer => {
    const requestId = reader.f64() as RequestId;
    if (reader.u8() === 1) {
      return { type: 'error', requestId, code: statusCodeFromNumber(reader.u8()), message: reader.text(), resend: reader.u8() === 1 };
    }
    return {
      type: 'outputs',
      requestId,
      rowStart: reader.u32(),
      rowCount: reader.u32(),
      totalRows: reader.u32(),
      timings: {
        queuedMs: span(reader.f64()),
        executedMs: span(reader.f64()),
        batchRows: reader.u32(),
        workerId: workerIdOf(reader.text()),
      },
      outputs: readTensors(reader),
    };
  });
  return { answers };
}

/** Encodes the return of a token. */
export function encodeReady(frame: ReadyFrame): Uint8Array {
  return begin(64).text(frame.workerId).f64(frame.batchId).u8(OUTCOMES.indexOf(frame.outcome)).finish();
}

/** Decodes the return of a token. */
export function decodeReady(bytes: Uint8Array): ReadyFrame {
  const reader = open(bytes);
  const workerId = memberId(reader.text());
  const batchId = reader.f64() as BatchId;
  const outcome = OUTCOMES[reader.u8()];
  if (outcome === undefined) throw new ServeError('DATA_LOSS', 'a batch came back with an unknown outcome');
  return { workerId, batchId, outcome };
}

/**
 * Refuses a tensor whose bytes, here or claimed, are not as many as its dtype and shape need: DATA_LOSS. Strings need at least their offsets.
 * Whoever hands a tensor to code that indexes its bytes by its shape asks this first.
 */
export function checkWireTensor({ name, dtype, shape, payload }: WireTensor): void {
  const { byteSize } = DTYPES[dtype];
  const byteLength = payload.type === 'inline' ? payload.bytes.byteLength : payload.byteLength;
  const elements = elementCount(shape);
  if (byteSize > 0 ? byteLength === elements * byteSize : byteLength >= 4 * (elements + 1)) return;
  throw new ServeError('DATA_LOSS', `tensor ${name} in a mesh message: ${dtype} of shape [${shape}] does not have ${byteLength} bytes`);
}

/** Encodes a request's inputs: the `body` that the batcher passes on. */
export function encodeTensors(tensors: readonly WireTensor[]): Uint8Array {
  const writer = new ByteWriter(tensorsSize(tensors));
  writeTensors(writer, tensors);
  return writer.finish();
}

/** Decodes a request's inputs. Payloads are views into `bytes`, at any alignment. */
export function decodeTensors(bytes: Uint8Array): WireTensor[] {
  return readTensors(new ByteReader(bytes));
}

/** Reads an id that is left empty where it is the same as the one before. */
function createIdRepeater(): (text: string) => MemberId {
  let before: MemberId | undefined;
  return (text) => {
    if (text !== '' || before === undefined) before = memberId(text);
    return before;
  };
}

function memberId(text: string): MemberId {
  if (!isMemberId(text)) throw new ServeError('DATA_LOSS', `mesh message names a member by ${text.length} characters that are no id`);
  return text;
}

/** A time span or budget: any double but NaN, which no comparison would ever end. */
function span(ms: number): number {
  if (Number.isNaN(ms)) throw new ServeError('DATA_LOSS', 'mesh message holds a time that is not a number');
  return ms;
}

/** A size, a dimension, or an id. */
function size(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new ServeError('DATA_LOSS', `mesh message holds the size or id ${value}`);
  return value;
}

function writeTensors(writer: ByteWriter, tensors: readonly WireTensor[]): void {
  writer.u16(tensors.length);
  for (const tensor of tensors) {
    writer.text(tensor.name).u8(DTYPES[tensor.dtype].number).u8(tensor.shape.length);
    for (const dim of tensor.shape) writer.f64(dim);
    if (tensor.payload.type === 'inline') writer.u8(0).bytes(tensor.payload.bytes);
    else writer.u8(1).text(tensor.payload.holder).f64(tensor.payload.claimId).f64(tensor.payload.byteLength);
  }
}

function readTensors(reader: ByteReader): WireTensor[] {
  const tensors: WireTensor[] = new Array(reader.u16());
  for (let index = 0; index < tensors.length; index++) {
    const name = reader.text();
    const number = reader.u8();
    const dtype = dtypeFromNumber(number);
    if (dtype === undefined) throw new ServeError('DATA_LOSS', `mesh message names the dtype ${number}, which does not exist`);
    const shape: number[] = new Array(reader.u8());
    for (let axis = 0; axis < shape.length; axis++) shape[axis] = size(reader.f64());
    const payload: WirePayload =
      reader.u8() === 0
        ? { type: 'inline', bytes: reader.bytes() }
        : { type: 'claim', holder: memberId(reader.text()), claimId: reader.f64() as ClaimId, byteLength: size(reader.f64()) };
    tensors[index] = { name, dtype, shape, payload };
  }
  return tensors;
}

function tensorsSize(tensors: readonly WireTensor[]): number {
  let size = 2;
  for (const { name, shape, payload } of tensors)
    size += 64 + name.length * 3 + 8 * shape.length + (payload.type === 'inline' ? payload.bytes.byteLength : 0);
  return size;
}

function begin(size: number): ByteWriter {
  return new ByteWriter(size).u8(WIRE_VERSION);
}

function open(bytes: Uint8Array): ByteReader {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== WIRE_VERSION)
    throw new ServeError('DATA_LOSS', `mesh message has wire version ${version}, this member reads ${WIRE_VERSION}`);
  return reader;
}

/** Reads a uint32 count and that many items. The count is checked against the bytes left, so a broken one cannot ask for memory. */
function list<Item>(reader: ByteReader, read: () => Item): Item[] {
  const count = reader.u32();
  if (count > reader.remaining) throw new ServeError('DATA_LOSS', `mesh message announces ${count} items in ${reader.remaining} bytes`);
  const items: Item[] = new Array(count);
  for (let index = 0; index < count; index++) items[index] = read();
  return items;
}

function texts(writer: ByteWriter, values: readonly string[]): void {
  writer.u16(values.length);
  for (const value of values) writer.text(value);
}

/** Nearly no request has any: one byte then. */
function writeCallers(writer: ByteWriter, callers: readonly string[] | undefined): void {
  writer.u8(callers?.length ?? 0);
  if (callers !== undefined) for (const caller of callers) writer.text(caller);
}

function readCallers(reader: ByteReader): readonly string[] | undefined {
  const count = reader.u8();
  return count === 0 ? undefined : Array.from({ length: count }, () => reader.text());
}

function readTexts(reader: ByteReader): string[] {
  const values: string[] = new Array(reader.u16());
  for (let index = 0; index < values.length; index++) values[index] = reader.text();
  return values;
}
