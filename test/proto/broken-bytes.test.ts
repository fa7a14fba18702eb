import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ServeError } from '#mesh/errors.ts';
import { DTYPES, type DType, packStrings, type Tensor } from '#mesh/tensor.ts';
import { decodeExamplesRequest, encodeExamplesRequest } from '#proto/classification.ts';
import { decodeExample, encodeExample } from '#proto/example.ts';
import { decodeGetModelMetadataRequest, encodeGetModelMetadataRequest } from '#proto/get-model-metadata.ts';
import { decodeGetModelStatusRequest, encodeGetModelStatusRequest } from '#proto/get-model-status.ts';
import { decodePutModelRequest, encodePutModelRequest } from '#proto/headrace-config.ts';
import { decodeHealthCheckRequest, encodeHealthCheckRequest } from '#proto/health.ts';
import { decodeMultiInferenceRequest, encodeMultiInferenceRequest } from '#proto/inference.ts';
import { decodeReloadConfigRequest, encodeReloadConfigRequest } from '#proto/model-management.ts';
import { parseModelServerConfigText } from '#proto/model-server-config.ts';
import { decodeInputs, decodePredictRequest, encodePredictRequest } from '#proto/predict.ts';
import { decodePredictionLog, encodePredictionLog } from '#proto/prediction-log.ts';

const spec = { present: true, name: 'model', version: 3, label: null, signatureName: 'serving_default' };
const tensors = new Map(
  (Object.keys(DTYPES) as DType[]).map((dtype): [string, Tensor] => {
    if (dtype === 'string') return ['string', { dtype, shape: [2], bytes: packStrings([new Uint8Array([1, 2]), new Uint8Array(0)]) }];
    return [dtype, { dtype, shape: [2, 1], bytes: new Uint8Array(2 * DTYPES[dtype].byteSize).fill(dtype === 'bool' ? 1 : 0xa5) }];
  }),
);
const example = encodeExample(
  new Map([
    ['f', { kind: 'float', values: Float32Array.of(1, 2) }],
    ['i', { kind: 'int64', values: BigInt64Array.of(-1n) }],
    ['b', { kind: 'bytes', values: [new Uint8Array([7])] }],
  ]),
);
const input = { examples: [example, example], context: example };
const config = parseModelServerConfigText(
  'model_config_list { config { name: "a" version_labels { key: "s" value: 2 } model_version_policy { specific { versions: [1, 2] } } logging_config {} } }',
);
const model = config.type === 'list' ? (config.models[0] ?? null) : null;

/** Decodes all of a predict request, tensors with a bound that keeps the test small. */
function decodePredict(bytes: Uint8Array): void {
  decodeInputs(decodePredictRequest(bytes).inputs, { maxExpandedBytes: 1024 });
}

const messages: readonly (readonly [string, Uint8Array, (bytes: Uint8Array) => unknown])[] = [
  ['PredictRequest', encodePredictRequest(spec, tensors, { outputFilter: ['y'] }), decodePredict],
  ['PredictRequest with tensor_content', encodePredictRequest(spec, tensors, { tensorContent: true }), decodePredict],
  [
    'ClassificationRequest',
    encodeExamplesRequest(spec, input),
    (bytes) => decodeExamplesRequest(bytes).examples.map((one) => decodeExample(one)),
  ],
  ['MultiInferenceRequest', encodeMultiInferenceRequest([{ spec, methodName: 'm' }], input), decodeMultiInferenceRequest],
  ['Example', example, decodeExample],
  ['GetModelMetadataRequest', encodeGetModelMetadataRequest(spec, ['signature_def']), decodeGetModelMetadataRequest],
  ['GetModelStatusRequest', encodeGetModelStatusRequest(spec), decodeGetModelStatusRequest],
  ['ReloadConfigRequest', encodeReloadConfigRequest({ config, metricNames: ['m'] }), decodeReloadConfigRequest],
  ['PutModelRequest', encodePutModelRequest({ model, expectedRevision: 4 }), decodePutModelRequest],
  ['HealthCheckRequest', encodeHealthCheckRequest('service'), decodeHealthCheckRequest],
  ['PredictionLog', encodePredictionLog('predict', encodePredictRequest(spec, tensors)), decodePredictionLog],
];

/** True when the decoder takes the bytes; anything but a ServeError fails the test. */
function survives(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return true;
  } catch (caught) {
    if (!(caught instanceof ServeError)) throw caught;
    expect(caught.code).toBe('INVALID_ARGUMENT');
    return false;
  }
}

describe.each(messages)('a broken %s', (_, bytes, decode) => {
  test('is whole before it is broken', () => {
    expect(survives(decode, bytes)).toBe(true);
  });

  test('cut off anywhere is read or refused with INVALID_ARGUMENT', () => {
    let refused = 0;
    for (let length = 0; length < bytes.byteLength; length++) if (!survives(decode, bytes.subarray(0, length))) refused++;
    expect(refused).toBeGreaterThan(0);
  });

  test('with any bit flipped is read or refused with INVALID_ARGUMENT', () => {
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      const broken = bytes.slice();
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      survives(decode, broken);
    }
  });

  test('replaced by any bytes is read or refused with INVALID_ARGUMENT', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => void survives(decode, noise)),
      { numRuns: 300 },
    );
  });
});
