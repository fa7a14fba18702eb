import { describe, expect, test } from '@jest/globals';
import { newMemberId } from '#mesh/ids.ts';
import {
  type CallReply,
  decodeCallCancel,
  decodeCallReply,
  decodeInferCall,
  encodeCallCancel,
  encodeCallReply,
  encodeInferCall,
  type InferCall,
} from '#mesh/infer-call.ts';
import { decodeBatch, encodeBatch, type WireTensor } from '#mesh/messages.ts';

const workerId = newMemberId('worker');
const input: WireTensor = { name: 'x', dtype: 'float', shape: [2], payload: { type: 'inline', bytes: new Uint8Array(8) } };
const call: InferCall = {
  workerId,
  callId: 7,
  model: 'digits',
  version: null,
  label: null,
  signature: '',
  outputs: ['digit'],
  budgetMs: 12.5,
  traceparent: '',
  callers: ['pipeline@1'],
  inputs: [input],
};

describe('a call between servables', () => {
  test.each([
    ['the latest version', {}],
    ['version 0', { version: 0 }],
    ['a label, without a deadline', { label: 'stable', budgetMs: Number.POSITIVE_INFINITY }],
    ['an empty label', { label: '' }],
    ['many callers and no inputs', { callers: ['a@1', 'b@2'], inputs: [] }],
  ])('of %s arrives as it was sent', (_, change) => {
    const asked = { ...call, ...change };
    expect(decodeInferCall(encodeInferCall(asked))).toEqual(asked);
  });

  test.each([
    { type: 'accepted', gatewayId: newMemberId('gateway'), stateful: true },
    { type: 'outputs', outputs: [{ ...input, payload: { type: 'claim', holder: workerId, claimId: 3 as never, byteLength: 8 } }] },
    { type: 'error', code: 'NOT_FOUND', message: 'no such model' },
  ] satisfies CallReply[])('is answered by $type, which arrives as it was sent', (reply) => {
    expect(decodeCallReply(encodeCallReply(reply))).toEqual(reply);
  });

  test('is cancelled by its worker and number', () => {
    expect(decodeCallCancel(encodeCallCancel({ workerId, callId: 9 }))).toEqual({ workerId, callId: 9 });
  });

  test.each([
    ['call', encodeInferCall(call), decodeInferCall],
    ['reply', encodeCallReply({ type: 'accepted', gatewayId: workerId, stateful: false }), decodeCallReply],
    ['cancellation', encodeCallCancel({ workerId, callId: 9 }), decodeCallCancel],
  ] as const)('that is cut off anywhere is DATA_LOSS: %s', (_, whole, decode) => {
    for (let length = 0; length < whole.byteLength; length++) {
      expect(() => decode(whole.subarray(0, length))).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
    }
  });

  test('of another wire version, or from a member whose id would be a subject of its own, is DATA_LOSS', () => {
    const other = Uint8Array.from(encodeInferCall(call));
    other[0] = 99;
    expect(() => decodeInferCall(other)).toThrow(/wire version 99/);
    expect(() => decodeInferCall(encodeInferCall({ ...call, workerId: 'a.>' as never }))).toThrow(/no id/);
  });
});

test('a batch carries the servables that wait for each of its requests', () => {
  const part = {
    gatewayId: newMemberId('gateway'),
    requestId: 1 as never,
    rowStart: 0,
    rowCount: 1,
    totalRows: 1,
    budgetMs: 5,
    queuedMs: 0,
    traceparent: '',
    body: new Uint8Array(2),
  };
  const frame = {
    batcherId: newMemberId('batcher'),
    batchId: 1 as never,
    servable: { name: 'm', version: 1 },
    signature: 's',
    outputs: ['y'],
    executeRows: 2,
    padRagged: false,
    alone: false,
    parts: [part, { ...part, callers: ['a@1', 'b@2'] }],
  };
  expect(decodeBatch(encodeBatch(frame)).parts.map(({ callers }) => callers)).toEqual([undefined, ['a@1', 'b@2']]);
});
