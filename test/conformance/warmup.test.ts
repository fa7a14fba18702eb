import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import { encodeExamplesRequest } from '#proto/classification.ts';
import { encodeExample } from '#proto/example.ts';
import { encodeMultiInferenceRequest } from '#proto/inference.ts';
import { encodePredictRequest } from '#proto/predict.ts';
import { encodePredictionLog } from '#proto/prediction-log.ts';
import { writeTfRecords } from '#proto/tfrecord.ts';
import { type RunningMesh, startRunningMesh } from '../embedded/running-mesh.ts';
import { hasTranscripts, sharedPath } from './transcripts.ts';

const specOf = (signatureName: string) => ({ name: 'half_plus_two', version: null, label: null, signatureName });
const rows = { examples: [encodeExample(new Map([['x', { kind: 'float', values: Float32Array.of(1) }]]))] };
const floats = { dtype: 'float' as const, shape: [1, 1], bytes: new Uint8Array(Float32Array.of(1).buffer) };
const predict = (signature: string, inputs: Parameters<typeof encodePredictRequest>[1]) =>
  encodePredictionLog('predict', encodePredictRequest(specOf(signature), inputs));
const task = (signature: string, methodName: string) => ({ spec: { present: true, ...specOf(signature) }, methodName });

/** One record of each kind that is replayed. */
const KINDS = [
  predict('', new Map([['x', floats]])),
  encodePredictionLog('classify', encodeExamplesRequest(specOf('classify_x_to_y'), rows)),
  encodePredictionLog('regress', encodeExamplesRequest(specOf('regress_x_to_y'), rows)),
  encodePredictionLog(
    'multi-inference',
    encodeMultiInferenceRequest(
      [task('regress_x_to_y2', 'tensorflow/serving/regress'), task('classify_x_to_y', 'tensorflow/serving/classify')],
      rows,
    ),
  ),
];
const emptyExample = { examples: [encodeExample(new Map())] };

/** Copies of half_plus_two with a warmup file each, and what their status says. */
const BROKEN: readonly (readonly [string, Uint8Array, string, RegExp])[] = [
  ['no_records', utf8('this is no TFRecord file'), 'DATA_LOSS', /Please verify your warmup data is in TFRecord format\./],
  ['cut_short', writeTfRecords(KINDS).subarray(0, -3), 'DATA_LOSS', /Please verify your warmup data is in TFRecord format\./],
  ['no_message', writeTfRecords([...KINDS, Uint8Array.of(0xff)]), 'INVALID_ARGUMENT', /Failed to parse warmup record: /],
  ['session_run', writeTfRecords([Uint8Array.of(0x2a, 0)]), 'UNIMPLEMENTED', /Unsupported log_type for warmup: 5/],
  [
    'other_signature',
    writeTfRecords([predict('nope', new Map([['x', floats]]))]),
    'FAILED_PRECONDITION',
    /Serving signature key "nope" not found\./,
  ],
  [
    'missing_feature',
    writeTfRecords([encodePredictionLog('classify', encodeExamplesRequest(specOf('classify_x_to_y'), emptyExample))]),
    'INVALID_ARGUMENT',
    /Name: <unknown>, Feature: x \(data type: float\) is required but could not be found\.\n\t \[\[\{\{node ParseExample\/ParseExample\}\}\]\]/,
  ],
];

(hasTranscripts ? describe : describe.skip)('warmup of SavedModels (skipped without ../shared)', () => {
  let mesh: RunningMesh;
  beforeAll(async () => {
    const put = (folder: string, name: string, source: string, records: Uint8Array) => {
      cpSync(sharedPath('models', source), join(folder, name), { recursive: true });
      const extra = join(folder, name, '00000123', 'assets.extra');
      mkdirSync(extra, { recursive: true });
      writeFileSync(join(extra, 'tf_serving_warmup_requests'), records);
    };
    const config = (folder: string, name: string) =>
      `config { name: "${name}" base_path: "${join(folder, name)}" model_platform: "tensorflow" }`;
    mesh = await startRunningMesh({
      prepare(folder) {
        writeFileSync(join(folder, 'monitoring.config'), 'prometheus_config { enable: true }');
        put(folder, 'warmed', 'half_plus_two', writeTfRecords(KINDS));
        put(folder, 'counter', 'counter', writeTfRecords([predict('incr_counter', new Map()), predict('incr_counter', new Map())]));
        for (const [name, records] of BROKEN) put(folder, name, 'half_plus_two', records);
      },
      config: (folder) =>
        `model_config_list { ${['warmed', 'counter', ...BROKEN.map(([name]) => name)].map((name) => config(folder, name)).join('\n')} }`,
      flags: (folder) => [
        `--import_cache_dir=${join(folder, 'cache')}`,
        `--monitoring_config_file=${join(folder, 'monitoring.config')}`,
        '--max_num_load_retries=0',
      ],
    });
  }, 60_000);
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
  });

  const statusOf = async (model: string) => {
    const { text } = await mesh.send('GET', `/v1/models/${model}`);
    return (JSON.parse(text) as { model_version_status: [{ state: string; status: object }] }).model_version_status[0];
  };

  test('records of every kind are replayed, and the model is available', async () => {
    expect(await statusOf('warmed')).toMatchObject({ state: 'AVAILABLE', status: { error_code: 'OK' } });
    const { text } = await mesh.send('POST', '/v1/models/warmed:predict', '{"instances":[1]}');
    expect(JSON.parse(text)).toEqual({ predictions: [2.5] });
    const { text: metrics } = await mesh.send('GET', '/monitoring/prometheus/metrics');
    expect(metrics).toMatch(/^:tensorflow:serving:model_warmup_latency_count\{model_path="[^"]*\/warmed\/[^"]*",status="OK"\} [1-9]/m);
  });

  test('what the records did to a model that keeps state has been done when it becomes available', async () => {
    const { body, status } = await mesh.send('POST', '/v1/models/counter:predict', '', {
      'content-type': 'application/octet-stream',
      accept: 'application/octet-stream',
      'x-headrace-tensors': JSON.stringify({ signature_name: 'get_counter', inputs: [] }),
    });
    expect({ status, value: body.readFloatLE() }).toEqual({ status: 200, value: 2 });
  });

  test.each(BROKEN)('%s fails the load, and the status says why', async (name, _, code, text) => {
    expect(await statusOf(name)).toMatchObject({ state: 'END', status: { error_code: code, error_message: expect.stringMatching(text) } });
    const { status } = await mesh.send('POST', `/v1/models/${name}:predict`, '{"instances":[1]}');
    expect(status).toBe(404);
  });
});
