import { afterEach, describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import { ServeError } from '#mesh/errors.ts';
import { encodePredictRequest } from '#proto/predict.ts';
import { encodePredictionLog } from '#proto/prediction-log.ts';
import { writeTfRecords } from '#proto/tfrecord.ts';
import { readWarmupRecords } from '../../services/worker-gpu/warmup.ts';
import { assigned, createModelFolder, halfPlusTwo } from './models.ts';
import { startRig } from './worker-rig.ts';

const open: (AsyncDisposable | Disposable)[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await (Symbol.asyncDispose in one ? one[Symbol.asyncDispose]() : one[Symbol.dispose]());
});

const FILE = 'assets.extra/tf_serving_warmup_requests';

function predictRecord(alias: string, signatureName = ''): Uint8Array {
  const tensor = { dtype: 'float' as const, shape: [2], bytes: new Uint8Array(Float32Array.of(1, 2).buffer) };
  const spec = { name: 'half', version: null, label: null, signatureName };
  return encodePredictionLog('predict', encodePredictRequest(spec, new Map([[alias, tensor]])));
}

async function loadWith(records: Uint8Array, run: { readonly warmup?: boolean; readonly warmupIterations?: number } = {}) {
  const folder = createModelFolder();
  open.push(folder);
  const rig = await startRig({ args: ['--executors=2'] });
  open.push(rig);
  rig.assign([assigned('half', folder.version('half', { 'model.onnx': halfPlusTwo(), [FILE]: records }), { run })]);
  const held = await rig.untilHeld('half', ({ state }) => state === 'AVAILABLE' || state === 'END');
  return { rig, held };
}

describe('warmup', () => {
  test('replays the records on every executor before the servable is available', async () => {
    const { rig, held } = await loadWith(writeTfRecords([predictRecord('x'), predictRecord('x', 'serving_default')]));
    expect(held.state).toBe('AVAILABLE');
    const metrics = await rig.telemetry.metrics.metrics();
    expect(metrics).toContain(':tensorflow:serving:model_warmup_records_read 4');
    expect(metrics).toMatch(/:tensorflow:serving:model_warmup_latency_count\{model_path=".*half",status="OK"\} 2/);
  });

  test('is left out when the assignment says so', async () => {
    const { held } = await loadWith(utf8('not records'), { warmup: false });
    expect(held.state).toBe('AVAILABLE');
  });

  test.each<[string, Uint8Array, string, RegExp]>([
    [
      'a file of something else',
      utf8('this is not a TFRecord file'),
      'DATA_LOSS',
      /Please verify your warmup data is in TFRecord format\.$/,
    ],
    ['a record that does not parse', writeTfRecords([Uint8Array.of(0xff)]), 'INVALID_ARGUMENT', /^Failed to parse warmup record: /],
    ['a kind that is not replayed', writeTfRecords([Uint8Array.of(0x2a, 0)]), 'UNIMPLEMENTED', /^Unsupported log_type for warmup: 5$/],
    ['a request that fails', writeTfRecords([predictRecord('nope')]), 'INVALID_ARGUMENT', /^input x is missing$/],
    ['an unknown signature', writeTfRecords([predictRecord('x', 'no')]), 'FAILED_PRECONDITION', /^Serving signature key "no" not found\.$/],
  ])('%s fails the load', async (_, records, code, text) => {
    const { held } = await loadWith(records);
    expect(held).toMatchObject({ state: 'END', status: { code } });
    expect(held.status.message).toMatch(text);
  });

  test('more than a thousand records are refused', () => {
    const file = writeTfRecords(Array.from({ length: 1001 }, () => predictRecord('x')));
    expect(() => [...readWarmupRecords(file, '/m/1/file')]).toThrow(
      new ServeError('INVALID_ARGUMENT', 'Number of warmup records exceeds the maximum (1000) at /m/1/file'),
    );
  });
});
