import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeGetModelMetadataResponse } from '#proto/get-model-metadata.ts';
import { encodeGetModelStatusResponse } from '#proto/get-model-status.ts';
import {
  decodeConfigAnswer,
  decodePutModelRequest,
  decodeRemoveModelRequest,
  encodeConfigAnswer,
  encodePutModelRequest,
  encodeRemoveModelRequest,
} from '#proto/headrace-config.ts';
import { decodeHealthCheckRequest, decodeHealthCheckResponse, encodeHealthCheckRequest, encodeHealthCheckResponse } from '#proto/health.ts';
import { decodeReloadConfigRequest, encodeReloadConfigRequest, encodeReloadConfigResponse } from '#proto/model-management.ts';
import { type ModelConfig, parseModelServerConfigText } from '#proto/model-server-config.ts';
import { decodePredictRequest, encodePredictRequest } from '#proto/predict.ts';
import { asObject, encoded, loadRoot } from './protobuf-root.ts';

const root = loadRoot();
const config = parseModelServerConfigText(
  'model_config_list { config { name: "a" base_path: "/a" version_labels { key: "s" value: 2 } } }',
);
const model: ModelConfig | null = config.type === 'list' ? (config.models[0] ?? null) : null;

describe('ModelSpec', () => {
  test('a version, a label, or neither come back, and what is absent is told apart from zero and empty', () => {
    const choice = fc.oneof(
      fc.record({ version: fc.maxSafeInteger(), label: fc.constant(null) }),
      fc.record({ version: fc.constant(null), label: fc.string() }),
      fc.constant({ version: null, label: null }),
    );
    fc.assert(
      fc.property(fc.string(), choice, fc.string(), (name, { version, label }, signatureName) => {
        const request = encodePredictRequest({ name, version, label, signatureName }, new Map());
        expect(decodePredictRequest(request).spec).toEqual({ present: true, name, version, label, signatureName });
      }),
    );
  });

  test('an absent spec is told apart from an empty one', () => {
    expect(decodePredictRequest(new Uint8Array(0)).spec.present).toBe(false);
    expect(decodePredictRequest(encoded(root, 'tensorflow.serving.PredictRequest', { model_spec: {} })).spec.present).toBe(true);
  });

  test('a version beyond 2^53 is a number that no version has', () => {
    const bytes = encoded(root, 'tensorflow.serving.PredictRequest', { model_spec: { name: 'm', version: { value: '9007199254740993' } } });
    const { version } = decodePredictRequest(bytes).spec;
    expect(version).not.toBeNull();
    expect(Number.isSafeInteger(version)).toBe(false);
  });

  test('the choice that comes last wins', () => {
    const label = encoded(root, 'tensorflow.serving.PredictRequest', { model_spec: { name: 'm', version_label: 'l' } });
    const version = encoded(root, 'tensorflow.serving.PredictRequest', { model_spec: { version: { value: 2 } } });
    expect(decodePredictRequest(Buffer.concat([label, version])).spec).toMatchObject({ name: 'm', version: 2, label: null });
    expect(decodePredictRequest(Buffer.concat([version, label])).spec).toMatchObject({ name: 'm', version: null, label: 'l' });
  });
});

describe('messages of the control services', () => {
  test('a reload carries its configuration and metric names, and answers with the status of the call', () => {
    const request = encodeReloadConfigRequest({ config, metricNames: ['n'] });
    expect(decodeReloadConfigRequest(request)).toEqual({ config, metricNames: ['n'] });
    expect(decodeReloadConfigRequest(new Uint8Array(0))).toEqual({ config: { type: 'unset' }, metricNames: [] });
    const failed = encodeReloadConfigResponse({ code: 'INVALID_ARGUMENT', message: 'no' }, new Map([['n', 4]]));
    expect(asObject(root, 'tensorflow.serving.ReloadConfigResponse', failed)).toEqual({
      status: { error_code: 'INVALID_ARGUMENT', error_message: 'no' },
      metric: [{ name: 'n', int64_value_increase: '4' }],
    });
    const fine = encodeReloadConfigResponse({ code: 'OK', message: '' });
    expect(asObject(root, 'tensorflow.serving.ReloadConfigResponse', fine)).toEqual({ status: {} });
  });

  test('every state of a version has its name on the wire', () => {
    const states = ['START', 'LOADING', 'AVAILABLE', 'UNLOADING', 'END'] as const;
    const status = { code: 'DATA_LOSS', message: 'broken' } as const;
    const response = encodeGetModelStatusResponse(states.map((state, index) => ({ version: index, state, status })));
    expect(asObject(root, 'tensorflow.serving.GetModelStatusResponse', response)).toEqual({
      model_version_status: states.map((state, index) => ({
        ...(index === 0 ? {} : { version: String(index) }),
        state,
        status: { error_code: 'DATA_LOSS', error_message: 'broken' },
      })),
    });
  });

  test('metadata tells an unknown rank, free dimensions and their names', () => {
    const response = encodeGetModelMetadataResponse(
      { name: 'm', version: 1 },
      {
        s: {
          method: 'tensorflow/serving/predict',
          inputs: { x: { dtype: 'int64', shape: [-1, 0, 3], dimNames: ['batch', '', ''], accepts: null, tensorName: 'x:0' } },
          outputs: { y: { dtype: 'string', shape: null, accepts: null, tensorName: '' } },
          batchable: true,
        },
      },
    );
    const answer = asObject(root, 'tensorflow.serving.GetModelMetadataResponse', response) as {
      readonly metadata: { readonly signature_def: { readonly value: string } };
    };
    const map = asObject(root, 'tensorflow.serving.SignatureDefMap', Buffer.from(answer.metadata.signature_def.value, 'base64'));
    expect(map).toEqual({
      signature_def: {
        s: {
          method_name: 'tensorflow/serving/predict',
          inputs: { x: { name: 'x:0', dtype: 'DT_INT64', tensor_shape: { dim: [{ size: '-1', name: 'batch' }, {}, { size: '3' }] } } },
          outputs: { y: { dtype: 'DT_STRING', tensor_shape: { unknown_rank: true } } },
        },
      },
    });
  });

  test('health questions and answers come back', () => {
    expect(decodeHealthCheckRequest(encodeHealthCheckRequest('a.B'))).toBe('a.B');
    for (const status of ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const) {
      expect(decodeHealthCheckResponse(encodeHealthCheckResponse(status))).toBe(status);
      expect(asObject(root, 'grpc.health.v1.HealthCheckResponse', encodeHealthCheckResponse(status))).toEqual(
        status === 'UNKNOWN' ? {} : { status },
      );
    }
  });

  test('changes of one model carry the revision they are based on', () => {
    for (const expectedRevision of [null, 0, 12]) {
      expect(decodePutModelRequest(encodePutModelRequest({ model, expectedRevision }))).toEqual({ model, expectedRevision });
      expect(decodeRemoveModelRequest(encodeRemoveModelRequest({ name: 'a', expectedRevision }))).toEqual({ name: 'a', expectedRevision });
    }
    expect(decodePutModelRequest(new Uint8Array(0))).toEqual({ model: null, expectedRevision: null });
    expect(decodeConfigAnswer(encodeConfigAnswer({ config, revision: 7 }))).toEqual({ config, revision: 7 });
    expect(asObject(root, 'headrace.v1.ConfigAnswer', encodeConfigAnswer({ config, revision: 7 }))).toMatchObject({
      config: { model_config_list: { config: [{ name: 'a', version_labels: { s: '2' } }] } },
      revision: '7',
    });
  });
});
