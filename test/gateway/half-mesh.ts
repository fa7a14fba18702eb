/**
 * A small mesh for gateway tests: batchers that execute what they get at once, by rows, with faults on demand. The model `ident` gives back
 * its input, all others compute y = x / 2 + 2.
 */
import { type BlobStore, startBlobStore } from '#mesh/blobs.ts';
import type { Clock } from '#mesh/clock.ts';
import { type BatchingLimits, DEFAULT_BATCHING } from '#mesh/control.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import {
  type Answer,
  decodeCancel,
  decodeSubmit,
  decodeTensors,
  encodeAnswers,
  type SubmittedRequest,
  type WireTensor,
} from '#mesh/messages.ts';
import { startPresence } from '#mesh/presence.ts';
import type { Signature } from '#mesh/signature.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { packStrings, sliceRows, type Tensor, unpackStrings } from '#mesh/tensor.ts';
import type { Transport } from '#mesh/transport.ts';
import type { InferRequest, ResolvedServable } from '../../services/gateway/core.ts';
import { makeReconnectable } from '../mesh/reconnectable.ts';

export const subjects = createSubjects('t');

export const halfSignature: Signature = {
  method: 'tensorflow/serving/predict',
  inputs: { x: { dtype: 'float', shape: [-1, 1], accepts: null, tensorName: 'x:0' } },
  outputs: { y: { dtype: 'float', shape: [-1, 1], accepts: null, tensorName: 'y:0' } },
  batchable: true,
};

export function servable(change: Partial<ResolvedServable> & { readonly batching?: BatchingLimits | null } = {}): ResolvedServable {
  return {
    id: { name: 'half', version: 1 },
    signatures: { serving_default: halfSignature },
    batching: DEFAULT_BATCHING,
    stateful: false,
    ...change,
  };
}

export function floats(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return { dtype: 'float', shape, bytes: new Uint8Array(new Float32Array(values).buffer) };
}

export function strings(values: readonly string[]): Tensor {
  return { dtype: 'string', shape: [values.length], bytes: packStrings(values.map((value) => new TextEncoder().encode(value))) };
}

export function readFloats({ bytes }: Tensor): number[] {
  return [...new Float32Array(Uint8Array.from(bytes).buffer)];
}

export function request(x: Tensor, change: Partial<InferRequest> = {}): InferRequest {
  return {
    servable: servable(),
    signatureName: 'serving_default',
    signature: halfSignature,
    inputs: new Map([['x', x]]),
    outputs: ['y'],
    deadlineMs: Number.POSITIVE_INFINITY,
    traceparent: '',
    ...change,
  };
}

/** What a test batcher does with a request: the answers to send now. `null`: the request is swallowed. */
export type Fault = (submitted: SubmittedRequest) => readonly Answer[] | null | 'compute';

export interface TestBatcher extends AsyncDisposable {
  readonly id: MemberId;
  /** Everything it was sent, in order. */
  readonly received: SubmittedRequest[];
  /** Submit frames it was sent. */
  frames: number;
  readonly cancelled: number[];
  /** Stops listening but keeps its presence: messages to it find no responders. */
  stopListening(): void;
  /** Its connection to the broker was gone for a moment. */
  reconnect(): void;
  /** Sends answers for something it was sent before. */
  answer(answers: readonly Answer[]): void;
  readonly blobs: BlobStore;
}

export async function startTestBatcher(options: {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly fault?: Fault;
  /** Cuts requests into parts of this many rows. */
  readonly splitRows?: number;
  /** Outputs larger than this travel as claims. */
  readonly inlineBytes?: number;
}): Promise<TestBatcher> {
  const { transport, reconnect } = makeReconnectable(options.transport);
  const { clock, fault = () => 'compute', splitRows = Number.POSITIVE_INFINITY, inlineBytes = 65_536 } = options;
  const id = newMemberId('batcher');
  const received: SubmittedRequest[] = [];
  const cancelled: number[] = [];
  const blobs = startBlobStore({ transport, subjects, id, chunkBytes: 1000 });
  let gatewayId = '' as MemberId;

  async function compute(submitted: SubmittedRequest): Promise<readonly Answer[]> {
    const [input] = decodeTensors(submitted.body);
    if (input === undefined) throw new Error('a request without inputs');
    const bytes =
      input.payload.type === 'inline'
        ? input.payload.bytes
        : await blobs.fetch(input.payload, { signal: new AbortController().signal, timeoutMs: 1000 });
    const rows = input.shape[0] ?? 1;
    const answers: Answer[] = [];
    const step = submitted.rows === 0 ? rows : Math.min(rows, splitRows);
    for (let start = 0; start < rows; start += step) {
      const count = Math.min(step, rows - start);
      const output =
        submitted.servable.name === 'ident'
          ? sliceOf({ dtype: input.dtype, shape: input.shape, bytes }, start, count)
          : computeRows(input, bytes, start, count);
      const payload =
        output.bytes.byteLength > inlineBytes
          ? { type: 'claim' as const, ...blobs.hold(output.bytes) }
          : { type: 'inline' as const, bytes: output.bytes };
      answers.push({
        type: 'outputs',
        requestId: submitted.requestId,
        rowStart: submitted.rows === 0 ? 0 : start,
        rowCount: submitted.rows === 0 ? 0 : count,
        totalRows: submitted.rows,
        timings: { queuedMs: 1, executedMs: 2, batchRows: count, workerId: id },
        outputs: [{ name: 'y', dtype: output.dtype, shape: output.shape, payload }],
      });
    }
    return answers;
  }

  const batcher: TestBatcher = {
    id,
    received,
    cancelled,
    frames: 0,
    blobs,
    reconnect,
    stopListening: () => submits[Symbol.dispose](),
    answer: (answers) => transport.publish(subjects.answer(gatewayId), encodeAnswers({ answers })),
    async [Symbol.asyncDispose]() {
      submits[Symbol.dispose]();
      cancels[Symbol.dispose]();
      await blobs[Symbol.asyncDispose]();
      await presence[Symbol.asyncDispose]();
    },
  };
  const submits = transport.subscribe(subjects.submit(id), (message) => {
    const frame = decodeSubmit(message.data);
    gatewayId = frame.gatewayId;
    batcher.frames++;
    for (const submitted of frame.requests) {
      received.push(submitted);
      const answers = fault(submitted);
      if (answers === 'compute') void compute(submitted).then(batcher.answer);
      else if (answers !== null) batcher.answer(answers);
    }
  });
  const cancels = transport.subscribe(subjects.cancel(id), (message) => void cancelled.push(...decodeCancel(message.data).requestIds));
  const presence = await startPresence({ transport, subjects, clock, kind: 'batcher', id, detail: { draining: false } });
  return batcher;
}

function sliceOf(tensor: Tensor, start: number, count: number): Tensor {
  return tensor.shape.length === 0 ? tensor : sliceRows(tensor, start, count);
}

/** Rows of x / 2 + 2; strings get a `!`. */
function computeRows(input: WireTensor, bytes: Uint8Array, start: number, count: number): Tensor {
  const [rows = 1, ...inner] = input.shape;
  const shape = input.shape.length === 0 ? [] : [count, ...inner];
  if (input.dtype === 'string') {
    const elements = unpackStrings(bytes, rows).slice(start, start + count);
    return { dtype: 'string', shape, bytes: packStrings(elements.map((element) => Buffer.concat([element, Buffer.from('!')]))) };
  }
  const values = new Float32Array(Uint8Array.from(bytes).buffer);
  const perRow = inner.reduce((product, dim) => product * dim, 1);
  return { ...floats([...values.subarray(start * perRow, (start + count) * perRow)].map((x) => x / 2 + 2)), shape };
}

/** Lets messages, immediates and promises run until nothing moves. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 20; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}
