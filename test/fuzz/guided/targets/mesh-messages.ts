/** Messages between the services. */

import {
  readAssignment,
  readRegistryAnswer,
  readRegistryQuestion,
  readRoutingUpdate,
  readSignaturesAnswer,
  readSignaturesQuestion,
} from '#mesh/control-reader.ts';
import type { BatchId, ClaimId, MemberId, RequestId } from '#mesh/ids.ts';
import {
  decodeCallCancel,
  decodeCallReply,
  decodeInferCall,
  encodeCallCancel,
  encodeCallReply,
  encodeInferCall,
} from '#mesh/infer-call.ts';
import {
  type BatchFrame,
  checkWireTensor,
  decodeAnswers,
  decodeBatch,
  decodeBatchList,
  decodeCancel,
  decodeReady,
  decodeSubmit,
  decodeTensors,
  encodeAnswers,
  encodeBatch,
  encodeBatchList,
  encodeCancel,
  encodeReady,
  encodeSubmit,
  encodeTensors,
  type SubmitFrame,
  type SubmittedRequest,
  type WireTensor,
} from '#mesh/messages.ts';
import { agree, type FuzzTarget, orRefused } from '../target.ts';

const gatewayId = 'gateway-1' as MemberId;
const workerId = 'worker-1' as MemberId;
const TENSORS: readonly WireTensor[] = [
  { name: 'x', dtype: 'float', shape: [2], payload: { type: 'inline', bytes: new Uint8Array(8) } },
  { name: 'y', dtype: 'string', shape: [], payload: { type: 'claim', holder: gatewayId, claimId: 5 as ClaimId, byteLength: 100 } },
];
const servable = { name: 'm', version: 3 };
const request: SubmittedRequest = {
  requestId: 1 as RequestId,
  servable,
  signature: 's',
  outputs: ['y'],
  laneKey: 'k',
  rows: 2,
  budgetMs: 10,
  attempt: 0,
  traceparent: '',
  callers: ['a@1'],
  body: encodeTensors(TENSORS),
};
const { body, callers } = request;
const part = {
  gatewayId,
  requestId: request.requestId,
  rowStart: 0,
  rowCount: 2,
  totalRows: 2,
  budgetMs: 5,
  queuedMs: 1,
  traceparent: '',
  callers,
  body,
};
const batch: BatchFrame = {
  batcherId: 'batcher-1' as MemberId,
  batchId: 7 as BatchId,
  servable,
  signature: 's',
  outputs: ['y'],
  executeRows: 4,
  padRagged: true,
  alone: true,
  parts: [part],
};
const timings = { queuedMs: 1, executedMs: 2, batchRows: 3, workerId };
const call = {
  workerId,
  callId: 1,
  model: 'm',
  version: null,
  label: 'stable',
  signature: '',
  outputs: ['y'],
  budgetMs: 10,
  traceparent: '',
  callers: ['a@1'],
  inputs: TENSORS,
};

/** A kind of frame: its sample, and what is promised of any bytes taken for one. */
interface Kind {
  readonly sample: Uint8Array;
  readonly check: (bytes: Uint8Array) => void;
}

/** What is read, written and read again is the same. */
function kind<Frame>(sample: Frame, encode: (frame: Frame) => Uint8Array, decode: (bytes: Uint8Array) => Frame): Kind {
  return {
    sample: encode(sample),
    check(bytes) {
      const frame = orRefused(() => decode(bytes));
      if (frame !== undefined) agree('what is written and read again', decode(encode(frame)), frame);
    },
  };
}

/** A lane's key says all that its requests share: neighbours with one key and different servables are no frame that a gateway writes. */
function decodeHonestSubmit(bytes: Uint8Array): SubmitFrame {
  const frame = decodeSubmit(bytes);
  const lies = frame.requests.some((one, index) => {
    const before = frame.requests[index - 1];
    return before?.laneKey === one.laneKey && before.servable !== one.servable;
  });
  return lies ? { ...frame, requests: [] } : frame;
}

const FRAMES: readonly Kind[] = [
  kind({ gatewayId, requests: [request, { ...request, callers: undefined }] }, encodeSubmit, decodeHonestSubmit),
  kind({ gatewayId, requestIds: [request.requestId] }, encodeCancel, decodeCancel),
  kind({ batcherId: batch.batcherId, batchIds: [batch.batchId] }, encodeBatchList, decodeBatchList),
  kind(batch, encodeBatch, decodeBatch),
  kind(
    {
      answers: [
        { type: 'outputs' as const, requestId: request.requestId, rowStart: 0, rowCount: 2, totalRows: 2, timings, outputs: TENSORS },
        { type: 'error' as const, requestId: request.requestId, code: 'NOT_FOUND' as const, message: 'no', resend: true },
      ],
    },
    encodeAnswers,
    decodeAnswers,
  ),
  kind({ workerId, batchId: batch.batchId, outcome: 'answered' as const }, encodeReady, decodeReady),
  kind<readonly WireTensor[]>(TENSORS, encodeTensors, (bytes) => {
    const tensors = decodeTensors(bytes);
    for (const tensor of tensors) orRefused(() => checkWireTensor(tensor));
    return tensors;
  }),
  kind(call, encodeInferCall, decodeInferCall),
  kind(
    { type: 'outputs' as const, outputs: TENSORS },
    encodeCallReply,
    decodeCallReply as (bytes: Uint8Array) => { type: 'outputs'; outputs: readonly WireTensor[] },
  ),
  kind({ workerId, callId: 1 }, encodeCallCancel, decodeCallCancel),
];

const signatures = {
  s: {
    method: 'tensorflow/serving/predict',
    batchable: true,
    inputs: { x: { dtype: 'float', shape: [-1], tensorName: 'x:0', default: { shape: [0], base64: '' } } },
    outputs: {},
    listedOnly: { inputs: {}, outputs: { v: { dtype: { number: 21, protoName: 'DT_VARIANT' }, shape: null, tensorName: 'v' } } },
  },
};
const status = { code: 'OK', message: '' };
const routing = {
  fencingToken: 1,
  revision: 2,
  removed: ['old'],
  models: [
    {
      name: 'm',
      labels: { a: 1 },
      versions: [{ version: 1, state: 'AVAILABLE', status, signatures, routable: true, batching: null, stateful: false }],
    },
  ],
};
const run = {
  instances: 1,
  intraOpThreads: 1,
  executionProviders: ['cpu'],
  warmup: true,
  warmupIterations: 1,
  maxLoadRetries: 0,
  loadRetryIntervalMicros: 0,
};
const DOCUMENTS: readonly (readonly [sample: unknown, read: (bytes: Uint8Array) => unknown])[] = [
  [
    {
      fencingToken: 1,
      revision: 1,
      servables: [{ id: servable, path: '/m', platform: 'onnx', batching: null, perModelBatching: false, run, generation: 1 }],
    },
    readAssignment,
  ],
  [routing, readRoutingUpdate],
  [{ id: servable }, readSignaturesQuestion],
  [{ signatures }, readSignaturesAnswer],
  [{ type: 'put-model', modelText: 'name: "a"', expectedRevision: null, timeoutMs: 5 }, readRegistryQuestion],
  [{ type: 'config', configText: '', revision: 1 }, readRegistryAnswer],
];

const withKind = (which: number, bytes: Uint8Array) => Buffer.concat([Uint8Array.of(which), bytes]);

/** Targets of this file; the first byte of an input chooses the kind. */
export const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'frames',
    format: 'bytes',
    covers: ['mesh/'],
    words: ['gateway-1', '*', '.', '\r\n'],
    seeds: () => FRAMES.map(({ sample }, index) => withKind(index, sample)),
    check: (bytes) => FRAMES[(bytes[0] ?? 0) % FRAMES.length]?.check(bytes.subarray(1)),
  },
  {
    name: 'control-documents',
    format: 'text',
    covers: ['mesh/'],
    words: [
      'null',
      'true',
      '{}',
      '[]',
      '""',
      '-1',
      '1.5',
      '"__proto__":',
      '"type":"routing"',
      '"type":"reload"',
      '"type":"error"',
      ',',
      '1e300',
    ],
    seeds: () => DOCUMENTS.map(([sample], index) => withKind(index, Buffer.from(JSON.stringify(sample)))),
    check: (bytes) => void orRefused(() => DOCUMENTS[(bytes[0] ?? 0) % DOCUMENTS.length]?.[1](bytes.subarray(1))),
  },
];
