import { describe, expect, test } from '@jest/globals';
import { ServeError } from '#mesh/errors.ts';
import type { BatchId, ClaimId, MemberId, RequestId } from '#mesh/ids.ts';
import {
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
  type WireTensor,
} from '#mesh/messages.ts';

const gatewayId = 'gateway-1' as MemberId;
const tensors: readonly WireTensor[] = [
  { name: 'größe', dtype: 'float', shape: [2, 1], payload: { type: 'inline', bytes: new Uint8Array([0, 0, 128, 63, 0, 0, 0, 64]) } },
  {
    name: 'image',
    dtype: 'uint8',
    shape: [2, 50_000_000],
    payload: { type: 'claim', holder: gatewayId, claimId: 7 as ClaimId, byteLength: 100_000_000 },
  },
];
const body = encodeTensors(tensors);
const submit = {
  gatewayId,
  requests: [
    {
      requestId: (2 ** 40) as RequestId,
      servable: { name: 'modèle', version: 2 ** 52 },
      signature: 'serving_default',
      outputs: ['y', 'z'],
      laneKey: 'k'.repeat(300),
      rows: 2,
      budgetMs: Number.POSITIVE_INFINITY,
      attempt: 1,
      traceparent: '',
      body,
    },
  ],
};
const batch = {
  batcherId: 'batcher-1' as MemberId,
  batchId: 3 as BatchId,
  servable: { name: 'm', version: 1 },
  signature: 's',
  outputs: ['y'],
  executeRows: 4,
  padRagged: true,
  alone: true,
  parts: [
    {
      gatewayId,
      requestId: 5 as RequestId,
      rowStart: 1,
      rowCount: 2,
      totalRows: 9,
      budgetMs: 10.5,
      queuedMs: 0.25,
      traceparent: 't',
      body,
    },
  ],
};
const answers = {
  answers: [
    { type: 'error' as const, requestId: 1 as RequestId, code: 'UNAVAILABLE' as const, message: 'plein', resend: true },
    {
      type: 'outputs' as const,
      requestId: 2 as RequestId,
      rowStart: 0,
      rowCount: 2,
      totalRows: 2,
      timings: { queuedMs: 1, executedMs: 2, batchRows: 8, workerId: 'worker-1' as MemberId },
      outputs: tensors,
    },
  ],
};

describe('messages', () => {
  test('what neighbours share is sent once and read for each', () => {
    const [request] = submit.requests;
    const [part] = batch.parts;
    const [, answer] = answers.answers;
    if (request === undefined || part === undefined || answer === undefined) throw new Error('the samples are gone');
    const other = { ...request, laneKey: 'other', servable: { name: 'other', version: 1 } };
    const many = { gatewayId, requests: [request, { ...request, requestId: 2 as RequestId }, other, other, request] };
    expect(decodeSubmit(encodeSubmit(many))).toEqual(many);
    const [one, two] = [[request], [request, request]].map((requests) => encodeSubmit({ gatewayId, requests }).byteLength);
    expect((two ?? 0) - (one ?? 0)).toBeLessThan((one ?? 0) - 300);
    const elsewhere = { ...part, gatewayId: 'gateway-2' as MemberId };
    const parts = { ...batch, parts: [part, part, elsewhere, elsewhere, part] };
    expect(decodeBatch(encodeBatch(parts))).toEqual(parts);
    const both = { answers: [answer, ...answers.answers, answer] };
    expect(decodeAnswers(encodeAnswers(both))).toEqual(both);
  });

  test('every frame survives a round trip', () => {
    expect(decodeTensors(body)).toEqual(tensors);
    expect(decodeSubmit(encodeSubmit(submit))).toEqual(submit);
    expect(decodeBatch(encodeBatch(batch))).toEqual(batch);
    expect(decodeAnswers(encodeAnswers(answers))).toEqual(answers);
    expect(decodeCancel(encodeCancel({ gatewayId, requestIds: [1 as RequestId, 9 as RequestId] }))).toEqual({
      gatewayId,
      requestIds: [1, 9],
    });
    const batches = { batcherId: 'batcher-1' as MemberId, batchIds: [1 as BatchId, 9 as BatchId] };
    expect(decodeBatchList(encodeBatchList(batches))).toEqual(batches);
    for (const outcome of ['answered', 'refused', 'begun'] as const) {
      const ready = { workerId: 'worker-1' as MemberId, batchId: 4 as BatchId, outcome };
      expect(decodeReady(encodeReady(ready))).toEqual(ready);
    }
  });

  test('every truncation of a frame is refused as data loss', () => {
    for (const [frame, decode] of [
      [encodeSubmit(submit), decodeSubmit],
      [encodeBatch(batch), decodeBatch],
      [encodeAnswers(answers), decodeAnswers],
    ] as const) {
      for (let length = 0; length < frame.byteLength; length++) {
        expect(() => decode(frame.subarray(0, length))).toThrow(ServeError);
      }
    }
  });

  test('a frame of another wire version is refused by number', () => {
    const frame = encodeCancel({ gatewayId, requestIds: [] });
    frame[0] = 99;
    expect(() => decodeCancel(frame)).toThrow('mesh message has wire version 99, this member reads 2');
  });
});
